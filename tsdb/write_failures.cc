// SPDX-License-Identifier: Apache-2.0
//
// Noting failed writes.
#include "tsdb/write_failures.h"

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
  std::shared_ptr<WriteFailures> failures;
  std::shared_ptr<FlushGate> flush_gate;
};

bool IsLog(const std::string& name) { return name.ends_with(kLogSuffix); }

IOStatus Note(IOStatus status, const std::string& name, const Watch& watch) {
  if (status.ok() || status.IsNotSupported()) return status;
  watch.failures->Note(IsLog(name));
  status.SetRetryable(false);
  return status;
}

// The same for a write without which RocksDB does not go on.
IOStatus NoteWrite(const IOStatus& status, const std::string& name, const Watch& watch) {
  IOStatus noted = Note(status, name, watch);
  if (noted.ok() || noted.IsNotSupported()) return noted;
  if (IsLog(name) || name.find(kManifestPrefix) != std::string::npos || FlushGate::IsFlushing()) {
    watch.flush_gate->Stop();
  }
  return noted;
}

class NotingFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  NotingFile(std::unique_ptr<FSWritableFile> file, std::string name, Watch watch)
      : FSWritableFileOwnerWrapper(std::move(file)),
        name_(std::move(name)),
        watch_(std::move(watch)) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options,
                  IODebugContext* debug) override {
    FlushGate::NoteFileUse();
    if (IsToFail()) return ToRecoverFrom();
    return NoteAppend(FSWritableFileOwnerWrapper::Append(data, options, debug));
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& verification,
                  IODebugContext* debug) override {
    FlushGate::NoteFileUse();
    if (IsToFail()) return ToRecoverFrom();
    return NoteAppend(FSWritableFileOwnerWrapper::Append(data, options, verification, debug));
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    return Noted(FSWritableFileOwnerWrapper::Truncate(size, options, debug));
  }
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    return Noted(FSWritableFileOwnerWrapper::Close(options, debug));
  }
  IOStatus Flush(const IOOptions& options, IODebugContext* debug) override {
    return Noted(FSWritableFileOwnerWrapper::Flush(options, debug));
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    FlushGate::NoteFileUse();
    return NoteWrite(FSWritableFileOwnerWrapper::Sync(options, debug), name_, watch_);
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    FlushGate::NoteFileUse();
    return NoteWrite(FSWritableFileOwnerWrapper::Fsync(options, debug), name_, watch_);
  }
  IOStatus RangeSync(uint64_t offset, uint64_t bytes, const IOOptions& options,
                     IODebugContext* debug) override {
    return Noted(FSWritableFileOwnerWrapper::RangeSync(offset, bytes, options, debug));
  }

 private:
  bool IsToFail() const { return IsLog(name_) && watch_.failures->TakeFailNextLogWrite(); }
  static IOStatus ToRecoverFrom() {
    IOStatus status = IOStatus::IOError("a write is refused so that the database recovers");
    status.SetRetryable(true);
    return status;
  }
  IOStatus NoteAppend(const IOStatus& status) const {
    IOStatus noted = NoteWrite(status, name_, watch_);
    if (!noted.ok() && IsLog(name_)) watch_.failures->AwaitSyncs();
    return noted;
  }
  IOStatus Noted(const IOStatus& status) const { return Note(status, name_, watch_); }

  const std::string name_;
  const Watch watch_;
};

class NotingFileSystem : public rocksdb::FileSystemWrapper {
 public:
  NotingFileSystem(const std::shared_ptr<rocksdb::FileSystem>& base, Watch watch)
      : FileSystemWrapper(base), watch_(std::move(watch)) {}
  const char* Name() const override { return "NotingFileSystem"; }

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
    return Note(FileSystemWrapper::RenameFile(from, to, options, debug), to, watch_);
  }

 private:
  IOStatus Wrap(const IOStatus& status, const std::string& name,
                std::unique_ptr<FSWritableFile>* result) const {
    if (status.ok()) *result = std::make_unique<NotingFile>(std::move(*result), name, watch_);
    return NoteWrite(status, name, watch_);
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

void WriteFailures::Note(bool is_log) {
  any_ = true;
  if (is_log) log_ = true;
}

void WriteFailures::Clear() {
  any_ = false;
  log_ = false;
}

bool WriteFailures::BeginSync() {
  MutexLock lock(mutex_);
  if (any_) return false;
  ++syncs_;
  return true;
}

void WriteFailures::EndSync() {
  MutexLock lock(mutex_);
  --syncs_;
  synced_.NotifyAll();
}

void WriteFailures::AwaitSyncs() {
  MutexLock lock(mutex_);
  while (syncs_ > 0) synced_.Wait(mutex_);
}

NotingEnv NewNotingEnv(rocksdb::Env& base, std::shared_ptr<WriteFailures> failures) {
  auto gate = std::make_shared<FlushGate>(base);
  auto file_system = std::make_shared<NotingFileSystem>(
      base.GetFileSystem(), Watch{.failures = std::move(failures), .flush_gate = gate});
  auto env = std::make_shared<GatedEnv>(rocksdb::NewCompositeEnv(file_system), gate);
  return {.env = std::move(env), .flush_gate = std::move(gate)};
}

}  // namespace varve
