// SPDX-License-Identifier: Apache-2.0
//
// A child process with two pipes, in a process group of its own so that what it starts ends with
// it.
#include "kube/exec_plugin.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <simdjson.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>

#include "model/status_macros.h"

extern char** environ;

namespace varve {
namespace {

constexpr size_t kErrorBytesMax = 1024;
constexpr int64_t kMsPerSecond = 1000;

// The pipes of a child; closed when it goes.
class Pipe {
 public:
  Pipe() {
    if (pipe2(fds_.data(), O_CLOEXEC) != 0) fds_ = {-1, -1};
  }
  ~Pipe() {
    CloseRead();
    CloseWrite();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  int read_fd() const { return fds_[0]; }
  int write_fd() const { return fds_[1]; }
  void CloseRead() { Close(fds_[0]); }
  void CloseWrite() { Close(fds_[1]); }

 private:
  static void Close(int& fd) {
    if (fd >= 0) close(fd);
    fd = -1;
  }
  std::array<int, 2> fds_ = {-1, -1};
};

std::string ExecInfo(const ExecPluginConfig& config) {
  const std::string cluster =
      config.cluster_json.empty() ? "" : fmt::format(R"("cluster":{},)", config.cluster_json);
  return fmt::format(
      R"({{"kind":"ExecCredential","apiVersion":"{}","spec":{{{}"interactive":false}}}})",
      config.api_version, cluster);
}

// This process' environment with the plugin's variables, which win.
std::vector<std::string> Environment(const ExecPluginConfig& config) {
  std::vector<std::pair<std::string, std::string>> own = config.env;
  own.emplace_back("KUBERNETES_EXEC_INFO", ExecInfo(config));
  std::vector<std::string> result;
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string_view text(*each);
    const std::string_view name = text.substr(0, text.find('='));
    bool replaced = false;
    for (const auto& variable : own) replaced = replaced || variable.first == name;
    if (!replaced) result.emplace_back(text);
  }
  for (const auto& [name, value] : own) result.push_back(fmt::format("{}={}", name, value));
  return result;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Starts the plugin; an errno in `error` if it cannot.
pid_t Spawn(const ExecPluginConfig& config, const Pipe& output, const Pipe& errors, int& error) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output.write_fd(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors.write_fd(), STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // This process blocks and ignores signals that the plugin should feel.
  sigset_t none;
  sigemptyset(&none);
  sigset_t defaults;
  sigemptyset(&defaults);
  for (const int signal : {SIGPIPE, SIGHUP, SIGTERM, SIGINT}) sigaddset(&defaults, signal);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  std::vector<std::string> arguments = {config.command};
  arguments.insert(arguments.end(), config.args.begin(), config.args.end());
  std::vector<std::string> environment = Environment(config);
  pid_t child = -1;
  error = posix_spawnp(&child, config.command.c_str(), &actions, &attributes,
                       Pointers(arguments).data(), Pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error == 0 ? child : -1;
}

// Reads both pipes to their ends. An error if the time is over, the output too long or `stop_fd`
// readable.
absl::Status ReadAll(int output_fd, int errors_fd, int stop_fd, std::chrono::milliseconds timeout,
                     std::string& output, std::string& errors) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  std::array<pollfd, 3> fds = {{{.fd = output_fd, .events = POLLIN, .revents = 0},
                                {.fd = errors_fd, .events = POLLIN, .revents = 0},
                                {.fd = stop_fd, .events = POLLIN, .revents = 0}}};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      return absl::DeadlineExceededError(fmt::format("no credential after {} ms", timeout.count()));
    }
    if (poll(fds.data(), fds.size(), static_cast<int>(left.count())) < 0 && errno != EINTR) {
      return absl::ErrnoToStatus(errno, "waiting for the plugin");
    }
    if (fds[2].revents != 0) return absl::CancelledError("stopping");
    for (const size_t i : {size_t{0}, size_t{1}}) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      std::array<char, 4096> buffer;
      const ssize_t bytes = read(fds[i].fd, buffer.data(), buffer.size());
      if (bytes < 0 && errno == EINTR) continue;
      if (bytes <= 0) {
        fds[i].fd = -1;  // poll() passes over it.
        continue;
      }
      std::string& text = i == 0 ? output : errors;
      text.append(buffer.data(), static_cast<size_t>(bytes));
      if (i == 1 && errors.size() > kErrorBytesMax) errors.resize(kErrorBytesMax);
      if (output.size() > kExecPluginBytesMax) {
        return absl::ResourceExhaustedError(
            fmt::format("more than {} bytes of output", kExecPluginBytesMax));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> RunPlugin(const ExecPluginConfig& config, int stop_fd) {
  Pipe output;
  Pipe errors;
  int error = 0;
  const pid_t child = Spawn(config, output, errors, error);
  if (child < 0) {
    const std::string hint =
        config.install_hint.empty() ? "" : fmt::format("\n{}", config.install_hint);
    return absl::UnavailableError(fmt::format("exec: executable {} failed: {}{}", config.command,
                                              std::strerror(error), hint));
  }
  output.CloseWrite();
  errors.CloseWrite();
  std::string text;
  std::string error_text;
  const absl::Status status =
      ReadAll(output.read_fd(), errors.read_fd(), stop_fd, config.timeout, text, error_text);
  // Whatever it has left behind goes too; after a good end there is mostly nobody.
  kill(-child, SIGKILL);
  int exit_status = 0;
  while (waitpid(child, &exit_status, 0) < 0 && errno == EINTR) {
  }
  if (!status.ok()) {
    return absl::Status(status.code(), fmt::format("exec: executable {} failed: {}", config.command,
                                                   MessageOf(status)));
  }
  if (WIFEXITED(exit_status) && WEXITSTATUS(exit_status) != 0) {
    return absl::UnavailableError(fmt::format("exec: executable {} failed with exit code {}: {}",
                                              config.command, WEXITSTATUS(exit_status),
                                              error_text));
  }
  return text;
}

// "2026-01-02T03:04:05Z" in ms, or nothing.
std::optional<int64_t> ParseExpiry(const std::string& text) {
  std::tm time{};
  const char* const rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &time);
  if (rest == nullptr) return std::nullopt;
  int64_t seconds = timegm(&time);
  const char* zone = rest;
  if (*zone == '.') {
    ++zone;
    while (*zone >= '0' && *zone <= '9') ++zone;
  }
  int hours = 0;
  int minutes = 0;
  if (*zone != 'Z') {
    if ((*zone != '+' && *zone != '-') || std::sscanf(zone + 1, "%2d:%2d", &hours, &minutes) != 2) {
      return std::nullopt;
    }
    const int64_t offset = int64_t{hours} * 3600 + int64_t{minutes} * 60;
    seconds += *zone == '+' ? -offset : offset;
  }
  return seconds * kMsPerSecond;
}

}  // namespace

absl::StatusOr<ExecCredential> ParseExecCredential(const std::string& json,
                                                   const std::string& api_version) {
  const auto invalid = [](std::string_view text) {
    return absl::InvalidArgumentError(fmt::format("decoding stdout: {}", text));
  };
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (const auto error = parser.parse(json).get(root); error != simdjson::SUCCESS) {
    return invalid(simdjson::error_message(error));
  }
  const auto text = [](simdjson::simdjson_result<simdjson::dom::element> element) -> std::string {
    std::string_view value;
    return element.get(value) == simdjson::SUCCESS ? std::string(value) : "";
  };
  if (text(root["kind"]) != "ExecCredential") return invalid("not an ExecCredential");
  if (const std::string version = text(root["apiVersion"]); version != api_version) {
    return invalid(
        fmt::format("exec plugin is configured to use API version {}, plugin returned "
                    "version {}",
                    api_version, version));
  }
  const auto status = root["status"];
  ExecCredential credential{.token = text(status["token"]),
                            .cert_pem = text(status["clientCertificateData"]),
                            .key_pem = text(status["clientKeyData"])};
  if (credential.cert_pem.empty() != credential.key_pem.empty()) {
    return invalid("exec plugin returned only certificate or key, not both");
  }
  if (credential.token.empty() && credential.cert_pem.empty()) {
    return invalid("exec plugin didn't return a token or cert/key pair");
  }
  if (const std::string expiry = text(status["expirationTimestamp"]); !expiry.empty()) {
    const std::optional<int64_t> ms = ParseExpiry(expiry);
    if (!ms) return invalid(fmt::format("expirationTimestamp \"{}\" is no time", expiry));
    credential.expiry_ms = *ms;
  }
  return credential;
}

void ExecPlugin::Stop() {
  std::thread thread;
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    if (running_) eventfd_write(stop_fd_, 1);
    thread = std::move(thread_);
  }
  if (thread.joinable()) thread.join();
  MutexLock lock(mutex_);
  if (stop_fd_ >= 0) close(std::exchange(stop_fd_, -1));
}

bool ExecPlugin::IsGood() const {
  return credential_.has_value() &&
         (credential_->expiry_ms == 0 || clock_.Now() < credential_->expiry_ms);
}

std::optional<ExecCredential> ExecPlugin::Current() {
  MutexLock lock(mutex_);
  return IsGood() ? credential_ : std::nullopt;
}

void ExecPlugin::Get(Done done) {
  absl::StatusOr<ExecCredential> known = absl::CancelledError("stopped");
  {
    MutexLock lock(mutex_);
    if (!stopped_) {
      if (!IsGood()) {
        waiting_.push_back(std::move(done));
        return StartRun();
      }
      known = *credential_;
    }
  }
  done(std::move(known));
}

void ExecPlugin::StartRun() {
  if (running_) return;
  running_ = true;
  if (stop_fd_ < 0) stop_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  // The last run's thread has nothing left to do but to end.
  if (thread_.joinable()) thread_.join();
  thread_ = std::thread([this, stop_fd = stop_fd_] { Run(stop_fd); });
}

void ExecPlugin::Drop() {
  MutexLock lock(mutex_);
  credential_.reset();
}

void ExecPlugin::Run(int stop_fd) {
  for (;;) {
    const absl::StatusOr<std::string> output = RunPlugin(config_, stop_fd);
    const absl::StatusOr<ExecCredential> credential =
        output.ok() ? ParseExecCredential(*output, config_.api_version)
                    : absl::StatusOr<ExecCredential>(output.status());
    if (!Tell(credential)) return;
  }
}

bool ExecPlugin::Tell(const absl::StatusOr<ExecCredential>& credential) {
  for (bool first = true;; first = false) {
    std::vector<Done> waiting;
    {
      MutexLock lock(mutex_);
      if (first && credential.ok()) credential_ = *credential;
      if (waiting_.empty()) {
        running_ = false;
        return false;
      }
      // Who came while others were told gets the same, unless that has expired or been dropped.
      if (!first && credential.ok() && !IsGood() && !stopped_) return true;
      waiting = std::exchange(waiting_, {});
    }
    for (Done& done : waiting) done(credential);
  }
}

}  // namespace varve
