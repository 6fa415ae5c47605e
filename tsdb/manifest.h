// SPDX-License-Identifier: Apache-2.0
//
// What can be read from a damaged RocksDB manifest, the file that says which tables and column
// families there are.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace varve {

// Whether the file ends within a record: it was cut off, which RocksDB takes for its end.
bool IsCutOff(std::string_view manifest);

// The families of ours that the bytes say were created and not dropped, by RocksDB's number.
std::map<uint32_t, std::string> FamiliesNamedIn(std::string_view manifest);

}  // namespace varve
