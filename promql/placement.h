// SPDX-License-Identifier: Apache-2.0
//
// Where a thread that is woken to help begins to run. In a virtual machine Linux takes a processor
// that has been idle for a moment to be in use by the host (vcpu_is_preempted() in its
// select_idle_sibling()), so it wakes the thread on the processor of whoever wakes it, where the
// two wait for each other until load is balanced some milliseconds later.
#pragma once

#include <sched.h>
#include <sys/types.h>

namespace varve::promql {

// Of one thread. Not thread-safe; the waker and the thread take turns.
class Placement {
 public:
  // Of the calling thread.
  Placement();

  // By whoever is about to wake the sleeping thread: it will begin on another processor than the
  // caller's, if it may run on another at all.
  void AwayFromCaller();
  // By the thread, once it runs: from here on the system may move it as before.
  void Anywhere();

 private:
  pid_t thread_;
  bool narrowed_ = false;
  cpu_set_t allowed_;  // Before it was narrowed.
};

}  // namespace varve::promql
