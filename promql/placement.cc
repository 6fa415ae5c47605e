// SPDX-License-Identifier: Apache-2.0
//
// A failed call leaves the thread where the system wants it, which is right, only slower: no status
// is looked at beyond that.
#include "promql/placement.h"

#include <unistd.h>

namespace varve::promql {

Placement::Placement() : thread_(gettid()) {}

void Placement::AwayFromCaller() {
  const int here = sched_getcpu();
  if (here < 0 || here >= CPU_SETSIZE) return;
  // Asked for each time: it may have been changed from outside.
  if (sched_getaffinity(thread_, sizeof(allowed_), &allowed_) != 0) return;
  if (!CPU_ISSET(here, &allowed_)) return;
  cpu_set_t others = allowed_;
  CPU_CLR(here, &others);
  if (CPU_COUNT(&others) == 0) return;
  narrowed_ = sched_setaffinity(thread_, sizeof(others), &others) == 0;
}

void Placement::Anywhere() {
  if (!narrowed_) return;
  narrowed_ = false;
  sched_setaffinity(thread_, sizeof(allowed_), &allowed_);
}

}  // namespace varve::promql
