// SPDX-License-Identifier: Apache-2.0
//
// Everything appends to one buffer; a sink drains it now and then.
#include "http/json_writer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <iterator>
#include <utility>

#include "model/float_text.h"

namespace varve {
namespace {

constexpr size_t kDrainBytes = 256 << 10;
// More times than this a range query does not have.
constexpr size_t kTimesMax = 11'001;

// A time, a float and what is around them.
constexpr size_t kPairBytesMax = kFloatBytesMax + 32;

// Below, integers are written exactly, without an exponent.
constexpr double kIntegerTextBelow = 0x1p53;

template <typename Integer>
void AppendInteger(Integer value, std::string& out) {
  char text[24];
  const auto result = std::to_chars(text, text + sizeof(text), value);
  out.append(text, result.ptr);
}

// Bytes of the UTF-8 character `text` starts with, 0 if it is malformed.
size_t Utf8Length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (text.size() < length || !IsValidUtf8(text.substr(0, length))) return 0;
  return length;
}

void AppendUnicodeEscape(unsigned byte, std::string& out) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out.append("\\u00");
  out.push_back(kDigits[byte >> 4]);
  out.push_back(kDigits[byte & 15]);
}

// Of each byte: whether it stands for itself in JSON, and (2) also within HTML.
constexpr std::array<uint8_t, 256> kPlain = [] {
  std::array<uint8_t, 256> plain{};
  for (size_t c = 0x20; c < 0x80; ++c) {
    if (c == '"' || c == '\\') continue;
    plain[c] = c == '<' || c == '>' || c == '&' ? 1 : 2;
  }
  return plain;
}();

constexpr size_t kWord = sizeof(uint64_t);
constexpr uint64_t kEach = 0x0101010101010101;  // Times a byte: that byte eight times.
constexpr uint64_t kTopBits = 0x80 * kEach;

// The top bit of each byte that is zero; above one of these, perhaps of others.
constexpr uint64_t ZeroBytes(uint64_t word) { return (word - kEach) & ~word; }

// Copies `size` bytes that stand for themselves in JSON and returns their end; null if some do not.
// Up to seven bytes behind them are read, and behind the copy written.
char* CopyPlain(const char* from, size_t size, char* to) {
  for (size_t at = 0; at < size; at += kWord) {
    uint64_t word;
    std::memcpy(&word, from + at, kWord);
    std::memcpy(to + at, &word, kWord);
    if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
    // What lies behind the text is above it.
    if (size - at < kWord) word |= kEach * 'x' << (size - at) * 8;
    if (size - at < kWord) word &= ~(kTopBits << (size - at) * 8);
    const uint64_t special = word | ((word - kEach * 0x20) & ~word) |
                             ZeroBytes(word ^ kEach * '"') | ZeroBytes(word ^ kEach * '\\');
    if ((special & kTopBits) != 0) return nullptr;
  }
  return to + size;
}

// Longer label sets are written text by text.
constexpr size_t kPlainLabelsMax = 1024;

void AppendEscapedAscii(unsigned char c, std::string& out) {
  switch (c) {
    case '"':
      out.append("\\\"");
      return;
    case '\\':
      out.append("\\\\");
      return;
    case '\n':
      out.append("\\n");
      return;
    case '\r':
      out.append("\\r");
      return;
    case '\t':
      out.append("\\t");
      return;
    default:
      AppendUnicodeEscape(c, out);
  }
}

int BoundaryRule(const BucketView& bucket) {
  if (bucket.lower_inclusive) return bucket.upper_inclusive ? 3 : 1;
  return bucket.upper_inclusive ? 0 : 2;
}

}  // namespace

void JsonWriter::Separate() {
  if (comma_) out_.push_back(',');
  comma_ = true;
}

void JsonWriter::Open(char bracket) {
  Separate();
  out_.push_back(bracket);
  comma_ = false;
}

void JsonWriter::Close(char bracket) {
  out_.push_back(bracket);
  comma_ = true;
  DrainIfFull();
}

void JsonWriter::DrainIfFull() {
  if (out_.size() >= kDrainBytes && (sink_ != nullptr || pieces_ != nullptr)) Drain();
}

void JsonWriter::Drain() {
  if (pieces_ != nullptr) {
    pieces_->push_back(std::move(out_));
    out_ = std::string();
    // More than one piece: as long as the one before.
    out_.reserve(pieces_->back().capacity());
    return;
  }
  if (alive_) alive_ = (*sink_)(out_);
  out_.clear();
}

void JsonWriter::Finish() {
  if (pieces_ != nullptr) {
    pieces_->push_back(std::move(out_));
  } else if (sink_ != nullptr) {
    Drain();
  }
}

