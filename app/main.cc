// SPDX-License-Identifier: Apache-2.0
//
// The varve binary.

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "app/check_command.h"
#include "app/flags.h"
#include "app/logging.h"
#include "app/server.h"
#include "app/tsdb_command.h"

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "tsdb") {
    return varve::RunTsdbCommand(argc - 2, argv + 2);
  }
  if (argc > 1 && std::string_view(argv[1]) == "check") {
    varve::ConfigureLogging("error", "logfmt");
    const varve::CheckResult result =
        varve::RunCheckCommand(std::vector<std::string>(argv + 2, argv + argc), stdin);
    std::fputs(result.out.c_str(), stdout);
    std::fputs(result.err.c_str(), stderr);
    return result.code;
  }
  const varve::FlagsResult result = varve::ParseFlags(argc, argv);
  if (result.exit) {
    std::fputs(result.text.c_str(), result.exit_code == 0 ? stdout : stderr);
    return result.exit_code;
  }
  varve::ConfigureLogging(result.flags.log_level, result.flags.log_format);
  return varve::RunServer(result.flags);
}
