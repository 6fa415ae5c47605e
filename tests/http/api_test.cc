// SPDX-License-Identifier: Apache-2.0
//
// Goal: answers and errors of the API byte for byte as Prometheus gives them.
// Method: the real server and engine over a storage in memory, targets and rules made up.
#include "http/api.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>

#include <memory>
#include <string>

#include "http/message.h"
#include "http/server.h"
#include "model/percent_encoding.h"
#include "remote/write.h"
#include "rules/manager.h"
#include "scrape/manager.h"
#include "scrape/scrape_now.h"
#include "tests/http/fake_storage.h"
#include "tests/http/test_client.h"
#include "tests/remote/write_request.h"

namespace varve {
namespace {

class FakeScrape : public ScrapeManager {
 public:
  absl::Status ApplyConfig(std::vector<ScrapeConfig>, Labels) override { return absl::OkStatus(); }
  void Stop() override {}
  std::vector<std::string> Pools() const override { return {"node", "pods"}; }
  TargetsSnapshot Targets(std::string_view) const override {
    TargetsSnapshot snapshot;
    snapshot.active.push_back({.discovered_labels = Labels::Of({{"__address__", "a:1"}}),
                               .labels = Labels::Of({{"instance", "a:1"}, {"job", "node"}}),
                               .scrape_pool = "node",
                               .scrape_url = "http://a:1/metrics?x=<y>",
                               .global_url = "http://a:1/metrics",
                               .last_error = "connection refused",
                               .last_scrape = 1500,
                               .last_scrape_duration_seconds = 0.25,
                               .health = TargetHealth::kDown,
                               .interval = 15 * kSecond,
                               .timeout = 10 * kSecond,
                               .history = {.scrapes = 3,
                                           .failed = 2,
                                           .failures = {{1000, 1500, 2, "connection refused"}},
                                           .dropped_out_of_order = 4,
                                           .body_bytes = -1,
                                           .limits = {.samples = 7}}});
    snapshot.dropped.push_back(
        {.discovered_labels = Labels::Of({{"__address__", "b:1"}}), .scrape_pool = "node"});
    snapshot.dropped_counts["node"] = 3;
    snapshot.active.insert(snapshot.active.end(), others.begin(), others.end());
    return snapshot;
  }
  std::vector<DiscoveryStatus> DiscoveryStatuses() const override {
    return {{.config = "node",
             .mechanism = "dns",
             .source = "a.test",
             .stale = true,
             .last_error = "no answer",
             .last_success = 1500,
             .failing_since = 2500}};
  }
  absl::StatusOr<ScrapePreview> ScrapeNow(std::string_view pool, std::string_view url,
                                          size_t samples_max) override {
    if (pool != "node") return absl::NotFoundError("scrape pool not found");
    ScrapePreview preview;
    preview.error = std::string(url);
    preview.truncated = samples_max == 1;
    preview.samples.push_back({Labels::Of({{"__name__", "up"}}), 1500, 1, std::nullopt});
    return preview;
  }
  absl::StatusOr<ScrapeConfig> PoolConfig(std::string_view pool) const override {
    if (pool != "node") return absl::NotFoundError("scrape pool not found");
    ScrapeConfig config;
    config.relabel_rules = {
        *RelabelRule::Create({.source_labels = {"__address__"}, .target_label = "instance"}),
        *RelabelRule::Create(
            {.source_labels = {"env", "job"}, .regex = "dev;.*", .action = RelabelAction::kDrop}),
        *RelabelRule::Create({.source_labels = {"instance"},
                              .modulus = 8,
                              .target_label = "shard",
                              .action = RelabelAction::kHashMod})};
    return config;
  }
  std::vector<TargetMetadata> MetadataByTarget(const std::vector<Matcher>&, std::string_view metric,
                                               int64_t limit) const override {
    if (limit == 0) return {};
    return {{.target = Labels::Of({{"job", "node"}}),
             .metric = metric.empty() ? "up" : std::string(metric),
             .metadata = {.type = MetricType::kGauge, .help = "Is it <up>?", .unit = ""}}};
  }
  std::map<std::string, std::vector<MetricMetadata>> Metadata(std::string_view, int64_t limit,
                                                              int64_t) const override {
    if (limit == 0) return {};
    return {{"up", {{.type = MetricType::kGauge, .help = "Is it <up>?", .unit = ""}}}};
  }

