# SPDX-License-Identifier: Apache-2.0
"""Goal: what the storage accepts, refuses, deletes, copies and counts is what Prometheus' users know,
seen from outside: remote write, the admin API and /metrics of the real binary."""

import re
import time
import unittest

import harness
import remote_write

NOTHING_SCRAPED = "scrape_configs: []\n"
FLAGS = ("--web.enable-remote-write-receiver", "--web.enable-admin-api")
MINUTE = 60_000
ADMIN = "/api/v1/admin/tsdb/"
HISTOGRAM = {"schema": 0, "zero_threshold": 0.001, "zero_count": 1, "sum": 3.5, "start": 0, "positive": [1, 2]}


def metrics_of(varve: harness.Varve) -> dict:
    """Names with labels to values."""
    lines = (line.rsplit(" ", 1) for line in varve.get("/metrics").text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def push(varve: harness.Varve, time_ms: int, value, name: str = "m") -> tuple[int, str]:
    answer = remote_write.push(varve.url, [({"__name__": name}, [(time_ms, value)])])
    return answer.status, answer.text


class AcceptanceTest(unittest.TestCase):
    """Statuses, texts and counters of samples that are refused."""

    def refused(self, varve, time_ms, value, text, counter, name="m"):
        before = metrics_of(varve)
        status, answer = push(varve, time_ms, value, name)
        self.assertEqual(status, 400, answer)
        self.assertIn(text, answer)
        after = metrics_of(varve)
        counters = [name for name in after if re.search("out_of_|too_old|duplicate_samples", name)
                    and after[name] != before[name]]
        self.assertEqual(counters, [counter])
        self.assertEqual(after[counter], before[counter] + 1)

    def accepted(self, varve, time_ms, value, name="m"):
        self.assertEqual(push(varve, time_ms, value, name)[0] // 100, 2)

    def test_without_a_window(self):
        varve = harness.Varve(*FLAGS, config=NOTHING_SCRAPED).start()
        now = int(time.time() * 1000)
        for name, value, other in (("m", 1, 2), ("h", HISTOGRAM, {**HISTOGRAM, "sum": 4.5})):
            self.accepted(varve, now, value, name)
            self.accepted(varve, now, value, name)  # The same again.
            self.refused(varve, now, other, "duplicate sample for timestamp",
                         "varve_tsdb_duplicate_samples_total", name)
            self.refused(varve, now - MINUTE, value, "out of order sample",
                         "prometheus_tsdb_out_of_order_samples_total", name)
            self.refused(varve, now - 61 * MINUTE, value, "out of bounds",
                         "prometheus_tsdb_out_of_bound_samples_total", name)
        self.refused(varve, now + 12 * MINUTE, 1, "out of bounds", "prometheus_tsdb_out_of_bound_samples_total")
        self.accepted(varve, now - 59 * MINUTE, 1, "another")
        self.assertEqual(varve.query("count_over_time(m[2h])", time=now / 1000 + 1200)[0][1], 1)
        self.assertEqual(varve.query("count_over_time(h[2h])", time=now / 1000 + 1200)[0][1], 1)

    def test_with_a_window(self):
        varve = harness.Varve(*FLAGS, config=NOTHING_SCRAPED +
                              "storage:\n  tsdb:\n    out_of_order_time_window: 30m\n").start()
        now = int(time.time() * 1000)
        for name, value in (("m", 1), ("h", HISTOGRAM)):
            self.accepted(varve, now, value, name)
            self.accepted(varve, now - 29 * MINUTE, value, name)
            self.refused(varve, now - 31 * MINUTE, value, "too old sample",
                         "prometheus_tsdb_too_old_samples_total", name)
            self.assertEqual(varve.query(f"count_over_time({name}[2h])", time=now / 1000 + 1)[0][1], 2)
        self.assertEqual(metrics_of(varve)["prometheus_tsdb_head_out_of_order_samples_appended_total"], 2)


class AdminTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.begin = int(time.time()) // 86400 * 86400_000 - 3 * 86400_000
        cls.varve = harness.Varve(*FLAGS, "--storage.tsdb.retention.time=30d", config=NOTHING_SCRAPED).start()
        for step in range(0, 600, 100):  # 50 hours.
            answer = remote_write.push(cls.varve.url, [
                ({"__name__": "m", "i": str(i)},
                 [(cls.begin + s * 5 * MINUTE, i * 1000 + s) for s in range(step, step + 100)])
                for i in range(4)])
            assert answer.status // 100 == 2, answer.text

    def counts(self, varve=None) -> dict:
        found = (varve or self.varve).query("count_over_time(m[60h])", time=self.begin / 1000 + 59 * 3600)
        return {labels["i"]: count for labels, count in found}

    def test_what_is_deleted_stays_deleted(self):
        varve = self.varve
        expected = dict.fromkeys("0123", 600)
        self.assertEqual(self.counts(), expected)
        # A range of one series: steps 12 to 24, both included; and all of another.
        start, end = self.begin / 1000 + 3600, self.begin / 1000 + 7200
        answer = varve.post(ADMIN + "delete_series", **{"match[]": 'm{i="0"}', "start": start, "end": end})
        self.assertEqual((answer.status, answer.text), (204, ""))
        self.assertEqual(varve.post(ADMIN + "delete_series", **{"match[]": 'm{i="1"}'}).status, 204)
        expected["0"] -= 13
        del expected["1"]
        self.assertEqual(self.counts(), expected)
        before = metrics_of(varve)["prometheus_tsdb_compactions_total"]
        self.assertEqual(varve.post(ADMIN + "clean_tombstones").status, 204)
        self.assertGreater(metrics_of(varve)["prometheus_tsdb_compactions_total"], before)
        self.assertEqual(self.counts(), expected)
        varve.kill()
        varve.start()
        self.assertEqual(self.counts(), expected)
        # What comes later is there.
        self.assertEqual(push(varve, self.begin + 51 * 60 * MINUTE, 7, "m")[0] // 100, 2)
        self.assertEqual(varve.query('m{i=""}', time=self.begin / 1000 + 51 * 3600)[0][1], 7)

    def test_snapshots_open_as_data_directories(self):
        varve = self.varve
        expected = self.counts()
        for parameters in ({}, {"skip_head": "true"}, {"skip_head": "false"}):
            answer = varve.post(ADMIN + "snapshot", **parameters)
            self.assertEqual(answer.status, 200, answer.text)
            name = answer.json()["data"]["name"]
            self.assertRegex(name, r"^\d{8}T\d{6}Z-[0-9a-f]{16}$")
            # The server goes on beside it, and neither sees what the other gets.
            copy = harness.Varve(*FLAGS, config=NOTHING_SCRAPED, data_dir=varve.data_dir / "snapshots" / name,).start()
            self.assertEqual(self.counts(copy), expected)
            self.assertEqual(push(copy, self.begin + 52 * 60 * MINUTE, 1, "copied")[0] // 100, 2)
            self.assertEqual(copy.stop(), 0)
            self.assertEqual(varve.query("copied", time=self.begin / 1000 + 52 * 3600), [])
            verified = harness.run([harness.BINARY, "tsdb", "verify", varve.data_dir / "snapshots" / name])
            self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
        refused = varve.post(ADMIN + "snapshot", skip_head="perhaps")
        self.assertEqual(refused.status, 400)


def test_metadata_survives_kill_9():
    """What remote write and scraped targets say of metrics is there when nobody says it any more."""
    exporter = harness.MetricServer(pages={"/metrics": "# HELP scraped From a page.\n# TYPE scraped gauge\nscraped 1\n"})
    scraping = f"scrape_configs: [{{job_name: j, scrape_interval: 100ms, scrape_timeout: 100ms, " \
               f"static_configs: [{{targets: ['{exporter.address}']}}]}}]\n"
    varve = harness.Varve(*FLAGS, config=scraping).start()
    sent = [("sent_bytes", "counter", "From a request.", "bytes"), ("", "gauge", "nobody's", "")]
    answer = remote_write.push(varve.url, [({"__name__": "sent_bytes"}, [(int(time.time() * 1000), 1)])], sent)
    assert answer.status // 100 == 2, answer.text
    harness.wait_until(lambda: varve.query("scraped"), 30, "a scrape")
    expected = {"sent_bytes": [{"type": "counter", "help": "From a request.", "unit": "bytes"}],
                "scraped": [{"type": "gauge", "help": "From a page.", "unit": ""}]}
    assert varve.api("metadata") == expected
    varve.kill()
    varve.write_config(NOTHING_SCRAPED)
    varve.start()
    assert varve.api("metadata") == expected
    assert varve.api("metadata", metric="sent_bytes") == {"sent_bytes": expected["sent_bytes"]}
    assert varve.api("metadata", limit="1") == {"scraped": expected["scraped"]}
    # Sent again it is no news; a change is.
    assert remote_write.push(varve.url, [], sent[:1] + [("scraped", "counter", "", "")]).status // 100 == 2
    expected["scraped"] = [{"type": "counter", "help": "", "unit": ""}]
    assert varve.api("metadata") == expected
    assert varve.stop() == 0
    varve.start()
    assert varve.api("metadata") == expected
    assert metrics_of(varve)["varve_storage_metadata_refused_total"] == 0


class CommandTest(unittest.TestCase):
    """`varve tsdb seal`, `verify` and `analyze` on what a server left."""

    def test_commands(self):
        varve = harness.Varve(*FLAGS, "--storage.tsdb.retention.time=30d", config=NOTHING_SCRAPED).start()
        begin = int(time.time() * 1000) - 86400_000
        answer = remote_write.push(varve.url, [
            ({"__name__": name, "i": str(i)}, [(begin + s * MINUTE, value(s)) for s in range(500)])
            for name, value in (("constant", lambda s: 1), ("counter", lambda s: s * 3),
                                ("noise", lambda s: (s * 7919 % 1000) / 7)) for i in range(3)])
        self.assertEqual(answer.status, 204, answer.text)
        command = [harness.BINARY, "tsdb"]
        busy = harness.run([*command, "verify", varve.data_dir])
        self.assertEqual(busy.returncode, 1, busy.stdout)
        self.assertIn("another process", busy.stderr)
        varve.kill()
        for name in ("verify", "seal", "verify"):
            done = harness.run([*command, name, varve.data_dir])
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("no damage found", done.stdout)
        text = harness.run([*command, "analyze", varve.data_dir]).stdout
        self.assertIn("4500 samples", text)
        # Metrics by bytes, each with its series and samples; labels with their values.
        metrics = re.findall(r"^(constant|counter|noise) +3 +1500 +(\d+) ", text, re.M)
        self.assertEqual([name for name, _ in metrics][0], "noise")
        self.assertEqual(len(metrics), 3, text)
        self.assertRegex(text, r"(?m)^i +3 ")
        self.assertRegex(text, r"(?m)^__name__ +3 ")
        # Encodings take the samples of all series, times aside.
        self.assertIn("constant", text[text.index("encoding"):text.index("metric ")])
        nothing = harness.run([*command, "analyze", varve.dir / "nothing"])
        self.assertEqual((nothing.returncode, nothing.stdout), (1, ""))
        self.assertEqual(harness.run([*command, "fold", varve.data_dir]).returncode, 2)


class MetricsTest(unittest.TestCase):
    def test_retention_and_folding_are_in_the_metrics(self):
        varve = harness.Varve(*FLAGS, "--storage.tsdb.retention.size=1GB", "--web.enable-lifecycle",
                              config=NOTHING_SCRAPED).start()
        now = int(time.time() * 1000)
        for hours in range(12, 0, -1):
            self.assertEqual(push(varve, now - hours * 60 * MINUTE, hours)[0] // 100, 2)
        found = metrics_of(varve)
        self.assertEqual(found["prometheus_tsdb_retention_limit_bytes"], 1 << 30)
        self.assertEqual(found["prometheus_tsdb_retention_limit_seconds"], 0)
        self.assertEqual(found["prometheus_tsdb_lowest_timestamp"], now - 12 * 60 * MINUTE)
        self.assertAlmostEqual(found["prometheus_tsdb_lowest_timestamp_seconds"], now / 1000 - 12 * 3600, 2)
        for name in ("prometheus_tsdb_time_retentions_total", "prometheus_tsdb_size_retentions_total",
                     "prometheus_tsdb_compactions_failed_total"):
            self.assertEqual(found[name], 0, name)
        varve.write_config(NOTHING_SCRAPED + "storage: {tsdb: {retention: {time: 3d, percentage: 50}}}\n")
        self.assertEqual(varve.post("/-/reload").status, 200)
        found = metrics_of(varve)
        self.assertEqual(found["prometheus_tsdb_retention_limit_seconds"], 3 * 86400)
        self.assertEqual(found["varve_tsdb_retention_limit_percentage"], 50)

        varve.post(ADMIN + "delete_series", **{"match[]": "nothing"})
        varve.post(ADMIN + "delete_series", **{"match[]": "m", "start": "0", "end": str((now - 11.5 * 3600_000) / 1000)})
        self.assertEqual(varve.post(ADMIN + "clean_tombstones").status, 204)
        found = metrics_of(varve)
        kinds = [found[f'varve_tsdb_compactions_total{{kind="{kind}"}}'] for kind in ("fold", "merge")]
        self.assertGreater(kinds[0], 0)
        self.assertEqual(sum(kinds), found["prometheus_tsdb_compactions_total"])
        self.assertEqual(found["prometheus_tsdb_compaction_duration_seconds_count"], sum(kinds))
        self.assertEqual(found['prometheus_tsdb_compaction_duration_seconds_bucket{le="+Inf"}'], sum(kinds))
        self.assertGreater(found['varve_tsdb_compaction_seconds_total{kind="fold"}'], 0)
        self.assertGreater(found['varve_tsdb_compaction_written_bytes_total{kind="fold"}'], 0)
        self.assertEqual(found["varve_tsdb_folded_samples"], 11)
        self.assertGreater(found["varve_tsdb_folded_bytes"], 0)
        self.assertGreaterEqual(found["prometheus_tsdb_blocks_loaded"], 1)
        self.assertGreaterEqual(found["varve_tsdb_buckets"], 1)
        self.assertEqual(found["varve_tsdb_unfolded_families"], 0)
        self.assertEqual(found["prometheus_tsdb_head_samples_appended_total{type=\"float\"}"], 12)
