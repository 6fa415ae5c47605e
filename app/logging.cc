// SPDX-License-Identifier: Apache-2.0
//
// An spdlog formatter that writes whole logfmt or JSON lines. Messages follow one convention: the
// text, then ` key=value` pairs; in JSON the whole of it is the message.

#include "app/logging.h"

#include <fmt/format.h>
#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string_view>

#include "model/labels.h"
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

// JSON and logfmt agree on quoted strings but for the bytes Go would escape with \x or \a.
std::string JsonQuoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (byte < 0x20) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
  return out;
}

class LineFormatter : public spdlog::formatter {
 public:
  explicit LineFormatter(bool json) : json_(json) {}

  void format(const spdlog::details::log_msg& line, spdlog::memory_buf_t& out) override {
    const std::string_view message(line.payload.data(), line.payload.size());
    const auto milliseconds =
        std::chrono::duration_cast<std::chrono::milliseconds>(line.time.time_since_epoch());
    const std::string time = FormatRfc3339(milliseconds.count());
    const std::string text = json_
                                 ? fmt::format("{{\"time\":\"{}\",\"level\":\"{}\",\"msg\":{}}}\n",
                                               time, LevelText(line.level), JsonQuoted(message))
                                 : fmt::format("time={} level={} msg={}\n", time,
                                               LevelText(line.level), Quoted(message));
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