void JsonWriter::Written(std::string text) {
  comma_ = true;
  if (pieces_ == nullptr) {
    out_.append(text);
    return DrainIfFull();
  }
  if (!out_.empty()) pieces_->push_back(std::exchange(out_, std::string()));
  pieces_->push_back(std::move(text));
}

void JsonWriter::Key(std::string_view key) {
  Separate();
  out_.push_back('"');
  out_.append(key);
  out_.append("\":");
  comma_ = false;
}

void JsonWriter::TextKey(std::string_view key) {
  Separate();
  Escape(key, true);
  out_.push_back(':');
  comma_ = false;
}

void JsonWriter::Escape(std::string_view text, bool html) {
  out_.push_back('"');
  size_t plain = 0;
  size_t at = 0;
  while (at < text.size()) {
    const auto c = static_cast<unsigned char>(text[at]);
    if (kPlain[c] >= (html ? 2 : 1)) {
      ++at;
      continue;
    }
    const size_t length = c < 0x80 ? 1 : Utf8Length(text.substr(at));
    // U+2028 and U+2029 end lines in JavaScript.
    const bool line_end = html && length == 3 && text.substr(at, 2) == "\xE2\x80" &&
                          (text[at + 2] == '\xA8' || text[at + 2] == '\xA9');
    if (length > 1 && !line_end) {
      at += length;
      continue;
    }
    out_.append(text.substr(plain, at - plain));
    if (c < 0x80) {
      AppendEscapedAscii(c, out_);
    } else if (line_end) {
      out_.append(text[at + 2] == '\xA8' ? "\\u2028" : "\\u2029");
    } else {
      out_.append("\\ufffd");
    }
    at += length == 0 ? 1 : length;
    plain = at;
  }
  out_.append(text.substr(plain));
  out_.push_back('"');
}

void JsonWriter::String(std::string_view text) {
  Separate();
  Escape(text, true);
}

void JsonWriter::LabelString(std::string_view text) {
  Separate();
  Escape(text, false);
}

void JsonWriter::Int(int64_t value) {
  Separate();
  AppendInteger(value, out_);
}

void JsonWriter::Uint(uint64_t value) {
  Separate();
  AppendInteger(value, out_);
}

void JsonWriter::Double(double value) {
  if (!std::isfinite(value)) return Null();
  Separate();
  AppendJsonFloat(value, out_);
}

void JsonWriter::Bool(bool value) {
  Separate();
  out_.append(value ? "true" : "false");
}

void JsonWriter::Null() {
  Separate();
  out_.append("null");
}

void JsonWriter::FloatString(double value) {
  Separate();
  out_.push_back('"');
  AppendJsonFloat(value, out_);
  out_.push_back('"');
}

void JsonWriter::Time(TimestampMs time) {
  String(time == 0 ? "0001-01-01T00:00:00Z" : FormatRfc3339(time));
}

bool JsonWriter::PlainLabelSet(const Labels& labels) {
  const std::string& bytes = labels.bytes();
  if (bytes.size() > kPlainLabelsMax) return false;
  char from[kPlainLabelsMax + kWord];
  std::memcpy(from, bytes.data(), bytes.size());
  // Beside its texts a label has six bytes instead of two; each text has one at least.
  char text[2 * kPlainLabelsMax + kWord + 2];
  char* at = text;
  *at++ = '{';
  const std::string_view copy(from, bytes.size());
  const Labels::Iterator end(copy.substr(copy.size()));
  for (Labels::Iterator label(copy); label != end; ++label) {
    if (at != text + 1) *at++ = ',';
    *at++ = '"';
    at = CopyPlain(label->name.data(), label->name.size(), at);
    if (at == nullptr) return false;
    at = static_cast<char*>(std::memcpy(at, "\":\"", 3)) + 3;
    at = CopyPlain(label->value.data(), label->value.size(), at);
    if (at == nullptr) return false;
    *at++ = '"';
  }
  *at++ = '}';
  Separate();
  out_.append(text, static_cast<size_t>(at - text));
  DrainIfFull();
  return true;
}

void JsonWriter::LabelSet(const Labels& labels) {
  if (PlainLabelSet(labels)) return;
  BeginObject();
  for (const LabelView& label : labels) {
    Separate();
    Escape(label.name, false);
    out_.push_back(':');
    Escape(label.value, false);
  }
  EndObject();
}

