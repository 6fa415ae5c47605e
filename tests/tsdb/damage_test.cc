// SPDX-License-Identifier: Apache-2.0
//
// Goal: whatever is damaged, the storage opens, says so, reads the rest, and goes on; what it reads
// is what was written, and damage of one part costs that part.
// Method: a directory with data in every kind of file is copied; one file of the copy is changed (a
// bit flipped at a random place, cut off, removed), then opened, read, written to, sealed and
// opened once more.
#include <doctest/doctest.h>
#include <rocksdb/db.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>

#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"
#include "tsdb/format.h"
#include "tsdb/manifest.h"
#include "tsdb/tools.h"

namespace varve {
namespace {

namespace fs = std::filesystem;

// The child that removes a table; the last two arguments are directory and number.
TEST_CASE("remove table child" * doctest::skip()) {
  std::ifstream in("/proc/self/cmdline");
  std::vector<std::string> arguments;
  for (std::string argument; std::getline(in, argument, '\0');) arguments.push_back(argument);
  if (arguments.size() < 5) return;
  RemoveTableAndExit(arguments[arguments.size() - 2], arguments.back());
}

const std::vector<std::string>& RemoveTableCommand() {
  static const std::vector<std::string> kCommand = {"/proc/self/exe",
                                                    "--test-case=remove table child", "--no-skip"};
  return kCommand;
}

constexpr int kDamageSeries = 60;
constexpr int kDamageMinutes = 5 * 60;
// Deleted by tombstones that lie in a table, and in the write-ahead log.
constexpr int kDeletedInTable = 7;
constexpr int kDeletedInLog = 9;

Labels DamageLabels(int series) {
  return Labels::Of({{"__name__", series % 2 == 0 ? "even" : "odd"},
                     {"series", std::to_string(series)},
                     {"some_longer_label", std::string(200, 'a' + series % 20)}});
}

// The family of each table of a data directory, without its number.
std::map<std::string, std::string> FamiliesOfTables(const std::string& data) {
  const TempDir scratch;
  fs::copy(data, scratch.path(), fs::copy_options::recursive);
  const std::string path = scratch.path() + "/varve";
  std::vector<std::string> names;
  REQUIRE(rocksdb::DB::ListColumnFamilies({}, path, &names).ok());
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const std::string& name : names) families.emplace_back(name, rocksdb::ColumnFamilyOptions());
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  REQUIRE(rocksdb::DB::OpenForReadOnly({}, path, families, &handles, &db).ok());
  std::map<std::string, std::string> found;
  std::vector<rocksdb::LiveFileMetaData> tables;
  db->GetLiveFilesMetaData(&tables);
  for (const auto& table : tables) {
    const std::string& family = table.column_family_name;
    found[fs::path(table.name).filename()] = family.substr(0, family.find('.'));
  }
  for (rocksdb::ColumnFamilyHandle* handle : handles) db->DestroyColumnFamilyHandle(handle);
  delete db;
  return found;
}

// Series that have samples.
Contents ReadStored(const Db& db) {
  Contents contents = ReadAll(db);
  std::erase_if(contents, [](const auto& series) { return series.second.empty(); });
  return contents;
}

// Data in every family: generations of two hours, a hot family, a checkpoint, a log, tombstones,
// exemplars, metadata.
struct DamageFixture {
  TempDir dir;
  ManualClock clock{kBegin};
  DbOptions options{.path = dir.path(),
                    .retention = 0,
                    .hot_epoch = kHour,
                    .write_buffer_bytes = 64 << 10,
                    .background = false,
                    .remove_table = RemoveTableCommand()};
  Contents fed;
  Contents ever_fed;  // Before deletes.
  int minutes = 0;

