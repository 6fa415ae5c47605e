// SPDX-License-Identifier: Apache-2.0
//
// One state per kind of line or piece; what does not come whole is kept until it is.
#include "net/http1_reader.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "net/header_text.h"

namespace varve {
namespace {

// Digits only, as from_chars() alone would not have it for the sign.
bool ParseNumber(std::string_view text, int base, uint64_t& number) {
  if (text.empty() || text.front() == '-') return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return error == std::errc() && end == text.data() + text.size();
}

bool NamesToken(std::string_view list, std::string_view token) {
  for (;;) {
    const size_t comma = std::min(list.find(','), list.size());
    if (EqualsIgnoringCase(Trimmed(list.substr(0, comma)), token)) return true;
    if (comma == list.size()) return false;
    list.remove_prefix(comma + 1);
  }
}

}  // namespace

void Http1Reader::Begin() {
  state_ = State::kStatusLine;
  error_ = Http1Error::kNone;
  begun_ = false;
  head_bytes_ = 0;
  line_.clear();
}

void Http1Reader::Fail(Http1Error error) {
  if (error_ == Http1Error::kNone) error_ = error;
}

bool Http1Reader::ReadingLine() const {
  switch (state_) {
    case State::kStatusLine:
    case State::kHeaderLine:
    case State::kChunkSize:
    case State::kChunkEnd:
    case State::kTrailer:
      return true;
    default:
      return false;
  }
}

size_t Http1Reader::Read(std::string_view bytes, Sink& sink) {
  const size_t before = bytes.size();
  begun_ |= before > 0;
  while (!bytes.empty() && state_ != State::kDone && error_ == Http1Error::kNone) {
    if (ReadingLine()) {
      std::string_view line;
      if (!ReadLine(bytes, line)) break;
      AcceptLine(line, sink);
      line_.clear();
      continue;
    }
    std::string_view piece = bytes;
    if (state_ != State::kBodyToEnd) {
      piece = piece.substr(0, static_cast<size_t>(std::min<uint64_t>(left_, piece.size())));
      left_ -= piece.size();
    }
    bytes.remove_prefix(piece.size());
    if (!sink.OnBody(piece)) {
      Fail(Http1Error::kRefused);
      break;
    }
    if (left_ == 0 && state_ == State::kBodyOfLength) state_ = State::kDone;
    if (left_ == 0 && state_ == State::kChunk) state_ = State::kChunkEnd;
  }
  return before - bytes.size();
}

void Http1Reader::Wrote(size_t bytes, Sink& sink) {
  left_ -= bytes;
  if (left_ == 0) state_ = State::kDone;
  sink.OnBodyWritten(bytes);
}

void Http1Reader::ReadEnd() {
  if (state_ == State::kDone || error_ != Http1Error::kNone) return;
  if (state_ == State::kBodyToEnd) {
    state_ = State::kDone;
  } else {
    Fail(begun_ ? Http1Error::kCutShort : Http1Error::kEmpty);
  }
}

bool Http1Reader::ReadLine(std::string_view& bytes, std::string_view& line) {
  const size_t end = bytes.find('\n');
  const size_t taken = end == std::string_view::npos ? bytes.size() : end + 1;
  // Sizes of chunks are lines too, as many as there are chunks.
  const bool of_head = state_ != State::kChunkSize && state_ != State::kChunkEnd;
  const size_t length = of_head ? head_bytes_ + taken : line_.size() + taken;
  if (of_head) head_bytes_ += taken;
  if (length > head_bytes_max_) {
    Fail(Http1Error::kTooLong);
    return false;
  }
  const std::string_view part = bytes.substr(0, taken);
  bytes.remove_prefix(taken);
  if (end == std::string_view::npos || !line_.empty()) line_.append(part);
  if (end == std::string_view::npos) return false;
  line = line_.empty() ? part : std::string_view(line_);
  line.remove_suffix(1);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return true;
}

void Http1Reader::AcceptLine(std::string_view line, Sink& sink) {
  switch (state_) {
    case State::kStatusLine:
      AcceptStatusLine(line);
      break;
    case State::kHeaderLine:
      if (!line.empty()) AcceptHeader(line);
      break;
    case State::kChunkSize:
      return AcceptChunkSize(line);
    case State::kChunkEnd:
      if (!line.empty()) return Fail(Http1Error::kMalformed);
      state_ = State::kChunkSize;
      return;
    default:  // A trailer: nobody asks for one.
      if (line.empty()) state_ = State::kDone;
      return;
  }
  if (error_ != Http1Error::kNone) return;
  sink.OnHeadLine(line);
  if (line.empty()) EndHead();
}

// `HTTP/1.1 200 OK`; the reason may be missing with the blank before it.
void Http1Reader::AcceptStatusLine(std::string_view line) {
  uint64_t status = 0;
  const bool good = line.size() >= 12 && line.substr(0, 7) == "HTTP/1." &&
                    std::isdigit(static_cast<unsigned char>(line[7])) != 0 && line[8] == ' ' &&
                    ParseNumber(line.substr(9, 3), 10, status) && status >= 100 &&
                    (line.size() == 12 || line[12] == ' ');
  if (!good) return Fail(Http1Error::kMalformed);
  status_ = static_cast<int>(status);
  keep_alive_ = line[7] != '0';
  chunked_ = false;
  has_length_ = false;
  left_ = 0;
  state_ = State::kHeaderLine;
}

void Http1Reader::AcceptHeader(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = Trimmed(line.substr(colon + 1));
  if (EqualsIgnoringCase(name, "content-length")) {
    uint64_t length = 0;
    if (!ParseNumber(value, 10, length) || (has_length_ && length != left_)) {
      return Fail(Http1Error::kMalformed);
    }
    has_length_ = true;
    left_ = length;
  } else if (EqualsIgnoringCase(name, "transfer-encoding")) {
    // Any other coding is one that was not asked for.
    if (chunked_ || !EqualsIgnoringCase(value, "chunked")) return Fail(Http1Error::kMalformed);
    chunked_ = true;
  } else if (EqualsIgnoringCase(name, "connection")) {
    if (NamesToken(value, "keep-alive")) keep_alive_ = true;
    if (NamesToken(value, "close")) keep_alive_ = false;
  }
}

void Http1Reader::EndHead() {
  if (status_ < 200) {
    state_ = status_ == 101 ? State::kBodyToEnd : State::kStatusLine;
    return;
  }
  if (status_ == 204 || status_ == 304) {
    state_ = State::kDone;
  } else if (chunked_) {
    // Who sends a length beside it may mean to smuggle something.
    if (has_length_) keep_alive_ = false;
    state_ = State::kChunkSize;
  } else if (has_length_) {
    state_ = left_ > 0 ? State::kBodyOfLength : State::kDone;
  } else {
    keep_alive_ = false;
    state_ = State::kBodyToEnd;
  }
}

// `1a` or `1a;extension`.
void Http1Reader::AcceptChunkSize(std::string_view line) {
  const std::string_view digits = line.substr(0, line.find_first_of("; \t"));
  if (!ParseNumber(digits, 16, left_)) return Fail(Http1Error::kMalformed);
  state_ = left_ > 0 ? State::kChunk : State::kTrailer;
}

}  // namespace varve
