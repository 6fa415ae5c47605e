# Answers to the HTTP client.
varve_fuzzer(fuzz_http1 SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_http1.cc DEPS net)