  DamageFixture() {
    auto db = MustOpen(options, clock);
    while (minutes < kDamageMinutes) {
      Feed(*db);
      // Later chunks stay in a hot family, in a table of its own.
      if (minutes % 30 == 0 && minutes < kDamageMinutes) REQUIRE(db->Maintain().ok());
      if (minutes == kDamageMinutes - 15) {
        REQUIRE(db->Close().ok());
        db.reset();
        db = MustOpen(options, clock);
      }
      if (minutes == kDamageMinutes - 5) {
        Delete(*db, kDeletedInTable);
        Kill(std::move(db));
        fs::remove_all(dir.path());
        fs::copy(copied->path(), dir.path(), fs::copy_options::recursive);
        MakeTablesOfLog();
        db = MustOpen(options, clock);
      }
      if (minutes % 45 == 0) REQUIRE(db->Checkpoint().ok());
    }
    Delete(*db, kDeletedInLog);
    CHECK(ReadStored(*db) == fed);
    Kill(std::move(db));
  }

  void Delete(Db& db, int series) {
    const Matcher matcher = Matcher::Equal("series", std::to_string(series));
    REQUIRE(db.DeleteSeries({{matcher}}, kBegin, kMaxTimestamp).ok());
    fed.erase(DamageLabels(series).ToString());
  }

  // RocksDB's own way to open makes tables of what is in the write-ahead log, of all families.
  void MakeTablesOfLog() const {
    const std::string path = dir.path() + "/varve";
    std::vector<std::string> names;
    REQUIRE(rocksdb::DB::ListColumnFamilies({}, path, &names).ok());
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (const std::string& name : names) {
      families.emplace_back(name, rocksdb::ColumnFamilyOptions()).options.disable_auto_compactions =
          true;
    }
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* db = nullptr;
    REQUIRE(rocksdb::DB::Open({}, path, families, &handles, &db).ok());
    for (rocksdb::ColumnFamilyHandle* handle : handles) db->DestroyColumnFamilyHandle(handle);
    delete db;
  }

  // `copied` is what a process that was killed now would leave.
  void Kill(std::unique_ptr<Db> db) {
    REQUIRE(db->Sync().ok());
    copied = std::make_unique<TempDir>();
    fs::copy(dir.path(), copied->path(), fs::copy_options::recursive);
  }

  void Feed(Db& db) {
    const TimestampMs time = kBegin + minutes * kMinute;
    clock.Set(time);
    const auto appender = db.NewAppender();
    for (int series = 0; series < kDamageSeries; ++series) {
      const double value = series * 1000 + minutes % 17 * 0.37;
      const Labels labels = DamageLabels(series);
      const auto ref = appender->Append(kNoSeries, labels, time, value);
      REQUIRE(ref.ok());
      fed[labels.ToString()].push_back(SampleText(time, value, 0));
      ever_fed[labels.ToString()].push_back(SampleText(time, value, 0));
      if (minutes % 30 == 0 && series % 10 == 0) {
        Exemplar exemplar{.labels = Labels::Of({{"trace", std::string(40, 'x')}}),
                          .value = value,
                          .time = time,
                          .has_time = true};
        REQUIRE(appender->AppendExemplar(*ref, labels, exemplar).ok());
      }
    }
    if (minutes % 30 == 0) {
      for (int i = 0; i < 20; ++i) {
        const std::string metric = "metric" + std::to_string(minutes * 100 + i);
        REQUIRE(appender->AppendMetadata(metric, {MetricType::kGauge, "help", "s"}).ok());
      }
    }
    REQUIRE(appender->Commit().ok());
    ++minutes;
  }

  // Files of the killed copy, with the family of each table.
  std::map<std::string, std::string> Files() const {
    std::map<std::string, std::string> files = FamiliesOfTables(copied->path());
    for (const auto& file : fs::directory_iterator(copied->path() + "/varve")) {
      const std::string name = file.path().filename();
      if (name.ends_with(".sst") || file.is_directory() || file.file_size() == 0) continue;
      files[name] = name.ends_with(".log") ? "wal" : name.substr(0, name.find('-'));
    }
    return files;
  }

