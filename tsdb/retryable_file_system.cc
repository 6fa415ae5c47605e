// SPDX-License-Identifier: Apache-2.0
//
// Marking failed writes.
#include "tsdb/retryable_file_system.h"

#include <rocksdb/file_system.h>

#include <string>
#include <string_view>
#include <utility>

namespace varve {

namespace {

using rocksdb::FileOptions;
using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

constexpr std::string_view kLogSuffix = ".log";
constexpr std::string_view kManifestPrefix = "MANIFEST-";

struct Watch {
  std::shared_ptr<FailedWrites> failed;
  std::shared_ptr<FlushGate> flush_gate;
};

bool IsManifest(const std::string& name) { return name.find(kManifestPrefix) != std::string::npos; }

// Notes and marks a failure.
IOStatus Mark(IOStatus status, const std::string& name, const Watch& watch) {
  if (status.ok() || status.IsNotSupported()) return status;
  watch.failed->any = true;
  if (name.ends_with(kLogSuffix)) {
    watch.failed->log = true;
    MutexLock lock(watch.failed->mutex);
    watch.failed->failed_log = name;
  }
  if (status.IsIOError()) status.SetRetryable(true);
  return status;
}

// The same for a write without which RocksDB does not go on.
IOStatus MarkWrite(const IOStatus& status, const std::string& name, const Watch& watch) {
  IOStatus marked = Mark(status, name, watch);
  if (marked.ok() || marked.IsNotSupported()) return marked;
  if (name.ends_with(kLogSuffix) || IsManifest(name) || FlushGate::IsFlushing()) {
    watch.flush_gate->Stop();
  }
  return marked;
}

IOStatus Withheld() { return IOStatus::IOError("nothing is written to a manifest for a moment"); }

class RetryableFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  RetryableFile(std::unique_ptr<FSWritableFile> file, std::string name, Watch watch)
      : FSWritableFileOwnerWrapper(std::move(file)),
        name_(std::move(name)),
        watch_(std::move(watch)) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options,
                  IODebugContext* debug) override {
    FlushGate::NoteFileUse();
    if (IsWithheld()) return MarkWrite(Withheld(), name_, watch_);
    return MarkWrite(FSWritableFileOwnerWrapper::Append(data, options, debug), name_, watch_);
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& verification,
                  IODebugContext* debug) override {
    FlushGate::NoteFileUse();
    if (IsWithheld()) return MarkWrite(Withheld(), name_, watch_);
    return MarkWrite(FSWritableFileOwnerWrapper::Append(data, options, verification, debug), name_,
                     watch_);
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    return Marked(FSWritableFileOwnerWrapper::Truncate(size, options, debug));
  }
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    return Marked(FSWritableFileOwnerWrapper::Close(options, debug));
  }
  IOStatus Flush(const IOOptions& options, IODebugContext* debug) override {
    return Marked(FSWritableFileOwnerWrapper::Flush(options, debug));
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    FlushGate::NoteFileUse();
    return MarkWrite(FSWritableFileOwnerWrapper::Sync(options, debug), name_, watch_);
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    FlushGate::NoteFileUse();
    return MarkWrite(FSWritableFileOwnerWrapper::Fsync(options, debug), name_, watch_);
  }
  IOStatus RangeSync(uint64_t offset, uint64_t bytes, const IOOptions& options,
                     IODebugContext* debug) override {
    return Marked(FSWritableFileOwnerWrapper::RangeSync(offset, bytes, options, debug));
  }

 private:
  bool IsWithheld() const { return watch_.failed->withhold_manifest && IsManifest(name_); }
  IOStatus Marked(const IOStatus& status) const { return Mark(status, name_, watch_); }

  const std::string name_;
  const Watch watch_;
};

class RetryableFileSystem : public rocksdb::FileSystemWrapper {
 public:
  RetryableFileSystem(const std::shared_ptr<rocksdb::FileSystem>& base, Watch watch)
      : FileSystemWrapper(base), watch_(std::move(watch)) {}
  const char* Name() const override { return "RetryableFileSystem"; }

  IOStatus NewWritableFile(const std::string& name, const FileOptions& options,
                           std::unique_ptr<FSWritableFile>* result,
                           IODebugContext* debug) override {
    FlushGate::NoteFileUse();
    return Wrap(FileSystemWrapper::NewWritableFile(name, options, result, debug), name, result);
  }
  IOStatus ReopenWritableFile(const std::string& name, const FileOptions& options,
                              std::unique_ptr<FSWritableFile>* result,
                              IODebugContext* debug) override {
    return Wrap(FileSystemWrapper::ReopenWritableFile(name, options, result, debug), name, result);
  }
  IOStatus ReuseWritableFile(const std::string& name, const std::string& old_name,
                             const FileOptions& options, std::unique_ptr<FSWritableFile>* result,
                             IODebugContext* debug) override {
    return Wrap(FileSystemWrapper::ReuseWritableFile(name, old_name, options, result, debug), name,
                result);
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* debug) override {
    return Mark(FileSystemWrapper::RenameFile(from, to, options, debug), to, watch_);
  }

 private:
  IOStatus Wrap(const IOStatus& status, const std::string& name,
                std::unique_ptr<FSWritableFile>* result) const {
    if (status.ok()) {
      *result = std::make_unique<RetryableFile>(std::move(*result), name, watch_);
      if (name.ends_with(kLogSuffix)) {
        MutexLock lock(watch_.failed->mutex);
        watch_.failed->newest_log = name;
      }
    }
    return MarkWrite(status, name, watch_);
  }

  const Watch watch_;
};

// Has flushes go through the gate.
class GatedEnv : public rocksdb::EnvWrapper {
 public:
  GatedEnv(std::unique_ptr<rocksdb::Env> env, std::shared_ptr<FlushGate> gate)
      : EnvWrapper(std::move(env)), gate_(std::move(gate)) {
    // EnvWrapper has a file system of its own, which forgets what a status says beside its code.
    file_system_ = target()->GetFileSystem();
    system_clock_ = target()->GetSystemClock();
  }

  void Schedule(void (*run)(void*), void* argument, Priority priority, void* tag,
                void (*cancel)(void*)) override {
    if (priority != Priority::HIGH) {
      EnvWrapper::Schedule(run, argument, priority, tag, cancel);
    } else {
      gate_->Schedule({.run = run, .argument = argument, .tag = tag, .cancel = cancel});
    }
  }
  int UnSchedule(void* tag, Priority priority) override {
    return priority == Priority::HIGH ? gate_->UnSchedule(tag)
                                      : EnvWrapper::UnSchedule(tag, priority);
  }

 private:
  const std::shared_ptr<FlushGate> gate_;
};

}  // namespace

bool FailedWrites::NewestLogFailed() const {
  MutexLock lock(mutex);
  return !failed_log.empty() && failed_log == newest_log;
}

RetryableEnv NewRetryableEnv(rocksdb::Env& base, std::shared_ptr<FailedWrites> failed) {
  auto gate = std::make_shared<FlushGate>(base);
  auto file_system = std::make_shared<RetryableFileSystem>(
      base.GetFileSystem(), Watch{.failed = std::move(failed), .flush_gate = gate});
  auto env = std::make_shared<GatedEnv>(rocksdb::NewCompositeEnv(file_system), gate);
  return {.env = std::move(env), .flush_gate = std::move(gate)};
}

}  // namespace varve
