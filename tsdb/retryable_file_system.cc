// SPDX-License-Identifier: Apache-2.0
//
// Marking failed writes.
#include "tsdb/retryable_file_system.h"

#include <rocksdb/file_system.h>

#include <string>
#include <utility>

namespace varve {

namespace {

using rocksdb::FileOptions;
using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

using Flag = std::shared_ptr<std::atomic<bool>>;

IOStatus Mark(IOStatus status, const Flag& failed) {
  if (status.ok() || status.IsNotSupported()) return status;
  failed->store(true);
  if (status.IsIOError()) status.SetRetryable(true);
  return status;
}

class RetryableFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  RetryableFile(std::unique_ptr<FSWritableFile> file, Flag failed)
      : FSWritableFileOwnerWrapper(std::move(file)), failed_(std::move(failed)) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options,
                  IODebugContext* debug) override {
    return Marked(FSWritableFileOwnerWrapper::Append(data, options, debug));
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& verification,
                  IODebugContext* debug) override {
    return Marked(FSWritableFileOwnerWrapper::Append(data, options, verification, debug));
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
    return Marked(FSWritableFileOwnerWrapper::Sync(options, debug));
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Marked(FSWritableFileOwnerWrapper::Fsync(options, debug));
  }
  IOStatus RangeSync(uint64_t offset, uint64_t bytes, const IOOptions& options,
                     IODebugContext* debug) override {
    return Marked(FSWritableFileOwnerWrapper::RangeSync(offset, bytes, options, debug));
  }

 private:
  IOStatus Marked(const IOStatus& status) const { return Mark(status, failed_); }

  const Flag failed_;
};

class RetryableFileSystem : public rocksdb::FileSystemWrapper {
 public:
  RetryableFileSystem(const std::shared_ptr<rocksdb::FileSystem>& base, Flag failed)
      : FileSystemWrapper(base), failed_(std::move(failed)) {}
  const char* Name() const override { return "RetryableFileSystem"; }

  IOStatus NewWritableFile(const std::string& name, const FileOptions& options,
                           std::unique_ptr<FSWritableFile>* result,
                           IODebugContext* debug) override {
    return Wrap(FileSystemWrapper::NewWritableFile(name, options, result, debug), result);
  }
  IOStatus ReopenWritableFile(const std::string& name, const FileOptions& options,
                              std::unique_ptr<FSWritableFile>* result,
                              IODebugContext* debug) override {
    return Wrap(FileSystemWrapper::ReopenWritableFile(name, options, result, debug), result);
  }
  IOStatus ReuseWritableFile(const std::string& name, const std::string& old_name,
                             const FileOptions& options, std::unique_ptr<FSWritableFile>* result,
                             IODebugContext* debug) override {
    return Wrap(FileSystemWrapper::ReuseWritableFile(name, old_name, options, result, debug),
                result);
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* debug) override {
    return Mark(FileSystemWrapper::RenameFile(from, to, options, debug), failed_);
  }

 private:
  IOStatus Wrap(const IOStatus& status, std::unique_ptr<FSWritableFile>* result) const {
    if (status.ok()) *result = std::make_unique<RetryableFile>(std::move(*result), failed_);
    return Mark(status, failed_);
  }

  const Flag failed_;
};

}  // namespace

std::unique_ptr<rocksdb::Env> NewRetryableEnv(rocksdb::Env& base,
                                              std::shared_ptr<std::atomic<bool>> failed) {
  return rocksdb::NewCompositeEnv(
      std::make_shared<RetryableFileSystem>(base.GetFileSystem(), std::move(failed)));
}

}  // namespace varve
