// SPDX-License-Identifier: Apache-2.0
//
// churn: the memory of the storage while every series is replaced every so often, on a clock that
// is moved on as fast as the storage keeps up: what a day takes is there in minutes. Usage: churn
// DIR series hours step_s replaced_every_s (0 = never) One target has 1000 series; the labels of
// its pod change, so that all its series are new. Series that end say nothing. Prints a line an
// hour, and the peak at the end: samples, CPU seconds, memory.
#include <fmt/format.h>
#include <sys/resource.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "model/appendable.h"
#include "model/clock.h"
#include "model/series_ref.h"
#include "tsdb/db.h"

namespace varve {
namespace {

constexpr TimestampMs kStart = 1'790'000'000'000;
constexpr uint64_t kSeriesOfTarget = 1000;
constexpr DurationMs kMaintenance = 30 * kSecond;

Labels LabelsOf(uint64_t target, uint64_t series, uint64_t life) {
  return Labels::Of({{"__name__", fmt::format("metric_{:02}_total", series % 100)},
                     {"instance", fmt::format("10.0.{}.{}:8080", target / 250, target % 250)},
                     {"job", "kubernetes-pods"},
                     {"namespace", fmt::format("ns-{}", target % 13)},
                     {"path", fmt::format("/api/v1/resource-{}", series / 100)},
                     {"pod", fmt::format("app-{}-{:08x}", target % 37,
                                         (target + life * 7919) * 2654435761 >> 8)}});
}

double ValueOf(uint64_t series, TimestampMs time) {
  switch (series % 3) {
    case 0:
      return static_cast<double>(series);
    case 1:
      return static_cast<double>(time / 1000 % 1'000'000 * (series % 50));
    default:
      return std::round(1000 * std::sin(static_cast<double>(time / 1000 + series))) / 100;
  }
}

uint64_t ResidentMb(const char* key) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != key) continue;
    uint64_t kilobytes = 0;
    status >> kilobytes;
    return kilobytes >> 10;
  }
  return 0;
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void Must(const absl::Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "churn: {}\n", status.ToString());
  std::exit(1);
}

// One scrape of a target. `refs` are those of its series, `life` how often they were replaced.
void Scrape(Db& db, uint64_t target, uint64_t life, TimestampMs now, bool first,
            absl::Span<SeriesRef> refs) {
  const std::unique_ptr<Appender> appender = db.NewAppender();
  std::vector<KnownSample> known;
  for (uint64_t i = 0; i < kSeriesOfTarget; ++i) {
    const double value = ValueOf(target * kSeriesOfTarget + i, now);
    if (!first) {
      known.push_back({.ref = refs[i], .time = now, .value = value});
      continue;
    }
    const absl::StatusOr<SeriesRef> ref =
        appender->Append(kNoSeries, LabelsOf(target, i, life), now, value);
    Must(ref.status());
    refs[i] = *ref;
  }
  absl::Status refused;
  appender->AppendKnown(known, refused);
  Must(refused);
  Must(appender->Commit());
}

int Run(int argc, char** argv) {
  if (argc != 6) {
    fmt::print(stderr, "usage: churn DIR series hours step_s replaced_every_s\n");
    return 2;
  }
  const uint64_t targets = std::strtoull(argv[2], nullptr, 10) / kSeriesOfTarget;
  const DurationMs duration = std::atoll(argv[3]) * kHour;
  const DurationMs step = std::atoll(argv[4]) * kSecond;
  const DurationMs replaced_every = std::atoll(argv[5]) * kSecond;
  ManualClock clock(kStart);
  absl::StatusOr<std::unique_ptr<Db>> opened =
      Db::Open({.path = argv[1], .retention = 0, .background = false}, clock);
  Must(opened.status());
  Db& db = **opened;
  std::vector<SeriesRef> refs(targets * kSeriesOfTarget);
  std::vector<uint64_t> lives(targets, ~uint64_t{0});
  uint64_t samples = 0;
  TimestampMs maintained = kStart;
  for (DurationMs passed = 0; passed < duration; passed += step) {
    for (uint64_t target = 0; target < targets; ++target) {
      // Scrapes are spread over the interval, so that time passes between them.
      const TimestampMs now =
          kStart + passed +
          step * static_cast<DurationMs>(target) / static_cast<DurationMs>(targets);
      clock.Advance(now - clock.Now());
      const uint64_t life =
          replaced_every == 0 ? 0 : static_cast<uint64_t>(passed / replaced_every);
      Scrape(db, target, life, now, life != lives[target],
             absl::MakeSpan(refs).subspan(target * kSeriesOfTarget, kSeriesOfTarget));
      lives[target] = life;
      samples += kSeriesOfTarget;
      if (now - maintained >= kMaintenance) {
        maintained = now;
        Must(db.Maintain());
      }
    }
    if ((passed + step) % kHour < step) {
      fmt::print("hour {} series {} rss_mb {} cpu_s {:.0f}\n", (passed + step) / kHour,
                 db.Head().series, ResidentMb("VmRSS:"), CpuSeconds());
      std::fflush(stdout);
    }
  }
  fmt::print("samples {} cpu_s {:.1f} peak_mb {}\n", samples, CpuSeconds(), ResidentMb("VmHWM:"));
  Must(db.Close());
  return 0;
}

}  // namespace
}  // namespace varve

int main(int argc, char** argv) { return varve::Run(argc, argv); }
