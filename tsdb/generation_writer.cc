// SPDX-License-Identifier: Apache-2.0
//
// Writing generations.
#include "tsdb/generation_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "model/check.h"
#include "model/status_macros.h"
#include "tsdb/column.h"
#include "tsdb/merge_samples.h"

namespace varve {

namespace {

// Times that take less than this by themselves are not worth a row: scrapes that keep their step
// need a few bytes, those that do not about one a sample.
constexpr size_t kSharedTimesBytesMin = 64;

size_t CountOf(const SeriesSamples& samples) {
  return samples.times.size() + samples.histograms.size();
}

// Moves the first `count` samples by time out of `samples`.
SeriesSamples TakeFirst(SeriesSamples& samples, size_t count) {
  const std::vector<TimestampMs> times = TimesOf(samples);
  const TimestampMs end = times[count];
  const auto floats =
      std::lower_bound(samples.times.begin(), samples.times.end(), end) - samples.times.begin();
  const auto histograms =
      std::find_if(samples.histograms.begin(), samples.histograms.end(),
                   [end](const HistogramSample& sample) { return sample.time >= end; }) -
      samples.histograms.begin();
  SeriesSamples first;
  const auto take = [](auto& from, ptrdiff_t size, auto& to) {
    if (from.empty()) return;
    to.assign(from.begin(), from.begin() + size);
    from.erase(from.begin(), from.begin() + size);
  };
  const absl::Span<const TimestampMs> all = samples.times;
  const std::vector<TimestampMs> left(all.begin() + floats, all.end());
  first.times.Append(all.first(static_cast<size_t>(floats)));
  samples.times = left;
  take(samples.values, floats, first.values);
  take(samples.start_times, floats, first.start_times);
  take(samples.histograms, histograms, first.histograms);
  take(samples.histogram_start_times, histograms, first.histogram_start_times);
  return first;
}

}  // namespace

GenerationWriter::GenerationWriter(Store& store, const GenerationId& id, std::string directory)
    : store_(store), id_(id), directory_(std::move(directory)) {
  columns_.family = store.columns().get();
  labels_.family = store.labels().get();
  postings_.family = store.postings().get();
  info_.number = id.number;
  info_.min_time = kMaxTimestamp;
  info_.max_time = kMinTimestamp;
}

GenerationWriter::~GenerationWriter() {
  if (ingested_) return;
  for (Tables* tables : {&columns_, &labels_, &postings_}) {
    tables->writer.reset();
    for (const std::string& path : tables->paths) store_.DeleteFile(path).IgnoreError();
  }
}

absl::Status GenerationWriter::Put(Tables& tables, std::string_view key, std::string_view value) {
  if (tables.writer == nullptr) {
    tables.writer = store_.NewTableWriter(*tables.family);
    tables.paths.push_back(
        fmt::format("{}/{}.{}.{}.sst", directory_, tables.family->name(), id_.number, files_++));
    RETURN_IF_ERROR(
        FromRocks(tables.writer->Open(tables.paths.back()), "opening a table for folding"));
  }
  RETURN_IF_ERROR(FromRocks(tables.writer->Put(ToSlice(key), ToSlice(value)), "folding"));
  if (tables.writer->FileSize() >= kGenerationTableBytesMax) return End(tables);
  return absl::OkStatus();
}

absl::Status GenerationWriter::End(Tables& tables) {
  if (tables.writer == nullptr) return absl::OkStatus();
  rocksdb::ExternalSstFileInfo info;
  RETURN_IF_ERROR(FromRocks(tables.writer->Finish(&info), "ending a table for folding"));
  tables.bytes += info.file_size;
  tables.writer.reset();
  return absl::OkStatus();
}

absl::Status GenerationWriter::PutRow(uint64_t series, const SeriesSamples& samples,
                                      const TimesRef* times) {
  TimestampMs first = kMaxTimestamp;
  if (!samples.times.empty()) first = samples.times.front();
  if (!samples.histograms.empty()) first = std::min(first, samples.histograms.front().time);
  info_.min_time = std::min(info_.min_time, first);
  info_.max_time = std::max(info_.max_time, LastTimeOf(samples));
  info_.samples += CountOf(samples);
  return Put(columns_, EncodeColumnKey({.generation = id_, .series = series, .first_time = first}),
             EncodeColumns(samples, times));
}

absl::Status GenerationWriter::PutWaiting(const std::vector<TimestampMs>* next_times) {
  if (waiting_ == nullptr) return absl::OkStatus();
  const std::unique_ptr<Waiting> waiting = std::move(waiting_);
  const bool shared = next_times != nullptr && FindTimes(waiting->times, *next_times).has_value() &&
                      EncodeTimes(waiting->times).size() >= kSharedTimesBytesMin;
  if (!shared) return PutRow(waiting->series, waiting->samples, nullptr);
  shared_ref_ = {.series = waiting->series, .first_time = waiting->times.front()};
  shared_times_ = waiting->times;
  RETURN_IF_ERROR(Put(columns_,
                      EncodeColumnKey({.generation = id_,
                                       .series = shared_ref_.series,
                                       .first_time = shared_ref_.first_time,
                                       .kind = ColumnRowKind::kTimes}),
                      EncodeTimes(shared_times_)));
  return PutRow(waiting->series, waiting->samples, &shared_ref_);
}

absl::Status GenerationWriter::AddRow(uint64_t series, SeriesSamples samples) {
  std::vector<TimestampMs> times = TimesOf(samples);
  RETURN_IF_ERROR(PutWaiting(&times));
  if (!shared_times_.empty()) {
    if (const std::optional<uint64_t> index = FindTimes(shared_times_, times)) {
      TimesRef ref = shared_ref_;
      ref.first_index = *index;
      return PutRow(series, samples, &ref);
    }
  }
  waiting_ = std::make_unique<Waiting>();
  waiting_->series = series;
  waiting_->samples = std::move(samples);
  waiting_->times = std::move(times);
  return absl::OkStatus();
}

absl::Status GenerationWriter::Add(uint64_t series, const Labels& labels, SeriesSamples samples) {
  INVARIANT(CountOf(samples) > 0);
  while (CountOf(samples) > kColumnRowSamplesMax) {
    RETURN_IF_ERROR(AddRow(series, TakeFirst(samples, kColumnRowSamplesMax)));
  }
  RETURN_IF_ERROR(AddRow(series, std::move(samples)));
  RETURN_IF_ERROR(Put(labels_, EncodeLabelKey(id_, series), labels.bytes()));
  builder_.Add(series, labels);
  ++info_.series;
  return absl::OkStatus();
}

absl::StatusOr<BucketTable::Generation> GenerationWriter::Finish() {
  if (info_.series == 0) return info_;
  RETURN_IF_ERROR(PutWaiting(nullptr));
  const std::string prefix = GenerationPrefix(id_);
  RETURN_IF_ERROR(builder_.Visit([&](std::string_view tail, const std::string& ids) {
    return Put(postings_, prefix + std::string(tail), ids);
  }));
  std::vector<Store::Tables> ingested;
  for (Tables* tables : {&columns_, &labels_, &postings_}) {
    RETURN_IF_ERROR(End(*tables));
    info_.bytes += tables->bytes;
    ingested.push_back({tables->family, tables->paths});
  }
  RETURN_IF_ERROR(store_.Ingest(ingested));
  ingested_ = true;
  return info_;
}

}  // namespace varve
