// SPDX-License-Identifier: Apache-2.0
//
// Leaves are grouped once all are known, in the order they were planned.
#include "promql/leaf_share.h"

#include <algorithm>

#include "model/check.h"
#include "promql/leaf_rows.h"

namespace varve::promql {
namespace {

uint64_t Span(TimestampMs start, TimestampMs end) {
  return static_cast<uint64_t>(std::max<TimestampMs>(end - start, 0));
}

// Whether the two select the same series.
bool SameMatchers(const std::vector<Matcher>& a, const std::vector<Matcher>& b) {
  return std::is_permutation(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace

void LeafShares::Remove(LeafRows& leaf) {
  std::erase(leaves_, &leaf);
  for (const auto& group : groups_) {
    if (std::erase(group->leaves, &leaf) == 0) continue;
    for (LeafRows* other : group->leaves) other->Forget(leaf);
  }
}

void LeafShares::MakeGroups() {
  grouped_ = true;
  for (LeafRows* leaf : leaves_) {
    const std::vector<Matcher>& matchers = leaf->matchers();
    const LeafPlan& plan = leaf->plan();
    const uint64_t alone = Span(plan.hints.start_ms, plan.hints.end_ms);
    LeafGroup* joined = nullptr;
    for (size_t i = 0; i < groups_.size() && joined == nullptr && plan.shareable; ++i) {
      LeafGroup& group = *groups_[i];
      const LeafPlan& other = group.leaves[0]->plan();
      if (!other.shareable || !SameMatchers(group.leaves[0]->matchers(), matchers)) {
        continue;
      }
      const TimestampMs start = std::min(group.start, plan.hints.start_ms);
      const TimestampMs end = std::max(group.end, plan.hints.end_ms);
      // Not for a small overlap: given rows take memory.
      if (Span(start, end) > (group.apart_ms + alone) / 4 * 3) continue;
      group.start = start;
      group.end = end;
      joined = &group;
    }
    if (joined == nullptr) {
      joined = groups_.emplace_back(std::make_unique<LeafGroup>()).get();
      joined->start = plan.hints.start_ms;
      joined->end = plan.hints.end_ms;
    }
    joined->apart_ms += alone;
    joined->leaves.push_back(leaf);
  }
}

LeafGroup& LeafShares::GroupOf(const LeafRows& leaf) {
  if (!grouped_) MakeGroups();
  for (const auto& group : groups_) {
    for (const LeafRows* member : group->leaves) {
      if (member == &leaf) return *group;
    }
  }
  INVARIANT(false);
  return *groups_[0];
}

bool LeafShares::Discard() {
  bool any = false;
  for (LeafRows* leaf : leaves_) any |= leaf->DiscardGiven();
  for (const auto& group : groups_) group->closed = true;
  return any;
}

}  // namespace varve::promql
