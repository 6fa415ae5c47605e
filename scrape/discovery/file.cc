// SPDX-License-Identifier: Apache-2.0
//
// A timer posts a look at the files to the workers; the look that ends sets the next timer.
#include "scrape/discovery/file.h"

#include <fmt/format.h>
#include <glob.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>

#include "model/log_line.h"
#include "model/mutex.h"
#include "model/status_macros.h"
#include "scrape/discovery/static.h"

namespace varve {
namespace {

absl::Status FileError(const std::string& path, const YAML::Mark& mark, std::string_view text) {
  return absl::InvalidArgumentError(fmt::format("{}:{}: {}", path, mark.line + 1, text));
}

absl::StatusOr<std::vector<std::string>> ReadTargets(const YAML::Node& node,
                                                     const std::string& path) {
  std::vector<std::string> targets;
  if (!node.IsDefined() || node.IsNull()) return targets;
  if (!node.IsSequence()) return FileError(path, node.Mark(), "targets: expected a list");
  for (const YAML::Node& target : node) {
    if (!target.IsScalar()) return FileError(path, target.Mark(), "targets: expected a string");
    targets.push_back(target.Scalar());
  }
  return targets;
}

absl::StatusOr<Labels> ReadLabels(const YAML::Node& node, const std::string& path) {
  std::vector<std::pair<std::string, std::string>> pairs;
  if (node.IsDefined() && !node.IsNull()) {
    if (!node.IsMap()) return FileError(path, node.Mark(), "labels: expected a map");
    for (const auto& label : node) {
      if (!label.first.IsScalar() || !label.second.IsScalar()) {
        return FileError(path, label.second.Mark(), "labels: expected a string");
      }
      const std::string& name = label.first.Scalar();
      if (name.empty() || !IsValidUtf8(name) || !IsValidUtf8(label.second.Scalar())) {
        return FileError(path, label.first.Mark(),
                         fmt::format("{} is not a valid label name", Quoted(name)));
      }
      pairs.emplace_back(name, label.second.Scalar());
    }
  }
  pairs.emplace_back("__meta_filepath", path);
  return Labels::FromPairs(std::move(pairs));
}

absl::StatusOr<TargetGroup> ReadGroup(const YAML::Node& node, const std::string& path,
                                      size_t index) {
  if (!node.IsMap()) return FileError(path, node.Mark(), "expected a target group");
  StaticConfig config;
  for (const auto& field : node) {
    const std::string name = field.first.IsScalar() ? field.first.Scalar() : "";
    if (name != "targets" && name != "labels") {
      return FileError(path, field.first.Mark(),
                       fmt::format("field {} not found in type struct", name));
    }
  }
  ASSIGN_OR_RETURN(config.targets, ReadTargets(node["targets"], path));
  ASSIGN_OR_RETURN(config.labels, ReadLabels(node["labels"], path));
  return StaticGroup(config, fmt::format("{}:{}", path, index));
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::UnavailableError(fmt::format("open {}: no such file", path));
  std::string text;
  file.seekg(0, std::ios::end);
  const auto bytes = static_cast<int64_t>(file.tellg());
  if (bytes < 0 || static_cast<uint64_t>(bytes) > kTargetFileBytesMax) {
    return absl::ResourceExhaustedError(
        fmt::format("{} is larger than {} bytes", path, kTargetFileBytesMax));
  }
  text.resize(bytes);
  file.seekg(0);
  file.read(text.data(), bytes);
  text.resize(file.gcount());
  return text;
}

// What tells whether a file has changed.
struct FileStamp {
  int64_t seconds = 0;
  int64_t nanos = 0;
  int64_t bytes = 0;
  uint64_t inode = 0;
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

FileStamp StampOf(const std::string& path) {
  struct stat status = {};
  if (stat(path.c_str(), &status) != 0) return {};
  return {status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_size, status.st_ino};
}

class FileDiscovery : public Discovery {
 public:
  FileDiscovery(FileSdConfig config, std::shared_ptr<ScrapeContext> context,
                TargetGroupsCallback callback)
      : state_(
            std::make_shared<State>(std::move(config), std::move(context), std::move(callback))) {
    state_->Post();
  }
  ~FileDiscovery() override { state_->Stop(); }

 private:
  struct KnownFile {
    FileStamp stamp;
    size_t groups = 0;
  };

