// SPDX-License-Identifier: Apache-2.0
//
// The HTTP API: Prometheus' endpoints under /api/v1, health and lifecycle, /metrics, /federate, and
// the console's files. Add the routes, open the server, attach what the handlers work on once it
// exists, then let the server serve the gated routes:
//
//   Api api(options);
//   api.AddRoutes(router);
//   ASSIGN_OR_RETURN(auto server, HttpServer::Open(server_options, router));
//   ... open storage, engine, scraping, rules ...
//   api.Attach(backends);
//   server->SetReady();
#pragma once

#include <prometheus/collectable.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "http/router.h"
#include "model/clock.h"
#include "model/queryable.h"
#include "model/storage_admin.h"
#include "promql/engine.h"
#include "promql/parser.h"

namespace varve {

class RuleManager;
class ScrapeManager;
class WriteReceiver;

// /api/v1/status/buildinfo and /version.
struct BuildInfo {
  std::string version;
  std::string revision;
  std::string branch;
  std::string build_user;
  std::string build_date;
  std::string go_version;
};

// /api/v1/status/runtimeinfo, but for what only the handler knows.
struct RuntimeInfo {
  TimestampMs start_time = 0;
  bool reload_config_success = true;
  TimestampMs last_config_time = 0;
  std::string storage_retention;
};

// Constant while the server runs.
struct ApiOptions {
  BuildInfo build;
  std::map<std::string, std::string> flags;  // By flag name, without dashes.
  bool enable_lifecycle = false;
  bool enable_admin_api = false;
  bool enable_remote_write_receiver = false;
  bool enable_otlp_receiver = false;
  std::string route_prefix;  // As HttpServerOptions' one; for redirects.
  std::string page_title = "Prometheus Time Series Collection and Processing Server";
  promql::ParserOptions parser;
  // What /metrics shows, in this order: the registry, then values read when asked (storage,
  // process). All of them outlive the server.
  std::vector<prometheus::Collectable*> collectables;
  // Null members: the endpoints answer as if never reloadable.
  std::function<absl::Status()> reload;
  std::function<void()> quit;
  Clock* clock = &RealClock();
};

// What handlers ask. All of it outlives the server. Null pointers answer as empty.
struct ApiBackends {
  const Queryable* storage = nullptr;  // Never null.
  const ExemplarQueryable* exemplars = nullptr;
  const MetadataQueryable* metadata = nullptr;
  StorageAdmin* admin = nullptr;
  promql::Engine* engine = nullptr;  // Never null.
  ScrapeManager* scrape = nullptr;
  RuleManager* rules = nullptr;
  WriteReceiver* write = nullptr;
  std::function<std::string()> config_yaml;  // The configuration as loaded.
  // The part of it that makes a scrape pool; empty if there is none of that name.
  std::function<std::string(std::string_view pool)> scrape_pool_yaml;
  std::function<RuntimeInfo()> runtime_info;
  std::function<Labels()> external_labels;  // For /federate.
};

class Api {
 public:
  explicit Api(ApiOptions options);
  ~Api();
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  // The router's routes refer to this object.
  void AddRoutes(Router& router);

  // REQUIRES: called once, before the server is set ready.
  void Attach(ApiBackends backends);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace varve
