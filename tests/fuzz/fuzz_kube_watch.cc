// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a watch stream, as a list and as a Status. The first byte says how large the pieces
// are in which the stream arrives; however it is cut, the same objects must come out of it.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "kube/decoder.h"
#include "model/check.h"

namespace varve {
namespace {

constexpr uint64_t kEventBytesMax = 4096;

struct Framed {
  std::vector<std::string> objects;
  absl::Status status;
};

Framed Frame(std::string_view stream, size_t piece_bytes) {
  Framed framed;
  WatchFramer framer(kEventBytesMax);
  while (!stream.empty() && framed.status.ok()) {
    framed.status = framer.Append(stream.substr(0, piece_bytes), [&](std::string_view object) {
      framed.objects.emplace_back(object);
      return absl::OkStatus();
    });
    stream.remove_prefix(std::min(piece_bytes, stream.size()));
  }
  return framed;
}

void Check(std::string_view input) {
  const size_t piece_bytes = static_cast<unsigned char>(input[0]) % 64 + 1;
  const std::string_view stream = input.substr(1);
  const Framed whole = Frame(stream, stream.size() + 1);
  const Framed pieces = Frame(stream, piece_bytes);
  INVARIANT(whole.objects == pieces.objects);
  INVARIANT(whole.status == pieces.status);

  for (const KubeResource resource :
       {KubeResource::kPod, KubeResource::kNode, KubeResource::kNamespace}) {
    KubeDecoder decoder(resource);
    for (const std::string& object : whole.objects) {
      const absl::StatusOr<KubeWatchEvent> event = decoder.ParseEvent(object);
      if (!event.ok()) {
        INVARIANT(event.status().code() == absl::StatusCode::kDataLoss);
        continue;
      }
      if (event->type == KubeWatchEvent::Type::kError) continue;
      INVARIANT(event->object != nullptr);
      INVARIANT(event->type == KubeWatchEvent::Type::kBookmark ||
                !event->object->metadata.name.empty());
    }
    const absl::StatusOr<KubeList> list = decoder.ParseList(stream);
    if (list.ok()) {
      for (const KubeObjectPtr& item : list->items) INVARIANT(!item->metadata.name.empty());
    }
  }
  INVARIANT(ParseKubeStatus(500, stream).message.size() <= input.size());
}

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) varve::Check(std::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
