// SPDX-License-Identifier: Apache-2.0
//
// Discoveries call back on threads of theirs; this one waits.
#include "app/check_discovery.h"

#include <fmt/format.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "app/config.h"
#include "model/clock.h"
#include "model/mutex.h"
#include "model/status_macros.h"
#include "net/client.h"
#include "scrape/discovery/discoveries.h"
#include "scrape/target.h"

namespace varve {
namespace {

constexpr int64_t kQuietNanos = 1000 * kNanosPerMs;

// What the discoveries have said. Thread-safe.
class FoundGroups {
 public:
  TargetGroupsCallback NewCallback() {
    MutexLock lock(mutex_);
    const size_t provider = spoken_.size();
    spoken_.push_back(false);
    return [this, provider](std::vector<TargetGroup> groups) {
      MutexLock callback_lock(mutex_);
      spoken_[provider] = true;
      last_nanos_ = RealClock().MonotonicNanos();
      for (TargetGroup& group : groups) {
        const std::pair<size_t, std::string> key(provider, group.source);
        if (group.targets.empty()) {
          groups_.erase(key);
        } else {
          groups_[key] = std::move(group);
        }
      }
      changed_.NotifyAll();
    };
  }

  void Wait(DurationMs timeout, bool only_static) {
    MutexLock lock(mutex_);
    const int64_t end = RealClock().MonotonicNanos() + timeout * kNanosPerMs;
    for (;;) {
      const int64_t now = RealClock().MonotonicNanos();
      const bool all =
          std::all_of(spoken_.begin(), spoken_.end(), [](bool spoken) { return spoken; });
      const int64_t quiet = only_static ? now : last_nanos_ + kQuietNanos;
      if (now >= end || (all && now >= quiet)) return;
      RealClock().WaitFor(changed_, mutex_,
                          std::chrono::nanoseconds((all ? std::min(end, quiet) : end) - now));
    }
  }

  std::vector<TargetGroup> Take() {
    MutexLock lock(mutex_);
    std::vector<TargetGroup> groups;
    for (auto& [key, group] : groups_) groups.push_back(std::move(group));
    groups_.clear();
    return groups;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<bool> spoken_ ABSL_GUARDED_BY(mutex_);
  int64_t last_nanos_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::pair<size_t, std::string>, TargetGroup> groups_ ABSL_GUARDED_BY(mutex_);
};

// As Go's encoding/json writes it.
std::string JsonText(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || c == '<' || c == '>' || c == '&') {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string JsonLabels(const Labels& labels) {
  if (labels.empty()) return "{}";
  std::string out;
  for (const LabelView& label : labels) {
    out += fmt::format("{}\n      {}: {}", out.empty() ? "" : ",", JsonText(label.name),
                       JsonText(label.value));
  }
  return fmt::format("{{{}\n    }}", out);
}

// One target of the list.
std::string JsonTarget(const ScrapeConfig& scrape, const TargetGroup& group, const Labels& target) {
  const Labels discovered = DiscoveredLabels(scrape, group.labels, target);
  const absl::StatusOr<std::optional<Target>> made = MakeTarget(scrape, discovered);
  const Labels labels = made.ok() && made->has_value() ? (*made)->labels : Labels();
  std::string error;
  if (!made.ok()) error = fmt::format(",\n    \"error\": {}", JsonText(MessageOf(made.status())));
  return fmt::format("  {{\n    \"discoveredLabels\": {},\n    \"labels\": {}{}\n  }}",
                     JsonLabels(discovered), JsonLabels(labels), error);
}

CheckResult Failed(std::string text) { return {.code = kCheckFailed, .err = std::move(text)}; }

bool OnlyStatic(DiscoveryConfigs configs) {
  configs.static_configs.clear();
  return configs == DiscoveryConfigs();
}

CheckResult Discover(const ScrapeConfig& scrape, DurationMs timeout) {
  CheckResult result;
  prometheus::Registry registry;
  absl::StatusOr<std::unique_ptr<HttpClient>> http = HttpClient::Open({});
  if (!http.ok()) return Failed(fmt::format("{}\n", MessageOf(http.status())));
  FoundGroups found;
  {
    Discoveries discoveries(RealClock(), **http, registry, "scrape");
    const auto running = discoveries.Start(scrape.discovery, scrape.job_name,
                                           [&found] { return found.NewCallback(); });
    found.Wait(timeout, OnlyStatic(scrape.discovery));
    for (const DiscoveryStatus& status : discoveries.Statuses()) {
      if (!status.stale) continue;
      result.err += fmt::format("{} {}: {}\n", status.mechanism, status.source, status.last_error);
    }
  }
  std::vector<std::string> targets;
  for (const TargetGroup& group : found.Take()) {
    for (const Labels& target : group.targets) {
      std::string text = JsonTarget(scrape, group, target);
      // Equal ones are one.
      if (std::find(targets.begin(), targets.end(), text) == targets.end()) {
        targets.push_back(std::move(text));
      }
    }
  }
  result.out = targets.empty() ? "[]" : fmt::format("[\n{}\n]", fmt::join(targets, ",\n"));
  return result;
}

}  // namespace

CheckResult CheckDiscovery(const std::string& config_file, const std::string& job,
                           DurationMs timeout, bool agent_mode) {
  const absl::StatusOr<Config> config = LoadConfig(config_file, {.agent_mode = agent_mode});
  if (!config.ok()) {
    return Failed(fmt::format("Cannot load config {}\n", MessageOf(config.status())));
  }
  std::string jobs;
  for (const ScrapeConfig& scrape : config->scrape_configs) {
    if (scrape.job_name == job) return Discover(scrape, timeout);
    jobs += fmt::format("\t{}\n", scrape.job_name);
  }
  return Failed(fmt::format("Job {} not found. Select one of:\n{}", job, jobs));
}

}  // namespace varve
