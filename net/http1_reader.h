// SPDX-License-Identifier: Apache-2.0
//
// The framing of an HTTP/1.1 answer (RFC 9112), read from bytes as they come: where the lines of
// its head end, and which bytes are its body.
#pragma once

#include <absl/types/span.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace varve {

// Why an answer cannot be read on.
enum class Http1Error {
  kNone,
  kMalformed,  // What came is no HTTP/1.x.
  kTooLong,    // A line of the head, or the head as a whole.
  kEmpty,      // The connection ended before the first byte.
  kCutShort,   // The connection ended before the answer did.
  kRefused,    // The sink did not take bytes of the body.
};

// Reads one answer. Not thread-safe.
class Http1Reader {
 public:
  // Told what the answer consists of, in order.
  class Sink {
   public:
    virtual ~Sink() = default;
    // A line of a head without its end. The last line of a head is empty; informational answers
    // (1xx), whose heads are told too, come before the final one.
    virtual void OnHeadLine(std::string_view line) = 0;
    // Bytes of the body, never none. False: read no more.
    virtual bool OnBody(std::string_view bytes) = 0;
    // Where the next bytes of the body may be written instead, so many of them; empty if they are
    // to be told. Those that are come with OnBodyWritten().
    virtual absl::Span<char> BodyRoom(size_t /*bytes*/) { return {}; }
    virtual void OnBodyWritten(size_t /*bytes*/) {}
  };

  // Bytes of a head, and of what may follow a chunked body, at most.
  explicit Http1Reader(size_t head_bytes_max) : head_bytes_max_(head_bytes_max) {}

  // Makes the reader ready for the next answer, which is not that to a HEAD.
  void Begin();

  // Takes the next bytes. Returns how many belong to this answer: all of them unless it ends among
  // them. After an error none may follow.
  size_t Read(std::string_view bytes, Sink& sink);
  // So many of the next bytes are the body's, and nothing is lost if they go to the sink's room
  // without being read here: then Wrote() says so.
  uint64_t body_bytes_next() const { return state_ == State::kBodyOfLength ? left_ : 0; }
  // REQUIRES: bytes <= body_bytes_next().
  void Wrote(size_t bytes, Sink& sink);
  // The connection has ended: some answers end with it.
  void ReadEnd();

  bool done() const { return state_ == State::kDone; }
  Http1Error error() const { return error_; }
  // Whether any byte of the answer has come.
  bool begun() const { return begun_; }
  // Whether the connection can serve another request after this answer. REQUIRES: done().
  bool keeps_connection() const { return keep_alive_; }

 private:
  enum class State {
    kStatusLine,
    kHeaderLine,
    kBodyOfLength,
    kBodyToEnd,
    kChunkSize,
    kChunk,
    kChunkEnd,
    kTrailer,
    kDone,
  };

  bool ReadingLine() const;
  // Takes up to the end of a line; true if it is complete.
  bool ReadLine(std::string_view& bytes, std::string_view& line);
  void AcceptLine(std::string_view line, Sink& sink);
  void AcceptStatusLine(std::string_view line);
  void AcceptHeader(std::string_view line);
  void AcceptChunkSize(std::string_view line);
  void EndHead();
  void Fail(Http1Error error);

  const size_t head_bytes_max_;
  State state_ = State::kStatusLine;
  Http1Error error_ = Http1Error::kNone;
  bool begun_ = false;
  int status_ = 0;
  bool keep_alive_ = false;
  bool chunked_ = false;
  bool has_length_ = false;
  uint64_t left_ = 0;      // Bytes of the body, or of the chunk, still to come.
  size_t head_bytes_ = 0;  // Of the heads and trailers so far.
  std::string line_;       // The part of a line that came before.
};

}  // namespace varve
