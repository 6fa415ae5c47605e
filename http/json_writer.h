// SPDX-License-Identifier: Apache-2.0
//
// Writes JSON as Prometheus does: floats as strings in Go's shortest form, times as seconds with
// three digits of fraction, text escaped for HTML except in labels.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"
#include "model/float_samples.h"
#include "model/histogram.h"
#include "model/labels.h"
#include "model/sample.h"
#include "model/time.h"

namespace varve {

// Commas are put in by the writer. Not thread-safe.
class JsonWriter {
 public:
  // Keeps everything for Take().
  JsonWriter() = default;
  // Hands pieces to `sink` as they fill up; `sink` outlives the writer. Finish() hands over the
  // rest.
  explicit JsonWriter(const BodySink& sink) : sink_(&sink) {}
  // The same, behind `pieces`.
  explicit JsonWriter(std::vector<std::string>& pieces) : pieces_(&pieces) {}
  JsonWriter(const JsonWriter&) = delete;
  JsonWriter& operator=(const JsonWriter&) = delete;

  void BeginObject() { Open('{'); }
  void EndObject() { Close('}'); }
  void BeginArray() { Open('['); }
  void EndArray() { Close(']'); }
  // The next value is the member `key`, which must need no escapes.
  void Key(std::string_view key);
  // The same for any text.
  void TextKey(std::string_view key);

  void String(std::string_view text);       // Escaped for HTML.
  void LabelString(std::string_view text);  // Not escaped for HTML.
  void Int(int64_t value);
  void Uint(uint64_t value);
  void Double(double value);  // A JSON number; NaN and infinities become null.
  void Bool(bool value);
  void Null();
  // Milliseconds as seconds: `1700000000.1`, the fraction always three digits if there is one.
  void Timestamp(TimestampMs time);
  void FloatString(double value);  // `"0.1"`, `"NaN"`.
  // RFC 3339; 0 is Go's zero time, `0001-01-01T00:00:00Z`.
  void Time(TimestampMs time);

  void Member(std::string_view key, std::string_view text) { Key(key), String(text); }
  void Member(std::string_view key, const std::string& text) { Key(key), String(text); }
  void Member(std::string_view key, const char* text) { Key(key), String(text); }
  void Member(std::string_view key, bool value) { Key(key), Bool(value); }
  void Member(std::string_view key, int64_t value) { Key(key), Int(value); }
  void Member(std::string_view key, uint64_t value) { Key(key), Uint(value); }
  void Member(std::string_view key, double value) { Key(key), Double(value); }

  void LabelSet(const Labels& labels);
  void HistogramValue(const Histogram& histogram);
  // `[t,"v"]` and `[t,{...}]`.
  void FloatPair(TimestampMs time, double value);
  // `[[t,"v"],...]`, times rising. Series after series at the same times: their texts are kept.
  void FloatPairs(const FloatSamples& samples);
  void HistogramPair(TimestampMs time, const Histogram& histogram);
  // `{"metric":{...},"value":[t,"v"]}`; with a histogram that, instead of the value, as
  // "histogram".
  void InstantSample(const Labels& labels, TimestampMs time, double value,
                     const Histogram* histogram);

  // Makes room for about that much text without a sink.
  void Reserve(size_t bytes) { out_.reserve(bytes); }
  // As if a value of the same list was written already.
  void ContinueList() { comma_ = true; }
  // Puts in what another writer wrote to the same list, the comma before it included.
  void Written(std::string text);

  // False once the sink reported that the client is gone; further output is dropped.
  bool alive() const { return alive_; }
  void Finish();
  // REQUIRES: no sink and no pieces.
  std::string Take() { return std::move(out_); }

 private:
  void Open(char bracket);
  void Close(char bracket);
  void Separate();
  void Escape(std::string_view text, bool html);
  // Writes a short label set that needs no escapes; false, and nothing is written, if it is none.
  bool PlainLabelSet(const Labels& labels);
  void DrainIfFull();
  void Drain();

  struct TimeText {
    TimestampMs time = 0;
    uint8_t size = 0;
    char text[23] = {};
    std::string_view view() const { return {text, size}; }
  };
  static TimeText TextOf(TimestampMs time);
  // What a pair had behind its time, if that is short; size 0 if there was none.
  struct ValueText {
    uint64_t bits = 0;  // Of the value.
    uint8_t size = 0;
    char text[31] = {};
  };
  // Writes `[t,"v"]`, at most kPairBytesMax less one, and returns its end.
  char* WritePair(const TimeText& time, double value, char* at);

  std::string out_;
  const BodySink* sink_ = nullptr;
  std::vector<std::string>* pieces_ = nullptr;
  bool comma_ = false;  // A value stands before, so the next one needs a comma.
  bool alive_ = true;
  std::vector<TimeText> times_;  // Rising.
  // Values that were written, each at a place that its bits decide.
  static constexpr int kValuesBits = 6;
  std::array<ValueText, size_t{1} << kValuesBits> values_;
};

}  // namespace varve
