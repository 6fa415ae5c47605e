// SPDX-License-Identifier: Apache-2.0
//
// Goal: rules run in their slots, their results are stored and end when they should, and a reload
// keeps what did not change.
// Method: a manual clock, a storage in memory, rule files in a directory of the test's own.
#include "rules/manager.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "model/status_macros.h"
#include "tests/http/fake_storage.h"

namespace varve {
namespace {

constexpr TimestampMs kStart = 1'700'000'000'000;

class Fixture {
 public:
  Fixture() {
    std::string pattern = (std::filesystem::temp_directory_path() / "rules_test.XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
  }
  ~Fixture() {
    manager.reset();
    std::filesystem::remove_all(directory_);
  }

  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path) << text;
    return path;
  }

  // Writes samples of `up` at the present time.
  void AddUp(double a, double b) {
    storage.Add({{"__name__", "up"}, {"job", "a"}}, clock.Now(), a);
    storage.Add({{"__name__", "up"}, {"job", "b"}}, clock.Now(), b);
  }

  // Waits, in real time, until every group has evaluated at or after `time`.
  bool WaitEvaluated(TimestampMs time) {
    return WaitUntil([&] {
      for (const RuleGroupStatus& group : manager->Groups()) {
        if (group.last_evaluation < time) return false;
      }
      return true;
    });
  }
  static bool WaitUntil(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }

  // Moves the clock on by an interval with fresh samples and waits for the slot in it.
  void Step(DurationMs interval, double a, double b) {
    clock.Advance(interval);
    AddUp(a, b);
    // The slot lies somewhere in the interval that has passed.
    REQUIRE(WaitEvaluated(clock.Now() - interval + 1));
  }

  ManualClock clock{kStart};
  FakeStorage storage;
  prometheus::Registry registry;
  promql::Engine engine{{}, clock};
  std::unique_ptr<RuleManager> manager = RuleManager::Create(
      {.evaluations_max = 2, .registry = &registry}, storage, storage, engine, clock);

