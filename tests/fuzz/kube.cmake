# Kubernetes' watch streams and lists.
varve_fuzzer(fuzz_kube_watch SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_kube_watch.cc DEPS kube)
