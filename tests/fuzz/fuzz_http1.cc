// SPDX-License-Identifier: Apache-2.0
//
// Goal: no answer crashes the reader, and what it says does not depend on how the answer is cut.
// Method: the first byte says into how long pieces.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "model/check.h"
#include "net/http1_reader.h"

namespace {

struct Recorder : varve::Http1Reader::Sink {
  void OnHeadLine(std::string_view line) override { head += std::string(line) + "\n"; }
  bool OnBody(std::string_view bytes) override {
    INVARIANT(!bytes.empty());
    body += bytes;
    return true;
  }
  std::string head;
  std::string body;
};

struct Reading {
  Recorder told;
  varve::Http1Error error;
  bool done;
  size_t taken = 0;
};

Reading Read(std::string_view answer, size_t piece) {
  varve::Http1Reader reader(/*head_bytes_max=*/200);
  reader.Begin();
  Reading reading;
  while (!answer.empty() && !reader.done() && reader.error() == varve::Http1Error::kNone) {
    const std::string_view next = answer.substr(0, piece);
    const size_t taken = reader.Read(next, reading.told);
    INVARIANT(taken <= next.size());
    reading.taken += taken;
    answer.remove_prefix(next.size());
  }
  reader.ReadEnd();
  reading.error = reader.error();
  reading.done = reader.done();
  return reading;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view answer(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Reading whole = Read(answer, size);
  const Reading cut = Read(answer, 1 + data[0] % 32);
  INVARIANT(whole.done == cut.done && whole.error == cut.error);
  INVARIANT(whole.done != (whole.error != varve::Http1Error::kNone));
  INVARIANT(whole.told.head == cut.told.head && whole.told.body == cut.told.body);
  INVARIANT(!whole.done || whole.taken == cut.taken);
  return 0;
}
