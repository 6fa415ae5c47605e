// SPDX-License-Identifier: Apache-2.0
//
// Fields are set off by ASCII's unit separator, which no text for people contains.

#include "model/log_line.h"

#include <algorithm>

namespace varve {
namespace {

constexpr char kSeparator = '\x1f';

void AppendWithoutSeparator(std::string_view text, std::string& line) {
  for (const char c : text) line += c == kSeparator ? ' ' : c;
}

std::string_view CutPart(std::string_view& rest) {
  const size_t end = std::min(rest.find(kSeparator), rest.size());
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return part;
}

}  // namespace

std::string LogLine(std::string_view message, std::initializer_list<LogField> fields) {
  std::string line;
  AppendWithoutSeparator(message, line);
  for (const auto& [key, value] : fields) {
    line += kSeparator;
    line += key;
    line += '=';
    AppendWithoutSeparator(value, line);
  }
  return line;
}

LogLineParts SplitLogLine(std::string_view line) {
  LogLineParts parts;
  parts.message = CutPart(line);
  while (!line.empty()) {
    const std::string_view field = CutPart(line);
    const size_t equals = std::min(field.find('='), field.size());
    parts.fields.emplace_back(field.substr(0, equals),
                              field.substr(std::min(equals + 1, field.size())));
  }
  return parts;
}

}  // namespace varve
