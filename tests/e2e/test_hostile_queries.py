# SPDX-License-Identifier: Apache-2.0
"""Queries made to hurt, many at a time, against a server with little memory: each ends in a typed
error or an answer, the process stays near its limit, scrapes and small queries go on. Beside it:
limits over HTTP, the list of what runs, ending a query, and the query log."""

import json
import os
import signal
import socket
import threading
import time
import unittest
import urllib.parse

import harness
import remote_write

MIB = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")
SERIES = 1500
HOURS = 6
STEP_SECONDS = 30
# `h` has 1500 series: 30 jobs of 50 instances, with a label of 150 characters.
HOSTILE = [
    "h * on (job) group_left (instance) h",
    "max_over_time(h[6h:1s])",
    "max_over_time((h + h * 2)[6h:100ms])",
    "count_values('v', h * time())",
    "sort(label_replace(label_replace(h, 'a', '$1$1$1$1', 'long', '(.*)'), 'b', '$1$1', 'a', '(.*)'))",
    "quantile_over_time(0.5, last_over_time(h[6h])[6h:1s])",
    "h or h * 2 or h * 3 unless on (instance, long) (h > 1e9)",
    "topk(1000, rate(h[6h]))",
    "max_over_time(vector(1)[1y:1ms])",
    "absent_over_time(h[6h:10ms])",
    "h{long=~'(.*x.*x.*x.*){3}[ab].{20}'}",
    "h{" + "long=~'x{1000}y?'," * 3000 + "}",
    "(" * 250 + "h" + ")" * 250,
]
TYPES = {"bad_data", "execution", "timeout", "canceled", "unavailable"}


def backfill(varve: harness.Varve, end_ms: int) -> None:
    labels = [{"__name__": "h", "job": f"j{i % 30}", "instance": f"i{i}", "long": f"{i:x>150}"}
              for i in range(SERIES)]
    times = [end_ms - (HOURS * 3600 - at) * 1000 for at in range(0, HOURS * 3600, STEP_SECONDS)]
    for first in range(0, len(times), 90):
        part = times[first:first + 90]
        for job in range(0, SERIES, 500):
            series = [(one, [(t, float(t % 977 + i)) for t in part])
                      for i, one in enumerate(labels[job:job + 500])]
            assert remote_write.push(varve.url, series).status == 204


def resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * PAGE


