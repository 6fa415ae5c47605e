// SPDX-License-Identifier: Apache-2.0
//
// Goal: configured targets are scraped over HTTP and reported as Prometheus reports them, whatever
// they answer, and a reload touches only what changed. Method: a scripted server, a storage that
// remembers, intervals of some hundred milliseconds, and waits that poll with a deadline.
#include "scrape/manager.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "net/client.h"
#include "scrape/finished_scrapes.h"
#include "scrape/scrape_now.h"
#include "scrape/target_loop.h"
#include "tests/net/test_server.h"
#include "tests/scrape/fake_storage.h"
#include "tests/scrape/proto_writer.h"

namespace varve {
namespace {

using testing::Eventually;
using testing::TestConnection;
using testing::TestRequest;
using testing::TestServer;

constexpr uint64_t kUnlimitedSamplesMax = 100;
constexpr std::string_view kText = "Content-Type: text/plain; version=0.0.4\r\n";

// What the server answers, changed by the test.
class Page {
 public:
  void Set(int status, std::string body, std::string headers = std::string(kText)) {
    MutexLock lock(mutex_);
    status_ = status;
    body_ = std::move(body);
    headers_ = std::move(headers);
  }
  void Answer(TestConnection& connection, const TestRequest& request) {
    MutexLock lock(mutex_);
    last_ = request;
    connection.Respond(status_, body_, headers_);
  }
  TestRequest last() const {
    MutexLock lock(mutex_);
    return last_;
  }

 private:
  mutable Mutex mutex_;
  int status_ ABSL_GUARDED_BY(mutex_) = 200;
  std::string body_ ABSL_GUARDED_BY(mutex_) = "m 1\n";
  std::string headers_ ABSL_GUARDED_BY(mutex_) = std::string(kText);
  TestRequest last_ ABSL_GUARDED_BY(mutex_);
};

struct Fixture {
  Fixture() : Fixture([](TestConnection&, const TestRequest&) {}) {}
  explicit Fixture(TestServer::Handler other, Clock& clock = RealClock(),
                   TimestampMs start_time = 0)
      : server([this, other](TestConnection& connection, const TestRequest& request) {
          if (request.Path() == "/other") return other(connection, request);
          page.Answer(connection, request);
        }) {
    HttpClient::Options client;
    client.clock = &clock;
    if (&clock != &RealClock()) client.wait_max = std::chrono::milliseconds(2);
    http = HttpClient::Open(std::move(client)).value();
    manager = ScrapeManager::Create({.clock = clock,
                                     .http_client = *http,
                                     .storage = storage,
                                     .registry = registry,
                                     .hostname = "varve.test",
                                     .external_url = "https://varve.test:444/prometheus",
                                     .listen_address = "0.0.0.0:1",
                                     .workers = 2,
                                     .discovery_reload_interval = 50,
                                     .unlimited_samples_max = kUnlimitedSamplesMax,
                                     .start_time = start_time})
                  .value();
  }
  ~Fixture() { manager.reset(); }

  ScrapeConfig Job(const std::string& name, std::vector<std::string> targets = {}) const {
    ScrapeConfig config;
    config.job_name = name;
    config.scrape_interval = 200;
    config.scrape_timeout = 200;
    config.protocols = {ScrapeProtocol::kOpenMetricsText1_0_0,
                        ScrapeProtocol::kPrometheusText0_0_4};
    if (targets.empty()) targets = {Address()};
    config.discovery.static_configs.push_back({targets, Labels::Of({{"team", "t"}})});
    return config;
  }
  std::string Address() const { return fmt::format("127.0.0.1:{}", server.port()); }
  std::string Series(std::string_view metric, std::string_view job = "a") const {
    return fmt::format(R"({}{{instance="{}", job="{}", team="t"}})", metric, Address(), job);
  }
  // Waits until the last sample of the series has `value`.
  bool Becomes(const std::string& series, double value) {
    return Eventually([&] {
      const auto last = storage.Last(series);
      return last.has_value() &&
             std::bit_cast<uint64_t>(last->value) == std::bit_cast<uint64_t>(value);
    });
  }
  bool BecomesError(const std::string& error) {
    return Eventually([&] {
      const TargetsSnapshot targets = manager->Targets();
      return !targets.active.empty() &&
             targets.active[0].last_error.find(error) != std::string::npos;
    });
  }