  std::unique_ptr<TempDir> copied;
};

size_t SampleCount(const Contents& contents) {
  size_t count = 0;
  for (const auto& [labels, texts] : contents) count += texts.size();
  return count;
}

// Every sample found was written, for its series. What was deleted may be back: damage may have
// cost the tombstone.
void CheckNothingInvented(const Contents& found, const Contents& ever_fed) {
  for (const auto& [labels, texts] : found) {
    const auto all = ever_fed.find(labels);
    REQUIRE(all != ever_fed.end());
    // Both are in order of time.
    CHECK(std::includes(all->second.begin(), all->second.end(), texts.begin(), texts.end()));
  }
}

void FlipBit(const fs::path& path, std::mt19937_64& random) {
  std::fstream stream(path, std::ios::in | std::ios::out | std::ios::binary);
  const auto position = static_cast<std::streamoff>(random() % fs::file_size(path));
  stream.seekg(position);
  const int byte = stream.get();
  stream.seekp(position);
  stream.put(static_cast<char>(byte ^ (1 << random() % 8)));
}

bool IsMended(const std::string& kind) {
  return kind != kColumnsFamily && kind != kLabelsFamily && kind != kPostingsFamily;
}

// Opens a copy with `harm` done to it; returns how many samples are left.
size_t Survivors(DamageFixture& fixture, const std::string& file, bool is_mended,
                 const std::function<void(const fs::path&)>& harm) {
  const TempDir work;
  fs::copy(fixture.copied->path(), work.path(), fs::copy_options::recursive);
  harm(fs::path(work.path()) / "varve" / file);
  DbOptions options = fixture.options;
  options.path = work.path();
  auto db = MustOpen(options, fixture.clock);
  const Contents found = ReadStored(*db);
  CheckNothingInvented(found, fixture.ever_fed);
  // A log that ends early looks as if nothing had come after.
  if (found != fixture.fed && !file.ends_with(".log")) CHECK(db->Counters().corruptions > 0);

  // It goes on.
  const TimestampMs time = kBegin + kDamageMinutes * kMinute;
  const Labels labels = Labels::Of({{"series", "new"}});
  MustAppend(*db, labels, time, 1);
  for (const absl::Status& status : {db->Maintain(), db->Seal(), db->Close()}) {
    CHECK_MESSAGE(status.ok(), status.ToString());
  }
  db.reset();
  db = MustOpen(options, fixture.clock);
  Contents again = ReadStored(*db);
  CHECK(again.erase(labels.ToString()) == 1);
  CheckNothingInvented(again, fixture.ever_fed);
  CHECK(SampleCount(again) >= SampleCount(found));
  // Noticed once and mended; but for what is in a generation, which stays until that is merged.
  if (is_mended) CHECK(db->Counters().corruptions == 0);
  REQUIRE(db->Close().ok());
  return SampleCount(found);
}

TEST_CASE("damage: a manifest that RocksDB does not take says which families there are") {
  const TempDir dir;
  rocksdb::Options options;
  options.create_if_missing = true;
  rocksdb::DB* db = nullptr;
  REQUIRE(rocksdb::DB::Open(options, dir.path() + "/db", &db).ok());
  std::map<uint32_t, std::string> families;
  for (int i = 0; i < 40; ++i) {
    // Other edits, so that there is more than a block of the manifest.
    REQUIRE(db->Put({}, std::string(1000, 'a'), "b").ok());
    if (i % 2 == 0) REQUIRE(db->Flush({}).ok());
    rocksdb::ColumnFamilyHandle* handle = nullptr;
    const std::string name = i == 0 ? "meta" : NumberedFamily(i % 2 == 0 ? "hot." : "log.", i);
    REQUIRE(db->CreateColumnFamily({}, name, &handle).ok());
    if (i % 3 == 1) {
      REQUIRE(db->DropColumnFamily(handle).ok());
    } else {
      families.emplace(handle->GetID(), name);
    }
    REQUIRE(db->DestroyColumnFamilyHandle(handle).ok());
  }
  delete db;
  std::string manifest;
  for (const auto& file : fs::directory_iterator(dir.path() + "/db")) {
    if (!file.path().filename().native().starts_with("MANIFEST")) continue;
    std::ifstream in(file.path(), std::ios::binary);
    manifest.assign(std::istreambuf_iterator<char>(in), {});
  }
  REQUIRE(manifest.size() > 32768);
  CHECK(FamiliesNamedIn(manifest) == families);
  CHECK_FALSE(IsCutOff(manifest));
  CHECK_FALSE(IsCutOff({}));
  CHECK(IsCutOff(manifest.substr(0, manifest.size() - 1)));
  CHECK(IsCutOff(manifest.substr(0, 6)));
  // A flipped bit costs one name, or two if it makes one number another; in a drop it leaves one
  // too many.
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    std::string damaged = manifest;
    damaged[random() % damaged.size()] ^= static_cast<char>(1 << random() % 8);
    const std::map<uint32_t, std::string> found = FamiliesNamedIn(damaged);
    const auto missing = std::count_if(families.begin(), families.end(), [&](const auto& family) {
      const auto it = found.find(family.first);
      return it == found.end() || it->second != family.second;
    });
    CHECK(missing <= 2);
    IsCutOff(damaged);
  }
  for (const size_t length : {size_t{0}, size_t{5}, manifest.size() / 2}) {
    CHECK(FamiliesNamedIn(manifest.substr(0, length)).size() <= families.size());
  }
}

