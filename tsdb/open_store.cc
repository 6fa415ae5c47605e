// SPDX-License-Identifier: Apache-2.0
//
// Opening step by step.
#include "tsdb/open_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <rocksdb/env.h>
#include <rocksdb/ldb_tool.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "model/log_line.h"
#include "model/status_macros.h"
#include "tsdb/manifest.h"
#include "tsdb/tools.h"

namespace varve {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kManifestPrefix = "MANIFEST-";
constexpr std::string_view kTableSuffix = ".sst";
constexpr std::string_view kOldTableSuffix = ".ldb";
// More damaged tables than this are no single accident.
constexpr int kRemovedTablesMax = 100;
constexpr int kRemovalTimeoutMs = 60'000;

std::optional<uint64_t> NumberIn(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// What the names in a database's directory say.
struct DirectoryNames {
  bool has_current = false;
  bool has_tables = false;
  std::optional<uint64_t> newest_manifest;
};

DirectoryNames NamesIn(const fs::path& directory) {
  DirectoryNames names;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().native();
    names.has_current |= name == "CURRENT";
    names.has_tables |= name.ends_with(kTableSuffix);
    if (!name.starts_with(kManifestPrefix)) continue;
    const std::optional<uint64_t> number =
        NumberIn(std::string_view(name).substr(kManifestPrefix.size()));
    if (number.has_value()) {
      names.newest_manifest = std::max(names.newest_manifest.value_or(0), *number);
    }
  }
  return names;
}

bool NamesManifest(const fs::path& directory, std::string_view current) {
  if (!current.starts_with(kManifestPrefix) || !current.ends_with('\n')) return false;
  current.remove_suffix(1);
  std::error_code error;
  return NumberIn(current.substr(kManifestPrefix.size())).has_value() &&
         fs::is_regular_file(directory / current, error);
}

// Makes CURRENT name a manifest if there is one. Without, RocksDB would begin anew and delete all
// tables.
absl::Status RestoreCurrent(rocksdb::Env& env, const std::string& path,
                            std::vector<std::string>& losses) {
  const DirectoryNames names = NamesIn(path);
  std::string current;
  if (names.has_current) {
    const rocksdb::Status read = rocksdb::ReadFileToString(&env, path + "/CURRENT", &current);
    if (!read.ok() && !read.IsIOError()) return FromRocks(read, "reading CURRENT");
    if (NamesManifest(path, current)) return absl::OkStatus();
  } else if (!names.has_tables && !names.newest_manifest.has_value()) {
    return absl::OkStatus();  // A new database.
  }
  if (!names.newest_manifest.has_value()) {
    return absl::DataLossError("there is no manifest, which says what the tables hold");
  }
  current = fmt::format("{}{:06}\n", kManifestPrefix, *names.newest_manifest);
  const std::string written = path + "/CURRENT.restored";
  RETURN_IF_ERROR(FromRocks(rocksdb::WriteStringToFile(&env, current, written, /*sync=*/true),
                            "writing CURRENT again"));
  RETURN_IF_ERROR(
      FromRocks(env.RenameFile(written, path + "/CURRENT"), "putting CURRENT in its place"));
  losses.emplace_back("CURRENT was missing or damaged and has been written again");
  return absl::OkStatus();
}

// Whether bytes that were written before are not there any more; other errors may pass.
bool IsDamage(const absl::Status& status) {
  if (absl::IsDataLoss(status)) return true;
  if (!absl::IsUnavailable(status)) return false;
  const std::string text = MessageOf(status);
  return text.find("No such file or directory") != std::string::npos ||
         text.find("Input/output error") != std::string::npos;
}

// A fresh name beside `path`.
std::string AsideName(const std::string& path, TimestampMs now) {
  const auto seconds = static_cast<std::time_t>(now / 1000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &utc);
  const std::string name = fmt::format("{}.damaged-{}", path, text);
  std::error_code error;
  if (!fs::exists(name, error)) return name;
  for (int number = 2;; ++number) {
    std::string numbered = fmt::format("{}-{}", name, number);
    if (!fs::exists(numbered, error)) return numbered;
  }
}

absl::StatusOr<std::string> ReadManifest(rocksdb::Env& env, const std::string& path) {
  std::string name;
  RETURN_IF_ERROR(FromRocks(rocksdb::ReadFileToString(&env, path + "/CURRENT", &name), "CURRENT"));
  if (!name.empty()) name.pop_back();
  std::string manifest;
  RETURN_IF_ERROR(
      FromRocks(rocksdb::ReadFileToString(&env, path + "/" + name, &manifest), "the manifest"));
  return manifest;
}

absl::Status Rebuild(const StoreOptions& options, rocksdb::Env& env, const absl::Status& cause,
                     std::vector<std::string>& losses) {
  spdlog::error(LogLine("The manifest is made again", {{"err", MessageOf(cause)}}));
  const std::string manifest = ReadManifest(env, options.path).value_or("");
  RETURN_IF_ERROR(Store::RebuildManifest(options, FamiliesNamedIn(manifest)));
  losses.push_back(fmt::format(
      "the manifest was damaged and has been made again from the tables and the log: {}",
      MessageOf(cause)));
  return absl::OkStatus();
}

absl::Status SetAside(const std::string& path, const absl::Status& cause, TimestampMs now,
                      std::vector<std::string>& losses) {
  const std::string aside = AsideName(path, now);
  std::error_code error;
  fs::rename(path, aside, error);
  if (!error) fs::create_directory(path, error);
  if (error) {
    return absl::UnavailableError(
        fmt::format("setting aside the damaged data directory \"{}\": {}", path, error.message()));
  }
  losses.push_back(fmt::format("nothing could be opened ({}); the directory is now \"{}\"",
                               MessageOf(cause), aside));
  return absl::OkStatus();
}

absl::Status AwaitEnd(pid_t child) {
  const int descriptor = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
  int ready = 0;
  if (descriptor >= 0) {
    pollfd waited{.fd = descriptor, .events = POLLIN, .revents = 0};
    ready = poll(&waited, 1, kRemovalTimeoutMs);
    close(descriptor);
  }
  if (ready != 1) kill(child, SIGKILL);
  int status = 0;
  if (waitpid(child, &status, 0) != child) return absl::InternalError("lost the child process");
  if (ready == 1 && WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::InternalError(fmt::format("the child process ended with status {}", status));
}

}  // namespace

uint64_t TableNamedIn(std::string_view text) {
  // A table that is missing was looked for under both names.
  size_t end = text.rfind(kTableSuffix);
  if (end == std::string_view::npos) end = text.rfind(kOldTableSuffix);
  if (end == std::string_view::npos) return 0;
  size_t begin = end;
  while (begin > 0 && text[begin - 1] >= '0' && text[begin - 1] <= '9') --begin;
  return NumberIn(text.substr(begin, end - begin)).value_or(0);
}

absl::Status RemoveTable(const std::vector<std::string>& remove_table, const std::string& directory,
                         uint64_t number) {
  if (remove_table.empty()) return absl::UnimplementedError("no program to remove tables with");
  std::vector<std::string> arguments = remove_table;
  arguments.push_back(directory);
  arguments.push_back(std::to_string(number));
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  if (posix_spawn_file_actions_init(&actions) != 0) return absl::InternalError("out of memory");
  pid_t child = 0;
  // What RocksDB's tool prints belongs to no log of ours.
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  const int error = posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return absl::InternalError(fmt::format("starting \"{}\": {}", remove_table[0],
                                           std::generic_category().message(error)));
  }
  return AwaitEnd(child);
}

