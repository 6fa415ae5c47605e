// SPDX-License-Identifier: Apache-2.0
//
// Wiring. Members of Server are in the order in which they open; they close in the reverse order,
// so that nothing is used after what it stands on has gone.

#include "app/server.h"

#include <fmt/format.h>
#include <glob.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "app/builtin_config.h"
#include "app/byte_size.h"
#include "app/config.h"
#include "app/features.h"
#include "app/query_log.h"
#include "app/self_metrics.h"
#include "app/system_memory.h"
#include "app/tsdb_command.h"
#include "http/api.h"
#include "http/server.h"
#include "model/clock.h"
#include "model/log_line.h"
#include "model/memory_budget.h"
#include "model/mutex.h"
#include "model/status_macros.h"
#include "net/client.h"
#include "promql/engine.h"
#include "promql/parser.h"
#include "remote/write.h"
#include "rules/manager.h"
#include "scrape/manager.h"
#include "tsdb/db.h"

namespace varve {
namespace {

constexpr int kExitRuntime = 1;
constexpr int kExitConfig = 2;
constexpr DurationMs kDefaultRetention = 15 * kDay;
// Of what the system has, for the memory limit: what is refused last is refused at 5/4 of that.
constexpr uint64_t kMemoryLimitParts = 4;
constexpr uint64_t kMemoryLimitPartsTaken = 3;
// A query's share of the limit.
constexpr uint64_t kQueryMemoryPart = 4;
// What a full disk gives back: what the write-ahead log may take, and 64 MB.
constexpr uint64_t kReserveBytes = (128 + 64) << 20;

// The signals main waits for; every other thread has them blocked.
sigset_t HandledSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGHUP, SIGTERM, SIGINT}) sigaddset(&set, signal);
  return set;
}

// Scraping and serving thousands of connections need descriptors: takes what the system allows.
void RaiseFileLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    spdlog::warn(LogLine("Cannot raise the limit of open files",
                         {{"limit", std::to_string(limit.rlim_max)}}));
  }
}

std::string Hostname() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

