// SPDX-License-Identifier: Apache-2.0
//
// A timer posts a look at the files to the workers; the look that ends sets the next timer.
#include "scrape/discovery/file.h"

#include <fmt/format.h>
#include <glob.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>

#include "model/log_line.h"
#include "model/mutex.h"
#include "model/status_macros.h"
#include "scrape/discovery/target_groups.h"

namespace varve {
namespace {

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
        DropTargetGroups(file->first, 0, file->second.groups, changed);
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
      DropTargetGroups(path, groups->size(), known.groups, changed);
      known.groups = groups->size();
      changed.insert(changed.end(), groups->begin(), groups->end());
    }

    static absl::StatusOr<std::vector<TargetGroup>> Read(const std::string& path) {
      ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
      return ParseTargetGroups(text, path, "__meta_filepath");
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
