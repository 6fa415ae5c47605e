// SPDX-License-Identifier: Apache-2.0
//
// Writes what targets send in the protobuf exposition format.
#pragma once

#include <cstdint>
#include <protozero/pbf_writer.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace varve::testing {

using ProtoLabels = std::vector<std::pair<std::string, std::string>>;

inline std::string ProtoTimestamp(int64_t ms) {
  std::string bytes;
  protozero::pbf_writer out(bytes);
  out.add_int64(1, ms / 1000);
  out.add_int32(2, static_cast<int32_t>(ms % 1000 * 1'000'000));
  return bytes;
}

inline std::string ProtoLabel(std::string_view name, std::string_view value) {
  std::string bytes;
  protozero::pbf_writer out(bytes);
  out.add_string(1, std::string(name));
  out.add_string(2, std::string(value));
  return bytes;
}

inline std::string ProtoExemplar(const ProtoLabels& labels, double value, int64_t ms = 0) {
  std::string bytes;
  protozero::pbf_writer out(bytes);
  for (const auto& [name, text] : labels) out.add_message(1, ProtoLabel(name, text));
  out.add_double(2, value);
  if (ms != 0) out.add_message(3, ProtoTimestamp(ms));
  return bytes;
}

inline std::string ProtoBucket(double bound, uint64_t count, const std::string& exemplar = "") {
  std::string bytes;
  protozero::pbf_writer out(bytes);
  out.add_uint64(1, count);
  out.add_double(2, bound);
  if (!exemplar.empty()) out.add_message(3, exemplar);
  return bytes;
}

inline std::string ProtoSpan(int32_t offset, uint32_t length) {
  std::string bytes;
  protozero::pbf_writer out(bytes);
  out.add_sint32(1, offset);
  out.add_uint32(2, length);
  return bytes;
}

// `value` is the message in `field`: 2 gauge, 3 counter, 4 summary, 5 untyped, 7 histogram.
inline std::string ProtoMetric(const ProtoLabels& labels, uint32_t field, const std::string& value,
                               int64_t ms = 0) {
  std::string bytes;
  protozero::pbf_writer out(bytes);
  for (const auto& [name, text] : labels) out.add_message(1, ProtoLabel(name, text));
  out.add_message(field, value);
  if (ms != 0) out.add_int64(6, ms);
  return bytes;
}

// `type`: 0 counter, 1 gauge, 2 summary, 3 untyped, 4 histogram, 5 gauge histogram.
inline std::string ProtoFamily(std::string_view name, int type,
                               const std::vector<std::string>& metrics, std::string_view help = "",
                               std::string_view unit = "") {
  std::string bytes;
  protozero::pbf_writer out(bytes);
  out.add_string(1, std::string(name));
  if (!help.empty()) out.add_string(2, std::string(help));
  out.add_enum(3, type);
  for (const std::string& metric : metrics) out.add_message(4, metric);
  if (!unit.empty()) out.add_string(5, std::string(unit));
  return bytes;
}

// A body: each family behind its length.
inline std::string ProtoBody(const std::vector<std::string>& families) {
  std::string body;
  for (const std::string& family : families) {
    protozero::add_varint_to_buffer(&body, family.size());
    body += family;
  }
  return body;
}

}  // namespace varve::testing
