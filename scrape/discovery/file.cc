// SPDX-License-Identifier: Apache-2.0
//
// A timer, or a change in a directory, posts a look at the files to the workers; the look that ends
// sets the next timer.
#include "scrape/discovery/file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "model/mutex.h"
#include "model/status_macros.h"
#include "scrape/discovery/directory_watch.h"
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
  FileDiscovery(FileSdConfig config, const std::string& job,
                std::shared_ptr<DiscoveryContext> context, TargetGroupsCallback callback)
      : state_(std::make_shared<State>(std::move(config), job, std::move(context),
                                       std::move(callback))) {
    state_->Start();
  }
  ~FileDiscovery() override { state_->Stop(); }

 private:
  struct KnownFile {
    FileStamp stamp;
    size_t groups = 0;
    bool failing = false;
  };

  // Outlives the discovery while a look is under way.
  class State : public std::enable_shared_from_this<State> {
   public:
    State(FileSdConfig config, const std::string& job, std::shared_ptr<DiscoveryContext> context,
          TargetGroupsCallback callback)
        : config_(std::move(config)),
          context_(std::move(context)),
          callback_(std::move(callback)),
          health_(context_->healths.Add(job, "file",
                                        fmt::format("{}", fmt::join(config_.files, ", ")))) {}

    void Start() {
      std::set<std::string> directories;
      for (const std::string& file : config_.files) {
        const size_t slash = file.rfind('/');
        directories.insert(slash == std::string::npos ? "." : file.substr(0, slash + 1));
      }
      {
        MutexLock lock(mutex_);
        watch_ = WatchDirectories(context_->http.loop(), {directories.begin(), directories.end()},
                                  [weak = weak_from_this()] {
                                    if (const auto self = weak.lock()) self->LookSoon();
                                  });
      }
      Post();
    }

    void Post() {
      context_->workers.Submit([self = shared_from_this()] { self->Look(); });
    }

    void Stop() {
      MutexLock lock(mutex_);
      stopped_ = true;
      if (watch_ != nullptr) watch_->Stop();
      context_->http.loop().Cancel(timer_);
      health_.reset();
    }

   private:
    // On the loop's thread, so without the mutex, which a worker holds for long.
    void LookSoon() {
      if (look_pending_.exchange(true)) return;
      context_->http.loop().RunAfter(kTargetFileSettleTime,
                                     [self = shared_from_this()] { self->Post(); });
    }

    void Look() {
      look_pending_ = false;  // What changes from here on is looked at again.
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
      const bool failing = std::any_of(files_.begin(), files_.end(),
                                       [](const auto& file) { return file.second.failing; });
      if (!failing) health_->Succeeded();
      if (first_ || !changed.empty()) callback_(std::move(changed));
      first_ = false;
      const DurationMs wait = std::min(kTargetFileLookInterval, config_.refresh_interval);
      context_->http.loop().Cancel(timer_);
      timer_ = context_->http.loop().RunAfter(std::chrono::milliseconds(wait),
                                              [self = shared_from_this()] { self->Post(); });
    }

    void LookAt(const std::string& path, std::vector<TargetGroup>& changed)
        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      const FileStamp stamp = StampOf(path);
      KnownFile& known = files_[path];
      if (known.stamp == stamp) return;
      known.stamp = stamp;
      const absl::StatusOr<std::vector<TargetGroup>> groups = ReadTargetFile(path);
      known.failing = !groups.ok();
      if (!groups.ok()) return health_->Failed(groups.status());
      DropTargetGroups(path, groups->size(), known.groups, changed);
      known.groups = groups->size();
      changed.insert(changed.end(), groups->begin(), groups->end());
    }

    const FileSdConfig config_;
    const std::shared_ptr<DiscoveryContext> context_;
    const TargetGroupsCallback callback_;

    std::atomic<bool> look_pending_{false};

    Mutex mutex_;  // Held during callbacks, so that Stop() waits for them.
    std::shared_ptr<DiscoveryHealth> health_ ABSL_GUARDED_BY(mutex_);  // Null once stopped.
    bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
    bool first_ ABSL_GUARDED_BY(mutex_) = true;
    std::shared_ptr<DirectoryWatch> watch_ ABSL_GUARDED_BY(mutex_);  // May be null.
    TimerId timer_ ABSL_GUARDED_BY(mutex_) = kNoTimer;
    std::map<std::string, KnownFile> files_ ABSL_GUARDED_BY(mutex_);
  };

  const std::shared_ptr<State> state_;
};

}  // namespace

absl::StatusOr<std::vector<TargetGroup>> ReadTargetFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseTargetGroups(text, path, "__meta_filepath");
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

std::unique_ptr<Discovery> NewFileDiscovery(const FileSdConfig& config, const std::string& job,
                                            std::shared_ptr<DiscoveryContext> context,
                                            TargetGroupsCallback callback) {
  return std::make_unique<FileDiscovery>(config, job, std::move(context), std::move(callback));
}

}  // namespace varve
