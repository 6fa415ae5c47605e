// SPDX-License-Identifier: Apache-2.0
//
// Goal: a loaded series is in the head at once, and in the index once the loader has finished.
// Method: more series than fit into the groups that may wait, saved and logged ones, some twice.
#include "tsdb/series_loader.h"

#include <doctest/doctest.h>

#include <string>

#include "model/labels.h"
#include "tsdb/head.h"

namespace varve {
namespace {

Labels LoadedLabels(uint64_t id) {
  return Labels::Of({{"__name__", "m" + std::to_string(id % 7)}, {"id", std::to_string(id)}});
}

TEST_CASE("series loader: saved and logged series come into head and index") {
  constexpr uint64_t kSaved = 300'000;
  constexpr uint64_t kAll = 301'500;
  Head head({});
  {
    SeriesLoader loader(head);
    for (uint64_t id = 1; id <= kSaved; ++id) loader.AddSaved(id, LoadedLabels(id));
    CHECK(loader.saved_ids().size() == kSaved);
    // In the head already: its state can be restored, and the log names it in vain.
    CHECK_FALSE(head.RestoreLogged(kSaved));
    for (uint64_t id = kSaved - 500; id <= kAll; ++id) {
      loader.AddLogged(id, id <= kSaved ? Labels::Of({{"not", "this"}}) : LoadedLabels(id));
    }
    loader.Finish();
    CHECK(head.last_id() == kAll);
    CHECK(loader.saved_ids().size() == kSaved);
  }
  CHECK(head.index().series() == kAll);
  CHECK(head.index().Select({Matcher::Equal("not", "this")}).empty());
  for (uint64_t id = 1; id <= kAll; id += 499) {
    CHECK(head.index().LabelsOf(id) == LoadedLabels(id));
    CHECK(head.index().Find(LoadedLabels(id)) == id);
  }
  CHECK(head.index().Select({Matcher::Equal("__name__", "m3")}).size() == (kAll - 3) / 7 + 1);
}

TEST_CASE("series loader: without series, and ended early") {
  Head head({});
  { const SeriesLoader unused(head); }
  {
    SeriesLoader loader(head);
    loader.AddLogged(9, LoadedLabels(9));
  }
  CHECK(head.last_id() == 9);
  CHECK(head.index().LabelsOf(9) == LoadedLabels(9));
}

}  // namespace
}  // namespace varve