  std::vector<ActiveTarget> others;
};

class FakeRules : public RuleManager {
 public:
  absl::Status Apply(const RuleSettings&) override { return absl::OkStatus(); }
  void Stop() override {}
  std::vector<RuleGroupStatus> Groups() const override {
    RuleGroupStatus group{.name = "g",
                          .file = "r.yml",
                          .interval = 30 * kSecond,
                          .limit = 0,
                          .evaluation_seconds = 0.5,
                          .last_evaluation = 2000};
    RuleStatus recording{.name = "job:up", .query = "sum(up)"};
    recording.health = RuleHealth::kOk;
    recording.evaluation_seconds = 0.25;
    recording.last_evaluation = 2000;
    RuleStatus alert{.is_alert = true, .name = "Down", .query = "up < 1"};
    alert.health = RuleHealth::kError;
    alert.last_error = "it broke";
    alert.for_ms = 90 * kSecond;
    alert.state = AlertState::kFiring;
    alert.annotations = Labels::Of({{"summary", "down"}});
    alert.alerts.push_back({.labels = Labels::Of({{"alertname", "Down"}}),
                            .annotations = Labels::Of({{"summary", "down"}}),
                            .state = AlertState::kFiring,
                            .active_at = 1000,
                            .value = 0});
    group.rules = {recording, alert};
    RuleGroupStatus other{.name = "h", .file = "r.yml", .interval = kMinute};
    return {group, other};
  }
};

class ApiFixture {
 public:
  explicit ApiFixture(bool lifecycle = true) {
    ApiOptions options;
    options.build = {.version = "3.14.0", .revision = "abc"};
    options.flags = {{"config.file", "prometheus.yml"}, {"web.page-title", "a <b>"}};
    options.enable_lifecycle = lifecycle;
    options.enable_remote_write_receiver = lifecycle;
    options.enable_admin_api = lifecycle;
    options.collectables = {&registry};
    options.reload = [this] { return reload_status; };
    options.quit = [this] { ++quits; };
    options.clock = &clock;
    api = std::make_unique<Api>(std::move(options));
    api->AddRoutes(router);
    auto opened = HttpServer::Open({.addresses = {"127.0.0.1:0"}, .registry = &registry}, router);
    REQUIRE_MESSAGE(opened.ok(), opened.status().ToString());
    server = std::move(*opened);
    api->Attach(
        {.storage = &storage,
         .metadata = &storage,
         .admin = &storage,
         .engine = &engine,
         .scrape = &scrape,
         .rules = &rules,
         .write = write.get(),
         .config_yaml = [] { return std::string("global: {}\n"); },
         .scrape_pool_yaml =
             [](std::string_view pool) {
               return pool == "node" ? std::string("job_name: node\n") : std::string();
             },
         .runtime_info = [] { return RuntimeInfo{.start_time = 1000, .storage_retention = "15d"}; },
         .external_labels =
             [] {
               return Labels::Of({{"cluster", "east"}});
             }});
    server->SetReady();
    storage.Add({{"__name__", "up"}, {"instance", "a"}, {"job", "node"}}, 10'000, 1);
    storage.Add({{"__name__", "up"}, {"instance", "b"}, {"job", "node"}}, 10'000, 0.5);
    storage.Add({{"__name__", "build"}, {"version", "<1>"}}, 10'000, 1);
  }

  const std::string& address() const { return server->addresses()[0]; }
  TestResponse Get(std::string_view target) { return TestGet(address(), target); }
  TestResponse Post(std::string_view target, std::string_view form) {
    return TestPostForm(address(), target, form);
  }

  ManualClock clock{20'000};
  prometheus::Registry registry;
  FakeStorage storage;
  promql::Engine engine{{}, clock};
  FakeScrape scrape;
  FakeRules rules;
  std::unique_ptr<WriteReceiver> write = WriteReceiver::Create(storage, clock, nullptr);
  absl::Status reload_status;
  std::atomic<int> quits{0};
  Router router;
  std::unique_ptr<Api> api;
  std::unique_ptr<HttpServer> server;
};

TEST_CASE("api: query gives every type of result") {
  ApiFixture fixture;
  CHECK(fixture.Get("/api/v1/query?query=up&time=12.5").body ==
        R"({"status":"success","data":{"resultType":"vector","result":[)"
        R"({"metric":{"__name__":"up","instance":"a","job":"node"},"value":[12.500,"1"]},)"
        R"({"metric":{"__name__":"up","instance":"b","job":"node"},"value":[12.500,"0.5"]}]}})");
  CHECK(fixture.Post("/api/v1/query", "query=1%2B1&time=4").body ==
        R"({"status":"success","data":{"resultType":"scalar","result":[4,"2"]}})");
  CHECK(fixture.Get("/api/v1/query?query=%22a%3Cb%22&time=4").body ==
        R"({"status":"success","data":{"resultType":"string","result":[4,"a\u003cb"]}})");
  CHECK(fixture.Get("/api/v1/query?query=build%5B1m%5D&time=12").body ==
        R"({"status":"success","data":{"resultType":"matrix","result":[)"
        R"({"metric":{"__name__":"build","version":"<1>"},"values":[[10,"1"]]}]}})");
  CHECK(fixture.Get("/api/v1/query?query=missing").body ==
        R"({"status":"success","data":{"resultType":"vector","result":[]}})");
  TestResponse response = fixture.Get("/api/v1/query?query=up");
  CHECK(response.headers["content-type"] == "application/json");
}

TEST_CASE("api: query_range") {
  ApiFixture fixture;
  CHECK(fixture.Get("/api/v1/query_range?query=build&start=10&end=20&step=5").body ==
        R"({"status":"success","data":{"resultType":"matrix","result":[)"
        R"({"metric":{"__name__":"build","version":"<1>"},)"
        R"("values":[[10,"1"],[15,"1"],[20,"1"]]}]}})");
  CHECK(fixture.Get("/api/v1/query_range?query=1&start=0&end=11000&step=1").status == 200);
  CHECK(
      fixture.Get("/api/v1/query_range?query=1&start=0&end=11001&step=1").body ==
      R"({"status":"error","errorType":"bad_data","error":"exceeded maximum resolution of 11,000 )"
      R"J(points per timeseries. Try decreasing the query resolution (?step=XX)"})J");
}

TEST_CASE("api: errors of parameters") {
  ApiFixture fixture;
  struct Case {
    const char* target;
    const char* error;
  };
  const Case cases[] = {
      {"/api/v1/query?query=up&time=x",
       R"(invalid parameter \"time\": Invalid time value for 'time': cannot parse \"x\" to a valid timestamp)"},
      {"/api/v1/query?query=up&timeout=x",
       R"(invalid parameter \"timeout\": cannot parse \"x\" to a valid duration)"},
      {"/api/v1/query?query=up&lookback_delta=x",
       R"(error parsing lookback delta duration: cannot parse \"x\" to a valid duration)"},
      {"/api/v1/query?query=up&limit=-1",
       R"(invalid parameter \"limit\": limit must be non-negative)"},
      {"/api/v1/query?query=up&limit=x",
       R"(invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax)"},
      {"/api/v1/query_range?query=up&end=1&step=1",
       R"(invalid parameter \"start\": cannot parse \"\" to a valid timestamp)"},
      {"/api/v1/query_range?query=up&start=2&end=1&step=1",
       R"(invalid parameter \"end\": end timestamp must not be before start time)"},
      {"/api/v1/query_range?query=up&start=1&end=2&step=0",
       R"(invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer)"},
      {"/api/v1/series", R"(no match[] parameter provided)"},
      {"/api/v1/series?match[]={x=~\".*\"}",
       R"(invalid parameter \"match[]\": match[] must contain at least one non-empty matcher)"},
      {"/api/v1/metadata?limit=x", R"(limit must be a number)"},
      {"/api/v1/rules?type=x", R"(invalid parameter \"type\": not supported value \"x\")"},
      {"/api/v1/query_exemplars?query=up&start=2&end=1",
       R"(end timestamp must not be before start timestamp)"},
  };
  for (const Case& item : cases) {
    CAPTURE(item.target);
    const TestResponse response = fixture.Get(item.target);
    CHECK(response.status == 400);
    CHECK(response.body ==
          fmt::format(R"({{"status":"error","errorType":"bad_data","error":"{}"}})", item.error));
  }
}

TEST_CASE("api: a query that does not parse is an invalid parameter") {
  ApiFixture fixture;
  const TestResponse response = fixture.Get("/api/v1/query?query=sum(");
  CHECK(response.status == 400);
  CHECK(response.body ==
        R"({"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": )"
        R"(1:5: parse error: unclosed left parenthesis"})");
}

TEST_CASE("api: statistics when asked for") {
  ApiFixture fixture;
  const std::string with = fixture.Get("/api/v1/query?query=up&stats=true").body;
  CHECK(with.find("warnings") == std::string::npos);
  CHECK(with.find(R"("stats":{"timings":{"evalTotalTime":)") != std::string::npos);
  CHECK(with.find(R"("samples":{"totalQueryableSamples":2)") != std::string::npos);
  CHECK(fixture.Get("/api/v1/query?query=up").body.find("stats") == std::string::npos);
}

TEST_CASE("api: other values for statistics are deprecated") {
  ApiFixture fixture;
  const std::string body = fixture.Get("/api/v1/query?query=up&stats=1").body;
  CHECK(body.find("\"stats\":{") != std::string::npos);
  CHECK(body.find(R"("warnings":["value \"1\" for parameter \"stats\" is deprecated and will be )"
                  R"(rejected in the next major release, use \"true\" or \"all\""])") !=
        std::string::npos);
  CHECK(fixture.Get("/api/v1/query?query=up&stats=all").body.find("warnings") == std::string::npos);
}

TEST_CASE("api: a query without time is out of it") {
  ApiFixture fixture;
  for (const char* timeout : {"0", "-1"}) {
    const TestResponse response =
        fixture.Get(fmt::format("/api/v1/query?query=up&timeout={}", timeout));
    CHECK(response.status == 503);
    CHECK(response.body ==
          R"({"status":"error","errorType":"timeout","error":"query timed out in query queue"})");
  }
}

TEST_CASE("api: a query of 100 kB by POST") {
  ApiFixture fixture;
  // As Grafana writes a variable with everything selected.
  std::string query = "up{instance=~\"a";
  for (int i = 0; query.size() < 100'000; ++i) query += fmt::format("|instance-{}", i);
  query += "\"}";
  const TestResponse response =
      fixture.Post("/api/v1/query", "time=12&query=" + PercentEncoded(query));
  CHECK(response.body ==
        R"({"status":"success","data":{"resultType":"vector","result":[)"
        R"({"metric":{"__name__":"up","instance":"a","job":"node"},"value":[12,"1"]}]}})");
}

TEST_CASE("api: series, labels and label values") {
  ApiFixture fixture;
  CHECK(fixture.Get("/api/v1/labels").body ==
        R"({"status":"success","data":["__name__","instance","job","version"]})");
  CHECK(fixture.Post("/api/v1/labels", "match[]=up").body ==
        R"({"status":"success","data":["__name__","instance","job"]})");
  CHECK(fixture.Get("/api/v1/label/__name__/values").body ==
        R"({"status":"success","data":["build","up"]})");
  CHECK(fixture.Get("/api/v1/label/version/values").body ==
        R"({"status":"success","data":["\u003c1\u003e"]})");
  CHECK(fixture.Get("/api/v1/label/U__ver_73_ion/values").body ==
        R"({"status":"success","data":["\u003c1\u003e"]})");
  CHECK(fixture.Get("/api/v1/label/nope/values").body == R"({"status":"success","data":[]})");
  CHECK(fixture.Get("/api/v1/label/instance/values?limit=1").body ==
        R"({"status":"success","data":["a"],"warnings":["results truncated due to limit"]})");
  CHECK(fixture.Get("/api/v1/label/a%FFb/values").status == 400);
  CHECK(fixture.Get("/api/v1/series?match[]=build&match[]={version!=\"\"}").body ==
        R"({"status":"success","data":[{"__name__":"build","version":"<1>"}]})");
  CHECK(fixture.Get("/api/v1/series?match[]=up&limit=1").body ==
        R"({"status":"success","data":[{"__name__":"up","instance":"a","job":"node"}],)"
        R"("warnings":["results truncated due to limit"]})");
  CHECK(fixture.Get("/api/v1/series?match[]=up&start=11&end=12").body ==
        R"({"status":"success","data":[]})");
  // What the storage could not read is said.
  fixture.storage.AddWarning("storage: damaged");
  for (const char* path : {"labels", "label/version/values", "series?match[]=build"}) {
    const std::string body = fixture.Get(std::string("/api/v1/") + path).body;
    CHECK_MESSAGE(body.ends_with(R"(,"warnings":["storage: damaged"]})"), body);
  }
}

TEST_CASE("api: discoveries and how they are doing") {
  ApiFixture fixture;
  CHECK(fixture.Get("/api/v1/discoveries").body ==
        R"({"status":"success","data":{"discoveries":[{"scrapePool":"node","mechanism":"dns",)"
        R"("source":"a.test","stale":true,"lastError":"no answer",)"
        R"("lastSuccess":"1970-01-01T00:00:01.5Z","failingSince":"1970-01-01T00:00:02.5Z"}]}})");
}

// Goal: a page of many targets is cut by the server, which also says what is on the others.
TEST_CASE("api: a page of targets") {
  ApiFixture fixture;
  const auto add = [&](const std::string& pool, const std::string& instance, TargetHealth health) {
    fixture.scrape.others.push_back({.labels = Labels::Of({{"instance", instance}, {"job", pool}}),
                                     .scrape_pool = pool,
                                     .scrape_url = "http://" + instance + "/m",
                                     .health = health});
  };
  add("node", "n:1", TargetHealth::kUp);
  add("node", "n:2", TargetHealth::kUnknown);
  add("pods", "p:1", TargetHealth::kUp);
  add("pods", "p:2", TargetHealth::kDown);
  struct Page {
    std::vector<std::string> instances;
    std::string total;
    std::string counts;
  };
  const auto page = [&](const std::string& query) {
    const std::string body = fixture.Get("/api/v1/targets?state=active&" + query).body;
    Page found;
    const std::string_view mark = R"("labels":{"instance":")";
    for (size_t at = body.find(mark); at != std::string::npos; at = body.find(mark, at)) {
      at += mark.size();
      found.instances.push_back(body.substr(at, body.find('"', at) - at));
    }
    const auto between = [&](std::string_view begin, std::string_view end) {
      const size_t from = body.find(begin) + begin.size();
      return body.substr(from, body.find(end, from) - from);
    };
    found.total = between(R"("activeTargetsTotal":)", ",");
    found.counts = between(R"("healthCounts":)", R"(,"poolCounts")");
    // What each pool has does not depend on what is asked.
    CHECK(between(R"("poolCounts":)", R"(,"droppedTargets")") ==
          R"({"node":{"up":1,"down":1,"unknown":1},"pods":{"up":1,"down":1,"unknown":0}})");
    return found;
  };
  using Instances = std::vector<std::string>;
  const std::string all = R"({"up":2,"down":2,"unknown":1})";

  const Page first = page("limit=3");
  CHECK(first.instances == Instances{"a:1", "p:2", "n:2"});  // What fails comes first.
  CHECK(first.total == "5");
  CHECK(first.counts == all);
  CHECK(page("limit=3&offset=3").instances == Instances{"n:1", "p:1"});
  CHECK(page("offset=5").instances.empty());
  CHECK(page("offset=5").total == "5");

  const Page up = page("health=up");
  CHECK(up.instances == Instances{"n:1", "p:1"});
  CHECK(up.total == "2");
  CHECK(up.counts == all);
  const Page pods = page("health=up&search=PODS");
  CHECK(pods.instances == Instances{"p:1"});
  CHECK(pods.counts == R"({"up":1,"down":1,"unknown":0})");
  // Every word has to be there, in any order and wherever.
  CHECK(page("search=refused%20node").instances == Instances{"a:1"});
  CHECK(page("search=%20/m%20%20instance=%22n:").instances == Instances{"n:2", "n:1"});
  CHECK(page("search=node%20pods").instances.empty());
  CHECK(page("search=node%20pods").counts == R"({"up":0,"down":0,"unknown":0})");
}

// Goal: each rule of a pool shows what it makes of labels; after one that drops them there are
// none.
TEST_CASE("api: relabelling step by step") {
  ApiFixture fixture;
  const auto steps = [&](const std::string& labels) {
    return fixture
        .Get("/api/v1/targets/relabel_steps?scrapePool=node&labels=" + PercentEncoded(labels))
        .body;
  };
  const std::string first =
      R"x({"status":"success","data":{"steps":[{"rule":{"sourceLabels":["__address__"],)x"
      R"x("separator":";","regex":"(.*)","targetLabel":"instance","replacement":"$1",)x"
      R"x("action":"replace"},"output":)x";
  const std::string second =
      R"x({"rule":{"sourceLabels":["env","job"],"separator":";","regex":"dev;.*",)x"
      R"x("replacement":"$1","action":"drop"},"output":)x";
  const std::string third =
      R"x({"rule":{"sourceLabels":["instance"],"separator":";","regex":"(.*)","modulus":8,)x"
      R"x("targetLabel":"shard","replacement":"$1","action":"hashmod"},"output":)x";
  const std::string kept = R"({"__address__":"a:1","env":"prod","instance":"a:1"})";
  CHECK(steps(R"({"__address__":"a:1","env":"prod"})") ==
        first + kept + R"(,"keep":true},)" + second + kept + R"(,"keep":true},)" + third +
            R"({"__address__":"a:1","env":"prod","instance":"a:1","shard":"0"},"keep":true}]}})");
  CHECK(steps(R"({"__address__":"a:1","env":"dev"})") ==
        first + R"({"__address__":"a:1","env":"dev","instance":"a:1"},"keep":true},)" + second +
            R"({},"keep":false},)" + third + R"({},"keep":false}]}})");

  const std::string long_labels =
      fmt::format(R"({{"__address__":"a:1","long":"{}"}})", std::string(20'000, 'x'));
  CHECK(fixture
            .Post("/api/v1/targets/relabel_steps",
                  "scrapePool=node&labels=" + PercentEncoded(long_labels))
            .status == 200);

  const auto error = [&](const std::string& query) {
    const TestResponse answer = fixture.Get("/api/v1/targets/relabel_steps?" + query);
    CHECK(answer.status == 400);
    return answer.body;
  };
  CHECK(error("labels={}").find("no scrapePool parameter provided") != std::string::npos);
  CHECK(error("scrapePool=node").find("no labels parameter provided") != std::string::npos);
  CHECK(error("scrapePool=other&labels={}")
            .find("error retrieving scrape config: scrape pool not found") != std::string::npos);
  for (const char* labels : {"{", "[]", "{%22a%22:1}"}) {
    CHECK(error(std::string("scrapePool=node&labels=") + labels).find("error parsing labels: ") !=
          std::string::npos);
  }
}

TEST_CASE("api: targets and metadata") {
  ApiFixture fixture;
  const std::string active =
      R"({"discoveredLabels":{"__address__":"a:1"},"labels":{"instance":"a:1","job":"node"},)"
      R"("scrapePool":"node","scrapeUrl":"http://a:1/metrics?x=\u003cy\u003e",)"
      R"("globalUrl":"http://a:1/metrics","lastError":"connection refused",)"
      R"("lastScrape":"1970-01-01T00:00:01.5Z","lastScrapeDuration":0.25,"health":"down",)"
      R"("scrapeInterval":"15s","scrapeTimeout":"10s"})";
  const std::string dropped = R"({"discoveredLabels":{"__address__":"b:1"},"scrapePool":"node"})";
  const auto page = [&](const std::string& query) {
    return fixture.Get("/api/v1/targets?state=active&" + query).body;
  };
  const std::string found = R"({"status":"success","data":{"activeTargets":[)" + active +
                            R"(],"activeTargetsTotal":1,)"
                            R"("healthCounts":{"up":0,"down":1,"unknown":0},)"
                            R"("poolCounts":{"node":{"up":0,"down":1,"unknown":0}},)"
                            R"("droppedTargets":[],"droppedTargetCounts":{"node":3}}})";
  CHECK(page("search=NODE") == found);
  CHECK(page("search=refused&health=down&limit=1") == found);
  CHECK(page("offset=1").find(R"("activeTargets":[],"activeTargetsTotal":1)") != std::string::npos);
  CHECK(page("limit=0").find(R"("activeTargets":[],"activeTargetsTotal":1)") != std::string::npos);
  CHECK(fixture.Get("/api/v1/targets?limit=-1").status == 400);
  CHECK(fixture.Get("/api/v1/targets?offset=x").status == 400);
  CHECK(fixture.Get("/api/v1/targets?health=ill").status == 400);
  CHECK(
      page("details=true")
          .find(
              R"("history":{"scrapes":3,"failedScrapes":2,"failures":[{"first":"1970-01-01T00:00:01Z",)"
              R"("last":"1970-01-01T00:00:01.5Z","count":2,"error":"connection refused"}],)"
              R"("droppedSamples":{"relabelling":0,"outOfOrder":4,"duplicateTimestamp":0,)"
              R"("outOfBounds":0,"failedScrapes":0},"lastScrape":{"bodyBytes":-1,"samples":0,)"
              R"("samplesAfterRelabelling":0,"seriesAdded":0},"limits":{"bodySize":null,"samples":7,)"
              R"("labels":null,"labelNameLength":null,"labelValueLength":null}}})") !=
      std::string::npos);
  CHECK(fixture.Get("/api/v1/targets").body == R"({"status":"success","data":{"activeTargets":[)" +
                                                   active + R"(],"droppedTargets":[)" + dropped +
                                                   R"(],"droppedTargetCounts":{"node":3}}})");
  CHECK(fixture.Get("/api/v1/targets?state=Active").body ==
        R"({"status":"success","data":{"activeTargets":[)" + active +
            R"(],"droppedTargets":[],"droppedTargetCounts":null}})");
  CHECK(fixture.Get("/api/v1/targets?state=dropped").body ==
        R"({"status":"success","data":{"activeTargets":[],"droppedTargets":[)" + dropped +
            R"(],"droppedTargetCounts":{"node":3}}})");
  CHECK(fixture.Post("/api/v1/targets/scrape?scrapePool=node&scrapeUrl=u&limit=1", "").body ==
        R"({"status":"success","data":{"error":"u","duration":0,"bodyBytes":0,"contentType":"",)"
        R"("samplesScraped":0,"samplesAfterRelabelling":0,"duplicateSamples":0,"truncated":true,)"
        R"("samples":[{"metric":{"__name__":"up"},"value":[1.500,"1"]}]}})");
  CHECK(fixture.Post("/api/v1/targets/scrape?scrapePool=nope&scrapeUrl=u", "").status == 400);
  CHECK(fixture.Post("/api/v1/targets/scrape?scrapePool=node&limit=100001", "").status == 400);
  CHECK(fixture.Post("/api/v1/targets/scrape?scrapePool=node&limit=100000", "").status == 200);
  CHECK(
      fixture.Get("/api/v1/metadata").body ==
      R"({"status":"success","data":{"up":[{"type":"gauge","help":"Is it \u003cup\u003e?","unit":""}]}})");
  CHECK(fixture.Get("/api/v1/metadata?limit=0").body == R"({"status":"success","data":{}})");
  CHECK(fixture.Get("/api/v1/targets/metadata").body ==
        R"({"status":"success","data":[{"target":{"job":"node"},"metric":"up","type":"gauge",)"
        R"("help":"Is it \u003cup\u003e?","unit":""}]})");
  CHECK(fixture.Get("/api/v1/targets/metadata?metric=up").body ==
        R"({"status":"success","data":[{"target":{"job":"node"},"type":"gauge",)"
        R"("help":"Is it \u003cup\u003e?","unit":""}]})");
  CHECK(fixture.Get("/api/v1/scrape_pools").body ==
        R"({"status":"success","data":{"scrapePools":["node","pods"]}})");
  CHECK(fixture.Get("/api/v1/scrape_pools/config?scrapePool=node").body ==
        R"({"status":"success","data":{"yaml":"job_name: node\n"}})");
  const auto config_error = [&](const std::string& query) {
    const TestResponse answer = fixture.Get("/api/v1/scrape_pools/config" + query);
    CHECK(answer.status == 400);
    return answer.body;
  };
  CHECK(config_error("").find("no scrapePool parameter provided") != std::string::npos);
  CHECK(
      config_error("?scrapePool=x").find("error retrieving scrape config: scrape pool not found") !=
      std::string::npos);
  CHECK(fixture.Get("/api/v1/alertmanagers").body ==
        R"({"status":"success","data":{"activeAlertmanagers":[],"droppedAlertmanagers":[]}})");
}

TEST_CASE("api: metadata that no target gives comes from the storage") {
  ApiFixture fixture;
  WriteRequestBuilder request;
  request.Metadata("up", 1, "another up").Metadata("z", 3, "stored", "s").Metadata("a", 2, "");
  CHECK(fixture.write->Write("application/x-protobuf", "snappy", request.Compressed()).status ==
        204);
  const auto data = [&](const std::string& query) {
    const std::string body = fixture.Get("/api/v1/metadata" + query).body;
    const std::string_view begin = R"({"status":"success","data":)";
    REQUIRE(body.starts_with(begin));
    return body.substr(begin.size(), body.size() - begin.size() - 1);
  };
  const std::string a = R"("a":[{"type":"gauge","help":"","unit":""}])";
  const std::string up = R"("up":[{"type":"gauge","help":"Is it \u003cup\u003e?","unit":""}])";
  const std::string z = R"("z":[{"type":"histogram","help":"stored","unit":"s"}])";
  CHECK(data("") == "{" + a + "," + up + "," + z + "}");
  CHECK(data("?metric=z") == "{" + up + "," + z + "}");  // The target of the test knows only `up`.
  CHECK(data("?limit=0") == "{}");
  CHECK(data("?limit=1") == "{" + up + "}");
  CHECK(data("?limit=2") == "{" + a + "," + up + "}");
  CHECK(data("?limit=3&limit_per_metric=1") == "{" + a + "," + up + "," + z + "}");
}

TEST_CASE("api: rules and alerts") {
  ApiFixture fixture;
  const std::string recording =
      R"J({"name":"job:up","query":"sum(up)","health":"ok","evaluationTime":0.25,)J"
      R"("lastEvaluation":"1970-01-01T00:00:02Z","type":"recording"})";
  const std::string alert =
      R"({"labels":{"alertname":"Down"},"annotations":{"summary":"down"},"state":"firing",)"
      R"("activeAt":"1970-01-01T00:00:01Z","value":"0e+00"})";
  const std::string alerting =
      R"({"state":"firing","name":"Down","query":"up \u003c 1","duration":90,"keepFiringFor":0,)"
      R"("labels":{},"annotations":{"summary":"down"},"alerts":[)" +
      alert +
      R"(],"health":"err","lastError":"it broke","evaluationTime":0,)"
      R"("lastEvaluation":"0001-01-01T00:00:00Z","type":"alerting"})";
  const auto group = [](const std::string& rules) {
    return R"({"name":"g","file":"r.yml","rules":[)" + rules +
           R"(],"interval":30,"limit":0,"evaluationTime":0.5,)"
           R"("lastEvaluation":"1970-01-01T00:00:02Z"})";
  };
  const std::string empty =
      R"({"name":"h","file":"r.yml","rules":[],"interval":60,"limit":0,"evaluationTime":0,)"
      R"("lastEvaluation":"0001-01-01T00:00:00Z"})";
  const auto answer = [](const std::string& groups) {
    return R"({"status":"success","data":{"groups":[)" + groups + "]}}";
  };
  CHECK(fixture.Get("/api/v1/rules").body ==
        answer(group(recording + "," + alerting) + "," + empty));
  CHECK(fixture.Get("/api/v1/rules?type=record").body == answer(group(recording)));
  CHECK(fixture.Get("/api/v1/rules?type=alert").body == answer(group(alerting)));
  CHECK(fixture.Get("/api/v1/rules?rule_name[]=job:up").body == answer(group(recording)));
  CHECK(fixture.Get("/api/v1/rules?rule_group[]=h").body == answer(empty));
  CHECK(fixture.Get("/api/v1/rules?file[]=other.yml").body == answer(""));
  CHECK(fixture.Get("/api/v1/rules?type=alert&exclude_alerts=true").body.find("activeAt") ==
        std::string::npos);
  CHECK(fixture.Get("/api/v1/alerts").body ==
        R"({"status":"success","data":{"alerts":[)" + alert + "]}}");

  // Pages: the token names the next group.
  const std::string page = fixture.Get("/api/v1/rules?group_limit=1").body;
  const size_t at = page.find(R"("groupNextToken":")");
  REQUIRE(at != std::string::npos);
  const std::string token = page.substr(at + 18, 64);
  CHECK(fixture.Get("/api/v1/rules?group_limit=1&group_next_token=" + token).body == answer(empty));
  CHECK(fixture.Get("/api/v1/rules?group_next_token=" + token).status == 400);
  CHECK(fixture.Get("/api/v1/rules?group_limit=1&group_next_token=x").status == 400);
}

TEST_CASE("api: status") {
  ApiFixture fixture;
  CHECK(fixture.Get("/api/v1/status/config").body ==
        R"({"status":"success","data":{"yaml":"global: {}\n"}})");
  CHECK(fixture.Get("/api/v1/status/flags").body ==
        R"({"status":"success","data":{"config.file":"prometheus.yml",)"
        R"("web.page-title":"a \u003cb\u003e"}})");
  CHECK(fixture.Get("/api/v1/status/buildinfo").body ==
        R"({"status":"success","data":{"version":"3.14.0","revision":"abc","branch":"",)"
        R"("buildUser":"","buildDate":"","goVersion":""}})");
  CHECK(fixture.Get("/version").body.starts_with(R"({"version":"3.14.0")"));
  CHECK(fixture.Get("/api/v1/status/runtimeinfo").body.find(R"("storageRetention":"15d")") !=
        std::string::npos);
  CHECK(fixture.Get("/api/v1/status/tsdb")
            .body.starts_with(R"({"status":"success","data":{"headStats":{"numSeries":3,)"));
  CHECK(fixture.Get("/api/v1/status/tsdb?limit=0").status == 400);
  CHECK(fixture.Get("/api/v1/status/tsdb?limit=10000").status == 200);
  CHECK(fixture.Get("/api/v1/status/tsdb?limit=10001").status == 400);
  CHECK(fixture.Get("/api/v1/status/walreplay").status == 200);
  CHECK(fixture.Get("/api/v1/notifications").body == R"({"status":"success","data":[]})");
}

TEST_CASE("api: formatted and parsed queries") {
  ApiFixture fixture;
  CHECK(fixture.Get("/api/v1/format_query?query=sum(up)by(job)").body ==
        R"J({"status":"success","data":"sum by (job) (up)"})J");
  CHECK(fixture.Post("/api/v1/format_query", "query=sum(").status == 400);
  CHECK(fixture.Get("/api/v1/parse_query?query=-1").body ==
        R"({"status":"success","data":{"type":"numberLiteral","val":"-1"}})");
  CHECK(fixture.Get("/api/v1/parse_query?query=rate(x{a=\"b\"}[5m]%20offset%201m)").body ==
        R"({"status":"success","data":{"args":[{"anchored":false,"matchers":[)"
        R"({"name":"a","type":"=","value":"b"},{"name":"__name__","type":"=","value":"x"}],)"
        R"("name":"x","offset":60000,"offsetExpr":null,"range":300000,"rangeExpr":null,)"
        R"("smoothed":false,"startOrEnd":null,"timestamp":null,"type":"matrixSelector"}],)"
        R"("func":{"argTypes":["matrix"],"name":"rate","returnType":"vector","variadic":0},)"
        R"("type":"call"}})");
}

TEST_CASE("api: every kind of node of a parsed query") {
  ApiFixture fixture;
  const auto parsed = [&](std::string_view query) {
    const std::string body = fixture.Get("/api/v1/parse_query?query=" + PercentEncoded(query)).body;
    constexpr std::string_view kBefore = R"({"status":"success","data":)";
    REQUIRE(body.starts_with(kBefore));
    return body.substr(kBefore.size(), body.size() - kBefore.size() - 1);
  };
  const auto selector = [](std::string_view name) {
    return fmt::format(
        R"({{"anchored":false,"matchers":[{{"name":"__name__","type":"=","value":"{0}"}}],)"
        R"("name":"{0}","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,)"
        R"("timestamp":null,"type":"vectorSelector"}})",
        name);
  };
  const std::string step =
      R"({"lhs":null,"op":"step","rhs":null,"type":"durationExpr","wrapped":false})";
  const std::string a = selector("a");
  const std::string b = selector("b");
  CHECK(parsed("a") == a);
  CHECK(parsed("(a)") == R"({"expr":)" + a + R"(,"type":"parenExpr"})");
  CHECK(parsed("-a") == R"({"expr":)" + a + R"(,"op":"-","type":"unaryExpr"})");
  CHECK(parsed("\"<\"") == R"({"type":"stringLiteral","val":"\u003c"})");
  CHECK(parsed("5m") == R"({"type":"numberLiteral","val":"300"})");
  CHECK(parsed("topk without (x) (2, a)") ==
        R"({"expr":)" + a + R"(,"grouping":["x"],"op":"topk","param":)" +
            R"({"type":"numberLiteral","val":"2"},"type":"aggregation","without":true})");
  CHECK(parsed("sum(a)") == R"({"expr":)" + a + R"(,"grouping":[],"op":"sum","param":null,)" +
                                R"("type":"aggregation","without":false})");
  const auto binary = [&](std::string_view matching, std::string_view op, bool returns_bool) {
    return fmt::format(
        R"({{"bool":{},"lhs":{},"matching":{},"op":"{}","rhs":{},"type":"binaryExpr"}})",
        returns_bool, a, matching, op, b);
  };
  CHECK(parsed("a == bool on (x) b") ==
        binary(R"({"card":"one-to-one","fillValues":{"lhs":null,"rhs":null},"include":[],)"
               R"("labels":["x"],"on":true})",
               "==", true));
  CHECK(parsed("a * ignoring (x) group_left (y) b") ==
        binary(R"({"card":"many-to-one","fillValues":{"lhs":null,"rhs":null},"include":["y"],)"
               R"("labels":["x"],"on":false})",
               "*", false));
  CHECK(parsed("a and b") ==
        binary(R"({"card":"many-to-many","fillValues":{"lhs":null,"rhs":null},"include":[],)"
               R"("labels":[],"on":false})",
               "and", false));
  CHECK(parsed("1 + 5m").find(R"("matching":null)") != std::string::npos);
  CHECK(parsed("a[step()] @ start()") ==
        R"({"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a",)"
        R"("offset":0,"offsetExpr":null,"range":0,"rangeExpr":)" +
            step + R"(,"smoothed":false,"startOrEnd":"start","timestamp":null,)" +
            R"("type":"matrixSelector"})");
  CHECK(parsed("a[1h:(step() * 2)] @ 1.5 offset -1m") ==
        R"({"expr":)" + a +
            R"(,"offset":-60000,"offsetExpr":null,"range":3600000,"rangeExpr":null,)" +
            R"("startOrEnd":null,"step":0,"stepExpr":{"lhs":)" + step +
            R"(,"op":"*","rhs":{"type":"numberLiteral","val":"2"},"type":"durationExpr",)" +
            R"("wrapped":true},"timestamp":1500,"type":"subquery"})");
  CHECK(parsed("time()") ==
        R"({"args":[],"func":{"argTypes":[],"name":"time","returnType":"scalar","variadic":0},)"
        R"("type":"call"})");
  CHECK(parsed("hour(a)").find(R"("argTypes":["vector"],"name":"hour","returnType":"vector",)"
                               R"("variadic":1)") != std::string::npos);
  CHECK(parsed("label_join(a, \"b\", \"c\")").find(R"("variadic":-1)") != std::string::npos);
}

TEST_CASE("api: exemplars are an empty success, also for Grafana's milliseconds") {
  ApiFixture fixture;
  CHECK(fixture.Get("/api/v1/query_exemplars?query=test&start=1700000000000&end=1700003600000")
            .body == R"({"status":"success","data":[]})");
  CHECK(fixture.Get("/api/v1/query_exemplars?query=1").status == 204);
}

TEST_CASE("api: health, lifecycle and metrics") {
  ApiFixture fixture;
  CHECK(fixture.Get("/-/healthy").body == "Prometheus Server is Healthy.\n");
  CHECK(fixture.Get("/-/ready").body == "Prometheus Server is Ready.\n");
  CHECK(TestRequest(fixture.address(), "HEAD", "/-/ready").status == 200);
  CHECK(TestRequest(fixture.address(), "POST", "/-/reload").status == 200);
  fixture.reload_status = absl::InvalidArgumentError("a.yml: 3:1: wrong");
  TestResponse reload = TestRequest(fixture.address(), "PUT", "/-/reload");
  CHECK(reload.status == 500);
  CHECK(reload.body == "failed to reload config: a.yml: 3:1: wrong\n");
  CHECK(fixture.Get("/-/reload").status == 405);
  CHECK(fixture.Get("/-/reload").body == "Only POST or PUT requests allowed.");
  CHECK(TestRequest(fixture.address(), "POST", "/-/quit").body ==
        "Requesting termination... Goodbye!");
  CHECK(fixture.quits == 1);
  TestResponse metrics = fixture.Get("/metrics");
  CHECK(metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8");
  CHECK(metrics.body.find("prometheus_http_requests_total{code=\"200\",handler=\"/-/ready\"} 2") !=
        std::string::npos);

  ApiFixture without(false);
  CHECK(TestRequest(without.address(), "POST", "/-/reload").status == 403);
  CHECK(without.Get("/-/quit").body == "Lifecycle API is not enabled.");
  CHECK(TestRequest(without.address(), "POST", "/api/v1/write", "", "x").body ==
        "remote write receiver needs to be enabled with --web.enable-remote-write-receiver\n");
}

TEST_CASE("api: remote write through the server") {
  ApiFixture fixture;
  WriteRequestBuilder request;
  request.Series({{"__name__", "pushed"}}).Sample(7, 15'000);
  const std::string headers =
      "Content-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\n";
  CHECK(TestRequest(fixture.address(), "POST", "/api/v1/write", headers, request.Compressed())
            .status == 204);
  CHECK(fixture.Get("/api/v1/query?query=pushed").body.find(R"([20,"7"])") != std::string::npos);
  CHECK(TestRequest(fixture.address(), "POST", "/api/v1/write", headers, "garbage").status == 400);
}

TEST_CASE("api: administration is refused unless enabled") {
  ApiFixture fixture(/*lifecycle=*/false);
  for (const char* path : {"delete_series?match[]=up", "clean_tombstones", "snapshot"}) {
    CAPTURE(path);
    const TestResponse response =
        TestRequest(fixture.address(), "POST", std::string("/api/v1/admin/tsdb/") + path);
    CHECK(response.status == 500);
    CHECK(response.body ==
          R"({"status":"error","errorType":"unavailable","error":"admin APIs disabled"})");
  }
}

TEST_CASE("api: series are deleted, tombstones cleaned, snapshots named") {
  ApiFixture fixture;
  const auto request = [&](std::string_view method, const std::string& target) {
    return TestRequest(fixture.address(), method, "/api/v1/admin/tsdb/" + target);
  };
  CHECK(request("POST", "delete_series").body ==
        R"({"status":"error","errorType":"bad_data","error":"no match[] parameter provided"})");
  for (const char* bad : {"delete_series?match[]=x{", "delete_series?match[]={a=\"\"}",
                          "delete_series?match[]=up&start=x", "delete_series?match[]=up&end=x",
                          "snapshot?skip_head=maybe"}) {
    CAPTURE(bad);
    CHECK(request("POST", bad).status == 400);
  }
  CHECK(request("POST", "delete_series?match[]=up&start=11").status == 204);
  CHECK(fixture.storage.Dump().find("up{instance=\"a\", job=\"node\"} 1@10000") !=
        std::string::npos);
  CHECK(request("PUT", "delete_series?match[]=up{instance=\"a\"}&match[]=build&end=10").status ==
        204);
  CHECK(fixture.storage.Dump().find("1@10000") == std::string::npos);
  CHECK(fixture.storage.Dump().find("0.5@10000") != std::string::npos);
  const TestResponse cleaned = request("POST", "clean_tombstones");
  CHECK(cleaned.status == 204);
  CHECK(cleaned.body.empty());
  CHECK(fixture.storage.cleanings() == 1);
  CHECK(request("PUT", "snapshot?skip_head=true").body ==
        R"({"status":"success","data":{"name":"20231114T221320Z-0123456789abcdef"}})");
}

TEST_CASE("api: federation") {
  ApiFixture fixture;
  const TestResponse response = fixture.Get("/federate?match[]=up&match[]=build");
  CHECK(response.body ==
        "# TYPE build untyped\n"
        "build{cluster=\"east\",version=\"<1>\",instance=\"\"} 1 10000\n"
        "# TYPE up untyped\n"
        "up{cluster=\"east\",instance=\"a\",job=\"node\"} 1 10000\n"
        "up{cluster=\"east\",instance=\"b\",job=\"node\"} 0.5 10000\n");
  CHECK(fixture.Get("/federate").body.empty());
  CHECK(fixture.Get("/federate?match[]=x{").status == 400);
}

TEST_CASE("api: console pages and redirects") {
  ApiFixture fixture;
  TestResponse root = fixture.Get("/");
  CHECK(root.status == 302);
  CHECK(root.headers["location"] == "/query");
  CHECK(fixture.Get("/graph?g0.expr=up").headers["location"] == "/query?g0.expr=up");
  for (const char* page : {"/query", "/targets", "/rules", "/alerts", "/status"}) {
    CAPTURE(page);
    TestResponse response = fixture.Get(page);
    CHECK(response.status == 200);
    CHECK(response.headers["content-type"] == "text/html; charset=utf-8");
  }
  CHECK(fixture.Get("/assets/none.js").status == 404);
  CHECK(fixture.Get("/api/v1/none").status == 404);
}

}  // namespace
}  // namespace varve
