# SPDX-License-Identifier: Apache-2.0
"""Damaged files and a full disk, as the one who runs the server and the one who asks it see them."""

import os
import pathlib
import re
import subprocess
import time
import unittest

import harness
import remote_write

MINUTE_MS = 60_000
DISK_BYTES = 96 << 20
# Without a configuration the server scrapes itself, and then the past is out of bounds.
NOTHING_SCRAPED = "scrape_configs: []\n"


def metric(varve: harness.Varve, name: str) -> float:
    page = varve.get("/metrics").text
    return float(re.search(rf"^{name} (\S+)$", page, re.MULTILINE).group(1))


def flip_a_byte(path: pathlib.Path, position: int) -> None:
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 0x10]))


class DamagedFile(unittest.TestCase):
    """Half a day of two metrics, sealed; then one bit of the table of samples flips."""

    def test_costs_its_range_and_is_named(self):
        random = harness.rng("damage")
        begin = int(time.time() * 1000) - 12 * 60 * MINUTE_MS
        varve = harness.Varve("--web.enable-remote-write-receiver", config=NOTHING_SCRAPED).start()
        for first in range(0, 720, 120):
            times = [begin + (first + i) * MINUTE_MS for i in range(120)]
            answer = remote_write.push(varve.url, [
                ({"__name__": f"metric_{name}", "series": str(series)},
                 [(t, random.random()) for t in times])
                for name in "ab" for series in range(100)])
            self.assertEqual(answer.status, 204, answer.text)
        self.assertEqual(varve.stop(), 0)
        harness.run([str(harness.BINARY), "tsdb", "seal", str(varve.data_dir)])
        tables = sorted((varve.data_dir / "varve").glob("*.sst"), key=lambda file: file.stat().st_size)
        # Noise does not compress: the largest table is that of the samples.
        self.assertGreater(tables[-1].stat().st_size, 500_000)
        flip_a_byte(tables[-1], tables[-1].stat().st_size // 2)

        varve.start()
        counts = {}
        for name in "ab":
            answer = varve.get("/api/v1/query_range", query=f"metric_{name}",
                               start=begin / 1000, end=begin / 1000 + 719 * 60, step=60).json()
            self.assertEqual(answer["status"], "success")
            values = sum(len(one["values"]) for one in answer["data"]["result"])
            counts[name] = (values, answer.get("warnings", []))
        whole = [name for name, (_, warnings) in counts.items() if not warnings]
        hurt = [name for name, (_, warnings) in counts.items() if warnings]
        # Whether the block lies in one metric or across their border, most is there.
        self.assertTrue(hurt)
        for name in hurt:
            values, warnings = counts[name]
            self.assertGreater(values, 100 * 720 // 2)
            self.assertRegex(warnings[0], f'samples of metric_{name}.* from .* to .*: ')
        for name in whole:
            self.assertGreaterEqual(counts[name][0], 100 * 720)
        self.assertGreater(metric(varve, "prometheus_tsdb_wal_corruptions_total"), 0)
        self.assertIn("Stored data is damaged and left out", varve.log())
        self.assertEqual(varve.stop(), 0)


class FullDisk(unittest.TestCase):
    """A data directory on a file system of 96 MB that something else fills."""

    def setUp(self):
        self.disk = harness.temp_dir("disk")
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs",
                                  str(self.disk)], capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"no file system can be mounted: {mounted.stderr.strip()}")
        self.addCleanup(lambda: subprocess.run(["umount", "-l", str(self.disk)], check=False))

    def fill(self, mode: str, piece: int) -> None:
        """Writes to the filler, `piece` bytes at a time, until the disk is full."""
        with open(self.disk / "filler", mode, buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(piece))
            except OSError:
                pass

    def write(self) -> int:
        status = remote_write.push(self.varve.url, [
            ({"__name__": "m", "series": f"{self.written} {i}", "pad": self.random.randbytes(300).hex()},
             [(self.begin + self.written * 1000, self.written)]) for i in range(500)]).status
        self.written += status < 300
        return status

    def assert_nothing_lost(self) -> None:
        [(_, count)] = self.varve.query("sum(count_over_time(m[2h]))")
        self.assertEqual(count, self.written * 500)

    def fill_until_refused(self) -> None:
        self.varve = harness.Varve("--web.enable-remote-write-receiver", config=NOTHING_SCRAPED,
                                   data_dir=self.disk / "data").start()
        harness.wait_until(lambda: metric(self.varve, "varve_storage_reserve_bytes") > 0, 10,
                           "a reserve")
        self.begin = int(time.time() * 1000) - 3600_000
        self.random = harness.rng("disk")
        self.written = 0
        self.assertLess(self.write(), 300)
        self.fill("wb", 1 << 16)

        def is_refused() -> bool:
            self.fill("ab", 1 << 12)  # What the reserve gave is filled too.
            return self.write() >= 500 and metric(self.varve, "varve_storage_writable") == 0

        harness.wait_until(is_refused, 20, "writes to be refused")

    def test_refuses_writes_and_goes_on_reading(self):
        self.fill_until_refused()
        # Given up as soon as it has been said that writing stopped.
        harness.wait_until(lambda: metric(self.varve, "varve_storage_reserve_bytes") == 0, 10,
                           "the reserve to be given up")
        self.assertFalse((self.disk / "data" / "varve.reserve").exists())
        self.assertIn("Writing to the storage has stopped", self.varve.log())
        self.assert_nothing_lost()

    def test_writes_come_back_once_there_is_room(self):
        self.fill_until_refused()
        os.unlink(self.disk / "filler")
        harness.wait_until(lambda: self.write() < 300, 60, "writes to be accepted again")
        harness.wait_until(lambda: metric(self.varve, "varve_storage_writable") == 1, 10, "writable")
        self.assert_nothing_lost()
        self.varve.kill()
        self.varve.start()
        self.assert_nothing_lost()
        self.assertEqual(metric(self.varve, "prometheus_tsdb_wal_corruptions_total"), 0)
        self.assertEqual(self.varve.stop(), 0)