  // Outlives the discovery while a look is under way.
  class State : public std::enable_shared_from_this<State> {
   public:
    State(FileSdConfig config, std::shared_ptr<ScrapeContext> context,
          TargetGroupsCallback callback)
        : config_(std::move(config)),
          context_(std::move(context)),
          callback_(std::move(callback)) {}

    void Post() {
      context_->workers.Submit([self = shared_from_this()] { self->Look(); });
    }

    void Stop() {
      MutexLock lock(mutex_);
      stopped_ = true;
      context_->http.loop().Cancel(timer_);
    }

   private:
    void Look() {
      MutexLock lock(mutex_);
      if (stopped_) return;
      std::vector<TargetGroup> changed;
      const std::vector<std::string> paths = ExpandFilePatterns(config_.files);
      for (const std::string& path : paths) LookAt(path, changed);
      for (auto file = files_.begin(); file != files_.end();) {
        if (std::find(paths.begin(), paths.end(), file->first) != paths.end()) {
          ++file;
          continue;
        }
        DropGroups(file->first, 0, file->second.groups, changed);
        file = files_.erase(file);
      }
      if (first_ || !changed.empty()) callback_(std::move(changed));
      first_ = false;
      const DurationMs wait = std::min(kTargetFileLookInterval, config_.refresh_interval);
      timer_ = context_->http.loop().RunAfter(std::chrono::milliseconds(wait),
                                              [self = shared_from_this()] { self->Post(); });
    }

    void LookAt(const std::string& path, std::vector<TargetGroup>& changed)
        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      const FileStamp stamp = StampOf(path);
      KnownFile& known = files_[path];
      if (known.stamp == stamp) return;
      known.stamp = stamp;
      const absl::StatusOr<std::vector<TargetGroup>> groups = Read(path);
      if (!groups.ok()) {
        spdlog::error(
            LogLine("Error reading file",
                    {{"discovery", "file"}, {"path", path}, {"err", MessageOf(groups.status())}}));
        return;
      }
      DropGroups(path, groups->size(), known.groups, changed);
      known.groups = groups->size();
      changed.insert(changed.end(), groups->begin(), groups->end());
    }

    static absl::StatusOr<std::vector<TargetGroup>> Read(const std::string& path) {
      ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
      return ParseTargetFile(text, path);
    }

    static void DropGroups(const std::string& path, size_t from, size_t to,
                           std::vector<TargetGroup>& changed) {
      for (size_t i = from; i < to; ++i) changed.push_back({fmt::format("{}:{}", path, i), {}, {}});
    }

    const FileSdConfig config_;
    const std::shared_ptr<ScrapeContext> context_;
    const TargetGroupsCallback callback_;

    Mutex mutex_;  // Held during callbacks, so that Stop() waits for them.
    bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
    bool first_ ABSL_GUARDED_BY(mutex_) = true;
    TimerId timer_ ABSL_GUARDED_BY(mutex_) = kNoTimer;
    std::map<std::string, KnownFile> files_ ABSL_GUARDED_BY(mutex_);
  };

  const std::shared_ptr<State> state_;
};

}  // namespace

absl::StatusOr<std::vector<TargetGroup>> ParseTargetFile(std::string_view text,
                                                         const std::string& path) {
  std::vector<TargetGroup> groups;
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (root.IsNull()) return groups;
    if (!root.IsSequence()) return FileError(path, root.Mark(), "expected a list of target groups");
    for (const YAML::Node& node : root) {
      ASSIGN_OR_RETURN(TargetGroup group, ReadGroup(node, path, groups.size()));
      groups.push_back(std::move(group));
    }
  } catch (const YAML::Exception& error) {
    return FileError(path, error.mark, error.msg);
  }
  return groups;
}

std::vector<std::string> ExpandFilePatterns(const std::vector<std::string>& patterns) {
  std::vector<std::string> paths;
  for (const std::string& pattern : patterns) {
    glob_t found = {};
    if (glob(pattern.c_str(), 0, nullptr, &found) == 0) {
      for (size_t i = 0; i < found.gl_pathc; ++i) paths.emplace_back(found.gl_pathv[i]);
    }
    globfree(&found);
  }
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  return paths;
}

std::unique_ptr<Discovery> NewFileDiscovery(const FileSdConfig& config,
                                            std::shared_ptr<ScrapeContext> context,
                                            TargetGroupsCallback callback) {
  return std::make_unique<FileDiscovery>(config, std::move(context), std::move(callback));
}

}  // namespace varve
