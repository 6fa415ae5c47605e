// SPDX-License-Identifier: Apache-2.0
//
// /series, /labels and /label/NAME/values.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "http/api_context.h"
#include "model/status_macros.h"

namespace varve {
namespace {

// Time range, matchers and limit, which the three endpoints share.
struct Selection {
  TimestampMs start = kMinTimestamp;
  TimestampMs end = kMaxTimestamp;
  std::vector<std::vector<Matcher>> sets;
  uint64_t limit = 0;
};

// Answers and returns nothing if a parameter is bad.
std::optional<Selection> ReadSelection(const HttpRequest& request, HttpResponse& response) {
  const auto fail = [&](std::string_view name, const absl::Status& status) {
    AnswerInvalidParameter(name, MessageOf(status), response);
    return std::nullopt;
  };
  const auto limit = LimitParameter(request);
  if (!limit.ok()) return fail("limit", limit.status());
  const auto start = TimeParameter(request, "start", kMinTimestamp);
  if (!start.ok()) return fail("start", start.status());
  const auto end = TimeParameter(request, "end", kMaxTimestamp);
  if (!end.ok()) return fail("end", end.status());
  auto sets = MatchParameters(request);
  if (!sets.ok()) return fail("match[]", sets.status());
  return Selection{.start = *start, .end = *end, .sets = std::move(*sets), .limit = *limit};
}

// What `querier` found.
void AnswerTexts(const Querier& querier, const absl::StatusOr<LabelTexts>& found,
                 HttpResponse& response) {
  if (!found.ok()) {
    return AnswerError({ApiErrorType::kExecution, MessageOf(found.status())}, response);
  }
  Annotations annotations = querier.Warnings();
  if (found->truncated) annotations.AddWarning(std::string(kTruncatedWarning));
  AnswerData(
      response,
      [&](JsonWriter& json) {
        json.BeginArray();
        for (const std::string& text : found->texts) json.String(text);
        json.EndArray();
      },
      annotations);
}

void LabelNames(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  const auto selection = ReadSelection(request, response);
  if (!selection.has_value()) return;
  const auto querier = context.backends.storage->OpenQuerier(selection->start, selection->end);
  if (!querier.ok()) return AnswerInternal(querier.status(), response);
  AnswerTexts(**querier, (*querier)->LabelNames(selection->sets, selection->limit), response);
}

// Reads Prometheus' escape of UTF-8 names, `U__` and `_HEX_` for what a legacy name cannot hold;
// other names, and malformed ones, stay as they are.
std::string UnescapeName(const std::string& name) {
  if (!name.starts_with("U__")) return name;
  std::string out;
  for (size_t i = 3; i < name.size(); ++i) {
    if (name[i] != '_') {
      out.push_back(name[i]);
      continue;
    }
    if (i + 1 < name.size() && name[i + 1] == '_') {
      out.push_back('_');
      ++i;
      continue;
    }
    const size_t close = name.find('_', i + 1);
    if (close == std::string::npos || close == i + 1 || close - i > 7) return name;
    uint32_t rune = 0;
    for (size_t at = i + 1; at < close; ++at) {
      const char c = name[at];
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return name;
      rune = rune * 16 + static_cast<uint32_t>(digit);
    }
    if (rune > 0x10FFFF || (rune >= 0xD800 && rune < 0xE000)) return name;
    if (rune < 0x80) {
      out.push_back(static_cast<char>(rune));
    } else if (rune < 0x800) {
      out.push_back(static_cast<char>(0xC0 | (rune >> 6)));
      out.push_back(static_cast<char>(0x80 | (rune & 0x3F)));
    } else if (rune < 0x10000) {
      out.push_back(static_cast<char>(0xE0 | (rune >> 12)));
      out.push_back(static_cast<char>(0x80 | ((rune >> 6) & 0x3F)));
      out.push_back(static_cast<char>(0x80 | (rune & 0x3F)));
    } else {
      out.push_back(static_cast<char>(0xF0 | (rune >> 18)));
      out.push_back(static_cast<char>(0x80 | ((rune >> 12) & 0x3F)));
      out.push_back(static_cast<char>(0x80 | ((rune >> 6) & 0x3F)));
      out.push_back(static_cast<char>(0x80 | (rune & 0x3F)));
    }
    i = close;
  }
  return out;
}

void LabelValues(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  const std::string name = UnescapeName(request.path_values.at(0));
  if (name.empty() || !IsValidUtf8(name)) {
    return AnswerBadData(fmt::format("invalid label name: {}", Quoted(name)), response);
  }
  const auto selection = ReadSelection(request, response);
  if (!selection.has_value()) return;
  const auto querier = context.backends.storage->OpenQuerier(selection->start, selection->end);
  if (!querier.ok()) return AnswerInternal(querier.status(), response);
  AnswerTexts(**querier, (*querier)->LabelValues(name, selection->sets, selection->limit),
              response);
}

// Series that were found, and what holds their labels.
struct FoundSeries {
  std::vector<std::unique_ptr<SeriesSet>> sets;
  std::vector<const Labels*> labels;
};

// The union of the sets, sorted, each series once; one more than `limit` shows that it cut.
absl::StatusOr<FoundSeries> SelectSeries(const Querier& querier, const Selection& selection) {
  SelectHints hints;
  hints.start_ms = selection.start;
  hints.end_ms = selection.end;
  hints.function = "series";
  hints.limit = selection.limit == 0 ? 0 : selection.limit + 1;
  FoundSeries found;
  std::vector<const Labels*>& labels = found.labels;
  for (const std::vector<Matcher>& matchers : selection.sets) {
    ASSIGN_OR_RETURN(std::unique_ptr<SeriesSet> set, querier.Select(matchers, hints));
    const size_t count =
        hints.limit == 0 ? set->size() : std::min<size_t>(set->size(), hints.limit);
    labels.reserve(labels.size() + count);
    for (size_t i = 0; i < count; ++i) labels.push_back(&set->labels(i));
    found.sets.push_back(std::move(set));
  }
  if (selection.sets.size() > 1) {
    std::sort(labels.begin(), labels.end(),
              [](const Labels* a, const Labels* b) { return *a < *b; });
    labels.erase(std::unique(labels.begin(), labels.end(),
                             [](const Labels* a, const Labels* b) { return *a == *b; }),
                 labels.end());
  }
  return found;
}

void Series(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  if (!request.params.Has("match[]")) {
    return AnswerBadData("no match[] parameter provided", response);
  }
  const auto selection = ReadSelection(request, response);
  if (!selection.has_value()) return;
  const auto querier = context.backends.storage->OpenQuerier(selection->start, selection->end);
  if (!querier.ok()) return AnswerInternal(querier.status(), response);
  absl::StatusOr<FoundSeries> found = SelectSeries(**querier, *selection);
  if (!found.ok()) {
    return AnswerError({ApiErrorType::kExecution, MessageOf(found.status())}, response);
  }
  Annotations annotations = (*querier)->Warnings();
  std::vector<const Labels*>& series = found->labels;
  if (selection->limit > 0 && series.size() > selection->limit) {
    series.resize(selection->limit);
    annotations.AddWarning(std::string(kTruncatedWarning));
  }
  AnswerData(
      response,
      [&](JsonWriter& json) {
        json.BeginArray();
        for (const Labels* labels : series) json.LabelSet(*labels);
        json.EndArray();
      },
      annotations);
}

}  // namespace

void AddLabelRoutes(ApiContext& context, Router& router) {
  const auto add = [&](std::vector<std::string> methods, std::string_view path, auto handler) {
    router.AddAll(methods, path,
                  [&context, handler](const HttpRequest& request, HttpResponse& response) {
                    handler(context, request, response);
                  },
                  {.gated = true});
  };
  add({"GET", "POST"}, "/api/v1/labels", LabelNames);
  add({"GET"}, "/api/v1/label/:name/values", LabelValues);
  add({"GET", "POST"}, "/api/v1/series", Series);
}

}  // namespace varve
