// SPDX-License-Identifier: Apache-2.0
//
// What the storage tests share: a temporary directory, hostile values, random histograms, and
// reading a storage back.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/appendable.h"
#include "model/queryable.h"
#include "tsdb/db.h"

namespace varve {

// The time tests begin at.
inline constexpr TimestampMs kBegin = 1'700'000'000'000;

// The seed of random tests: $TEST_SEED if set, else fixed. Use with CAPTURE.
uint64_t TestSeed();

// `rounds` of a long test, or the percentage $TEST_EFFORT of them, but at least one.
int TestRounds(int rounds);

// A fresh directory, removed with the object.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// NaN payloads, infinities, zeros of both signs, denormals, extremes.
const std::vector<double>& HostileValues();
double RandomValue(std::mt19937_64& random);
Histogram RandomHistogram(std::mt19937_64& random);
// The next histogram of a series that counts: same layout, larger counts.
Histogram Grown(const Histogram& before, std::mt19937_64& random);

uint64_t BitsOf(double value);

// One sample as text, bit-exact: "12=3ff0000000000000" or "12={...}", with "@start" if there is
// one.
std::string SampleText(TimestampMs time, double value, TimestampMs start);
std::string SampleText(TimestampMs time, const Histogram& histogram, TimestampMs start);
// All samples of a series: floats, then histograms.
std::vector<std::string> SampleTexts(const SeriesSamples& samples);

// Everything the storage has in [min, max] for the matchers: labels to samples.
using Contents = std::map<std::string, std::vector<std::string>>;
Contents ReadAll(const Queryable& storage, TimestampMs min = kMinTimestamp,
                 TimestampMs max = kMaxTimestamp, const std::vector<Matcher>& matchers = {});

// Commits one sample; fails the test if that does not work.
void MustAppend(Appendable& storage, const Labels& labels, TimestampMs time, double value);
// What Append (not Commit) said.
AppendError TryAppend(Appendable& storage, const Labels& labels, TimestampMs time, double value);

std::unique_ptr<Db> MustOpen(const DbOptions& options, Clock& clock);

}  // namespace varve