class HostileQueries(unittest.TestCase):
    LIMIT = 192 * MIB

    @classmethod
    def setUpClass(cls):
        cls.target = harness.MetricServer()
        cls.log_path = harness.temp_dir("log") / "queries.log"
        cls.config = (f"global:\n  scrape_interval: 1s\n  query_log_file: {cls.log_path}\n"
                      f"scrape_configs:\n- job_name: t\n  static_configs:\n"
                      f"  - targets: ['{cls.target.address}']\n")
        cls.varve = harness.Varve(
            f"--storage.memory-limit={cls.LIMIT}B", "--web.enable-remote-write-receiver",
            "--web.enable-admin-api", "--query.timeout=4s", "--query.max-concurrency=6",
            "--query.log-slower-than=1ms", config="scrape_configs: []\n").start()
        cls.now_ms = int(time.time() * 1000)
        backfill(cls.varve, cls.now_ms)
        cls.varve.write_config(cls.config)
        cls.varve.process.signal(signal.SIGHUP)
        harness.wait_until(lambda: cls.varve.query("count_over_time(up[1m]) >= 2"), 30, "scrapes")

    def ask(self, query: str, ranged: bool) -> tuple:
        """(HTTP status, error type or "")"""
        end = self.now_ms / 1000
        params = {"query": query, "time": end}
        if ranged:
            params = {"query": query, "start": end - HOURS * 3600, "end": end, "step": 2}
        answer = harness.post_form(
            self.varve.url + ("/api/v1/query_range" if ranged else "/api/v1/query"), params, 60)
        return answer.status, answer.json().get("errorType", "")

    def metric(self, name: str) -> float:
        for line in self.varve.get("/metrics").text.splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def test_memory_stays_near_the_limit_and_scrapes_go_on(self):
        pid = self.varve.process.pid
        before = resident(pid)
        begun = time.time()
        deadline = time.monotonic() + 6
        outcomes: list = []
        highest = [before]
        small: list = []

        def attack(offset: int) -> None:
            at = offset
            while time.monotonic() < deadline:
                query = HOSTILE[at % len(HOSTILE)]
                outcomes.append((query[:60], *self.ask(query, ranged=at % 3 != 0)))
                at += 5

        def watch() -> None:
            while time.monotonic() < deadline:
                highest[0] = max(highest[0], resident(pid))
                time.sleep(0.02)

        threads = [threading.Thread(target=attack, args=(i,)) for i in range(8)]
        threads.append(threading.Thread(target=watch))
        for thread in threads:
            thread.start()
        while time.monotonic() < deadline:
            small.append(self.ask("up", ranged=False)[0])
            time.sleep(0.5)
        for thread in threads:
            thread.join()
        ended = time.time()
        self.assertTrue(self.varve.process.running(), self.varve.log())

        for query, status, kind in outcomes:
            with self.subTest(query=query):
                self.assertTrue(status == 200 or kind in TYPES, (status, kind))
        refused = {kind for _, status, kind in outcomes if status != 200}
        self.assertIn("execution", refused)
        self.assertIn("bad_data", refused)
        # Answers that are being made, and memory on its way back to the system, come on top.
        self.assertLess(highest[0], self.LIMIT * 3 // 2, f"{before} -> {highest[0]}")
        self.assertTrue(set(small) <= {200, 500, 503}, small)  # 500: "unavailable", as Prometheus has it.

        harness.wait_until(lambda: self.ask("up", ranged=False)[0] == 200, 20,
                           "queries are answered again")
        [(_, points)] = self.varve.query_range("timestamp(up{job='t'})", begun, ended, 0.25)
        times = sorted({value for _, value in points})
        gaps = [b - a for a, b in zip(times, times[1:])]
        self.assertGreaterEqual(len(times), 6)
        self.assertLess(max(gaps), 1.9, times)
        # Nothing stays behind.
        harness.wait_until(lambda: self.metric('varve_memory_bytes{part="queries"}') < MIB, 20,
                           "queries gave their memory back")
        harness.wait_until(lambda: self.ask("sum(rate(h[1h]))", ranged=False)[0] == 200, 20,
                           "a usual query answers")

    def test_metrics_show_the_budget(self):
        self.assertEqual(self.metric("varve_memory_limit_bytes"), self.LIMIT)
        # 1500 series of a few hundred bytes each, and their chunks.
        self.assertGreater(self.metric('varve_memory_bytes{part="head"}'), 500_000)
        self.assertLess(self.metric('varve_memory_bytes{part="head"}'), 20_000_000)
        self.assertGreater(self.metric("varve_memory_used_bytes"), 10_000_000)
        self.assertIn('varve_memory_refused_total{use="new_series"} 0',
                      self.varve.get("/metrics").text)
        self.assertIn("msg=\"Memory limit\" bytes=201326592 source=flag", self.varve.log())

    def test_statistics_name_the_memory_of_a_query(self):
        data = self.varve.api("query", query="sum(rate(h[1h]))", stats="all")
        self.assertGreaterEqual(data["stats"]["samples"]["peakMemoryBytes"], SERIES * 200)

    def test_limits_over_http(self):
        end = self.now_ms / 1000
        answer = self.varve.get("/api/v1/query", query="max_over_time(vector(1)[1y:1ms])")
        self.assertEqual(answer.status, 422)
        self.assertEqual(answer.json()["errorType"], "execution")
        self.assertEqual(answer.json()["error"], "query processing would load too many samples "
                                                 "into memory in query execution")
        answer = self.varve.get("/api/v1/query", query="max_over_time(vector(1)[10h:2ms])")
        self.assertEqual(answer.status, 422)
        self.assertEqual(answer.json()["error"], "query processing would take more than "
                                                 f"{self.LIMIT // 4} bytes of memory")
        parameters = {"query": "sum(rate(h[6h]))", "start": end - 20000, "end": end, "step": 2,
                      "timeout": "1ms"}
        answer = harness.post_form(self.varve.url + "/api/v1/query_range", parameters)
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.json()["errorType"], "timeout")
        self.assertIn("query timed out in", answer.json()["error"])

    def slow_query(self, marker: str) -> threading.Thread:
        """A query of many seconds in a thread of its own, its answer in `.answer`."""
        end = self.now_ms / 1000
        params = {"query": f"sum(quantile_over_time(0.9, h{{x!='{marker}'}}[5h]))",
                  "start": end - 20000, "end": end, "step": 2}

        def ask():
            thread.answer = harness.post_form(self.varve.url + "/api/v1/query_range", params, 60)

        thread = threading.Thread(target=ask)
        thread.start()
        return thread

    def find_active(self, marker: str) -> list:
        return [one for one in self.varve.api("status/active_queries") if marker in one["query"]]

    def test_a_running_query_is_listed_and_ended(self):
        thread = self.slow_query("listed")
        harness.wait_until(lambda: self.find_active("listed"), 10, "the query is listed")
        [entry] = self.find_active("listed")
        self.assertEqual(entry["state"], "running")
        answer = self.varve.post("/api/v1/admin/kill_query", id=entry["id"])
        self.assertEqual(answer.status, 204)
        thread.join(20)
        self.assertEqual(thread.answer.json()["errorType"], "canceled")
        self.assertEqual(thread.answer.json()["error"], "query was killed")
        self.assertEqual(self.find_active("listed"), [])
        self.assertEqual(self.varve.post("/api/v1/admin/kill_query", id=entry["id"]).status, 404)

    def test_queries_past_the_concurrency_wait_and_time_out(self):
        threads = [self.slow_query(f"crowd{i}") for i in range(6)]
        harness.wait_until(lambda: len(self.find_active("crowd")) == 6, 10, "six queries run")
        answer = harness.get(self.varve.url + "/api/v1/query?query=up&timeout=100ms")
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.json()["error"], "query timed out in query queue")
        for entry in self.find_active("crowd"):
            self.varve.post("/api/v1/admin/kill_query", id=entry["id"])
        for thread in threads:
            thread.join(20)

    def test_a_query_ends_when_its_client_leaves(self):
        end = self.now_ms / 1000
        query = urllib.parse.urlencode(
            {"query": "sum(quantile_over_time(0.9, h{x!='gone'}[5h]))", "start": end - 20000,
             "end": end, "step": 2})
        client = socket.create_connection(("127.0.0.1", self.varve.port))
        client.sendall(f"GET /api/v1/query_range?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        harness.wait_until(lambda: self.find_active("gone"), 10, "the query runs")
        client.close()
        harness.wait_until(lambda: not self.find_active("gone"), 10, "the query ended")
        logged = [line for line in self.lines() if "gone" in line["params"]["query"]]
        self.assertEqual([line["error"] for line in logged],
                         ["query was canceled in expression evaluation"])

    def lines(self) -> list:
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def test_query_log_and_slow_queries(self):
        self.varve.query_range("up + 11", 1000, 1060, 15)
        [line] = [one for one in self.lines() if one["params"]["query"] == "up + 11"]
        self.assertEqual(line["params"], {"query": "up + 11", "start": "1970-01-01T00:16:40.000Z",
                                          "end": "1970-01-01T00:17:40.000Z", "step": 15})
        self.assertEqual(line["httpRequest"], {"clientIP": "127.0.0.1", "method": "GET",
                                               "path": "/api/v1/query_range"})
        self.assertEqual(set(line["stats"]), {"timings", "samples"})
        self.varve.query("sum(rate(h[6h])) + 12")
        harness.wait_until(lambda: any("Slow query" in line and "+ 12" in line
                                       for line in self.varve.log().splitlines()), 5, "slow query")
        moved = self.log_path.with_suffix(".1")
        self.log_path.rename(moved)
        self.varve.process.signal(signal.SIGHUP)
        harness.wait_until(self.log_path.exists, 10, "the log is opened anew")
        self.varve.query("up + 13")
        self.assertEqual([one["params"]["query"] for one in self.lines()
                          if one["params"]["query"].startswith("up + 1")], ["up + 13"])
        self.assertEqual(self.metric("prometheus_engine_query_log_enabled"), 1)
