// SPDX-License-Identifier: Apache-2.0
//
// Strict reading of YAML: a value knows its field path and line, a map refuses keys nobody asked
// for. The first error of a document stops nothing but is the one that is reported, so that code
// which reads fields needs no branches:
//
//   FieldReader fields(value, "config.GlobalConfig");
//   fields.Duration("scrape_interval", config.scrape_interval);
//   fields.Finish();     // `prometheus.yml:3: global.foo: field foo not found in type ...`
//   RETURN_IF_ERROR(document.error());
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/status_macros.h"
#include "model/time.h"
#include "net/secret.h"

namespace varve {

// What a document may hold. Values are counted as read: one that is referred to by several aliases
// counts each time. (Nesting is limited by yaml-cpp, to 500.)
inline constexpr size_t kYamlBytesMax = 64 << 20;
inline constexpr size_t kYamlValuesMax = 10'000'000;

// A file's name, its first error, and its directory.
class YamlDocument {
 public:
  // Parses `text`. An error of syntax is in error(), and root() is then null.
  YamlDocument(std::string_view text, std::string name, std::string directory);
  YamlDocument(const YamlDocument&) = delete;
  YamlDocument& operator=(const YamlDocument&) = delete;

  const YAML::Node& root() const { return root_; }
  const std::string& name() const { return name_; }

  // `path` against the document's directory; "" and absolute paths as they are.
  std::string Resolve(std::string_view path) const;

  // InvalidArgument with the first error, or OK.
  absl::Status error() const { return error_; }
  // Records `NAME:LINE: PATH: text`, unless there is an error already. Lines count from 1; 0 leaves
  // the line out.
  void Fail(int line, std::string_view path, std::string_view text);
  // Counts a value as read; Fail()s past kYamlValuesMax and then returns false.
  bool CountValue(int line);

 private:
  const std::string name_;
  const std::string directory_;
  YAML::Node root_;
  absl::Status error_;
  size_t values_ = 0;
};

// A value of a document with the path of fields that leads to it.
class YamlValue {
 public:
  YamlValue(YamlDocument& document, const YAML::Node& node, std::string path, int line)
      : document_(&document), node_(node), path_(std::move(path)), line_(line) {}

  YamlDocument& document() const { return *document_; }
  const YAML::Node& node() const { return node_; }
  const std::string& path() const { return path_; }
  int line() const { return line_; }
  bool IsNull() const { return !node_.IsDefined() || node_.IsNull(); }

  void Fail(std::string_view text) const { document_->Fail(line_, path_, text); }
  void Fail(const absl::Status& status) const {
    if (!status.ok()) Fail(MessageOf(status));
  }

  // The value as its type; a wrong type is a Fail() and leaves `out` as it is, null leaves it too.
  void String(std::string& out) const;
  void Bool(bool& out) const;
  void Uint(uint64_t& out) const;
  void Int(int64_t& out) const;
  void Double(double& out) const;
  void Duration(DurationMs& out) const;
  // `512MB`, `1GiB`, `0`: bytes in powers of 1024.
  void Bytes(uint64_t& out) const;
  void Strings(std::vector<std::string>& out) const;
  // Pairs in order of writing; duplicate keys are a Fail().
  void StringMap(std::vector<std::pair<std::string, std::string>>& out) const;
  // Calls `read` for each element of a list; null counts as an empty one.
  void Each(const std::function<void(const YamlValue&)>& read) const;

 private:
  bool ExpectScalar(std::string_view type) const;
  std::optional<std::string> Text() const;

  YamlDocument* document_;
  YAML::Node node_;
  std::string path_;
  int line_;
};

// Reads the fields of one map, each at most once; Finish() refuses the others.
class FieldReader {
 public:
  // `type` names the map in errors. Null counts as an empty map.
  FieldReader(const YamlValue& value, std::string_view type);

  const YamlValue& value() const { return value_; }

  // The field, marked as known; nothing if it is not there. A null value is there.
  std::optional<YamlValue> Find(std::string_view name);
  bool Has(std::string_view name) const;

  void String(std::string_view name, std::string& out);
  void Bool(std::string_view name, bool& out);
  void Uint(std::string_view name, uint64_t& out);
  void Int(std::string_view name, int64_t& out);
  void Double(std::string_view name, double& out);
  void Duration(std::string_view name, DurationMs& out);
  void Bytes(std::string_view name, uint64_t& out);
  void SecretText(std::string_view name, Secret& out);
  void Strings(std::string_view name, std::vector<std::string>& out);
  // A path, resolved against the document's directory.
  void Path(std::string_view name, std::string& out);
  // Calls `read` for each element of a list.
  void Each(std::string_view name, const std::function<void(const YamlValue&)>& read);
  // Takes note of a field whose value is not used, whatever it is.
  void Ignore(std::string_view name);

  // Fails at the first field that was not read.
  void Finish();

 private:
  struct Field {
    std::string name;
    YamlValue value;
    bool read = false;
  };
  void AddFields(const YAML::Node& map, bool merged, int depth);

  const YamlValue value_;
  const std::string type_;
  std::vector<Field> fields_;
};

}  // namespace varve
