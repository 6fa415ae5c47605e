// SPDX-License-Identifier: Apache-2.0
//
// A look into a JSON answer. Servers leave out what is empty, so that what is absent, or of another
// type than is asked for, reads as nothing.
#pragma once

#include <absl/status/statusor.h>
#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace varve {

// Refers to the parser's document, which outlives it.
class JsonView {
 public:
  JsonView() = default;
  explicit JsonView(simdjson::dom::element element) : element_(element) {}

  bool exists() const { return element_.has_value() && !element_->is_null(); }

  JsonView operator[](std::string_view name) const {
    simdjson::dom::element member;
    simdjson::dom::object object;
    if (!Get(object) || object.at_key(name).get(member) != simdjson::SUCCESS) return JsonView();
    return JsonView(member);
  }
  std::string_view Text() const {
    std::string_view text;
    return Get(text) ? text : std::string_view();
  }
  int64_t Int() const {
    int64_t number = 0;
    return Get(number) ? number : 0;
  }
  bool Bool() const {
    bool value = false;
    return Get(value) && value;
  }

  // Calls `read(JsonView)` for each element of a list.
  template <typename Read>
  void Each(const Read& read) const {
    simdjson::dom::array list;
    if (!Get(list)) return;
    for (const simdjson::dom::element element : list) read(JsonView(element));
  }
  // Calls `read(std::string_view name, JsonView)` for each member of an object.
  template <typename Read>
  void EachMember(const Read& read) const {
    simdjson::dom::object object;
    if (!Get(object)) return;
    for (const simdjson::dom::key_value_pair member : object) {
      read(member.key, JsonView(member.value));
    }
  }

 private:
  template <typename Value>
  bool Get(Value& value) const {
    return element_.has_value() && element_->get(value) == simdjson::SUCCESS;
  }

  std::optional<simdjson::dom::element> element_;
};

// Parses an answer with `parser`, which outlives the view. Unavailable if it is no JSON.
inline absl::StatusOr<JsonView> ParseAnswer(simdjson::dom::parser& parser,
                                            const std::string& body) {
  simdjson::dom::element root;
  if (const auto error = parser.parse(body).get(root); error != simdjson::SUCCESS) {
    return absl::UnavailableError(simdjson::error_message(error));
  }
  return JsonView(root);
}

}  // namespace varve
