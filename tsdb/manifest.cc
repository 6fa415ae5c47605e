// SPDX-License-Identifier: Apache-2.0
//
// A manifest is a log: blocks of 32 KB with fragments of records, each with a header of checksum
// (4 bytes), length (2) and type (1: whole, 2: first, 3: middle, 4: last). Records are edits; one
// that creates or drops a column family says its number (tag 200), then that (tag 201 with a name,
// tag 202).
#include "tsdb/manifest.h"

#include <algorithm>
#include <optional>

#include "tsdb/format.h"

namespace varve {

namespace {

constexpr size_t kBlockBytes = 32 << 10;
constexpr size_t kHeaderBytes = 7;
constexpr uint8_t kFirstFragment = 2;
constexpr uint8_t kMiddleFragment = 3;
constexpr uint8_t kLastFragment = 4;
// Tags as varints.
constexpr std::string_view kFamilyTag = "\xC8\x01";
constexpr std::string_view kAddTag = "\xC9\x01";
constexpr std::string_view kDropTag = "\xCA\x01";

struct Fragment {
  size_t length = 0;
  uint8_t type = 0;
};

Fragment FragmentAt(std::string_view block, size_t position) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(block[position + i]); };
  return {.length = size_t{byte(4)} | size_t{byte(5)} << 8, .type = byte(6)};
}

// The records without headers, run together. Where a block is damaged its rest is taken as it is.
std::string Payload(std::string_view manifest) {
  std::string payload;
  for (; !manifest.empty(); manifest.remove_prefix(std::min(kBlockBytes, manifest.size()))) {
    const std::string_view block = manifest.substr(0, kBlockBytes);
    size_t position = 0;
    while (position + kHeaderBytes <= block.size()) {
      const Fragment fragment = FragmentAt(block, position);
      position += kHeaderBytes;
      if (fragment.type == 0 || fragment.type > kLastFragment ||
          fragment.length > block.size() - position) {
        payload.append(block.substr(position));
        break;
      }
      payload.append(block.substr(position, fragment.length));
      position += fragment.length;
    }
  }
  return payload;
}

std::optional<uint32_t> TakeVarint(std::string_view& bytes) {
  uint32_t value = 0;
  for (int shift = 0; shift < 32 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<uint32_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

bool IsOurs(std::string_view name) {
  constexpr std::string_view kFixed[] = {kMetaFamily,       kSeriesFamily,    kHeadFamily,
                                         kColumnsFamily,    kLabelsFamily,    kPostingsFamily,
                                         kTombstonesFamily, kExemplarsFamily, kMetadataFamily};
  return std::find(std::begin(kFixed), std::end(kFixed), name) != std::end(kFixed) ||
         FamilyNumber(kLogFamilyPrefix, name).has_value() ||
         FamilyNumber(kHotFamilyPrefix, name).has_value();
}

}  // namespace

bool IsCutOff(std::string_view manifest) {
  uint8_t last_type = kLastFragment;
  for (size_t position = 0; position < manifest.size();) {
    const size_t left = kBlockBytes - position % kBlockBytes;
    if (left < kHeaderBytes) {
      position += left;
      continue;
    }
    if (manifest.size() - position < kHeaderBytes) return true;
    const Fragment fragment = FragmentAt(manifest, position);
    if (fragment.type == 0 || fragment.type > kLastFragment ||
        fragment.length > left - kHeaderBytes) {
      return false;  // Damage that RocksDB finds by its checksum.
    }
    position += kHeaderBytes + fragment.length;
    if (position > manifest.size()) return true;
    last_type = fragment.type;
  }
  return last_type == kFirstFragment || last_type == kMiddleFragment;
}

std::map<uint32_t, std::string> FamiliesNamedIn(std::string_view manifest) {
  std::map<uint32_t, std::string> families;
  const std::string payload = Payload(manifest);
  for (size_t at = payload.find(kFamilyTag); at != std::string::npos;
       at = payload.find(kFamilyTag, at + 1)) {
    std::string_view rest = std::string_view(payload).substr(at + kFamilyTag.size());
    const std::optional<uint32_t> number = TakeVarint(rest);
    if (!number.has_value()) continue;
    if (rest.starts_with(kDropTag)) {
      families.erase(*number);
    } else if (rest.starts_with(kAddTag)) {
      rest.remove_prefix(kAddTag.size());
      const std::optional<uint32_t> length = TakeVarint(rest);
      if (!length.has_value() || *length > rest.size()) continue;
      const std::string_view name = rest.substr(0, *length);
      const bool is_taken = std::any_of(families.begin(), families.end(),
                                        [&](const auto& family) { return family.second == name; });
      if (IsOurs(name) && !is_taken) families.emplace(*number, name);
    }
  }
  return families;
}

}  // namespace varve
