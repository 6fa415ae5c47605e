# Bytes the storage engine reads back from disk.
varve_fuzzer(fuzz_xor_chunk SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_xor_chunk.cc DEPS tsdb)
varve_fuzzer(fuzz_histogram_chunk SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_histogram_chunk.cc DEPS tsdb)
varve_fuzzer(fuzz_log_record SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_log_record.cc DEPS tsdb)
varve_fuzzer(fuzz_head_row SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_head_row.cc DEPS tsdb)
varve_fuzzer(fuzz_column_values SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_column_values.cc DEPS tsdb)
varve_fuzzer(fuzz_column_row SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_column_row.cc DEPS tsdb)
varve_fuzzer(fuzz_stored_rows SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_stored_rows.cc DEPS tsdb)
