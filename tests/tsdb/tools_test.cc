// SPDX-License-Identifier: Apache-2.0
//
// `varve tsdb seal`, `verify` and `analyze`: what they do to a directory, and what they refuse.
#include "tsdb/tools.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"

namespace varve {
namespace {

struct ToolsFixture {
  TempDir dir;
  ManualClock clock{kBegin};
  DbOptions options{.path = dir.path(), .retention = 0, .lookahead_limit = 0, .background = false};

  // Leaves an hour of three metrics behind.
  Contents Fill() {
    auto db = MustOpen(options, clock);
    for (int i = 0; i < 240; ++i) {
      clock.Advance(15 * kSecond);
      const auto appender = db->NewAppender();
      for (const char* name : {"requests", "constant", "noise"}) {
        const double value = *name == 'r' ? i * 7 : *name == 'c' ? 42 : std::sin(i);
        REQUIRE(appender
                    ->Append(kNoSeries, Labels::Of({{"__name__", name}, {"job", "test"}}),
                             clock.Now(), value)
                    .ok());
      }
      REQUIRE(appender->Commit().ok());
    }
    Contents contents = ReadAll(*db);
    REQUIRE(db->Close().ok());
    return contents;
  }
};

TEST_CASE_FIXTURE(ToolsFixture, "seal: the same samples, in columns") {
  const Contents before = Fill();
  const auto text = SealData(dir.path());
  REQUIRE_MESSAGE(text.ok(), text.status().ToString());
  CHECK(text->find("720 samples in ") == 0);
  {
    auto db = MustOpen(options, clock);
    CHECK(ReadAll(*db) == before);
    CHECK(db->Stored().generation_samples == 720);
    CHECK(db->replayed_records() == 0);
    CHECK(absl::IsUnavailable(SealData(dir.path()).status()));
  }
  CHECK(SealData(dir.path()).ok());
}

TEST_CASE_FIXTURE(ToolsFixture, "verify: reads everything, names what is damaged") {
  Fill();
  auto report = VerifyData(dir.path());
  REQUIRE(report.ok());
  CHECK_MESSAGE(report->problem_count == 0, report->ToText());
  CHECK(report->hot_chunks + report->log_records > 0);
  REQUIRE(SealData(dir.path()).ok());
  report = VerifyData(dir.path());
  REQUIRE(report.ok());
  CHECK_MESSAGE(report->problem_count == 0, report->ToText());
  CHECK(report->column_rows >= 3);
  CHECK(report->postings >= 5);
  CHECK(report->ToText().find("no damage found") != std::string::npos);

  // One bit of the largest table: where the columns are.
  std::filesystem::path largest;
  for (const auto& file : std::filesystem::directory_iterator(dir.path() + "/varve")) {
    if (file.path().extension() != ".sst") continue;
    if (largest.empty() || file.file_size() > std::filesystem::file_size(largest)) {
      largest = file.path();
    }
  }
  REQUIRE(!largest.empty());
  {
    std::fstream stream(largest, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(100);
    const int byte = stream.get();
    stream.seekp(100);
    stream.put(static_cast<char>(byte ^ 4));
  }
  report = VerifyData(dir.path());
  REQUIRE(report.ok());
  CHECK(report->problem_count > 0);
  CHECK(report->ToText().find(" problems") != std::string::npos);
}

TEST_CASE_FIXTURE(ToolsFixture, "analyze: bytes by metric and encoding") {
  Fill();
  REQUIRE(SealData(dir.path()).ok());
  const auto text = AnalyzeData(dir.path(), 2);
  REQUIRE_MESSAGE(text.ok(), text.status().ToString());
  CHECK(text->find("720 samples") != std::string::npos);
  // The two largest of three: the constant costs least.
  CHECK(text->find("\nnoise ") != std::string::npos);
  CHECK(text->find("\nrequests ") != std::string::npos);
  CHECK(text->find("\nconstant ") == std::string::npos);
  CHECK(text->find("\n__name__ ") != std::string::npos);
}

// The fields of the line that begins with `name`, below the line that begins with `table`.
std::vector<std::string> LineOf(const std::string& text, const std::string& table,
                                const std::string& name) {
  const size_t begin = text.find("\n" + table + " ");
  REQUIRE(begin != std::string::npos);
  const size_t line = text.find("\n" + name + " ", begin);
  REQUIRE_MESSAGE(line != std::string::npos, text);
  const size_t fields = line + 1 + name.size();
  std::istringstream words(text.substr(fields, text.find('\n', fields) - fields));
  return {std::istream_iterator<std::string>(words), std::istream_iterator<std::string>()};
}

TEST_CASE_FIXTURE(ToolsFixture, "analyze: a series of several buckets counts once") {
  options.bucket_size = kHour;
  {
    auto db = MustOpen(options, clock);
    for (int i = 0; i < 300; ++i) {
      clock.Advance(kMinute);
      for (const char* job : {"x", "y"}) {
        MustAppend(*db, Labels::Of({{"__name__", "m"}, {"job", job}}), clock.Now(), i);
      }
    }
    REQUIRE(db->Close().ok());
  }
  // Not folded yet.
  auto text = AnalyzeData(dir.path(), 5);
  REQUIRE_MESSAGE(text.ok(), text.status().ToString());
  CHECK(text->find("0 generations, 0 series, 0 samples, 0 bytes") == 0);
  CHECK(std::stoi(LineOf(*text, "family", "hot.*")[0]) >= 8);
  CHECK(std::stoi(LineOf(*text, "family", "hot.*")[1]) > 600);
  CHECK(LineOf(*text, "family", "series")[0] == "2");
  REQUIRE(SealData(dir.path()).ok());
  text = AnalyzeData(dir.path(), 5);
  REQUIRE_MESSAGE(text.ok(), text.status().ToString());
  CHECK(text->find(" generations, 2 series, 600 samples, ") != std::string::npos);
  CHECK(text->find("1 generations") == std::string::npos);
  const std::vector<std::string> metric = LineOf(*text, "metric", "m");
  CHECK(metric[0] == "2");
  CHECK(metric[1] == "600");
  CHECK(std::stod(metric[3]) == doctest::Approx(std::stod(metric[2]) / 600).epsilon(0.01));
  CHECK(LineOf(*text, "label", "job")[0] == "2");
  CHECK(LineOf(*text, "label", "job")[1] == "2");
  CHECK(LineOf(*text, "label", "__name__")[0] == "1");
  CHECK(LineOf(*text, "encoding", "values integer delta constant")[1] == "600");
  CHECK(std::stoi(LineOf(*text, "family", "columns")[0]) >= 10);
}

TEST_CASE("tools refuse what is no data directory") {
  const TempDir dir;
  CHECK(absl::IsNotFound(SealData(dir.path()).status()));
  CHECK(absl::IsNotFound(VerifyData(dir.path()).status()));
  CHECK(absl::IsNotFound(AnalyzeData(dir.path(), 5).status()));
  CHECK(std::filesystem::is_empty(dir.path()));
}

}  // namespace
}  // namespace varve