// The files a glob names, sorted; a pattern that matches nothing gives none, as in Prometheus.
std::vector<std::string> ExpandGlobs(const std::vector<std::string>& patterns) {
  std::vector<std::string> files;
  for (const std::string& pattern : patterns) {
    glob_t matches{};
    if (glob(pattern.c_str(), 0, nullptr, &matches) == 0) {
      files.insert(files.end(), matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
    }
    globfree(&matches);
  }
  return files;
}

// The path part of an external URL: "http://host/prefix/" gives "/prefix".
std::string PathOfUrl(const std::string& url) {
  const size_t scheme = url.find("://");
  const size_t slash = url.find('/', scheme == std::string::npos ? 0 : scheme + 3);
  return slash == std::string::npos ? "" : url.substr(slash);
}

// "" or "/x": a leading slash, none at the end.
std::string NormalPrefix(const Flags& flags) {
  std::string prefix =
      flags.web_route_prefix.empty() ? PathOfUrl(flags.web_external_url) : flags.web_route_prefix;
  while (!prefix.empty() && prefix.back() == '/') prefix.pop_back();
  if (!prefix.empty() && prefix.front() != '/') prefix.insert(prefix.begin(), '/');
  return prefix;
}

// The memory limit in bytes, 0 = none; says in the log where it comes from.
uint64_t MemoryLimit(const Flags& flags) {
  SystemMemory system{.bytes = flags.storage_memory_limit.value_or(0), .source = "flag"};
  uint64_t limit = system.bytes;
  if (!flags.storage_memory_limit.has_value()) {
    system = FindSystemMemory();
    limit = system.bytes / kMemoryLimitParts * kMemoryLimitPartsTaken;
  }
  spdlog::info(LogLine("Memory limit", {{"bytes", std::to_string(limit)},
                                        {"source", system.source},
                                        {"source_bytes", std::to_string(system.bytes)}}));
  return limit;
}

// Caches and write buffers get fixed shares of the limit, within what is useful.
void SizeByMemory(uint64_t limit, DbOptions& options) {
  if (limit == 0) return;
  constexpr uint64_t kMiB = 1 << 20;
  // The system keeps the same blocks, compressed: only a large store needs more for its indexes.
  options.block_cache_bytes =
      std::clamp(limit / 32, 4 * kMiB, std::clamp(limit / 2048, 16 * kMiB, 128 * kMiB));
  options.generation_cache_bytes = std::clamp(limit / 64, 2 * kMiB, 64 * kMiB);
  options.write_buffers_bytes_max = std::clamp(limit / 16, 8 * kMiB, 64 * kMiB);
  options.write_buffer_bytes = std::clamp(options.write_buffers_bytes_max / 8, kMiB, 4 * kMiB);
}

class Server {
 public:
  explicit Server(const Flags& flags) : flags_(flags) {}

  // Opens everything. On failure the error has been logged and the exit code is returned.
  int Open();
  // Applies the configuration file again.
  absl::Status Reload() ABSL_LOCKS_EXCLUDED(reload_mutex_);
  // The same if it, or a file it names, is not what was applied last.
  void ReloadIfChanged() ABSL_LOCKS_EXCLUDED(reload_mutex_);
  // Stops everything in order and returns the exit code.
  int Close();

 private:
  absl::StatusOr<Config> ReadConfig() const;
  uint64_t Fingerprint() const {
    return flags_.config_auto_reload ? ConfigFingerprint(flags_.config_file) : 0;
  }
  absl::Status OpenLayers(const Config& config);
  absl::Status Apply(Config config) ABSL_EXCLUSIVE_LOCKS_REQUIRED(reload_mutex_);
  void NoteReload(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(reload_mutex_);
  absl::Status OpenHttp();
  void AttachApi();
  DurationMs RetentionOf(const Config& config) const;
  SizeRetention SizeRetentionOf(const Config& config) const;
  // `15d or 512MiB`
  std::string RetentionText() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(reload_mutex_);
  RuntimeInfo CurrentRuntimeInfo() ABSL_LOCKS_EXCLUDED(reload_mutex_);
  std::string PublicUrl() const;

  const Flags flags_;
  Clock& clock_ = RealClock();
  const TimestampMs start_time_ = clock_.Now();
  std::shared_ptr<prometheus::Registry> registry_ = std::make_shared<prometheus::Registry>();

  Mutex reload_mutex_;  // One reload at a time.
  Config config_ ABSL_GUARDED_BY(reload_mutex_);
  bool reload_ok_ ABSL_GUARDED_BY(reload_mutex_) = true;
  TimestampMs last_config_time_ ABSL_GUARDED_BY(reload_mutex_) = 0;
  // Of what was applied last, 0 if that failed; kept with config_auto_reload only.
  uint64_t config_fingerprint_ ABSL_GUARDED_BY(reload_mutex_) = 0;
  prometheus::Gauge* reload_ok_gauge_ = nullptr;
  prometheus::Gauge* reload_time_gauge_ = nullptr;
  prometheus::Gauge* ready_gauge_ = nullptr;
  // Read by every subquery without a step; changes at a reload.
  std::atomic<DurationMs> evaluation_interval_{kMinute};
  DurationMs retention_ ABSL_GUARDED_BY(reload_mutex_) = kDefaultRetention;

  MemoryBudget memory_{{.limit = MemoryLimit(flags_),
                        .resident = ResidentBytes,
                        .release_freed = ReleaseFreedMemory,
                        .clock = &clock_}};
  ProcessMetrics process_metrics_;
  MemoryMetrics memory_metrics_{memory_};
  StorageMetrics storage_metrics_;
  std::unique_ptr<Db> db_;

  QueryLog query_log_{flags_.query_log_slower_than, clock_, registry_.get()};
  std::unique_ptr<promql::Engine> engine_;
  std::unique_ptr<HttpClient> http_client_;
  std::unique_ptr<ScrapeManager> scrape_;
  std::unique_ptr<RuleManager> rules_;
  std::unique_ptr<WriteReceiver> write_;
  std::unique_ptr<Api> api_;
  Router router_;
  std::unique_ptr<HttpServer> http_;
};

absl::StatusOr<Config> Server::ReadConfig() const {
  if (!flags_.config_file_given && !std::filesystem::exists(flags_.config_file)) {
    return BuiltinConfig(flags_.web_listen_addresses.front(), ConfigOptionsOf(flags_));
  }
  return LoadConfig(flags_.config_file, ConfigOptionsOf(flags_));
}

DurationMs Server::RetentionOf(const Config& config) const {
  if (config.storage.retention_time.has_value()) return *config.storage.retention_time;
  if (flags_.storage_retention_time != 0) return flags_.storage_retention_time;
  // Who limits the size means that alone.
  const SizeRetention size = SizeRetentionOf(config);
  return size.bytes > 0 || size.percentage > 0 ? 0 : kDefaultRetention;
}

SizeRetention Server::SizeRetentionOf(const Config& config) const {
  return {.bytes = config.storage.retention_bytes.value_or(flags_.storage_retention_bytes),
          .percentage = config.storage.retention_percentage.value_or(0)};
}

std::string Server::RetentionText() const {
  std::vector<std::string> parts;
  if (retention_ > 0) parts.push_back(FormatDuration(retention_));
  const SizeRetention size = SizeRetentionOf(config_);
  if (size.percentage > 0) {
    parts.push_back(fmt::format("{}%", size.percentage));
  } else if (size.bytes > 0) {
    parts.push_back(FormatByteSize(size.bytes));
  }
  return fmt::format("{}", fmt::join(parts, " or "));
}

std::string Server::PublicUrl() const {
  if (!flags_.web_external_url.empty()) return flags_.web_external_url;
  const std::string& address = flags_.web_listen_addresses.front();
  const size_t colon = address.rfind(':');
  return fmt::format("http://{}:{}", Hostname(),
                     colon == std::string::npos ? "9090" : address.substr(colon + 1));
}

absl::Status Server::OpenHttp() {
  HttpServerOptions options;
  options.addresses = flags_.web_listen_addresses;
  options.connections_max = flags_.web_max_connections;
  options.threads_max = flags_.web_max_connections;
  options.read_timeout = std::chrono::milliseconds(flags_.web_read_timeout);
  options.idle_timeout = std::chrono::milliseconds(flags_.web_read_timeout);
  options.route_prefix = NormalPrefix(flags_);
  options.cors_origin_pattern = flags_.web_cors_origin;
  options.registry = registry_.get();

  ApiOptions api;
  api.build = {.version = kPrometheusVersion,
               .revision = kVersion,
               .branch = "HEAD",
               .build_user = "varve",
               .build_date = "",
               .go_version = ""};
  api.flags = flags_.values;
  api.enable_lifecycle = flags_.web_enable_lifecycle;
  api.enable_admin_api = flags_.web_enable_admin_api;
  api.enable_remote_write_receiver = flags_.web_enable_remote_write_receiver;
  api.enable_otlp_receiver = flags_.web_enable_otlp_receiver;
  api.route_prefix = options.route_prefix;
  api.page_title = flags_.web_page_title;
  api.parser = ParserOptionsOf(flags_);
  api.collectables = {registry_.get(), &process_metrics_, &memory_metrics_, &storage_metrics_};
  api.reload = [this] { return Reload(); };
  api.quit = [] { kill(getpid(), SIGTERM); };
  api.clock = &clock_;
  api_ = std::make_unique<Api>(std::move(api));
  api_->AddRoutes(router_);
  ASSIGN_OR_RETURN(http_, HttpServer::Open(options, router_));
  return absl::OkStatus();
}

absl::Status Server::OpenLayers(const Config& config) {
  DbOptions db_options;
  db_options.path = flags_.storage_path;
  db_options.retention = RetentionOf(config);
  db_options.size_retention = SizeRetentionOf(config);
  db_options.out_of_order_window = config.storage.out_of_order_time_window;
  db_options.exemplars_max = config.storage.exemplars_max;
  db_options.store_start_times = StoresStartTimes(flags_);
  db_options.zero_at_start_time = StartsWithZeros(flags_);
  db_options.memory = &memory_;
  SizeByMemory(memory_.limit(), db_options);
  db_options.reserve_bytes = kReserveBytes;
  db_options.remove_table = {"/proc/self/exe", "tsdb", std::string(kRemoveTableCommand)};
  ASSIGN_OR_RETURN(db_, Db::Open(db_options, clock_));
  if (!db_->foreign_data().empty()) spdlog::warn(db_->foreign_data());
  storage_metrics_.Attach(*db_);

  promql::EngineOptions engine;
  engine.lookback_delta = flags_.query_lookback_delta;
  engine.timeout = flags_.query_timeout;
  engine.max_samples = flags_.query_max_samples;
  engine.max_concurrency = static_cast<int>(flags_.query_max_concurrency);
  engine.memory = &memory_;
  engine.observer = &query_log_;
  engine.max_memory_bytes = flags_.query_max_memory.value_or(memory_.limit() / kQueryMemoryPart);
  engine.features = FeaturesOf(flags_);
  engine.default_subquery_step = [this] { return evaluation_interval_.load(); };
  engine_ = std::make_unique<promql::Engine>(std::move(engine), clock_, registry_.get());

  HttpClient::Options client;
  client.thread_name = "scrape-io";
  client.user_agent = fmt::format("Prometheus/{}", kPrometheusVersion);
  ASSIGN_OR_RETURN(http_client_, HttpClient::Open(std::move(client)));
  ASSIGN_OR_RETURN(
      scrape_,
      ScrapeManager::Create({.clock = clock_,
                             .http_client = *http_client_,
                             .storage = *db_,
                             .registry = *registry_,
                             .hostname = Hostname(),
                             .external_url = PublicUrl(),
                             .listen_address = flags_.web_listen_addresses.front(),
                             .discovery_reload_interval = flags_.scrape_discovery_reload_interval,
                             .adjust_timestamps = flags_.scrape_adjust_timestamps,
                             .timestamp_tolerance = flags_.scrape_timestamp_tolerance,
                             .start_time = start_time_}));
  rules_ = RuleManager::Create({.evaluations_max = flags_.rules_max_concurrent_evals,
                                .parser = ParserOptionsOf(flags_),
                                .registry = registry_.get()},
                               *db_, *db_, *engine_, clock_);
  write_ = WriteReceiver::Create(*db_, clock_, registry_.get());
  return absl::OkStatus();
}

void Server::AttachApi() {
  ApiBackends backends;
  backends.storage = db_.get();
  backends.metadata = db_.get();
  backends.exemplars = db_.get();
  backends.admin = db_.get();
  backends.engine = engine_.get();
  backends.scrape = scrape_.get();
  backends.rules = rules_.get();
  backends.write = write_.get();
  backends.config_yaml = [this] {
    MutexLock lock(reload_mutex_);
    return config_.yaml;
  };
  backends.scrape_pool_yaml = [this](std::string_view pool) {
    MutexLock lock(reload_mutex_);
    return ScrapeConfigYaml(config_, pool);
  };
  backends.runtime_info = [this] { return CurrentRuntimeInfo(); };
  backends.external_labels = [this] {
    MutexLock lock(reload_mutex_);
    return config_.global.external_labels;
  };
  api_->Attach(std::move(backends));
}

RuntimeInfo Server::CurrentRuntimeInfo() {
  MutexLock lock(reload_mutex_);
  return {.start_time = start_time_,
          .reload_config_success = reload_ok_,
          .last_config_time = last_config_time_,
          .storage_retention = RetentionText()};
}

absl::Status Server::Apply(Config config) {
  // Opened anew in any case: the file may have been moved away.
  RETURN_IF_ERROR(query_log_.SetFile(config.global.query_log_file));
  // Rule files are checked first: a bad one keeps everything as it was.
  RETURN_IF_ERROR(rules_->Apply({.files = ExpandGlobs(config.rule_files),
                                 .evaluation_interval = config.global.evaluation_interval,
                                 .query_offset = config.global.rule_query_offset,
                                 .external_labels = config.global.external_labels,
                                 .external_url = PublicUrl()}));
  RETURN_IF_ERROR(scrape_->ApplyConfig(config.scrape_configs, config.global.external_labels));
  retention_ = RetentionOf(config);
  db_->SetRetention(retention_);
  const SizeRetention size = SizeRetentionOf(config);
  db_->SetSizeRetention(size);
  storage_metrics_.SetRetention(retention_, size.bytes, size.percentage);
  db_->SetOutOfOrderWindow(config.storage.out_of_order_time_window);
  db_->SetExemplarsMax(config.storage.exemplars_max);
  evaluation_interval_ = config.global.evaluation_interval;
  config_ = std::move(config);
  return absl::OkStatus();
}

void Server::NoteReload(const absl::Status& status) {
  reload_ok_ = status.ok();
  reload_ok_gauge_->Set(status.ok() ? 1 : 0);
  if (!status.ok()) return;
  last_config_time_ = clock_.Now();
  reload_time_gauge_->Set(static_cast<double>(last_config_time_) / 1000);
}

absl::Status Server::Reload() {
  MutexLock lock(reload_mutex_);
  spdlog::info(LogLine("Loading configuration file", {{"filename", flags_.config_file}}));
  // Taken first: what changes while it is read is read again.
  const uint64_t fingerprint = Fingerprint();
  absl::StatusOr<Config> config = ReadConfig();
  absl::Status status = config.ok() ? Apply(*std::move(config)) : config.status();
  NoteReload(status);
  config_fingerprint_ = status.ok() ? fingerprint : 0;
  if (status.ok()) {
    spdlog::info(
        LogLine("Completed loading of configuration file", {{"filename", flags_.config_file}}));
  } else {
    spdlog::error(LogLine("Error reloading config", {{"err", MessageOf(status)}}));
  }
  return status;
}

void Server::ReloadIfChanged() {
  {
    MutexLock lock(reload_mutex_);
    if (Fingerprint() == config_fingerprint_) return;
  }
  spdlog::info("Configuration file change detected, reloading the configuration.");
  Reload().IgnoreError();  // It has been logged and counted, and is tried again.
}

int Server::Open() {
  reload_ok_gauge_ = &prometheus::BuildGauge()
                          .Name("prometheus_config_last_reload_successful")
                          .Help("Whether the last configuration reload attempt was successful.")
                          .Register(*registry_)
                          .Add({});
  reload_time_gauge_ = &prometheus::BuildGauge()
                            .Name("prometheus_config_last_reload_success_timestamp_seconds")
                            .Help("Timestamp of the last successful configuration reload.")
                            .Register(*registry_)
                            .Add({});
  ready_gauge_ = &prometheus::BuildGauge()
                      .Name("prometheus_ready")
                      .Help("Whether the server is ready to answer queries.")
                      .Register(*registry_)
                      .Add({});
  prometheus::BuildGauge()
      .Name("prometheus_build_info")
      .Help("A metric with a constant '1' value labeled by version and revision.")
      .Register(*registry_)
      .Add({{"version", kPrometheusVersion}, {"revision", kVersion}, {"branch", "HEAD"}})
      .Set(1);

  const uint64_t fingerprint = Fingerprint();
  absl::StatusOr<Config> config = ReadConfig();
  if (!config.ok()) {
    spdlog::error(LogLine("Error loading config",
                          {{"file", flags_.config_file}, {"err", MessageOf(config.status())}}));
    return kExitConfig;
  }
  // The ports first: health checks answer while the storage recovers.
  absl::Status status = OpenHttp();
  if (status.ok()) status = OpenLayers(*config);
  if (!status.ok()) {
    spdlog::error(MessageOf(status));
    return kExitRuntime;
  }
  AttachApi();
  {
    MutexLock lock(reload_mutex_);
    status = Apply(*std::move(config));
    NoteReload(status);
    config_fingerprint_ = fingerprint;
    if (!status.ok()) {
      spdlog::error(LogLine("Error loading config",
                            {{"file", flags_.config_file}, {"err", MessageOf(status)}}));
      return kExitConfig;
    }
  }
  http_->SetReady();
  ready_gauge_->Set(1);
  spdlog::info(LogLine("Server is ready to receive web requests.",
                       {{"address", fmt::format("{}", fmt::join(http_->addresses(), ","))}}));
  return 0;
}

int Server::Close() {
  // Writers first, then readers, then what they write to and read from. Each may be missing if
  // opening failed.
  if (scrape_ != nullptr) scrape_->Stop();
  if (rules_ != nullptr) rules_->Stop();
  if (http_ != nullptr) http_->Stop();
  if (http_client_ != nullptr) http_client_->Stop();
  if (db_ == nullptr) return 0;
  if (const absl::Status status = db_->Close(); !status.ok()) {
    spdlog::error(LogLine("Closing the storage", {{"err", MessageOf(status)}}));
    return kExitRuntime;
  }
  return 0;
}

// Reloads at SIGHUP, and with config_auto_reload when a file has changed; returns at SIGTERM or
// SIGINT.
void WaitForEnd(Server& server, const Flags& flags) {
  const sigset_t signals = HandledSignals();
  const DurationMs interval = flags.config_auto_reload ? flags.config_auto_reload_interval : kDay;
  const timespec wait = {.tv_sec = interval / kSecond, .tv_nsec = interval % kSecond * kNanosPerMs};
  for (;;) {
    const int signal = sigtimedwait(&signals, nullptr, &wait);
    if (signal < 0) {
      if (errno == EAGAIN && flags.config_auto_reload) server.ReloadIfChanged();
      continue;
    }
    if (signal != SIGHUP) {
      spdlog::warn(
          LogLine("Received an OS signal, exiting gracefully...", {{"signal", strsignal(signal)}}));
      return;
    }
    // The error has been logged and counted; the old configuration goes on.
    server.Reload().IgnoreError();
  }
}

}  // namespace

int RunServer(const Flags& flags) {
  const sigset_t signals = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  RaiseFileLimit();
  spdlog::info(LogLine("Starting Varve",
                       {{"version", std::string(kVersion)},
                        {"compatible_with", fmt::format("Prometheus/{}", kPrometheusVersion)}}));
  for (const std::string& flag : flags.without_effect) {
    spdlog::warn(LogLine("This flag has no effect in Varve", {{"flag", "--" + flag}}));
  }
  LogFeatures(flags);
  auto server = std::make_unique<Server>(flags);
  const int open_code = server->Open();
  if (open_code == 0) WaitForEnd(*server, flags);
  const int close_code = server->Close();
  if (open_code == 0 && close_code == 0) spdlog::info("See you next time!");
  return open_code != 0 ? open_code : close_code;
}

}  // namespace varve
