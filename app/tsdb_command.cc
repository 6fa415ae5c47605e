// SPDX-License-Identifier: Apache-2.0
//
// The tsdb commands: arguments in, text and exit code out.
#include "app/tsdb_command.h"

#include <absl/status/statusor.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "app/logging.h"
#include "tsdb/tools.h"

namespace varve {

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr size_t kAnalyzeLimit = 20;

constexpr char kUsageText[] =
    "usage: varve tsdb COMMAND PATH\n"
    "\n"
    "PATH is what the server has as --storage.tsdb.path. No server may have it open.\n"
    "\n"
    "  seal     fold and merge everything into its final form\n"
    "  verify   read everything and check it\n"
    "  analyze  say what takes how many bytes\n";

int Report(const absl::StatusOr<std::string>& text) {
  if (!text.ok()) {
    const std::string message(text.status().message());
    std::fprintf(stderr, "varve tsdb: %s\n", message.c_str());
    return kFailed;
  }
  std::fputs(text->c_str(), stdout);
  return 0;
}

int Verify(const std::string& path) {
  const absl::StatusOr<VerifyReport> report = VerifyData(path);
  if (!report.ok()) return Report(report.status());
  const int code = Report(report->ToText());
  return report->problem_count > 0 ? kFailed : code;
}

}  // namespace

int RunTsdbCommand(int argc, char** argv) {
  const std::string_view command = argc > 0 ? argv[0] : "";
  if (command == "--help" || command == "-h") {
    std::fputs(kUsageText, stdout);
    return 0;
  }
  if (argc == 3 && command == kRemoveTableCommand) RemoveTableAndExit(argv[1], argv[2]);
  if (argc == 2) {
    ConfigureLogging("warn", "logfmt");
    const std::string path = argv[1];
    if (command == "seal") return Report(SealData(path));
    if (command == "verify") return Verify(path);
    if (command == "analyze") return Report(AnalyzeData(path, kAnalyzeLimit));
  }
  std::fputs(kUsageText, stderr);
  return kUsage;
}

}  // namespace varve
