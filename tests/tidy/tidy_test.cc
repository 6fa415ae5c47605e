// SPDX-License-Identifier: Apache-2.0
//
// Rules of the source tree that no compiler checks: which layer may include which, first lines,
// words that have no place here. Of lengths it only reports the longest.

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

// Which layers a layer may include beside itself. docs/architecture.md draws the same arrows.
const std::map<std::string, std::set<std::string>> kAllowedEdges = {
    {"model", {}},
    {"net", {"model"}},
    {"kube", {"model", "net"}},
    {"tsdb", {"model"}},
    {"promql", {"model"}},
    {"scrape", {"model", "net", "kube"}},
    {"rules", {"model", "promql", "net"}},
    {"remote", {"model", "net"}},
    {"http", {"model", "net", "kube", "promql", "scrape", "rules", "remote"}},
    {"app", {"model", "net", "kube", "tsdb", "promql", "scrape", "rules", "remote", "http"}},
};

struct SourceFile {
  std::string path;  // Relative to the root.
  std::string layer;
  std::vector<std::string> lines;
};

std::vector<std::string> ReadLines(const fs::path& path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<SourceFile> ReadSources(const std::vector<std::string>& folders) {
  const fs::path root = VARVE_SOURCE_DIR;
  std::vector<SourceFile> files;
  for (const std::string& folder : folders) {
    if (!fs::exists(root / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string extension = entry.path().extension();
      if (!entry.is_regular_file() || (extension != ".h" && extension != ".cc")) continue;
      files.push_back({fs::relative(entry.path(), root), folder, ReadLines(entry.path())});
    }
  }
  return files;
}

std::vector<std::string> Layers() {
  std::vector<std::string> layers;
  for (const auto& [layer, edges] : kAllowedEdges) layers.push_back(layer);
  return layers;
}

// The layer a line includes, or "" if it includes none of ours.
std::string IncludedLayer(const std::string& line) {
  constexpr std::string_view kInclude = "#include \"";
  if (line.rfind(kInclude, 0) != 0) return "";
  const size_t slash = line.find('/');
  if (slash == std::string::npos) return "";
  const std::string folder = line.substr(kInclude.size(), slash - kInclude.size());
  return kAllowedEdges.count(folder) != 0 ? folder : "";
}

TEST_CASE("tidy: includes follow the layers") {
  size_t includes = 0;
  for (const SourceFile& file : ReadSources(Layers())) {
    for (const std::string& line : file.lines) {
      const std::string layer = IncludedLayer(line);
      if (layer.empty()) continue;
      ++includes;
      const bool allowed = layer == file.layer || kAllowedEdges.at(file.layer).count(layer) != 0;
      CHECK_MESSAGE(allowed, file.path << " must not include " << layer << "/: " << line);
    }
  }
  CHECK(includes > 20);  // The reader of the tree works at all.
}

TEST_CASE("tidy: libraries stay behind the file or layer that wraps them") {
  // Include prefix, and the only places that may use it.
  struct Wrapper {
    std::string prefix;
    std::vector<std::string> places;
  };
  const std::vector<Wrapper> wrappers = {
      {"httplib.h", {"http/"}}, {"boost/spirit", {"promql/"}},
      {"rocksdb/", {"tsdb/"}},  {"curl/", {"net/"}},
      {"CLI/", {"app/"}},
  };
  for (const SourceFile& file : ReadSources(Layers())) {
    for (const std::string& line : file.lines) {
      if (line.rfind("#include <", 0) != 0) continue;
      for (const Wrapper& wrapper : wrappers) {
        if (line.compare(10, wrapper.prefix.size(), wrapper.prefix) != 0) continue;
        const bool allowed =
            std::any_of(wrapper.places.begin(), wrapper.places.end(),
                        [&](const std::string& place) { return file.path.rfind(place, 0) == 0; });
        CHECK_MESSAGE(allowed, file.path << " must not include " << wrapper.prefix);
      }
    }
  }
}

TEST_CASE("tidy: every file starts with its licence and its purpose") {
  std::vector<std::string> folders = Layers();
  folders.push_back("tests");
  folders.push_back("bench");
  for (const SourceFile& file : ReadSources(folders)) {
    CAPTURE(file.path);
    REQUIRE(file.lines.size() > 3);
    CHECK(file.lines[0] == "// SPDX-License-Identifier: Apache-2.0");
    CHECK(file.lines[1] == "//");
    CHECK(file.lines[2].rfind("// ", 0) == 0);
    const bool header = file.path.size() > 2 && file.path.substr(file.path.size() - 2) == ".h";
    if (header) {
      const bool once =
          std::find(file.lines.begin(), file.lines.end(), "#pragma once") != file.lines.end();
      CHECK_MESSAGE(once, file.path << " lacks #pragma once");
    }
  }
}

TEST_CASE("tidy: words that have no place in finished code") {
  // Assembled from halves, so that this file does not trip over itself.
  const std::vector<std::string> banned = {std::string("TO") + "DO", std::string("FIX") + "ME",
                                           std::string("X") + "XX", std::string("HA") + "CK"};
  for (const SourceFile& file : ReadSources(Layers())) {
    for (size_t i = 0; i < file.lines.size(); ++i) {
      for (const std::string& word : banned) {
        CHECK_MESSAGE(file.lines[i].find(word) == std::string::npos,
                      file.path << ":" << i + 1 << " says " << word);
      }
    }
  }
}

TEST_CASE("tidy: names that collect the unrelated") {
  for (const SourceFile& file : ReadSources(Layers())) {
    const std::string name = fs::path(file.path).stem();
    for (const std::string part : {"util", "helper", "common", "misc"}) {
      CHECK_MESSAGE(name.find(part) == std::string::npos, file.path << " is named for nothing");
    }
  }
}

TEST_CASE("tidy: the longest files, for information") {
  std::vector<std::pair<size_t, std::string>> lengths;
  for (const SourceFile& file : ReadSources(Layers())) {
    lengths.emplace_back(file.lines.size(), file.path);
  }
  std::sort(lengths.rbegin(), lengths.rend());
  std::ostringstream report;
  for (size_t i = 0; i < std::min<size_t>(3, lengths.size()); ++i) {
    report << lengths[i].second << " " << lengths[i].first << " lines; ";
  }
  MESSAGE("longest: " << report.str());
}

}  // namespace
