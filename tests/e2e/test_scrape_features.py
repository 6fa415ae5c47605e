# SPDX-License-Identifier: Apache-2.0
"""What --enable-feature changes in scrapes: start times as zeros or stored, types and units as labels."""

import time
import unittest

import harness

INCREMENTS = 7.0


def page(created: float) -> str:
    """A counter that has counted since `created`, before anybody looked, and stands still."""
    return ("# TYPE jobs counter\n"
            f"jobs_total{{queue=\"a\"}} {INCREMENTS}\njobs_created{{queue=\"a\"}} {created}\n"
            "# EOF\n")


class StartTimes(unittest.TestCase):
    def setUp(self):
        self.created = round(time.time() - 3, 3)
        self.target = harness.MetricServer(
            pages={"/metrics": page(self.created)},
            content_type="application/openmetrics-text; version=1.0.0; charset=utf-8")

    def scraped(self, *features: str) -> harness.Varve:
        flags = [f"--enable-feature={','.join(features)}"] if features else []
        varve = harness.Varve(*flags, config=(
            "global: {scrape_interval: 1s}\n"
            "scrape_configs:\n- job_name: start\n  static_configs:\n"
            f"  - targets: ['{self.target.address}']\n")).start()
        harness.wait_until(lambda: varve.query("count_over_time(jobs_total[1m]) >= 3"), 30,
                           "three scrapes")
        return varve

    def values(self, varve: harness.Varve, expression: str) -> list[float]:
        return [value for _labels, value in varve.query(expression)]

    def accepts(self) -> list[str]:
        return [headers["Accept"] for _path, headers in self.target.requests]

    def test_no_feature(self):
        varve = self.scraped()
        self.assertEqual(self.values(varve, "jobs_created"), [self.created])
        self.assertEqual(self.values(varve, "increase(jobs_total[1m])"), [0.0])
        self.assertTrue(self.accepts()[0].startswith("application/openmetrics-text"))

    def test_zeros(self):
        varve = self.scraped("created-timestamp-zero-ingestion")
        self.assertEqual(varve.query("jobs_created"), [])
        self.assertEqual(self.values(varve, "min_over_time(jobs_total[1m])"), [0.0])
        [first] = varve.api("query", query="jobs_total[1m]")["result"]
        self.assertEqual(first["values"][0], [self.created, "0"])
        self.assertEqual({value for _time, value in first["values"][1:]}, {"7"})
        self.assertEqual(self.values(varve, "resets(jobs_total[1m])"), [0.0])
        self.assertGreater(self.values(varve, "rate(jobs_total[1m])")[0], 0)
        self.assertTrue(self.accepts()[0].startswith("application/vnd.google.protobuf"))

    def test_stored(self):
        varve = self.scraped("st-storage", "use-start-timestamps", "promql-experimental-functions",
                             "no-such-thing")
        self.assertEqual(varve.query("jobs_created"), [])
        self.assertEqual(self.values(varve, "min_over_time(jobs_total[1m])"), [INCREMENTS])
        self.assertEqual(self.values(varve, "start_timestamp(jobs_total)"), [self.created])
        # From the start time on, and extrapolated to the end of the range.
        [increase] = self.values(varve, "increase(jobs_total[1m])")
        self.assertTrue(INCREMENTS <= increase < 2 * INCREMENTS, increase)
        self.assertTrue(self.accepts()[0].startswith("application/vnd.google.protobuf"))
        self.assertIn('msg="Unknown option for --enable-feature" option=no-such-thing', varve.log())
        # Kept through a crash.
        varve.kill()
        varve.start()
        self.assertEqual(self.values(varve, "start_timestamp(jobs_total)"), [self.created])


class TypesAndUnits(unittest.TestCase):
    def test_labels(self):
        target = harness.MetricServer(
            pages={"/metrics": ("# TYPE size_bytes gauge\n# UNIT size_bytes bytes\nsize_bytes 1\n"
                                "# TYPE jobs counter\njobs_total 2\nbare 3\n# EOF\n")},
            content_type="application/openmetrics-text; version=1.0.0; charset=utf-8")
        varve = harness.Varve("--enable-feature=type-and-unit-labels", config=(
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs: [{{job_name: j, static_configs: [{{targets: ['{target.address}']}}]}}]\n"
        )).start()
        harness.wait_until(lambda: varve.query("count_over_time(bare[1m]) >= 2"), 30, "two scrapes")
        common = {"instance": target.address, "job": "j"}
        self.assertEqual(varve.query("size_bytes"), [(
            {"__name__": "size_bytes", "__type__": "gauge", "__unit__": "bytes", **common}, 1.0)])
        self.assertEqual(varve.query('{__type__="counter"}'), [(
            {"__name__": "jobs_total", "__type__": "counter", **common}, 2.0)])
        self.assertEqual(varve.query("bare"), [({"__name__": "bare", **common}, 3.0)])
        # Operators that drop the name drop them, too.
        self.assertEqual(varve.query("size_bytes + 1"), [(common, 2.0)])
        answer = varve.get("/api/v1/query", query="rate(size_bytes[1m])").json()
        self.assertIn('__type__ label is not set to "counter" or "histogram", got "gauge"', answer["infos"][0])
        self.assertNotIn("infos", varve.get("/api/v1/query", query="rate(jobs_total[1m])").json())