TEST_CASE_FIXTURE(DamageFixture, "damage: a flipped bit in any file costs its own range") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const size_t all = SampleCount(fed);
  std::map<std::string, size_t> worst;  // Survivors by kind.
  std::map<std::string, std::vector<std::string>> by_kind;
  for (const auto& [file, kind] : Files()) by_kind[kind].push_back(file);
  for (const char* kind :
       {"wal", "MANIFEST", "CURRENT", "OPTIONS", "columns", "labels", "postings", "series", "head",
        "meta", "hot", "log", "exemplars", "tombstones", "metadata"}) {
    CHECK_MESSAGE(by_kind.contains(kind), std::string(kind));
  }
  for (const auto& [kind_now, files] : by_kind) {
    const std::string kind = kind_now;  // A name that CAPTURE() takes.
    for (int round = 0; round < TestRounds(2); ++round) {
      const std::string& file = files[random() % files.size()];
      CAPTURE(kind);
      CAPTURE(file);
      const size_t left = Survivors(*this, file, IsMended(kind),
                                    [&](const fs::path& path) { FlipBit(path, random); });
      MESSAGE(kind, " ", file, ": ", left, " of ", all);
      const auto [it, added] = worst.try_emplace(kind, left);
      it->second = std::min(it->second, left);
    }
  }
  // Whatever says only where things are costs nothing; whatever holds samples costs some.
  for (const char* kind :
       {"CURRENT", "OPTIONS", "IDENTITY", "LOCK", "postings", "exemplars", "metadata"}) {
    if (worst.contains(kind)) CHECK_MESSAGE(worst[kind] == all, kind);
  }
  // Without a tombstone there is what it deleted, too.
  if (worst.contains("tombstones")) CHECK(worst["tombstones"] >= all);
  for (const char* kind :
       {"wal", "head", "series", "labels", "columns", "hot", "log", "meta", "MANIFEST"}) {
    if (worst.contains(kind)) CHECK_MESSAGE(worst[kind] >= all / 2, kind);
  }
}

TEST_CASE_FIXTURE(DamageFixture, "damage: cut off and missing files") {
  using Way = std::pair<const char*, void (*)(const fs::path&)>;
  static const std::array<Way, 3> kWays = {
      {{"halved", [](const fs::path& path) { fs::resize_file(path, fs::file_size(path) / 2); }},
       {"emptied", [](const fs::path& path) { fs::resize_file(path, 0); }},
       {"removed", [](const fs::path& path) { fs::remove(path); }}}};
  const size_t all = SampleCount(fed);
  size_t next = 0;  // Where not each is tried with each kind, kinds take turns.
  std::map<std::string, std::string> one_of_each;
  for (const auto& [file, kind] : Files()) one_of_each.try_emplace(kind, file);
  for (const auto& [kind_now, file_now] : one_of_each) {
    const std::string kind = kind_now;  // Names that CAPTURE() takes.
    const std::string file = file_now;
    CAPTURE(kind);
    CAPTURE(file);
    size_t least = all;
    for (int round = 0; round < TestRounds(static_cast<int>(kWays.size())); ++round) {
      const auto& [way, damage] = kWays[next++ % kWays.size()];
      const size_t left = Survivors(*this, file, IsMended(kind), damage);
      MESSAGE(kind, " ", file, " ", way, ": ", left, " of ", all);
      least = std::min(least, left);
    }
    if (kind == "CURRENT" || kind == "OPTIONS" || kind == "postings" || kind == "exemplars" ||
        kind == "metadata") {
      CHECK(least == all);
    }
  }
}