 private:
  std::string directory_;
};

std::string Series(const std::string& dump, std::string_view name) {
  std::string lines;
  for (size_t at = 0; at < dump.size();) {
    const size_t end = dump.find('\n', at);
    const std::string line = dump.substr(at, end - at + 1);
    if (line.starts_with(name)) lines += line.substr(0, line.find('@')) + "\n";
    at = end + 1;
  }
  return lines;
}

TEST_CASE("rules: recording rules store their results, one reading another") {
  Fixture fixture;
  const std::string file = fixture.Write("r.yml", R"(
groups:
  - name: g
    interval: 10s
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
        labels: {source: rule, job: renamed}
      - record: sum:of:sums
        expr: sum(job:up:sum)
)");
  fixture.AddUp(1, 5);
  REQUIRE(fixture.manager->Apply({.files = {file}}).ok());
  fixture.Step(10 * kSecond, 1, 5);
  // Both series get the same labels, which is refused as a whole.
  RuleGroupStatus group = fixture.manager->Groups().at(0);
  CHECK(group.rules[0].health == RuleHealth::kError);
  CHECK(group.rules[0].last_error ==
        "vector contains metrics with the same labelset after applying rule labels");
  CHECK(group.rules[1].health == RuleHealth::kOk);
  CHECK(group.rules[0].query == "sum by (job) (up)");

  fixture.Write("r.yml", R"(
groups:
  - name: g
    interval: 10s
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
        labels: {source: rule}
      - record: sum:of:sums
        expr: sum(job:up:sum)
)");
  REQUIRE(fixture.manager->Apply({.files = {file}}).ok());
  fixture.Step(10 * kSecond, 1, 5);
  group = fixture.manager->Groups().at(0);
  CHECK(group.rules[0].last_error == "");
  const std::string dump = fixture.storage.Dump();
  CHECK(Series(dump, "job:up:sum") ==
        "job:up:sum{job=\"a\", source=\"rule\"} 1\njob:up:sum{job=\"b\", source=\"rule\"} 5\n");
  CHECK(Series(dump, "sum:of:sums") == "sum:of:sums 6\n");
  const std::string metrics = prometheus::TextSerializer().Serialize(fixture.registry.Collect());
  CHECK(metrics.find("prometheus_rule_evaluation_failures_total{rule_group=\"" + file +
                     ";g\"} 1") != std::string::npos);
  CHECK(metrics.find("prometheus_rule_group_rules{rule_group=\"" + file + ";g\"} 2") !=
        std::string::npos);
}

TEST_CASE("rules: a series that vanishes from a result ends with a staleness marker") {
  Fixture fixture;
  const std::string file = fixture.Write("r.yml", R"(
groups:
  - name: g
    interval: 10s
    rules:
      - record: big
        expr: up > 2
)");
  fixture.AddUp(1, 5);
  REQUIRE(fixture.manager->Apply({.files = {file}}).ok());
  fixture.Step(10 * kSecond, 1, 5);
  CHECK(fixture.storage.Dump().find("big{job=\"b\"} 5@") == 0);
  fixture.Step(10 * kSecond, 1, 0);
  fixture.Step(10 * kSecond, 1, 0);
  const std::string dump = fixture.storage.Dump();
  CHECK(dump.substr(0, dump.find('\n')).find("stale@") != std::string::npos);
}

TEST_CASE("rules: a limit refuses what goes past it") {
  Fixture fixture;
  const std::string file = fixture.Write("r.yml", R"(
groups:
  - name: at
    interval: 10s
    limit: 2
    rules: [{record: at_limit, expr: up}]
  - name: past
    interval: 10s
    limit: 1
    rules: [{record: past_limit, expr: up}]
)");
  fixture.AddUp(1, 5);
  REQUIRE(fixture.manager->Apply({.files = {file}}).ok());
  fixture.Step(10 * kSecond, 1, 5);
  const auto groups = fixture.manager->Groups();
  CHECK(groups[0].rules[0].health == RuleHealth::kOk);
  CHECK(groups[1].rules[0].last_error == "exceeded limit of 1 with 2 series");
  CHECK(fixture.storage.Dump().find("past_limit") == std::string::npos);
}

TEST_CASE("rules: the query offset moves query and result into the past") {
  Fixture fixture;
  const std::string file = fixture.Write("r.yml", R"(
groups:
  - name: g
    interval: 10s
    query_offset: 1m
    rules: [{record: late, expr: time()}]
)");
  REQUIRE(fixture.manager->Apply({.files = {file}}).ok());
  fixture.Step(10 * kSecond, 1, 5);
  const TimestampMs slot = fixture.manager->Groups().at(0).last_evaluation;
  const std::string dump = fixture.storage.Dump();
  CHECK(dump.substr(0, dump.find('\n')) ==
        fmt::format("late {}@{}", FormatFloat(static_cast<double>(slot - kMinute) / 1000),
                    slot - kMinute));
}

TEST_CASE("rules: a bad file changes nothing, a good one keeps unchanged groups going") {
  Fixture fixture;
  const std::string file = fixture.Write("r.yml", R"(
groups:
  - name: keep
    interval: 10s
    rules: [{record: kept, expr: up}]
  - name: gone
    interval: 10s
    rules: [{record: ended, expr: up}]
)");
  fixture.AddUp(1, 5);
  REQUIRE(fixture.manager->Apply({.files = {file}}).ok());
  fixture.Step(10 * kSecond, 1, 5);

  const std::string bad = fixture.Write("bad.yml", "groups:\n- name: x\n  rules: [{record: y}]");
  const absl::Status refused = fixture.manager->Apply({.files = {file, bad}});
  CHECK(MessageOf(refused).find("bad.yml: 3:11: ") != std::string::npos);
  CHECK(fixture.manager->Groups().size() == 2);

  const TimestampMs evaluated = fixture.manager->Groups().at(1).last_evaluation;
  fixture.Write("r.yml", R"(
groups:
  - name: keep
    interval: 10s
    rules: [{record: kept, expr: up}]
)");
  REQUIRE(fixture.manager->Apply({.files = {file}}).ok());
  const auto groups = fixture.manager->Groups();
  REQUIRE(groups.size() == 1);
  CHECK(groups[0].last_evaluation == evaluated);
  // The removed group's series end two intervals later, not at once.
  CHECK(fixture.storage.Dump().find("stale") == std::string::npos);
  fixture.Step(10 * kSecond, 1, 5);
  fixture.clock.Advance(15 * kSecond);
  CHECK(Fixture::WaitUntil([&] {
    const std::string dump = fixture.storage.Dump();
    const size_t at = dump.find("ended{job=\"b\"}");
    return dump.substr(at, dump.find('\n', at) - at).find("stale@") != std::string::npos;
  }));
  fixture.manager->Stop();
}

TEST_CASE("rules: an alert goes from pending to firing to resolved") {
  Fixture fixture;
  const std::string file = fixture.Write("r.yml", R"(
groups:
  - name: g
    interval: 10s
    rules:
      - alert: Down
        expr: up == 0
        for: 15s
        labels: {severity: "{{ $labels.job }}-page"}
        annotations: {summary: "value {{ $value }}"}
)");
  fixture.AddUp(1, 1);
  REQUIRE(fixture.manager->Apply({.files = {file}}).ok());
  CHECK(fixture.manager->Groups().at(0).rules[0].state == AlertState::kUnknown);
  fixture.Step(10 * kSecond, 1, 1);
  CHECK(fixture.manager->Groups().at(0).rules[0].state == AlertState::kInactive);
  // Two intervals, so that a slot has surely seen the new sample.
  fixture.Step(10 * kSecond, 1, 0);
  fixture.Step(10 * kSecond, 1, 0);
  RuleStatus rule = fixture.manager->Groups().at(0).rules[0];
  CHECK(rule.state == AlertState::kPending);
  REQUIRE(rule.alerts.size() == 1);
  CHECK(rule.alerts[0].labels.ToString() == "{alertname=\"Down\", job=\"b\", severity=\"b-page\"}");
  CHECK(rule.alerts[0].annotations.Get("summary") == "value 0");
  const TimestampMs active_at = rule.alerts[0].active_at;
  fixture.Step(10 * kSecond, 1, 0);
  fixture.Step(10 * kSecond, 1, 0);
  rule = fixture.manager->Groups().at(0).rules[0];
  CHECK(rule.state == AlertState::kFiring);
  CHECK(rule.alerts[0].active_at == active_at);
  std::string dump = fixture.storage.Dump();
  CHECK(dump.find("ALERTS{alertname=\"Down\", alertstate=\"firing\", job=\"b\", "
                  "severity=\"b-page\"} 1@") != std::string::npos);
  CHECK(dump.find(fmt::format("ALERTS_FOR_STATE{{alertname=\"Down\", job=\"b\", "
                              "severity=\"b-page\"}} {}@",
                              active_at / 1000)) != std::string::npos);
  fixture.Step(10 * kSecond, 1, 1);
  fixture.Step(10 * kSecond, 1, 1);
  rule = fixture.manager->Groups().at(0).rules[0];
  CHECK(rule.state == AlertState::kInactive);
  CHECK(rule.alerts.empty());
  dump = fixture.storage.Dump();
  CHECK(dump.substr(0, dump.find("\n")).find("stale@") != std::string::npos);
}

TEST_CASE("rules: slots that passed are skipped and counted") {
  Fixture fixture;
  const std::string file = fixture.Write("r.yml", R"(
groups:
  - name: g
    interval: 10s
    rules: [{record: now, expr: time()}]
)");
  REQUIRE(fixture.manager->Apply({.files = {file}}).ok());
  fixture.Step(10 * kSecond, 1, 1);
  fixture.clock.Advance(5 * 10 * kSecond);
  REQUIRE(fixture.WaitEvaluated(fixture.clock.Now() - 10 * kSecond + 1));
  // The counters move just after the status.
  CHECK(Fixture::WaitUntil([&] {
    const std::string metrics = prometheus::TextSerializer().Serialize(fixture.registry.Collect());
    return metrics.find("prometheus_rule_group_iterations_missed_total{rule_group=\"" + file +
                        ";g\"} 4") != std::string::npos &&
           metrics.find("prometheus_rule_group_iterations_total{rule_group=\"" + file +
                        ";g\"} 6") != std::string::npos;
  }));
}

TEST_CASE("rules: texts of states") {
  CHECK(AlertStateText(AlertState::kFiring) == "firing");
  CHECK(RuleHealthText(RuleHealth::kError) == "err");
}

}  // namespace
}  // namespace varve
