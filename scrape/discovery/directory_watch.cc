// SPDX-License-Identifier: Apache-2.0
//
// The descriptor is watched, read and closed on the loop's thread.
#include "scrape/discovery/directory_watch.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace varve {
namespace {

// Not IN_MODIFY: a file that is being written is looked at when it has been.
constexpr uint32_t kChanges = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE;
constexpr size_t kEventBytes = 64 << 10;

// Keeps itself alive until it has been stopped.
class InotifyWatch : public DirectoryWatch,
                     public FdHandler,
                     public std::enable_shared_from_this<InotifyWatch> {
 public:
  InotifyWatch(EventLoop& loop, int fd, std::function<void()> changed)
      : loop_(loop), fd_(fd), changed_(std::move(changed)) {}

  void Start() {
    loop_.Post([self = shared_from_this()] {
      if (self->stopped_ || !self->loop_.WatchFd(self->fd_, EPOLLIN, *self).ok()) return;
      self->keep_ = self;
    });
  }

  void Stop() override {
    loop_.Post([self = shared_from_this()] {
      if (std::exchange(self->stopped_, true)) return;
      self->loop_.UnwatchFd(self->fd_);
      self->keep_.reset();
    });
  }

  ~InotifyWatch() override { close(fd_); }

 private:
  void OnReady(int /*fd*/, uint32_t /*events*/) override {
    const auto self = shared_from_this();
    std::array<char, 4096> buffer;
    size_t bytes = 0;
    for (ssize_t got = 1; got > 0 && bytes < kEventBytes; bytes += buffer.size()) {
      got = read(fd_, buffer.data(), buffer.size());
    }
    changed_();
  }

  EventLoop& loop_;
  const int fd_;
  const std::function<void()> changed_;

  // The loop thread's own.
  bool stopped_ = false;
  std::shared_ptr<InotifyWatch> keep_;
};

}  // namespace

std::shared_ptr<DirectoryWatch> WatchDirectories(EventLoop& loop,
                                                 const std::vector<std::string>& directories,
                                                 std::function<void()> changed) {
  const int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd < 0) return nullptr;
  for (const std::string& directory : directories) {
    inotify_add_watch(fd, directory.c_str(), kChanges | IN_ONLYDIR);
  }
  auto watch = std::make_shared<InotifyWatch>(loop, fd, std::move(changed));
  watch->Start();
  return watch;
}

}  // namespace varve
