// SPDX-License-Identifier: Apache-2.0
//
// /query, /query_range and /query_exemplars; the queries that run, and how to end one.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <variant>

#include "http/api_context.h"
#include "http/query_stats.h"
#include "model/status_macros.h"
#include "promql/ast.h"
#include "promql/workers.h"

namespace varve {
namespace {

using promql::Matrix;
using promql::QueryResult;
using promql::ScalarResult;
using promql::StringResult;
using promql::Vector;

constexpr int64_t kPointsMax = 11'000;
// Answers of about this length are held as text.
constexpr uint64_t kWholeBytesMax = 8 << 20;

// Of `1.2.3.4:5` or `[::1]:5`.
std::string_view IpOf(std::string_view address) {
  address = address.substr(0, address.rfind(':'));
  if (address.starts_with('[') && address.ends_with(']')) {
    address = address.substr(1, address.size() - 2);
  }
  return address;
}

void WriteScalar(JsonWriter& json, const ScalarResult& scalar) {
  json.FloatPair(scalar.time, scalar.value);
}

void WriteString(JsonWriter& json, const StringResult& text) {
  json.BeginArray();
  json.Timestamp(text.time);
  json.String(text.value);
  json.EndArray();
}

void WriteVector(JsonWriter& json, const Vector& vector) {
  json.BeginArray();
  for (const promql::VectorSample& sample : vector) {
    if (!json.alive()) break;
    json.InstantSample(sample.labels, sample.time, sample.value, sample.histogram.get());
  }
  json.EndArray();
}

// Lets go of what it has written.
void WriteSeries(JsonWriter& json, promql::MatrixSeries& series) {
  json.BeginObject();
  json.Key("metric");
  json.LabelSet(series.labels);
  if (!series.floats.empty()) {
    json.Key("values");
    json.FloatPairs(series.floats);
  }
  if (!series.histograms.empty()) {
    json.Key("histograms");
    json.BeginArray();
    for (const HistogramSample& sample : series.histograms) {
      json.HistogramPair(sample.time, *sample.histogram);
    }
    json.EndArray();
  }
  json.EndObject();
  series = {};
}

// About how long the text of a series is: one of its values is looked at.
uint64_t TextBytes(const promql::MatrixSeries& series) {
  constexpr uint64_t kPairBytes = 16;  // But for its value.
  constexpr uint64_t kHistogramBytes = 1024;
  const uint64_t others =
      2 * series.labels.bytes().size() + series.histograms.size() * kHistogramBytes;
  if (series.floats.empty()) return others;
  const double value = series.floats[series.floats.size() / 2].value;
  return others + series.floats.size() * (kPairBytes + FormatFloat(value).size());
}

uint64_t TextBytes(const Matrix& matrix) {
  uint64_t bytes = 0;
  for (const promql::MatrixSeries& series : matrix) bytes += TextBytes(series);
  return bytes;
}

// The texts of parts of a matrix, made by several threads; a comma before each but the first.
std::vector<std::string> WriteParts(promql::Workers& workers, uint64_t bytes, Matrix& matrix) {
  // Each writes the times anew, which a part should be long enough for.
  constexpr uint64_t kPartBytes = 512 << 10;
  constexpr size_t kPartSeries = 8;
  size_t parts = std::max<uint64_t>(2, bytes / kPartBytes);
  // Where one series more makes a part too long, each thread had better make one.
  if (matrix.size() < parts * kPartSeries) parts = std::min(parts, workers.threads() + 1);
  parts = std::min(parts, matrix.size());
  std::vector<std::string> texts(parts);
  const auto loop = workers.Start(parts, [&](size_t part) {
    JsonWriter json;
    json.Reserve(bytes / parts * 9 / 8);
    if (part > 0) json.ContinueList();
    const size_t end = (part + 1) * matrix.size() / parts;
    for (size_t i = part * matrix.size() / parts; i < end; ++i) WriteSeries(json, matrix[i]);
    texts[part] = json.Take();
  });
  workers.Finish(*loop);
  return texts;
}

// With `workers` if these are worth waking.
void WriteMatrix(JsonWriter& json, promql::Workers* workers, Matrix& matrix) {
  constexpr uint64_t kBytesForThreads = 256 << 10;
  json.BeginArray();
  const uint64_t bytes = workers == nullptr ? 0 : TextBytes(matrix);
  if (bytes >= kBytesForThreads && workers->threads() > 0) {
    for (std::string& text : WriteParts(*workers, bytes, matrix)) json.Written(std::move(text));
  } else {
    for (promql::MatrixSeries& series : matrix) {
      if (!json.alive()) break;
      WriteSeries(json, series);
    }
  }
  json.EndArray();
}

void WriteUnmatched(JsonWriter& json, std::string_view side,
                    const promql::ExplainUnmatched& unmatched) {
  json.Key(side);
  json.BeginObject();
  json.Member("unmatched", unmatched.series);
  if (unmatched.series > 0) {
    json.Key("example");
    json.LabelSet(unmatched.example);
  }
  json.EndObject();
}

void WriteExplain(JsonWriter& json, const promql::ExplainNode& node) {
  json.BeginObject();
  json.Member("expression", node.expression);
  json.Member("series", node.series);
  json.Member("seriesEmpty", node.series_empty);
  json.Member("samples", node.samples);
  json.Member("samplesRead", node.samples_read);
  json.Member("memoryBytes", node.memory_bytes);
  json.Member("chunks", node.cost.chunks);
  json.Member("bytes", node.cost.bytes);
  json.Member("cacheHits", node.cost.cache_hits);
  json.Member("cacheMisses", node.cost.cache_misses);
  json.Member("seconds", node.seconds);
  if (node.join.has_value()) {
    json.Key("join");
    json.BeginObject();
    WriteUnmatched(json, "left", node.join->left);
    WriteUnmatched(json, "right", node.join->right);
    json.EndObject();
  }
  json.Key("children");
  json.BeginArray();
  for (const auto& child : node.children) WriteExplain(json, *child);
  json.EndArray();
  json.EndObject();
}

struct ResultWriter {
  JsonWriter& json;
  promql::Workers* workers;  // May be null.
  std::string_view Type(const ScalarResult&) const { return "scalar"; }
  std::string_view Type(const StringResult&) const { return "string"; }
  std::string_view Type(const Vector&) const { return "vector"; }
  std::string_view Type(const Matrix&) const { return "matrix"; }
  void Write(const ScalarResult& value) const { WriteScalar(json, value); }
  void Write(const StringResult& value) const { WriteString(json, value); }
  void Write(const Vector& value) const { WriteVector(json, value); }
  void Write(Matrix& value) const { WriteMatrix(json, workers, value); }
};

// Once only: a matrix is gone then.
void WriteResult(JsonWriter& json, QueryResult& result, bool with_stats, promql::Workers* workers) {
  BeginEnvelope(json);
  json.BeginObject();
  const ResultWriter writer{json, workers};
  std::visit(
      [&](auto& value) {
        json.Member("resultType", writer.Type(value));
        json.Key("result");
        writer.Write(value);
      },
      result.value);
  if (with_stats) {
    json.Key("stats");
    WriteQueryStats(json, result.stats);
  }
  if (result.explain != nullptr) {
    json.Key("explain");
    WriteExplain(json, *result.explain);
  }
  json.EndObject();
  EndEnvelope(json, result.annotations);
  json.Finish();
}

// A large result is written while it is sent, and never held as text. Of a smaller one the length
// is told first, with which clients are quicker than with pieces.
void AnswerResult(QueryResult result, std::string_view stats, promql::Workers& workers,
                  HttpResponse& response) {
  const bool with_stats = !stats.empty();
  if (with_stats && stats != "true" && stats != "all") {
    result.annotations.AddWarning(
        fmt::format("value {} for parameter \"stats\" is deprecated and will be rejected in the "
                    "next major release, use \"true\" or \"all\"",
                    Quoted(stats)));
  }
  response.content_type = "application/json";
  auto shared = std::make_shared<QueryResult>(std::move(result));
  const auto* matrix = std::get_if<Matrix>(&shared->value);
  if (matrix != nullptr && TextBytes(*matrix) > kWholeBytesMax) {
    response.stream = [shared, with_stats](const BodySink& sink) {
      JsonWriter json(sink);
      WriteResult(json, *shared, with_stats, nullptr);
    };
    return;
  }
  auto pieces = std::make_shared<std::vector<std::string>>();
  JsonWriter json(*pieces);
  WriteResult(json, *shared, with_stats, &workers);
  for (const std::string& piece : *pieces) response.stream_bytes += piece.size();
  // What the result counted as memory the text does now.
  response.stream = [shared, pieces](const BodySink& sink) {
    for (const std::string& piece : *pieces) {
      if (!sink(piece)) return;
    }
  };
}

// The parameters /query and /query_range share. Answers and returns nothing if one is bad.
std::optional<promql::QueryOptions> CommonOptions(const ApiContext& context,
                                                  const HttpRequest& request,
                                                  HttpResponse& response) {
  promql::QueryOptions options;
  const absl::StatusOr<uint64_t> limit = LimitParameter(request);
  if (!limit.ok()) {
    AnswerInvalidParameter("limit", MessageOf(limit.status()), response);
    return std::nullopt;
  }
  options.limit = *limit;
  if (const std::string_view text = request.params.Get("timeout"); !text.empty()) {
    const absl::StatusOr<DurationMs> timeout = ParseApiDuration(text);
    if (!timeout.ok()) {
      AnswerInvalidParameter("timeout", MessageOf(timeout.status()), response);
      return std::nullopt;
    }
    options.timeout = *timeout > 0 ? *timeout : -1;
  }
  if (const std::string_view text = request.params.Get("lookback_delta"); !text.empty()) {
    const absl::StatusOr<DurationMs> lookback = ParseApiDuration(text);
    if (!lookback.ok()) {
      AnswerBadData(
          "error parsing lookback delta duration: " + std::string(MessageOf(lookback.status())),
          response);
      return std::nullopt;
    }
    options.lookback_delta = *lookback;
  }
  options.origin = {.client_ip = std::string(IpOf(request.remote_address)),
                    .method = request.method,
                    .path = request.path};
  options.explain = request.params.Get("explain") == "true";
  options.canceled = [cancelled = request.cancelled] { return cancelled->load(); };
  options.per_step_stats = request.params.Get("stats") == "all" &&
                           context.backends.engine->options().features.per_step_stats;
  return options;
}

void Query(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  const auto options = CommonOptions(context, request, response);
  if (!options.has_value()) return;
  const absl::StatusOr<TimestampMs> time =
      TimeParameter(request, "time", context.options.clock->Now());
  if (!time.ok()) return AnswerInvalidParameter("time", MessageOf(time.status()), response);
  absl::StatusOr<QueryResult> result = context.backends.engine->Instant(
      *context.backends.storage, request.params.Get("query"), *time, *options);
  if (!result.ok()) return AnswerQueryError(result.status(), response);
  AnswerResult(std::move(*result), request.params.Get("stats"), context.backends.engine->workers(),
               response);
}

struct RangeParameters {
  TimestampMs start = 0;
  TimestampMs end = 0;
  DurationMs step = 0;
};

std::optional<RangeParameters> ReadRange(const HttpRequest& request, HttpResponse& response) {
  RangeParameters range;
  for (const auto& [name, target] :
       {std::pair{"start", &range.start}, std::pair{"end", &range.end}}) {
    const absl::StatusOr<TimestampMs> time = ParseApiTime(request.params.Get(name));
    if (!time.ok()) {
      AnswerInvalidParameter(name, MessageOf(time.status()), response);
      return std::nullopt;
    }
    *target = *time;
    if (name == std::string_view("end") && range.end < range.start) {
      AnswerInvalidParameter("end", "end timestamp must not be before start time", response);
      return std::nullopt;
    }
  }
  const absl::StatusOr<DurationMs> step = ParseApiDuration(request.params.Get("step"));
  if (!step.ok()) {
    AnswerInvalidParameter("step", MessageOf(step.status()), response);
    return std::nullopt;
  }
  range.step = *step;
  if (range.step <= 0) {
    AnswerInvalidParameter("step",
                           "zero or negative query resolution step widths are not accepted. Try a "
                           "positive integer",
                           response);
    return std::nullopt;
  }
  // Unsigned: the span of two API times may not fit a signed one.
  const uint64_t span = static_cast<uint64_t>(range.end) - static_cast<uint64_t>(range.start);
  if (span / static_cast<uint64_t>(range.step) > kPointsMax) {
    AnswerBadData(
        "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query "
        "resolution (?step=XX)",
        response);
    return std::nullopt;
  }
  return range;
}

void QueryRange(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  const auto range = ReadRange(request, response);
  if (!range.has_value()) return;
  const auto options = CommonOptions(context, request, response);
  if (!options.has_value()) return;
  absl::StatusOr<QueryResult> result =
      context.backends.engine->Range(*context.backends.storage, request.params.Get("query"),
                                     range->start, range->end, range->step, *options);
  if (!result.ok()) return AnswerQueryError(result.status(), response);
  AnswerResult(std::move(*result), request.params.Get("stats"), context.backends.engine->workers(),
               response);
}

void CollectSelectors(const promql::Expr& expr, std::vector<std::vector<Matcher>>& sets) {
  if (const auto* selector = promql::TryAs<promql::VectorSelector>(expr)) {
    sets.push_back(selector->matchers);
  } else if (const auto* matrix = promql::TryAs<promql::MatrixSelector>(expr)) {
    sets.push_back(matrix->selector->matchers);
  }
  for (const promql::Expr* child : promql::Children(expr)) CollectSelectors(*child, sets);
}

void WriteExemplars(JsonWriter& json, const std::vector<SeriesExemplars>& series) {
  json.BeginArray();
  for (const SeriesExemplars& item : series) {
    json.BeginObject();
    json.Key("seriesLabels");
    json.LabelSet(item.series);
    json.Key("exemplars");
    json.BeginArray();
    for (const Exemplar& exemplar : item.exemplars) {
      json.BeginObject();
      json.Key("labels");
      json.LabelSet(exemplar.labels);
      json.Key("value");
      json.FloatString(exemplar.value);
      json.Key("timestamp");
      json.Timestamp(exemplar.time);
      json.EndObject();
    }
    json.EndArray();
    json.EndObject();
  }
  json.EndArray();
}

void QueryExemplars(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  const auto start = TimeParameter(request, "start", kMinTimestamp);
  if (!start.ok()) return AnswerInvalidParameter("start", MessageOf(start.status()), response);
  const auto end = TimeParameter(request, "end", kMaxTimestamp);
  if (!end.ok()) return AnswerInvalidParameter("end", MessageOf(end.status()), response);
  if (*end < *start) {
    return AnswerBadData("end timestamp must not be before start timestamp", response);
  }
  const auto expr = promql::Parse(request.params.Get("query"), context.options.parser);
  if (!expr.ok()) return AnswerBadData(MessageOf(expr.status()), response);
  std::vector<std::vector<Matcher>> sets;
  CollectSelectors(**expr, sets);
  if (sets.empty()) {
    response.status = 204;
    return;
  }
  absl::StatusOr<std::vector<SeriesExemplars>> found = std::vector<SeriesExemplars>();
  if (context.backends.exemplars != nullptr) {
    found = context.backends.exemplars->SelectExemplars(*start, *end, sets);
  }
  if (!found.ok()) {
    return AnswerError({ApiErrorType::kExecution, MessageOf(found.status())}, response);
  }
  AnswerData(response, [&](JsonWriter& json) { WriteExemplars(json, *found); });
}

void ActiveQueries(const ApiContext& context, const HttpRequest& /*request*/,
                   HttpResponse& response) {
  const std::vector<promql::ActiveQuery> queries = context.backends.engine->Active();
  AnswerData(response, [&](JsonWriter& json) {
    json.BeginArray();
    for (const promql::ActiveQuery& query : queries) {
      json.BeginObject();
      json.Member("id", query.id);
      json.Member("query", query.query);
      json.Key("since");
      json.Time(query.since);
      json.Member("elapsedSeconds", query.elapsed);
      json.Member("state", query.waiting ? "waiting" : "running");
      json.EndObject();
    }
    json.EndArray();
  });
}

void KillQuery(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  if (!context.options.enable_admin_api) {
    return AnswerError({ApiErrorType::kUnavailable, "admin APIs disabled"}, response);
  }
  const absl::StatusOr<int64_t> id = ParseInteger(request.params.Get("id"));
  if (!id.ok()) return AnswerInvalidParameter("id", MessageOf(id.status()), response);
  if (!context.backends.engine->Kill(static_cast<uint64_t>(*id))) {
    return AnswerError({ApiErrorType::kNotFound, fmt::format("no query {} is active", *id)},
                       response);
  }
  response.status = 204;
}

}  // namespace

void AddQueryRoutes(ApiContext& context, Router& router) {
  const auto add = [&](std::string_view path, auto handler) {
    router.AddAll({"GET", "POST"}, path,
                  [&context, handler](const HttpRequest& request, HttpResponse& response) {
                    handler(context, request, response);
                  },
                  {.gated = true});
  };
  add("/api/v1/query", Query);
  add("/api/v1/query_range", QueryRange);
  add("/api/v1/query_exemplars", QueryExemplars);
  router.AddAll({"GET"}, "/api/v1/status/active_queries",
                [&context](const HttpRequest& request, HttpResponse& response) {
                  ActiveQueries(context, request, response);
                },
                {.gated = true});
  router.AddAll({"POST", "PUT"}, "/api/v1/admin/kill_query",
                [&context](const HttpRequest& request, HttpResponse& response) {
                  KillQuery(context, request, response);
                },
                {.gated = true});
}

}  // namespace varve
