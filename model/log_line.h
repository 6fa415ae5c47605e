// SPDX-License-Identifier: Apache-2.0
//
// A log message with fields, for spdlog: what happened in constant words, then what it happened to.
//
//   spdlog::warn(LogLine("Scrape commit failed", {{"target", url}, {"err", MessageOf(status)}}));
//
// gives `... msg="Scrape commit failed" target=http://... err="..."`, or the same as JSON keys. A
// message without fields needs no LogLine. app/logging.cc writes the lines.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace varve {

using LogField = std::pair<std::string_view, std::string>;

// The message as one string, whose fields SplitLogLine() finds again.
std::string LogLine(std::string_view message, std::initializer_list<LogField> fields);

struct LogLineParts {
  std::string_view message;
  std::vector<std::pair<std::string_view, std::string_view>> fields;  // In the order given.
};
// Views into `line`, which need not come from LogLine().
LogLineParts SplitLogLine(std::string_view line);

}  // namespace varve
