// SPDX-License-Identifier: Apache-2.0
//
// `varve tsdb seal|verify|analyze PATH`: maintenance of a data directory that no server has open.
#pragma once

#include <string_view>

namespace varve {

// What the server starts to have a damaged table removed, with directory and number: no command for
// people.
inline constexpr std::string_view kRemoveTableCommand = "remove-table";

// Runs the command with what follows `varve tsdb` on the command line and returns the exit code:
// 0 done (verify: no damage), 1 failed (or damage found), 2 the arguments are wrong.
int RunTsdbCommand(int argc, char** argv);

}  // namespace varve
