// SPDX-License-Identifier: Apache-2.0
//
// The varve binary.

#include <cstdio>

#include "app/flags.h"
#include "app/logging.h"
#include "app/server.h"

int main(int argc, char** argv) {
  const varve::FlagsResult result = varve::ParseFlags(argc, argv);
  if (result.exit) {
    std::fputs(result.text.c_str(), result.exit_code == 0 ? stdout : stderr);
    return result.exit_code;
  }
  varve::ConfigureLogging(result.flags.log_level, result.flags.log_format);
  return varve::RunServer(result.flags);
}
