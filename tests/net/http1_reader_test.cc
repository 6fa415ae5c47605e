// SPDX-License-Identifier: Apache-2.0
//
// Answers cut into pieces of every size: what is their head, their body, their end, and what none.
#include "net/http1_reader.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace varve {
namespace {

struct Told : Http1Reader::Sink {
  void OnHeadLine(std::string_view line) override { head += std::string(line) + "\n"; }
  bool OnBody(std::string_view bytes) override {
    CHECK(!bytes.empty());
    body += bytes;
    return body.size() <= body_max;
  }
  std::string head;
  std::string body;
  size_t body_max = SIZE_MAX;
};

struct Outcome {
  bool done = false;
  Http1Error error = Http1Error::kNone;
  bool keeps = false;
  size_t taken = 0;
  std::string head;
  std::string body;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome Read(std::string_view answer, size_t piece, bool ends, size_t head_max = 1000) {
  Http1Reader reader(head_max);
  reader.Begin();
  Told told;
  Outcome outcome;
  for (size_t at = 0; at < answer.size() && !reader.done() && reader.error() == Http1Error::kNone;
       at += piece) {
    outcome.taken += reader.Read(answer.substr(at, piece), told);
  }
  if (ends) reader.ReadEnd();
  outcome.done = reader.done();
  outcome.error = reader.error();
  outcome.keeps = reader.done() && reader.keeps_connection();
  outcome.head = told.head;
  outcome.body = told.body;
  return outcome;
}

// The outcome of the answer, which must not depend on how it is cut.
Outcome ReadCut(std::string_view answer, bool ends = false) {
  const Outcome whole = Read(answer, answer.size(), ends);
  for (const size_t piece : {1, 2, 3, 7, 20}) {
    CAPTURE(piece);
    CHECK(Read(answer, piece, ends) == whole);
  }
  return whole;
}

TEST_CASE("http1: a length says where the body ends") {
  const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello";
  const Outcome outcome = ReadCut(answer);
  CHECK(outcome.done);
  CHECK(outcome.keeps);
  CHECK(outcome.head == "HTTP/1.1 200 OK\nContent-Length: 5\nX: y\n\n");
  CHECK(outcome.body == "hello");
  CHECK(outcome.taken == answer.size());
  CHECK(Read(answer + "more", 100, false).taken == answer.size());
  const Outcome cut = ReadCut(answer.substr(0, answer.size() - 1), true);
  CHECK(cut.error == Http1Error::kCutShort);
  CHECK(cut.body == "hell");
  CHECK(ReadCut("HTTP/1.1 200 OK\ncontent-length:0\n\n").done);
}

TEST_CASE("http1: chunks") {
  const std::string answer =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
      "5\r\nhello\r\nA;name=value\r\n, and more.\r\n000\r\nTrailer: x\r\n\r\n";
  const Outcome outcome = ReadCut(answer);
  CHECK_FALSE(outcome.done);  // The second chunk is one byte longer than it says.
  CHECK(outcome.error == Http1Error::kMalformed);
  std::string good = answer;
  good.replace(good.find("A;"), 1, "b");
  const Outcome mended = ReadCut(good);
  CHECK(mended.done);
  CHECK(mended.keeps);
  CHECK(mended.body == "hello, and more.");
  CHECK(mended.taken == good.size());
  for (const char* size : {"", "g", "-1", "+1", "0x1", " 1", "11111111111111111"}) {
    CAPTURE(size);
    const std::string wrong =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(size) + "\r\nx\r\n";
    CHECK(ReadCut(wrong).error == Http1Error::kMalformed);
  }
}

TEST_CASE("http1: an answer without a length lasts as long as the connection") {
  const Outcome outcome = ReadCut("HTTP/1.1 200 OK\r\n\r\nabc", true);
  CHECK(outcome.done);
  CHECK_FALSE(outcome.keeps);
  CHECK(outcome.body == "abc");
  CHECK_FALSE(ReadCut("HTTP/1.1 200 OK\r\n\r\nabc").done);
}

TEST_CASE("http1: answers without a body, and informational ones before") {
  const Outcome none = ReadCut("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n");
  CHECK(none.done);
  CHECK(none.keeps);
  CHECK(ReadCut("HTTP/1.1 304\r\n\r\n").done);
  const Outcome later = ReadCut(
      "HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n"
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
  CHECK(later.done);
  CHECK(later.body == "x");
}

TEST_CASE("http1: which connections last") {
  const auto keeps = [](const std::string& version, const std::string& headers) {
    return ReadCut("HTTP/" + version + " 200 OK\r\nContent-Length: 0\r\n" + headers + "\r\n").keeps;
  };
  CHECK(keeps("1.1", ""));
  CHECK_FALSE(keeps("1.0", ""));
  CHECK(keeps("1.0", "Connection: Keep-Alive\r\n"));
  CHECK_FALSE(keeps("1.1", "connection: close\r\n"));
  CHECK_FALSE(keeps("1.1", "Connection: foo, Close\r\n"));
  CHECK_FALSE(ReadCut("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "0\r\n\r\n")
                  .keeps);
}

TEST_CASE("http1: what is none") {
  CHECK(ReadCut("", true).error == Http1Error::kEmpty);
  CHECK(ReadCut("HTTP/1.1 200 OK\r\n", true).error == Http1Error::kCutShort);
  for (const char* head :
       {"hello\r\n", "HTTP/2 200\r\n", "HTTP/1.1 20 OK\r\n", "HTTP/1.1 099 OK\r\n",
        "HTTP/1.1 2000\r\n", "HTTP/1.x 200 OK\r\n", "\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n"}) {
    CAPTURE(head);
    CHECK(ReadCut(head).error == Http1Error::kMalformed);
  }
}

TEST_CASE("http1: the limit of a head, exactly and one past it") {
  const std::string head = "HTTP/1.1 200 OK\r\nA: " + std::string(30, 'x') + "\r\n\r\n";
  for (const size_t piece : {size_t{1}, size_t{9}, head.size()}) {
    CHECK(Read(head, piece, true, head.size()).done);
    CHECK(Read(head, piece, true, head.size() - 1).error == Http1Error::kTooLong);
  }
  // A line of a chunk counts by itself, all lines behind the chunks together.
  const std::string start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  std::string chunks = start;
  for (int i = 0; i < 100; ++i) chunks += "1\r\nx\r\n";
  chunks += "0\r\n";
  CHECK(Read(chunks + "\r\n", 11, false, 60).done);
  CHECK(Read(start + std::string(61, '0') + "\r\n", 11, false, 60).error == Http1Error::kTooLong);
  CHECK(Read(chunks + "T: 1\r\nT: 2\r\nT: 3\r\n\r\n", 11, false, 60).error == Http1Error::kTooLong);
}

TEST_CASE("http1: what the sink refuses ends it") {
  Http1Reader reader(1000);
  reader.Begin();
  Told told;
  told.body_max = 3;
  reader.Read("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", told);
  CHECK(reader.error() == Http1Error::kNone);
  reader.Read("cd", told);
  CHECK(reader.error() == Http1Error::kRefused);
}

TEST_CASE("http1: bytes of a body of known length may be written by the sink") {
  struct Written : Told {
    void OnBodyWritten(size_t bytes) override { written += bytes; }
    size_t written = 0;
  };
  Http1Reader reader(100);
  reader.Begin();
  Written told;
  reader.Read("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n", told);
  CHECK(reader.body_bytes_next() == 0);
  reader.Read("\r\nab", told);
  CHECK(reader.body_bytes_next() == 7);
  reader.Wrote(4, told);
  CHECK(reader.body_bytes_next() == 3);
  reader.Read("g", told);
  CHECK_FALSE(reader.done());
  reader.Wrote(2, told);
  CHECK(reader.done());
  CHECK(reader.body_bytes_next() == 0);
  CHECK(told.body == "abg");
  CHECK(told.written == 6);
  // Of others nobody knows what comes next.
  for (const char* head :
       {"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"}) {
    reader.Begin();
    reader.Read(head, told);
    CHECK(reader.body_bytes_next() == 0);
  }
}

TEST_CASE("http1: one answer after the other") {
  Http1Reader reader(100);
  for (int i = 0; i < 3; ++i) {
    reader.Begin();
    CHECK_FALSE(reader.begun());
    Told told;
    reader.Read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", told);
    CHECK(reader.begun());
    CHECK(reader.done());
    CHECK(told.body == "ab");
  }
}

}  // namespace
}  // namespace varve
