// SPDX-License-Identifier: Apache-2.0
//
// An spdlog formatter that writes whole logfmt or JSON lines, a LogLine's fields as keys of their
// own.

#include "app/logging.h"

#include <fmt/format.h>
#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "model/labels.h"
#include "model/log_line.h"
#include "model/time.h"

namespace varve {
namespace {

std::string_view LevelText(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug:
      return "DEBUG";
    case spdlog::level::warn:
      return "WARN";
    case spdlog::level::err:
    case spdlog::level::critical:
      return "ERROR";
    default:
      return "INFO";
  }
}

// JSON strings, with what is not UTF-8 replaced.
std::string JsonQuoted(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    uint32_t code_point = 0;
    const size_t length = DecodeUtf8(text, code_point);
    const auto byte = static_cast<unsigned char>(text[0]);
    if (length == 0) {
      out += "\\ufffd";
    } else if (byte == '"' || byte == '\\') {
      out.push_back('\\');
      out.push_back(text[0]);
    } else if (byte < 0x20) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  out.push_back('"');
  return out;
}

// As it is if no reader could take it for something else.
std::string LogfmtValue(std::string_view text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return c > ' ' && c < 0x7f && c != '"' && c != '=' && c != '\\';
  });
  return plain ? std::string(text) : Quoted(text);
}

}  // namespace

std::string FormatLogLine(std::string_view line, std::string_view level, TimestampMs time,
                          bool json) {
  const LogLineParts parts = SplitLogLine(line);
  // Three digits always, so that lines align.
  std::string rfc3339 = FormatRfc3339(time - time % 1000);
  rfc3339.replace(rfc3339.size() - 1, 1, fmt::format(".{:03}Z", time % 1000));
  std::string out =
      json ? fmt::format("{{\"time\":\"{}\",\"level\":\"{}\",\"msg\":{}", rfc3339, level,
                         JsonQuoted(parts.message))
           : fmt::format("time={} level={} msg={}", rfc3339, level, Quoted(parts.message));
  for (const auto& [key, value] : parts.fields) {
    out += json ? fmt::format(",{}:{}", JsonQuoted(key), JsonQuoted(value))
                : fmt::format(" {}={}", key, LogfmtValue(value));
  }
  out += json ? "}\n" : "\n";
  return out;
}

namespace {

class LineFormatter : public spdlog::formatter {
 public:
  explicit LineFormatter(bool json) : json_(json) {}

  void format(const spdlog::details::log_msg& line, spdlog::memory_buf_t& out) override {
    const auto milliseconds =
        std::chrono::duration_cast<std::chrono::milliseconds>(line.time.time_since_epoch());
    const std::string text = FormatLogLine({line.payload.data(), line.payload.size()},
                                           LevelText(line.level), milliseconds.count(), json_);
    out.append(text.data(), text.data() + text.size());
  }

  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<LineFormatter>(json_);
  }

 private:
  const bool json_;
};

}  // namespace

void ConfigureLogging(const std::string& level, const std::string& format) {
  auto logger =
      std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_formatter(std::make_unique<LineFormatter>(format == "json"));
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace varve