void JsonWriter::HistogramValue(const Histogram& histogram) {
  BeginObject();
  Key("count");
  FloatString(histogram.count);
  Key("sum");
  FloatString(histogram.sum);
  const std::vector<BucketView> buckets = histogram.AllBuckets();
  if (!buckets.empty()) {
    Key("buckets");
    BeginArray();
    for (const BucketView& bucket : buckets) {
      BeginArray();
      Int(BoundaryRule(bucket));
      FloatString(bucket.lower);
      FloatString(bucket.upper);
      FloatString(bucket.count);
      EndArray();
    }
    EndArray();
  }
  EndObject();
}

JsonWriter::TimeText JsonWriter::TextOf(TimestampMs time) {
  TimeText text{.time = time};
  char* at = text.text;
  uint64_t magnitude = static_cast<uint64_t>(time);
  if (time < 0) {
    *at++ = '-';
    magnitude = 0 - magnitude;
  }
  at = std::to_chars(at, std::end(text.text), magnitude / 1000).ptr;
  if (const auto fraction = static_cast<unsigned>(magnitude % 1000); fraction != 0) {
    *at++ = '.';
    *at++ = static_cast<char>('0' + fraction / 100);
    *at++ = static_cast<char>('0' + fraction / 10 % 10);
    *at++ = static_cast<char>('0' + fraction % 10);
  }
  text.size = static_cast<uint8_t>(at - text.text);
  return text;
}

void JsonWriter::Timestamp(TimestampMs time) {
  Separate();
  out_.append(TextOf(time).view());
}

// Most of a large answer is pairs: many are put together aside and appended at once.
char* JsonWriter::WritePair(const TimeText& time, double value, char* at) {
  constexpr uint64_t kScatter = 0x9e3779b97f4a7c15;
  const auto bits = std::bit_cast<uint64_t>(value);
  ValueText& last = values_[bits * kScatter >> (64 - kValuesBits)];
  *at++ = '[';
  std::memcpy(at, time.text, sizeof(time.text));  // Of a fixed size: a few moves.
  at += time.size;
  if (last.size > 0 && bits == last.bits) {  // Most series have few values.
    std::memcpy(at, last.text, sizeof(last.text));
    return at + last.size;
  }
  const bool whole = std::fabs(value) < kIntegerTextBelow &&
                     static_cast<double>(static_cast<int64_t>(value)) == value &&
                     !(value == 0 && std::signbit(value));
  char* const begin = at;
  *at++ = ',';
  *at++ = '"';
  at = whole ? std::to_chars(at, at + kFloatBytesMax, static_cast<int64_t>(value)).ptr
             : WriteJsonFloat(value, at);
  *at++ = '"';
  *at++ = ']';
  const auto size = static_cast<size_t>(at - begin);
  last.size = 0;
  if (size <= sizeof(last.text)) {
    std::memcpy(last.text, begin, sizeof(last.text));
    last.size = static_cast<uint8_t>(size);
    last.bits = bits;
  }
  return at;
}

void JsonWriter::FloatPair(TimestampMs time, double value) {
  Separate();
  char text[kPairBytesMax] = {};
  out_.append(text, static_cast<size_t>(WritePair(TextOf(time), value, text) - text));
  DrainIfFull();
}

void JsonWriter::FloatPairs(const FloatSamples& samples) {
  constexpr size_t kTextBytes = 4096;
  BeginArray();
  char text[kTextBytes + kPairBytesMax] = {};
  char* at = text;
  size_t next = 0;  // Of times_: none before it is as late as the sample at hand.
  const auto write = [&](const FloatSample& sample) {
    while (next < times_.size() && times_[next].time < sample.time) ++next;
    const bool later = next == times_.size();
    if (later && next < kTimesMax) times_.push_back(TextOf(sample.time));
    const bool known = next < times_.size() && times_[next].time == sample.time;
    if (comma_) *at++ = ',';
    comma_ = true;
    at = known ? WritePair(times_[next], sample.value, at)
               : WritePair(TextOf(sample.time), sample.value, at);
    if (at < text + kTextBytes) return;
    out_.append(text, static_cast<size_t>(at - text));
    at = text;
    DrainIfFull();
  };
  samples.Visit(write);
  out_.append(text, static_cast<size_t>(at - text));
  EndArray();
}

void JsonWriter::HistogramPair(TimestampMs time, const Histogram& histogram) {
  BeginArray();
  Timestamp(time);
  HistogramValue(histogram);
  EndArray();
}

void JsonWriter::InstantSample(const Labels& labels, TimestampMs time, double value,
                               const Histogram* histogram) {
  BeginObject();
  Key("metric");
  LabelSet(labels);
  if (histogram != nullptr) {
    Key("histogram");
    HistogramPair(time, *histogram);
  } else {
    Key("value");
    FloatPair(time, value);
  }
  EndObject();
}

}  // namespace varve