void RemoveTableAndExit(const std::string& directory, const std::string& number) {
  const std::string database = "--db=" + directory;
  std::vector<std::string> arguments = {"varve", database, "unsafe_remove_sst_file", number};
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  std::vector<std::string> names;
  rocksdb::DB::ListColumnFamilies(rocksdb::DBOptions(), directory, &names).PermitUncheckedError();
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  families.reserve(names.size());
  for (const std::string& name : names) {
    families.emplace_back(name, rocksdb::ColumnFamilyOptions());
  }
  rocksdb::LDBTool().Run(static_cast<int>(argv.size()), argv.data(), rocksdb::Options(),
                         rocksdb::LDBOptions(), &families);
  std::_Exit(EXIT_FAILURE);  // Run() does not return.
}

namespace {

// Steps 2 to 4: opens the database, without damaged records of the log and damaged tables.
absl::StatusOr<std::unique_ptr<Store>> OpenWithoutDamage(
    const StoreOptions& options, const std::vector<std::string>& remove_table,
    std::vector<std::string>& losses) {
  StoreOptions attempt = options;
  for (int removed = 0;;) {
    absl::StatusOr<std::unique_ptr<Store>> store = Store::Open(attempt);
    if (store.ok()) {
      for (const std::string& text : (*store)->dropped_log()) losses.push_back(text);
      return store;
    }
    if (!IsDamage(store.status())) return store;
    const std::string text = MessageOf(store.status());
    spdlog::error(LogLine("The database does not open", {{"err", text}}));
    const uint64_t table = TableNamedIn(text);
    if (table != 0 && removed < kRemovedTablesMax) {
      ++removed;
      const absl::Status done = RemoveTable(remove_table, options.path, table);
      if (done.ok()) {
        losses.push_back(
            fmt::format("table {:06}.sst was damaged and has been removed: {}", table, text));
        continue;
      }
      spdlog::error(LogLine("Removing a damaged table",
                            {{"table", std::to_string(table)}, {"err", MessageOf(done)}}));
    }
    if (std::exchange(attempt.skip_damaged_log, true)) return store;
  }
}

}  // namespace

absl::StatusOr<OpenedStore> OpenReadableStore(const StoreOptions& options,
                                              const std::vector<std::string>& remove_table,
                                              TimestampMs now) {
  OpenedStore opened;
  rocksdb::Env& env = options.env != nullptr ? *options.env : *rocksdb::Env::Default();
  const auto open = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(opened.store, OpenWithoutDamage(options, remove_table, opened.losses));
    return absl::OkStatus();
  };
  absl::Status status = RestoreCurrent(env, options.path, opened.losses);
  if (status.ok() && IsCutOff(ReadManifest(env, options.path).value_or(""))) {
    status = absl::DataLossError("the manifest is cut off");
  }
  if (status.ok()) status = open();
  if (status.ok()) return opened;
  if (!IsDamage(status)) return status;

  absl::Status rebuilt = Rebuild(options, env, status, opened.losses);
  if (rebuilt.ok()) rebuilt = open();
  if (rebuilt.ok()) {
    // All tables are in level 0 now, where whole ones are not deleted: these only move.
    Store& store = *opened.store;
    rebuilt = store.Compact({store.columns().get(), store.labels().get(), store.postings().get()});
    if (rebuilt.ok() || absl::IsDataLoss(rebuilt)) return opened;
  }
  if (absl::IsResourceExhausted(rebuilt) || absl::IsPermissionDenied(rebuilt)) return rebuilt;
  spdlog::error(LogLine("A database whose manifest was made again does not open",
                        {{"err", MessageOf(rebuilt)}}));
  opened.store.reset();
  RETURN_IF_ERROR(SetAside(options.path, status, now, opened.losses));
  ASSIGN_OR_RETURN(opened.store, Store::Open(options));
  return opened;
}

}  // namespace varve
