# PromQL query text. The engine's own targets may join here.
varve_fuzzer(fuzz_promql_parse SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_promql_parse.cc DEPS promql)
varve_fuzzer(fuzz_promql_print
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_promql_print.cc
          ${CMAKE_SOURCE_DIR}/tests/promql/parser_tree_dump.cc
  DEPS promql)
