# SPDX-License-Identifier: Apache-2.0
"""Targets that answer what no target should: each fails or is read by itself, says why, and costs
neither the others a scrape nor the server its memory."""

import gzip
import pathlib
import socket
import threading
import time
import unittest

import harness

INTERVAL = 1
TEXT = b"Content-Type: text/plain; version=0.0.4\r\n"
PROCESS_MB_MAX = 600


def zstd_frame(data: bytes) -> bytes:
    """One raw block: what a decoder must take, without a compressor."""
    block = (len(data) << 3 | 1).to_bytes(3, "little") + data
    return bytes([0x28, 0xB5, 0x2F, 0xFD, 0x20, len(data)]) + block


def whole(body: bytes, headers: bytes = TEXT):
    def answer(send):
        send(b"HTTP/1.1 200 OK\r\n" + headers + b"Connection: close\r\nContent-Length: "
             + str(len(body)).encode() + b"\r\n\r\n")
        send(body)
    return answer


def endless(begin: bytes, piece: bytes, pause: float = 0):
    def answer(send):
        send(b"HTTP/1.1 200 OK\r\n" + TEXT + b"Connection: close\r\n\r\n" + begin)
        while True:
            send(piece)
            time.sleep(pause)
    return answer


BOMB = gzip.compress(b"# " + b"0" * (64 << 20) + b"\n", 9)
LABELS = ",".join(f'l{i}="v"' for i in range(100_000))

# Job: answer, further configuration, error ("" = the scrape succeeds).
TARGETS = {
    "good": (whole(b"good 1\n"), "", ""),
    "zstd": (whole(zstd_frame(b"packed 1\n"), TEXT + b"Content-Encoding: zstd\r\n"), "", ""),
    "endless": (endless(b"", b"m 1\n" * 16384), "body_size_limit: 1MB", "body size limit exceeded"),
    "endless_slowly": (endless(b"", b"m 1\n" * 16384, 0.05), "", "context deadline exceeded"),
    "drip": (endless(b"m", b"m", 0.05), "", "context deadline exceeded"),
    "no_answer": (lambda send: time.sleep(30), "", "context deadline exceeded"),
    "bomb": (whole(BOMB, TEXT + b"Content-Encoding: gzip\r\n"), "body_size_limit: 1MB",
             "body size limit exceeded"),
    "no_gzip": (whole(b"m 1\n", TEXT + b"Content-Encoding: gzip\r\n"), "", "gzip"),
    "long_line": (whole(b'm{x="' + b"a" * (20 << 20) + b'"} 1\n'), "", "line is longer than"),
    "endless_line": (endless(b'm{x="', b"a" * 65536), "body_size_limit: 8MB",
                     "body size limit exceeded"),
    "negative_time": (whole(b"m 1 -5\n"), "", "expected timestamp or new record"),
    "huge_time": (whole(b"m 1 9999999999999999\nkept 1\n"), "", ""),
    "beyond_time": (whole(b"m 1 99999999999999999999\n"), "", "out of range"),
    "no_utf8": (whole(b'm{x="\xff"} 1\n'), "", "invalid UTF-8"),
    "twice": (whole(b"m 1\nm 2\nm 3\n"), "", ""),
    "labels": (whole(f"m{{{LABELS}}} 1\n".encode()), "", ""),
    "labels_limited": (whole(f"m{{{LABELS}}} 1\n".encode()), "label_limit: 100",
                       "label_limit exceeded"),
    "no_http": (lambda send: send(b"\x00\xff\x00\xffnonsense\r\n\r\n"), "", "malformed HTTP"),
}


class HostileServer:
    """Answers /JOB as TARGETS says, byte by byte: an HTTP library would not let it."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        harness.on_cleanup(self._socket.close)

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    @staticmethod
    def _serve(connection):
        try:
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    request += piece
                TARGETS[request.split(b" ")[1].decode().strip("/")][0](connection.sendall)
        except OSError:
            pass  # The scraper has had enough.


class HostileTargetsTest(unittest.TestCase):
    def test_each_fails_by_itself(self):
        server = HostileServer()
        config = f"global:\n  scrape_interval: {INTERVAL}s\nscrape_configs:\n"
        for job, (_, extra, _) in TARGETS.items():
            config += (f"- job_name: {job}\n  metrics_path: /{job}\n  {extra}\n"
                       f"  static_configs:\n  - targets: ['127.0.0.1:{server.port}']\n")
        varve = harness.Varve(config=config).start()

        def history():
            answer = varve.api("targets", details="true")["activeTargets"]
            return {target["scrapePool"]: target for target in answer}

        harness.wait_until(
            lambda: all(target["history"]["scrapes"] >= 4 for target in history().values()), 60,
            "four scrapes of each")
        targets = history()
        self.assertEqual(sorted(targets), sorted(TARGETS))
        for job, (_, _, error) in TARGETS.items():
            with self.subTest(job):
                self.assertEqual(targets[job]["health"], "down" if error else "up",
                                 targets[job]["lastError"])
                self.assertIn(error, targets[job]["lastError"])
                self.assertLess(len(targets[job]["lastError"]), 2000)
                if error:
                    self.assertIn(error, targets[job]["history"]["failures"][0]["error"])
        self.assertGreaterEqual(targets["huge_time"]["history"]["droppedSamples"]["outOfBounds"], 4)
        self.assertGreaterEqual(targets["twice"]["history"]["droppedSamples"]["duplicateTimestamp"], 8)
        self.assertEqual(len(varve.query('{__name__=~"good|packed|kept"}')), 3)
        # The good one was scraped in every interval.
        good = targets["good"]["history"]
        self.assertEqual(good["failedScrapes"], 0)
        [(_, late)] = varve.query(
            f'max_over_time(scrape_duration_seconds{{job="good"}}[1m])')
        self.assertLess(late, INTERVAL)
        status = pathlib.Path(f"/proc/{varve.process.pid}/status").read_text(encoding="utf-8")
        peak_kb = int(status.split("VmHWM:")[1].split()[0])
        self.assertLess(peak_kb / 1024, PROCESS_MB_MAX)
        self.assertEqual(varve.stop(), 0)


if __name__ == "__main__":
    unittest.main()