// The warnings that names, and values of `i`, of all time come with; `values` is how many came.
std::string WarningsOfTexts(const Db& db, const std::vector<std::vector<Matcher>>& matchers,
                            size_t& values) {
  const auto querier = db.OpenQuerier(kMinTimestamp, kMaxTimestamp);
  REQUIRE(querier.ok());
  REQUIRE((*querier)->LabelNames(matchers, 0).ok());
  const auto found = (*querier)->LabelValues("i", matchers, 0);
  REQUIRE(found.ok());
  values = found->texts.size();
  std::string text;
  for (const std::string& warning : (*querier)->Warnings().ShownWarnings()) text += warning + "\n";
  return text;
}

TEST_CASE("damage: names and values that cannot be read are missed aloud") {
  constexpr size_t kOldSeries = 3000;
  const TempDir dir;
  ManualClock clock(kBegin);
  DbOptions options{.path = dir.path(),
                    .retention = 0,
                    .background = false,
                    .remove_table = RemoveTableCommand()};
  {
    auto db = MustOpen(options, clock);
    const auto appender = db->NewAppender();
    for (size_t i = 0; i < kOldSeries; ++i) {
      const Labels labels = Labels::Of({{"__name__", "old"}, {"i", std::to_string(i)}});
      REQUIRE(appender->Append(kNoSeries, labels, clock.Now(), 1).ok());
    }
    REQUIRE(appender->Commit().ok());
    for (int i = 0; i < 24; ++i) {
      clock.Advance(10 * kMinute);
      MustAppend(*db, Labels::Of({{"__name__", "new"}}), clock.Now(), i);
      REQUIRE(db->Maintain().ok());
    }
    REQUIRE(db->Seal().ok());
    REQUIRE(db->Head().series == 1);
    size_t values = 0;
    CHECK(WarningsOfTexts(*db, {}, values).empty());
    CHECK(values == kOldSeries);
  }
  const std::vector<std::vector<Matcher>> old = {{Matcher::Equal("__name__", "old")}};
  for (const bool removed : {false, true}) {
    CAPTURE(removed);
    const TempDir work;
    fs::copy(dir.path(), work.path(), fs::copy_options::recursive);
    for (const auto& [file, family] : FamiliesOfTables(work.path())) {
      if (family != kPostingsFamily) continue;
      const fs::path path = fs::path(work.path()) / "varve" / file;
      if (removed) {
        fs::remove(path);
        continue;
      }
      std::fstream stream(path, std::ios::in | std::ios::out | std::ios::binary);
      stream.seekp(static_cast<std::streamoff>(fs::file_size(path) / 2));
      stream << "damage";
    }
    options.path = work.path();
    auto db = MustOpen(options, clock);
    size_t values = 0;
    const std::string warnings = WarningsOfTexts(*db, {}, values);
    CHECK(warnings.find("stored data is damaged and left out: label values from 20") !=
          std::string::npos);
    // Few keys are looked at for names.
    if (removed) CHECK(warnings.find("left out: label names from 20") != std::string::npos);
    CHECK(values < kOldSeries);
    // Series have labels of their own.
    CHECK(WarningsOfTexts(*db, old, values).empty());
    CHECK(values == kOldSeries);
  }
}

}  // namespace
}  // namespace varve
