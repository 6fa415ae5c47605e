# What targets answer, and what users write.
varve_fuzzer(fuzz_exposition SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_exposition.cc DEPS scrape)
varve_fuzzer(fuzz_proto_exposition SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_proto_exposition.cc
  DEPS scrape)
varve_fuzzer(fuzz_config SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_config.cc DEPS app_config)
