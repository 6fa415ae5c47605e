// SPDX-License-Identifier: Apache-2.0
//
// The whole server: opens every layer in order, wires them, applies the configuration, and takes it
// all down again.
#pragma once

#include "app/flags.h"

namespace varve {

// Runs until SIGTERM or SIGINT (or POST /-/quit) and returns the exit code: 0 after a clean stop, 1
// for a failure while running or opening, 2 for a refused configuration. SIGHUP reloads.
// REQUIRES: no other thread runs yet.
int RunServer(const Flags& flags);

}  // namespace varve
