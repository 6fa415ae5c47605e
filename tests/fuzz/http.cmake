varve_fuzzer(fuzz_url_encoded SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_url_encoded.cc DEPS http)
varve_fuzzer(fuzz_write_request SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_write_request.cc DEPS remote)
varve_fuzzer(fuzz_rule_file SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_rule_file.cc DEPS rules)