  Page page;
  TestServer server;
  FakeStorage storage;
  prometheus::Registry registry;
  std::unique_ptr<HttpClient> http;
  std::unique_ptr<ScrapeManager> manager;
};

TEST_CASE("manager: a target is scraped, reported and shown") {
  Fixture f;
  f.page.Set(200, "# HELP m help\n# TYPE m gauge\nm 5\n");
  REQUIRE(f.manager->ApplyConfig({f.Job("a")}, {}).ok());
  CHECK(f.Becomes(f.Series("m"), 5));
  CHECK(f.Becomes(f.Series("up"), 1));
  CHECK(f.Becomes(f.Series("scrape_samples_scraped"), 1));
  CHECK(f.Becomes(f.Series("scrape_series_added"), 0));  // From the second scrape on.
  CHECK(f.storage.Last(f.Series("scrape_duration_seconds"))->value > 0);
  CHECK(f.page.last().Header("accept") ==
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.4");
  CHECK(f.page.last().Header("x-prometheus-scrape-timeout-seconds") == "0.2");

  const TargetsSnapshot targets = f.manager->Targets();
  REQUIRE(targets.active.size() == 1);
  const ActiveTarget& target = targets.active[0];
  CHECK(target.scrape_pool == "a");
  CHECK(target.health == TargetHealth::kUp);
  CHECK(target.last_error.empty());
  CHECK(target.scrape_url == fmt::format("http://{}/metrics", f.Address()));
  CHECK(target.global_url == fmt::format("http://varve.test:{}/metrics", f.server.port()));
  CHECK(target.labels == Labels::Of({{"instance", f.Address()}, {"job", "a"}, {"team", "t"}}));
  CHECK(target.discovered_labels.Get("__metrics_path__") == "/metrics");
  CHECK(f.manager->Pools() == std::vector<std::string>{"a"});
  CHECK(f.manager->PoolConfig("a")->job_name == "a");
  CHECK(absl::IsNotFound(f.manager->PoolConfig("b").status()));
  CHECK(f.manager->Metadata("", -1, -1)["m"][0] == MetricMetadata{MetricType::kGauge, "help", ""});
  CHECK(f.manager->MetadataByTarget({Matcher::Equal("job", "a")}, "m", 10).size() == 1);
  CHECK(f.manager->MetadataByTarget({Matcher::Equal("job", "b")}, "m", 10).empty());
  CHECK(f.manager->Metadata("m", 0, -1).empty());
}

TEST_CASE("manager: metadata is stored when it is new or has changed") {
  Fixture f;
  using Texts = std::vector<std::string>;
  f.page.Set(200, "# HELP m help\n# TYPE m gauge\nm 1\n");
  REQUIRE(f.manager->ApplyConfig({f.Job("a")}, {}).ok());
  REQUIRE(f.Becomes(f.Series("m"), 1));
  CHECK(f.storage.TakeMetadata() == Texts{"m gauge help"});
  f.page.Set(200, "# HELP m help\n# TYPE m gauge\nm 2\n");
  REQUIRE(f.Becomes(f.Series("m"), 2));
  f.page.Set(200, "# HELP m other\n# TYPE m gauge\nm 3\n");
  REQUIRE(f.Becomes(f.Series("m"), 3));
  CHECK(f.storage.TakeMetadata() == Texts{"m gauge other"});

  // What a failed scrape, or one that could not be stored, said is said by the next.
  f.page.Set(200, "# TYPE n counter\nn_total 1\n7&-\n");
  REQUIRE(f.BecomesError("expected a valid start token"));
  CHECK(f.storage.TakeMetadata().empty());
  f.page.Set(200, "# TYPE n counter\nn_total 1\nm 4\n");
  REQUIRE(f.Becomes(f.Series("m"), 4));
  CHECK(f.storage.TakeMetadata() == Texts{"n counter "});
  f.storage.set_fails(true);
  f.page.Set(200, "# TYPE o gauge\nm 5\n");
  REQUIRE(f.BecomesError("the disk is full"));
  REQUIRE(Eventually([&] { return f.manager->Metadata("o", -1, -1).size() == 1; }));
  f.storage.set_fails(false);
  REQUIRE(f.Becomes(f.Series("m"), 5));
  CHECK(f.storage.TakeMetadata() == Texts{"o gauge "});
}

TEST_CASE("scrape manager: this server is shown at its external URL") {
  Fixture f;
  REQUIRE(f.manager->ApplyConfig({f.Job("self", {"localhost:1"})}, {}).ok());
  REQUIRE(Eventually([&] { return f.manager->Targets().active.size() == 1; }));
  CHECK(f.manager->Targets().active[0].global_url == "https://varve.test:444/metrics");
}

TEST_CASE("manager: scrapes happen in their slots") {
  ManualClock clock(1'600'000'000'000);
  Fixture f([](TestConnection&, const TestRequest&) {}, clock);
  REQUIRE(f.manager->ApplyConfig({f.Job("a")}, {}).ok());
  REQUIRE(Eventually([&] {
    clock.Advance(10);
    return f.manager->Targets().active.size() == 1;
  }));
  // No millisecond passes before the loop has done what was due in the last one: of two turns, the
  // second begins after the clock has moved.
  const auto turn = [&] {
    std::promise<void> turned;
    REQUIRE(f.http->loop().Post([&] { turned.set_value(); }));
    turned.get_future().wait();
  };
  std::vector<TimestampMs> times{0};
  for (int round = 0; round < 4; ++round) {
    for (int ms = 0; ms < 200; ++ms) {
      clock.Advance(1);
      turn();
      turn();
    }
    // The one slot of the last interval.
    REQUIRE(
        Eventually([&] { return f.manager->Targets().active[0].last_scrape > clock.Now() - 200; }));
    times.push_back(f.manager->Targets().active[0].last_scrape);
  }
  // The first may have been due before the walk in milliseconds began.
  CHECK(times[3] - times[2] == 200);
  CHECK(times[4] - times[3] == 200);
}

// 200 targets of an interval of 200 ms that come up at once, `since_start` after the process.
struct ManyTargets {
  explicit ManyTargets(DurationMs since_start)
      : f([](TestConnection&, const TestRequest&) {}, clock,
          since_start < 0 ? 0 : clock.Now() - since_start) {
    ScrapeConfig config = f.Job("a");
    config.discovery.static_configs.clear();
    for (int i = 0; i < 200; ++i) {
      config.discovery.static_configs.push_back(
          {{"127.0.0.1:1"}, Labels::Of({{"number", std::to_string(i)}})});
    }
    REQUIRE(f.manager->ApplyConfig({config}, {}).ok());
    REQUIRE(Eventually([&] { return f.manager->Targets().active.size() == 200; }));
  }
  int64_t scraped() const {
    const TargetsSnapshot targets = f.manager->Targets();
    return std::count_if(targets.active.begin(), targets.active.end(),
                         [](const ActiveTarget& target) { return target.last_scrape != 0; });
  }
  // Whether the first slot of all has come `after` milliseconds, and not before.
  bool AreScrapedWithin(DurationMs after) {
    clock.Advance(after - 10);
    if (scraped() == 200) return false;
    clock.Advance(10);
    return Eventually([&] { return scraped() == 200; });
  }

  ManualClock clock{1'600'000'000'000};
  Fixture f;
};

TEST_CASE("manager: of many new targets the last is not scraped an interval late") {
  ManyTargets many(-1);
  // Those whose slot was up to a twentieth of the interval ago, at once; the others in theirs.
  CHECK(Eventually([&] { return many.scraped() > 0; }));
  CHECK(many.scraped() < 40);
  CHECK(many.AreScrapedWithin(190));
}

// Goal: what the process takes to get to its targets does not delay their first scrapes: all happen
// within an interval of its start, if it took no more than a third of one.
TEST_CASE("manager: slots that passed while the process started are made up for") {
  struct Case {
    DurationMs since_start;
    DurationMs within;
  };
  for (const Case& one : {Case{60, 140}, Case{66, 134}, Case{150, 134}, Case{199, 134},
                          Case{200, 190}, Case{1000, 190}}) {
    CAPTURE(one.since_start);
    ManyTargets many(one.since_start);
    CHECK(many.AreScrapedWithin(one.within));
  }
}

TEST_CASE("manager: whatever is wrong is said, and ends the series") {
  Fixture f;
  REQUIRE(f.manager->ApplyConfig({f.Job("a")}, {}).ok());
  const auto recovers = [&] {
    f.page.Set(200, "m 1\n");
    return f.Becomes(f.Series("m"), 1) && f.Becomes(f.Series("up"), 1);
  };
  REQUIRE(recovers());
  struct BadAnswer {
    int status;
    std::string body;
    std::string headers;
    std::string error;
  };
  const std::vector<BadAnswer> answers = {
      {404, "m 2\n", std::string(kText), "server returned HTTP status 404 Reason"},
      {200, "7&-\n", std::string(kText), "expected a valid start token"},
      {200, "m 1\n", "", "non-compliant scrape target sending blank Content-Type"},
      {200, "m 1\n", "Content-Type: text/html; charset=utf-8\r\n",
       "received unsupported Content-Type \"text/html; charset=utf-8\" and no "
       "fallback_scrape_protocol specified for target"},
      {200, "m 1\n", "Content-Type: application/openmetrics-text; version=1.0.0\r\n",
       "data does not end with # EOF"},
  };
  for (const BadAnswer& bad : answers) {
    CAPTURE(bad.error);
    f.page.Set(bad.status, bad.body, bad.headers);
    CHECK(f.BecomesError(bad.error));
    CHECK(f.Becomes(f.Series("m"), StaleNan()));
    CHECK(f.Becomes(f.Series("up"), 0));
    CHECK(f.manager->Targets().active[0].health == TargetHealth::kDown);
    CHECK(recovers());
  }
  f.page.Set(200, "m 9\n# EOF\n", "Content-Type: application/openmetrics-text\r\n");
  CHECK(f.Becomes(f.Series("m"), 9));
}

TEST_CASE("manager: failures and what was dropped are remembered, and logged") {
  Fixture f;
  const std::string log = fmt::format("/tmp/varve-failures-{}", getpid());
  ScrapeConfig config = f.Job("a");
  config.scrape_failure_log_file = log;
  f.page.Set(503, "", "");
  REQUIRE(f.manager->ApplyConfig({config}, {}).ok());
  const auto history = [&] {
    const TargetsSnapshot targets = f.manager->Targets();
    return targets.active.empty() ? ScrapeHistory() : targets.active[0].history;
  };
  REQUIRE(Eventually([&] { return history().failed >= 2; }));
  const ScrapeHistory same = history();
  REQUIRE(same.failures.size() == 1);
  CHECK(same.failures[0].error.starts_with("server returned HTTP status 503"));
  CHECK(same.failures[0].count == same.failed);
  CHECK(same.failures[0].last > same.failures[0].first);
  // A success between them, and another error, begin anew.
  f.page.Set(200, "m 1\nm 1\n");
  REQUIRE(Eventually([&] { return history().dropped_duplicate >= 1; }));
  CHECK(history().samples == 2);
  CHECK(history().body_bytes == 8);
  for (size_t i = 0; i < kFailuresKept + 1; ++i) {
    f.page.Set(200, fmt::format("a{}&\n", std::string(i, 'x')));
    const std::string got = fmt::format("\"a{}&\"", std::string(i, 'x'));
    REQUIRE(Eventually([&] {
      const ScrapeHistory now = history();
      return !now.failures.empty() && now.failures[0].error.find(got) != std::string::npos;
    }));
  }
  CHECK(history().failures.size() == kFailuresKept);
  CHECK(history().failures.back().error.find("503") == std::string::npos);
  f.manager->Stop();
  std::ifstream file(log);
  std::string line;
  REQUIRE(std::getline(file, line));
  CHECK(line.starts_with(R"({"time":"20)"));
  CHECK(line.ends_with(
      fmt::format(R"("level":"ERROR","msg":"server returned HTTP status 503 Reason",)"
                  R"("job_name":"a","target":"http://{}/metrics"}})",
                  f.Address())));
  unlink(log.c_str());
}

TEST_CASE("manager: a scrape on demand shows what would be stored and stores nothing") {
  Fixture f;
  ScrapeConfig config = f.Job("a");
  config.scrape_interval = 3600 * kSecond;
  config.scrape_timeout = 5 * kSecond;
  config.limits.samples = 3;
  REQUIRE(f.manager->ApplyConfig({config}, {}).ok());
  REQUIRE(Eventually([&] { return f.manager->Targets().active.size() == 1; }));
  const std::string url = fmt::format("http://{}/metrics", f.Address());
  f.page.Set(200, "m{x=\"1\"} 1\nn 2 1234\n");
  absl::StatusOr<ScrapePreview> preview = f.manager->ScrapeNow("a", url, 10);
  REQUIRE(preview.ok());
  CHECK(preview->error == "");
  CHECK(preview->counts.scraped == 2);
  REQUIRE(preview->samples.size() == 2);
  CHECK(preview->samples[1].labels.ToString() == f.Series("n"));
  CHECK(preview->samples[1].time == 1234);
  CHECK_FALSE(preview->truncated);
  CHECK(f.storage.TakeTexts("").empty());
  preview = f.manager->ScrapeNow("a", url, 1);
  CHECK(preview->samples.size() == 1);
  CHECK(preview->truncated);
  f.page.Set(200, "m 1\nn 1\no 1\np 1\n");
  CHECK(f.manager->ScrapeNow("a", url, 10)->error == "sample limit exceeded");
  f.page.Set(404, "", "");
  CHECK(f.manager->ScrapeNow("a", url, 10)->error.starts_with("server returned HTTP status 404"));
  CHECK(absl::IsNotFound(f.manager->ScrapeNow("b", url, 10).status()));
  CHECK(absl::IsNotFound(f.manager->ScrapeNow("a", "http://other/", 10).status()));
}

TEST_CASE("manager: protobuf is asked for and read where native histograms are wanted") {
  Fixture f;
  ScrapeConfig config = f.Job("a");
  config.protocols.insert(config.protocols.begin(), ScrapeProtocol::kPrometheusProto);
  config.relabel_rules.push_back(
      RelabelRule::Create({.target_label = "__scrape_native_histograms__", .replacement = "true"})
          .value());
  std::string histogram;
  protozero::pbf_writer out(histogram);
  out.add_uint64(1, 2);
  out.add_uint64(7, 2);
  out.add_double(6, 0.5);
  f.page.Set(200,
             testing::ProtoBody({testing::ProtoFamily(
                 "h", 4, {testing::ProtoMetric({{"a", "1"}}, 7, histogram)})}),
             "Content-Type: application/vnd.google.protobuf; "
             "proto=io.prometheus.client.MetricFamily; encoding=delimited\r\n");
  REQUIRE(f.manager->ApplyConfig({config}, {}).ok());
  CHECK(f.Becomes(f.Series("up"), 1));
  CHECK(f.page.last().Header("accept").starts_with("application/vnd.google.protobuf;"));
  const std::string series =
      fmt::format(R"(h{{a="1", instance="{}", job="a", team="t"}})", f.Address());
  REQUIRE(Eventually([&] { return f.storage.Last(series).has_value(); }));
  CHECK(f.storage.Last(series)->histogram == "{count:2, sum:0, [-0.5,0.5]:2}i0");
}

TEST_CASE("manager: a target that refuses, and one that never answers") {
  Fixture f([](TestConnection& connection, const TestRequest&) { connection.WaitForClose(); });
  const testing::ClosedPort port;
  ScrapeConfig closed = f.Job("closed", {fmt::format("127.0.0.1:{}", port.port())});
  REQUIRE(f.manager->ApplyConfig({closed}, {}).ok());
  CHECK(f.BecomesError("connect: connection refused"));
  ScrapeConfig silent = f.Job("silent");
  silent.metrics_path = "/other";
  REQUIRE(f.manager->ApplyConfig({silent}, {}).ok());
  CHECK(f.BecomesError("context deadline exceeded"));
  CHECK(f.Becomes(f.Series("up", "silent"), 0));
}

// Goal: one that lasts until its timeout, which is the interval as well, does not cost the next. Of
// slots long passed none is made up for.
TEST_CASE("manager: a target that hangs is scraped in every interval") {
  ManualClock clock(1'600'000'000'000);
  std::atomic<int> arrived{0};
  Fixture f(
      [&arrived](TestConnection& connection, const TestRequest&) {
        ++arrived;
        connection.WaitForClose();
      },
      clock);
  ScrapeConfig config = f.Job("a");
  config.metrics_path = "/other";
  REQUIRE(f.manager->ApplyConfig({config}, {}).ok());
  // The time of the first scrape that ends after the one at `last`.
  const auto ended_after = [&](TimestampMs last, DurationMs step) {
    TimestampMs time = 0;
    REQUIRE(Eventually([&] {
      const TargetsSnapshot targets = f.manager->Targets();
      if (!targets.active.empty()) time = targets.active[0].last_scrape;
      if (time > last) return true;
      clock.Advance(step);
      return false;
    }));
    return time;
  };
  std::vector<TimestampMs> times;
  for (int scrape = 0; scrape < 5; ++scrape) {
    times.push_back(ended_after(times.empty() ? 0 : times.back(), 2));
  }
  for (size_t i = 1; i < times.size(); ++i) {
    CAPTURE(i);
    CHECK(times[i] - times[i - 1] >= 198);  // Less what a time is moved onto its slot.
    CHECK(times[i] - times[i - 1] < 300);
  }
  // The next is under way when more than three intervals pass.
  REQUIRE(Eventually([&] {
    if (arrived.load() > 5) return true;
    clock.Advance(2);
    return false;
  }));
  clock.Advance(650);
  const TimestampMs stalled = ended_after(times.back(), 0);
  CHECK(ended_after(stalled, 2) - stalled > 700);
}

// Goal: answers that come together are committed together, four at a time, and wait for those that
// do not come no longer than they may. Method: time stands still until all are asked.
TEST_CASE("manager: answers of one moment are few commits") {
  constexpr size_t kTargets = 6;
  ManualClock clock(1'600'000'000'000);
  struct Round {
    Mutex mutex;
    CondVar all;
    size_t arrived ABSL_GUARDED_BY(mutex) = 0;
    bool one_hangs ABSL_GUARDED_BY(mutex) = false;
  } round;
  Fixture f(
      [&round](TestConnection& connection, const TestRequest&) {
        bool hangs = false;
        {
          MutexLock lock(round.mutex);
          hangs = round.one_hangs && round.arrived == 0;
          if (++round.arrived == kTargets) round.all.NotifyAll();
          while (round.arrived < kTargets) round.all.Wait(round.mutex);
        }
        if (hangs) return connection.WaitForClose();
        connection.Respond(200, "m 1\n", kText);
      },
      clock);
  ScrapeConfig config = f.Job("a");
  config.metrics_path = "/other";
  config.scrape_interval = config.scrape_timeout = 10 * kSecond;
  config.discovery.static_configs.clear();
  for (size_t i = 0; i < kTargets; ++i) {
    config.discovery.static_configs.push_back(
        {{f.Address()}, Labels::Of({{"number", std::to_string(i)}})});
  }
  REQUIRE(f.manager->ApplyConfig({config}, {}).ok());
  REQUIRE(Eventually([&] { return f.manager->Targets().active.size() == kTargets; }));
  const auto scraped_since = [&](TimestampMs time) {
    const TargetsSnapshot targets = f.manager->Targets();
    return static_cast<size_t>(
        std::count_if(targets.active.begin(), targets.active.end(),
                      [&](const ActiveTarget& target) { return target.last_scrape >= time; }));
  };
  // Some slots may have passed just before: of these the scrapes are under way already.
  clock.Advance(9500);
  REQUIRE(Eventually([&] { return scraped_since(1) == kTargets; }));
  const std::vector<size_t> sizes = f.storage.TakeCommitSizes();
  CHECK(sizes == std::vector<size_t>{FinishedScrapes::kCommittedMax,
                                     kTargets - FinishedScrapes::kCommittedMax});
  {
    MutexLock lock(round.mutex);
    round.arrived = 0;
    round.one_hangs = true;
  }
  clock.Advance(10 * kSecond);
  const TimestampMs second = clock.Now();
  REQUIRE(Eventually([&] {
    MutexLock lock(round.mutex);
    return round.arrived == kTargets;
  }));
  REQUIRE(Eventually([&] {
    clock.Advance(1);
    return scraped_since(second - 2) == kTargets - 1;
  }));
  const TimestampMs waited = clock.Now() - second;
  CHECK(waited >= FinishedScrapes::kWaitMax.count());
  CHECK(waited < 5 * kSecond);
}

TEST_CASE("manager: limits of body and targets") {
  Fixture f;
  f.page.Set(200, "m 1\n");
  ScrapeConfig config = f.Job("a");
  config.limits.body_size_bytes = 5;
  config.extra_scrape_metrics = true;
  REQUIRE(f.manager->ApplyConfig({config}, {}).ok());
  CHECK(f.Becomes(f.Series("scrape_body_size_bytes"), 4));
  f.page.Set(200, "m 12\n");
  CHECK(f.BecomesError("body size limit exceeded"));
  CHECK(f.Becomes(f.Series("scrape_body_size_bytes"), -1));
  config = f.Job("a", {f.Address(), f.Address() + "0"});
  config.limits.targets = 1;
  REQUIRE(f.manager->ApplyConfig({config}, {}).ok());
  CHECK(f.BecomesError("target_limit exceeded (number of targets: 2, limit: 1)"));
  CHECK(f.Becomes(f.Series("up"), 0));
}

// What is logged while it lives.
class CapturedLog : public spdlog::sinks::base_sink<std::mutex> {
 public:
  static std::shared_ptr<CapturedLog> Install() {
    auto sink = std::make_shared<CapturedLog>();
    sink->before_ = spdlog::default_logger();
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("captured", sink));
    return sink;
  }
  void Uninstall() { spdlog::set_default_logger(std::move(before_)); }
  std::vector<std::string> Lines(std::string_view containing) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<std::string> found;
    for (const std::string& line : lines_) {
      if (line.find(containing) != std::string::npos) found.push_back(line);
    }
    return found;
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    lines_.emplace_back(message.payload.data(), message.payload.size());
  }
  void flush_() override {}

  std::shared_ptr<spdlog::logger> before_;
  std::vector<std::string> lines_;
};

// Goal: a job without sample_limit is told once that its targets are large, one with it never.
TEST_CASE("manager: a limit is offered to jobs with very large targets") {
  Fixture f;
  const auto page = [](uint64_t samples) {
    std::string body;
    for (uint64_t i = 0; i < samples; ++i) body += fmt::format("m{{i=\"{}\"}} 1\n", i);
    return body;
  };
  const std::shared_ptr<CapturedLog> log = CapturedLog::Install();
  const auto samples = [&](size_t target) {
    return f.manager->Targets().active[target].history.samples_after_relabelling;
  };
  const auto offers = [&] { return log->Lines("has no sample_limit"); };
  ScrapeConfig a = f.Job("a");
  ScrapeConfig b = a;
  b.job_name = "b";
  b.limits.samples = kUnlimitedSamplesMax + 1;
  f.page.Set(200, page(kUnlimitedSamplesMax));
  REQUIRE(f.manager->ApplyConfig({a, b}, {}).ok());
  REQUIRE(Eventually([&] { return f.manager->Targets().active.size() == 2; }));
  for (size_t target : {0, 1}) {
    CHECK(Eventually([&] { return samples(target) == kUnlimitedSamplesMax; }));
  }
  CHECK(offers().empty());
  f.page.Set(200, page(kUnlimitedSamplesMax + 1));
  for (size_t target : {0, 1}) {
    CHECK(Eventually([&] { return samples(target) == kUnlimitedSamplesMax + 1; }));
  }
  const uint64_t scrapes = f.manager->Targets().active[0].history.scrapes;
  CHECK(Eventually([&] { return f.manager->Targets().active[0].history.scrapes > scrapes; }));
  f.manager->Stop();
  log->Uninstall();
  REQUIRE(offers().size() == 1);
  const std::string offer = offers()[0];
  CHECK(offer.find("samples=101") != std::string::npos);
  CHECK(offer.find("sample_limit: 202") != std::string::npos);
}

TEST_CASE("manager: relabelling makes targets, drops them, and hides labels") {
  Fixture f;
  ScrapeConfig config = f.Job("a", {f.Address(), "drop.me:1", "bad/address"});
  config.params = {{"module", {"x y"}}};
  config.relabel_rules.push_back(*RelabelRule::Create(
      {.source_labels = {"__address__"}, .regex = "drop.*", .action = RelabelAction::kDrop}));
  config.relabel_rules.push_back(
      *RelabelRule::Create({.source_labels = {"__param_module"}, .target_label = "module"}));
  config.relabel_rules.push_back(
      *RelabelRule::Create({.target_label = "__metrics_path__", .replacement = "/a?b"}));
  REQUIRE(f.manager->ApplyConfig({config}, {}).ok());
  REQUIRE(Eventually([&] { return !f.manager->Targets().active.empty(); }));
  const TargetsSnapshot targets = f.manager->Targets("a");
  REQUIRE(targets.active.size() == 1);
  CHECK(targets.active[0].scrape_url == fmt::format("http://{}/a%3Fb?module=x+y", f.Address()));
  CHECK(targets.active[0].labels.Get("module") == "x y");
  REQUIRE(targets.dropped.size() == 1);
  CHECK(targets.dropped[0].discovered_labels.Get("__address__") == "drop.me:1");
  CHECK(targets.dropped_counts.at("a") == 1);
}

TEST_CASE("manager: a reload touches only what changed") {
  Fixture f;
  ScrapeConfig b = f.Job("b");
  REQUIRE(f.manager->ApplyConfig({f.Job("a"), b}, {}).ok());
  REQUIRE(f.Becomes(f.Series("up", "a"), 1));
  REQUIRE(f.Becomes(f.Series("up", "b"), 1));

  // Another relabelling: the same target goes on, its series get new names and the old ones end.
  b.metric_relabel_rules.push_back(
      *RelabelRule::Create({.target_label = "__name__", .replacement = "renamed"}));
  REQUIRE(f.manager->ApplyConfig({f.Job("a"), b}, {}).ok());
  CHECK(f.Becomes(f.Series("renamed", "b"), 1));
  CHECK(f.Becomes(f.Series("m", "b"), StaleNan()));
  CHECK(f.storage.Last(f.Series("m", "a"))->value == 1);

  // A job that is gone ends its series, reports included, after about two intervals.
  REQUIRE(f.manager->ApplyConfig({f.Job("a")}, {}).ok());
  CHECK(f.Becomes(f.Series("renamed", "b"), StaleNan()));
  CHECK(f.Becomes(f.Series("up", "b"), StaleNan()));
  CHECK(f.manager->Pools() == std::vector<std::string>{"a"});
  CHECK(f.storage.Last(f.Series("up", "a"))->value == 1);

  // Stopping ends nothing.
  f.manager->Stop();
  const auto last = f.storage.Last(f.Series("m", "a"));
  CHECK(last->value == 1);
  CHECK_FALSE(f.manager->ApplyConfig({}, {}).ok());
}

TEST_CASE("manager: targets from files come, change and go") {
  Fixture f;
  testing::TempDir directory;
  ScrapeConfig config = f.Job("a");
  config.discovery.static_configs.clear();
  config.discovery.file_sd_configs.push_back(
      {.files = {directory.path() + "/*.json"}, .refresh_interval = 50});
  REQUIRE(f.manager->ApplyConfig({config}, {}).ok());
  const std::string path = directory.Write(
      "t.json", fmt::format(R"([{{"targets": ["{}"], "labels": {{"team": "t"}}}}])", f.Address()));
  CHECK(f.Becomes(f.Series("up"), 1));
  CHECK(f.manager->Targets().active[0].discovered_labels.Get("__meta_filepath") == path);
  directory.Write("t.json", "[{\"targets\": ");  // Broken: the last targets stay.
  directory.Write("u.json", R"([{"targets": ["other:1"]}])");
  CHECK(Eventually([&] { return f.manager->Targets().active.size() == 2; }));
  directory.Write("t.json", "[]");
  CHECK(Eventually([&] { return f.manager->Targets().active.size() == 1; }));
  CHECK(f.Becomes(f.Series("up"), StaleNan()));
}

TEST_CASE("manager: targets from an HTTP server come, stay while it fails, and go") {
  Page list;
  list.Set(503, "not ready");
  Fixture f([&list](TestConnection& connection, const TestRequest& request) {
    list.Answer(connection, request);
  });
  constexpr std::string_view kJson = "Content-Type: application/json; charset=utf-8\r\n";
  const std::string url = fmt::format("http://{}/other", f.Address());
  ScrapeConfig config = f.Job("a");
  config.discovery.static_configs.clear();
  config.discovery.http_sd_configs.push_back({.url = url, .refresh_interval = 50});
  REQUIRE(f.manager->ApplyConfig({config}, {}).ok());
  const auto failures = [&] {
    for (const prometheus::MetricFamily& family : f.registry.Collect()) {
      if (family.name == "prometheus_sd_http_failures_total") return family.metric[0].counter.value;
    }
    return -1.0;
  };
  CHECK(Eventually([&] { return failures() >= 1; }));

  list.Set(
      200,
      fmt::format(R"([{{"targets": ["{}"], "labels": {{"team": "t"}}}}, {{"targets": ["o:1"]}}])",
                  f.Address()),
      std::string(kJson));
  CHECK(f.Becomes(f.Series("up"), 1));
  REQUIRE(Eventually([&] { return f.manager->Targets().active.size() == 2; }));
  CHECK(f.manager->Targets().active[0].discovered_labels.Get("__meta_url") == url);
  CHECK(list.last().Header("accept") == "application/json");
  CHECK(list.last().Header("x-prometheus-refresh-interval-seconds") == "0.05");

  const std::vector<std::pair<std::string, std::string_view>> bad = {{"[]", kText},
                                                                     {R"([{"targets": )", kJson}};
  for (const auto& one : bad) {
    list.Set(200, one.first, std::string(one.second));
    const double before = failures();
    CHECK(Eventually([&] { return failures() >= before + 2; }));
    CHECK(f.manager->Targets().active.size() == 2);
  }
  list.Set(200, "[]", std::string(kJson));
  CHECK(Eventually([&] { return f.manager->Targets().active.empty(); }));
  CHECK(f.Becomes(f.Series("up"), StaleNan()));
}

}  // namespace
}  // namespace varve
