# SPDX-License-Identifier: Apache-2.0
"""Remote-write 1.0 requests on Python's standard library: protobuf by hand, snappy as literals."""

import struct

import harness


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _zigzag(number: int) -> int:
    return number << 1 if number >= 0 else (-number << 1) - 1


def encode_labels(labels: dict) -> bytes:
    return b"".join(_message(1, _message(1, name.encode()) + _message(2, value.encode()))
                    for name, value in sorted(labels.items()))


def encode_sample(time_ms: int, value: float) -> bytes:
    return _message(2, _varint(1 << 3 | 1) + struct.pack("<d", value)
                    + _varint(2 << 3) + _varint(time_ms))


def encode_histogram(time_ms: int, histogram: dict) -> bytes:
    """`histogram`: schema, zero_threshold, zero_count, sum, start (index of the first bucket) and
    positive (counts of the buckets from there on)."""
    counts = histogram["positive"]
    deltas = [count - before for before, count in zip([0] + counts, counts)]
    body = _varint(1 << 3) + _varint(histogram["zero_count"] + sum(counts))
    body += _varint(3 << 3 | 1) + struct.pack("<d", histogram["sum"])
    body += _varint(4 << 3) + _varint(_zigzag(histogram["schema"]))
    body += _varint(5 << 3 | 1) + struct.pack("<d", histogram["zero_threshold"])
    body += _varint(6 << 3) + _varint(histogram["zero_count"])
    body += _message(11, _varint(1 << 3) + _varint(_zigzag(histogram["start"]))
                     + _varint(2 << 3) + _varint(len(counts)))
    body += _message(12, b"".join(_varint(_zigzag(delta)) for delta in deltas))
    body += _varint(15 << 3) + _varint(time_ms)
    return _message(4, body)


def encode_request(series: list) -> bytes:
    """`series`: (labels, [(time_ms, value)]) pairs; a value may be a histogram as above."""
    out = bytearray()
    for labels, samples in series:
        body = encode_labels(labels)
        for time_ms, value in samples:
            encode = encode_histogram if isinstance(value, dict) else encode_sample
            body += encode(time_ms, value)
        out += _message(1, body)
    return bytes(out)


TYPES = ("unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")


def encode_metadata(metadata: list) -> bytes:
    """`metadata`: (metric, type, help, unit)."""
    return b"".join(_message(3, _varint(1 << 3) + _varint(TYPES.index(kind)) + _message(2, metric.encode())
                             + _message(4, text.encode()) + _message(5, unit.encode()))
                    for metric, kind, text, unit in metadata)


def snappy(data: bytes) -> bytes:
    """A block of literals: valid, not smaller."""
    out = bytearray(_varint(len(data)))
    for at in range(0, len(data), 65536):
        piece = data[at:at + 65536]
        out += bytes([61 << 2]) + struct.pack("<H", len(piece) - 1) + piece
    return bytes(out)


def push(url: str, series: list, metadata: list = ()) -> harness.Response:
    """Posts `series` and `metadata` to the server at `url`."""
    return harness.http("POST", url + "/api/v1/write", snappy(encode_request(series) + encode_metadata(metadata)),
                        {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf",
                         "X-Prometheus-Remote-Write-Version": "0.1.0"})
