// SPDX-License-Identifier: Apache-2.0
//
// The sole user of yaml-cpp's parser among the configuration's files; its exceptions end here. It
// takes duplicate keys and knows no merge keys, so both are seen to here.
#include "app/yaml_reader.h"

#include <absl/strings/escaping.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "app/byte_size.h"
#include "model/labels.h"

namespace varve {
namespace {

constexpr std::string_view kBinaryTag = "tag:yaml.org,2002:binary";
constexpr int kMergeDepthMax = 8;

int LineOf(const YAML::Node& node, int fallback) {
  const YAML::Mark mark = node.Mark();
  return mark.is_null() || mark.line < 0 ? fallback : mark.line + 1;
}

// The text of a scalar; nothing if `!!binary` holds no base64.
std::optional<std::string> ScalarText(const YAML::Node& node) {
  if (node.Tag() != kBinaryTag) return node.Scalar();
  std::string decoded;
  if (!absl::Base64Unescape(node.Scalar(), &decoded)) return std::nullopt;
  return decoded;
}

// Whether a scalar was written without quotes, and so may be a number or a boolean.
bool IsPlain(const YAML::Node& node) { return node.Tag() != "!"; }

std::string_view KindText(const YAML::Node& node) {
  if (node.IsMap()) return "!!map";
  if (node.IsSequence()) return "!!seq";
  return "!!str";
}

std::optional<bool> ParseYamlBool(std::string_view text) {
  std::string lowered(text);
  for (char& c : lowered) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  if (lowered == "true" || lowered == "yes" || lowered == "on" || lowered == "y") return true;
  if (lowered == "false" || lowered == "no" || lowered == "off" || lowered == "n") return false;
  return std::nullopt;
}

template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

YamlDocument::YamlDocument(std::string_view text, std::string name, std::string directory)
    : name_(std::move(name)), directory_(std::move(directory)) {
  if (text.size() > kYamlBytesMax) {
    Fail(0, "", fmt::format("larger than {} bytes", kYamlBytesMax));
    return;
  }
  try {
    root_ = YAML::Load(std::string(text));  // Of several documents, as in Prometheus, the first.
  } catch (const YAML::Exception& error) {
    Fail(error.mark.is_null() ? 0 : error.mark.line + 1, "", fmt::format("yaml: {}", error.msg));
  }
}

std::string YamlDocument::Resolve(std::string_view path) const {
  if (path.empty() || path.starts_with('/') || directory_.empty()) return std::string(path);
  return fmt::format("{}{}{}", directory_, directory_.ends_with('/') ? "" : "/", path);
}

void YamlDocument::Fail(int line, std::string_view path, std::string_view text) {
  if (!error_.ok()) return;
  std::string message = name_;
  if (line > 0) message += fmt::format(":{}", line);
  if (!path.empty()) message += fmt::format(": {}", path);
  error_ = absl::InvalidArgumentError(fmt::format("{}: {}", message, text));
}

bool YamlDocument::CountValue(int line) {
  if (++values_ <= kYamlValuesMax) return true;
  Fail(line, "", fmt::format("more than {} values", kYamlValuesMax));
  return false;
}

bool YamlValue::ExpectScalar(std::string_view type) const {
  if (node_.IsScalar()) return true;
  if (!IsNull()) Fail(fmt::format("cannot unmarshal {} into {}", KindText(node_), type));
  return false;
}

std::optional<std::string> YamlValue::Text() const {
  std::optional<std::string> text = ScalarText(node_);
  if (!text) Fail("!!binary value contains invalid base64 data");
  return text;
}

void YamlValue::String(std::string& out) const {
  if (!ExpectScalar("string")) return;
  if (const std::optional<std::string> text = Text()) out = *text;
}

void YamlValue::Bool(bool& out) const {
  if (!ExpectScalar("bool")) return;
  const std::optional<bool> value = IsPlain(node_) ? ParseYamlBool(node_.Scalar()) : std::nullopt;
  if (!value) return Fail(fmt::format("cannot unmarshal !!str `{}` into bool", node_.Scalar()));
  out = *value;
}

void YamlValue::Uint(uint64_t& out) const {
  if (!ExpectScalar("uint")) return;
  const auto value =
      IsPlain(node_) ? ParseNumber<uint64_t>(node_.Scalar()) : std::optional<uint64_t>();
  if (!value) return Fail(fmt::format("cannot unmarshal !!str `{}` into uint", node_.Scalar()));
  out = *value;
}

void YamlValue::Int(int64_t& out) const {
  if (!ExpectScalar("int")) return;
  const auto value =
      IsPlain(node_) ? ParseNumber<int64_t>(node_.Scalar()) : std::optional<int64_t>();
  if (!value) return Fail(fmt::format("cannot unmarshal !!str `{}` into int", node_.Scalar()));
  out = *value;
}

void YamlValue::Double(double& out) const {
  if (!ExpectScalar("float64")) return;
  const std::optional<double> value = IsPlain(node_) ? ParseFloat(node_.Scalar()) : std::nullopt;
  if (!value) {
    return Fail(fmt::format("cannot unmarshal !!str `{}` into float64", node_.Scalar()));
  }
  out = *value;
}

void YamlValue::Duration(DurationMs& out) const {
  if (!ExpectScalar("string")) return;
  const absl::StatusOr<DurationMs> value = ParseDuration(node_.Scalar());
  if (!value.ok()) return Fail(value.status());
  out = *value;
}

void YamlValue::Bytes(uint64_t& out) const {
  if (!ExpectScalar("string")) return;
  const absl::StatusOr<uint64_t> value = ParseByteSize(node_.Scalar());
  if (!value.ok()) return Fail(value.status());
  out = *value;
}

void YamlValue::Strings(std::vector<std::string>& out) const {
  out.clear();
  Each([&](const YamlValue& element) { element.String(out.emplace_back()); });
}

void YamlValue::StringMap(std::vector<std::pair<std::string, std::string>>& out) const {
  if (IsNull()) return;
  if (!node_.IsMap()) {
    return Fail(fmt::format("cannot unmarshal {} into map[string]string", KindText(node_)));
  }
  out.clear();
  for (const auto& pair : node_) {
    const int line = LineOf(pair.first, line_);
    if (!document_->CountValue(line)) return;
    const YamlValue key(*document_, pair.first, path_, line);
    std::string name;
    key.String(name);
    const bool twice =
        std::any_of(out.begin(), out.end(), [&](const auto& other) { return other.first == name; });
    if (twice) return key.Fail(fmt::format("key {} already set in map", Quoted(name)));
    std::string text;
    YamlValue(*document_, pair.second, fmt::format("{}.{}", path_, name), line).String(text);
    out.emplace_back(std::move(name), std::move(text));
  }
}

void YamlValue::Each(const std::function<void(const YamlValue&)>& read) const {
  if (IsNull()) return;
  if (!node_.IsSequence()) {
    return Fail(fmt::format("cannot unmarshal {} into a list", KindText(node_)));
  }
  size_t index = 0;
  for (const YAML::Node& element : node_) {
    const int line = LineOf(element, line_);
    if (!document_->CountValue(line) || !document_->error().ok()) return;
    read(YamlValue(*document_, element, fmt::format("{}[{}]", path_, index++), line));
  }
}

FieldReader::FieldReader(const YamlValue& value, std::string_view type)
    : value_(value), type_(type) {
  if (value_.IsNull()) return;
  if (!value_.node().IsMap()) {
    value_.Fail(fmt::format("cannot unmarshal {} into {}", KindText(value_.node()), type_));
    return;
  }
  AddFields(value_.node(), false, 0);
}

// Merged fields (`<<: *other`) do not replace those of the map itself.
void FieldReader::AddFields(const YAML::Node& map, bool merged, int depth) {
  std::vector<YAML::Node> merges;
  for (const auto& pair : map) {
    const int line = LineOf(pair.first, value_.line());
    if (!value_.document().CountValue(line)) return;
    const std::string name =
        pair.first.IsScalar() ? ScalarText(pair.first).value_or("") : std::string();
    if (name == "<<") {
      merges.push_back(pair.second);
      continue;
    }
    const bool known = Has(name);
    if (known && merged) continue;
    std::string path = value_.path().empty() ? name : fmt::format("{}.{}", value_.path(), name);
    YamlValue value(value_.document(), pair.second, std::move(path), line);
    if (known) {
      value.Fail(fmt::format("key {} already set in map", Quoted(name)));
      return;
    }
    fields_.push_back({name, std::move(value)});
  }
  for (const YAML::Node& merge : merges) {
    if (depth >= kMergeDepthMax) return value_.Fail("merge keys nested too deeply");
    if (merge.IsMap()) AddFields(merge, true, depth + 1);
    if (!merge.IsSequence()) continue;
    for (const YAML::Node& each : merge) {
      if (each.IsMap()) AddFields(each, true, depth + 1);
    }
  }
}

bool FieldReader::Has(std::string_view name) const {
  return std::any_of(fields_.begin(), fields_.end(),
                     [&](const Field& field) { return field.name == name; });
}

std::optional<YamlValue> FieldReader::Find(std::string_view name) {
  for (Field& field : fields_) {
    if (field.name != name) continue;
    field.read = true;
    return field.value;
  }
  return std::nullopt;
}

void FieldReader::String(std::string_view name, std::string& out) {
  if (const auto field = Find(name)) field->String(out);
}
void FieldReader::Bool(std::string_view name, bool& out) {
  if (const auto field = Find(name)) field->Bool(out);
}
void FieldReader::Uint(std::string_view name, uint64_t& out) {
  if (const auto field = Find(name)) field->Uint(out);
}
void FieldReader::Int(std::string_view name, int64_t& out) {
  if (const auto field = Find(name)) field->Int(out);
}
void FieldReader::Double(std::string_view name, double& out) {
  if (const auto field = Find(name)) field->Double(out);
}
void FieldReader::Duration(std::string_view name, DurationMs& out) {
  if (const auto field = Find(name)) field->Duration(out);
}
void FieldReader::Bytes(std::string_view name, uint64_t& out) {
  if (const auto field = Find(name)) field->Bytes(out);
}
void FieldReader::SecretText(std::string_view name, Secret& out) {
  std::string text;
  String(name, text);
  if (!text.empty()) out = Secret(std::move(text));
}
void FieldReader::Strings(std::string_view name, std::vector<std::string>& out) {
  if (const auto field = Find(name)) field->Strings(out);
}
void FieldReader::Path(std::string_view name, std::string& out) {
  String(name, out);
  out = value_.document().Resolve(out);
}
void FieldReader::Each(std::string_view name, const std::function<void(const YamlValue&)>& read) {
  if (const auto field = Find(name)) field->Each(read);
}
void FieldReader::Ignore(std::string_view name) { (void)Find(name); }

void FieldReader::Finish() {
  for (const Field& field : fields_) {
    if (field.read) continue;
    field.value.Fail(fmt::format("field {} not found in type {}", field.name, type_));
    return;
  }
}

}  // namespace varve
