// SPDX-License-Identifier: Apache-2.0
//
// Late samples: what the out-of-order window accepts, and that accepted ones are read back in
// order, from memory, from chunks, and after restarts of either kind.
#include <doctest/doctest.h>

#include <filesystem>

#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"

namespace varve {
namespace {

const Labels kLate = Labels::Of({{"__name__", "late"}});
const Labels kOther = Labels::Of({{"__name__", "other"}});

struct LateFixture {
  TempDir dir;
  ManualClock clock{kBegin};
  DbOptions options{
      .path = dir.path(), .retention = 0, .out_of_order_window = 30 * kMinute, .background = false};

  static std::vector<std::string> Texts(const std::vector<DurationMs>& after) {
    std::vector<std::string> texts;
    for (const DurationMs ms : after) {
      texts.push_back(SampleText(kBegin + ms, static_cast<double>(ms), 0));
    }
    return texts;
  }
  static void Append(Db& db, const Labels& labels, DurationMs after) {
    MustAppend(db, labels, kBegin + after, static_cast<double>(after));
  }
};

TEST_CASE_FIXTURE(LateFixture, "late samples: what is accepted and what is refused") {
  auto db = MustOpen(options, clock);
  Append(*db, kLate, 0);
  struct Case {
    const char* what;
    Labels labels;
    DurationMs after;
    double value;
    AppendError error;
  };
  const std::vector<Case> cases = {
      {"the newest again", kLate, 0, 0, AppendError::kNone},
      {"the newest with another value", kLate, 0, 1, AppendError::kDuplicateTimestamp},
      {"earlier", kLate, -1, 1, AppendError::kNone},
      {"at the window's edge", kLate, -30 * kMinute, 1, AppendError::kNone},
      {"past the window", kLate, -30 * kMinute - 1, 1, AppendError::kTooOld},
      {"past the window and the head's", kLate, -2 * kHour, 1, AppendError::kTooOld},
      {"another series may start anywhere in the head", kOther, -kHour, 1, AppendError::kNone},
      {"but not before both", Labels::Of({{"a", "b"}}), -kHour - 1, 1, AppendError::kTooOld},
      {"past the clock's limit", kLate, 10 * kMinute + 1, 1, AppendError::kOutOfBounds},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    CHECK(TryAppend(*db, c.labels, kBegin + c.after, c.value) == c.error);
  }
  const StorageCounters counters = db->Counters();
  CHECK(counters.out_of_order_samples == 0);
  CHECK(counters.out_of_bounds_samples == 1);
  CHECK(counters.too_old_samples == 3);
  CHECK(counters.duplicate_samples == 1);
  CHECK(counters.out_of_order_samples_appended == 2);
  // A window larger than the head's lets series start before it; none refuses as ever.
  db->SetOutOfOrderWindow(3 * kHour);
  CHECK(TryAppend(*db, Labels::Of({{"c", "d"}}), kBegin - 2 * kHour, 1) == AppendError::kNone);
  db->SetOutOfOrderWindow(0);
  CHECK(TryAppend(*db, kLate, kBegin - 2, 1) == AppendError::kOutOfOrder);
}

TEST_CASE_FIXTURE(LateFixture,
                  "late samples: the rules hold within a batch and between appenders") {
  auto db = MustOpen(options, clock);
  auto appender = db->NewAppender();
  for (const DurationMs after : {100, 50, 150, 120, 50}) {
    CHECK(appender->Append(kNoSeries, kLate, kBegin + after, static_cast<double>(after)).ok());
  }
  // The head is empty: the batch's first sample says where the window is.
  CHECK(AppendErrorOf(appender->Append(kNoSeries, kLate, kBegin + 99 - 30 * kMinute, 1).status()) ==
        AppendError::kTooOld);
  CHECK(AppendErrorOf(appender->Append(kNoSeries, kLate, kBegin + 150, 1).status()) ==
        AppendError::kDuplicateTimestamp);
  appender->Rollback();
  Append(*db, kLate, 0);
  appender = db->NewAppender();
  for (const DurationMs after : {100, 50, 150, 120, 50, 20}) {
    CHECK(appender->Append(kNoSeries, kLate, kBegin + after, static_cast<double>(after)).ok());
  }
  CHECK(AppendErrorOf(appender->Append(kNoSeries, kLate, kBegin + 150, 1).status()) ==
        AppendError::kDuplicateTimestamp);
  // Another appender is faster: what was in order is late now.
  auto faster = db->NewAppender();
  CHECK(faster->Append(kNoSeries, kLate, kBegin + 200, 200).ok());
  CHECK(faster->Commit().ok());
  CHECK(appender->Commit().ok());
  CHECK(ReadAll(*db)[kLate.ToString()] == Texts({0, 20, 50, 100, 120, 150, 200}));
}

TEST_CASE_FIXTURE(LateFixture,
                  "late samples are read in order from memory, chunks and after restarts") {
  auto db = MustOpen(options, clock);
  std::vector<DurationMs> times;
  // In order every 10 s; late ones 5 s off, far enough back to lie in closed chunks too, enough of
  // them to make chunks, and one series in histograms.
  const Labels histograms = Labels::Of({{"__name__", "histograms"}});
  std::vector<std::string> histogram_texts;
  const auto put_histogram = [&](TimestampMs time) {
    Histogram histogram;
    histogram.integer_counts = true;
    histogram.positive.spans = {{0, 1}};
    histogram.positive.counts = {static_cast<double>(time % 1000)};
    histogram.count = histogram.positive.counts[0];
    const auto appender = db->NewAppender();
    CHECK(appender->AppendHistogram(kNoSeries, histograms, time, histogram).ok());
    CHECK(appender->Commit().ok());
    histogram_texts.push_back(SampleText(time, histogram, 0));
  };
  for (int i = 0; i < 700; ++i) {
    clock.Advance(10 * kSecond);
    Append(*db, kLate, i * 10 * kSecond);
    times.push_back(i * 10 * kSecond);
    if (i % 7 == 3) put_histogram(kBegin + i * 10 * kSecond);
    if (i < 170 || i % 3 != 0) continue;
    const DurationMs late = (i - 1 - 2 * (i % 80)) * 10 * kSecond + 5 * kSecond;
    Append(*db, kLate, late);
    times.push_back(late);
    if (i % 21 == 0) put_histogram(kBegin + (i - 100) * 10 * kSecond + 1 + i);
  }
  std::sort(times.begin(), times.end());
  std::sort(histogram_texts.begin(), histogram_texts.end());
  const auto expected = Texts(times);
  const auto check = [&](const char* when) {
    CAPTURE(when);
    Contents all = ReadAll(*db);
    CHECK(all[kLate.ToString()] == expected);
    CHECK(all[histograms.ToString()] == histogram_texts);
    // A short range near now, which the open chunk covers.
    const TimestampMs min = kBegin + times[times.size() - 40];
    std::vector<std::string> part(expected.end() - 40, expected.end());
    CHECK(ReadAll(*db, min)[kLate.ToString()] == part);
  };
  check("in memory");
  CHECK(db->Checkpoint().ok());
  check("after a checkpoint");
  SUBCASE("clean restart") {
    CHECK(db->Close().ok());
    db.reset();
    db = MustOpen(options, clock);
  }
  SUBCASE("killed") {
    // A copy of the files is what a killed process leaves.
    CHECK(db->Sync().ok());
    TempDir copy;
    std::filesystem::copy(dir.path(), copy.path(),
                          std::filesystem::copy_options::recursive |
                              std::filesystem::copy_options::overwrite_existing);
    DbOptions copied = options;
    copied.path = copy.path();
    const auto db_of_copy = MustOpen(copied, clock);
    CHECK(ReadAll(*db_of_copy)[kLate.ToString()] == expected);
  }
  SUBCASE("sealed") { CHECK(db->Seal().ok()); }
  check("later");
  CHECK(db->Maintain().ok());
  check("after maintenance");
}

}  // namespace
}  // namespace varve
