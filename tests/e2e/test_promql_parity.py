# SPDX-License-Identifier: Apache-2.0
"""Queries to Varve and to Debian's Prometheus over the same samples, values to the bit.

Goal: every function, operator and modifier that 2.42 knows answers as there: values, labels, order
where one is defined, warnings, errors.
Method: both get the same data by remote write; promql_queries.py lists queries and generates more
(TEST_SEED); each goes to both as an instant and as a range query. TOLERANCE and ACCEPTED list all
that may differ, with the reason.
"""

import concurrent.futures
import json
import math
import re
import time
import unittest

import harness
import prometheus_peer
import promql_queries
import remote_write

GENERATED = 300

# (Pattern of the query, relative error, reason). The first that is found in a query counts.
TOLERANCE = (
    (r"\b(exp|ln|log2|log10|a?(sin|cos|tan)h?)\(|\^|atan2", 1e-14,
     "Go has a mathematical library of its own, neither is exact to the last bit"),
    (r"\bavg|\bavg_over_time", 1e-13,
     "2.42 keeps a running mean, 3.x divides a compensated sum"),
    (r"^sum( (by|without) \(.*?\))? \(", 1e-9, "2.42 does not compensate; sums may cancel"),
)

# (Pattern of the query, path or None for both, reason): the answers may differ in anything.
ACCEPTED = (
    (r"^g atan2 2$", None, "2.42 forgets to drop the name"),
    (r"^topk\(scalar\(numbers\), g\)$", "query_range", "3.x has another text for k = NaN"),
    (r"^label_replace\(g, \"x-y\"", None, "x-y is a name since 3.0"),
)


def comparable_error(body: dict) -> dict:
    """As 3.x words it: it names the parameter that is wrong. Which of several ambiguous matches is
    told is not defined, and 3.x sorts the two series."""
    error = body.get("error")
    if error is None:
        return body
    if error.startswith("invalid expression type"):
        error = 'invalid parameter "query": ' + error
    error = re.sub(r"group \{.*?\} on the (\w+) (.*: )\[\{.*\}, \{.*\}\];", r"group on the \1 \2;",
                   error)
    return {**body, "error": error}


def found(rules: tuple, query: str):
    return next((rule for rule in rules if re.search(rule[0], query)), None)


def accepted(query: str, path: str) -> bool:
    return any(re.search(pattern, query) and only in (None, path) for pattern, only, _ in ACCEPTED)


def same_value(mine: str, theirs: str, tolerance: float) -> bool:
    """Shortest texts are equal just if the bits are; every NaN is written alike."""
    if mine == theirs:
        return True
    one, other = float(mine), float(theirs)
    return bool(tolerance) and math.isclose(one, other, rel_tol=tolerance)


def same_points(mine, theirs, tolerance: float) -> bool:
    """[time, value] pairs, or lists of them; a value may be a histogram."""
    if isinstance(mine, str) and isinstance(theirs, str):
        return same_value(mine, theirs, tolerance)
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return mine.keys() == theirs.keys() and all(
            same_points(mine[key], theirs[key], tolerance) for key in mine)
    if isinstance(mine, list) and isinstance(theirs, list):
        return len(mine) == len(theirs) and all(
            same_points(one, other, tolerance) for one, other in zip(mine, theirs))
    return mine == theirs


def is_ordered(query: str) -> bool:
    return re.match(r"(sort|sort_desc)\(|(topk|bottomk)\(", query) is not None


def difference(mine: dict, theirs: dict, ordered: bool, tolerance: float) -> str:
    """What differs between two answers of the API; empty if nothing does."""
    for member in ("status", "errorType", "error"):
        if mine.get(member) != theirs.get(member):
            return f"{member}: {mine.get(member)!r}, Prometheus: {theirs.get(member)!r}"
    if mine["status"] == "error":
        return ""
    mine, theirs = mine["data"], theirs["data"]
    if mine["resultType"] != theirs["resultType"]:
        return f"type {mine['resultType']}, Prometheus: {theirs['resultType']}"
    if mine["resultType"] in ("scalar", "string"):
        return "" if same_points(mine["result"], theirs["result"], tolerance) else \
            f"{mine['result']}, Prometheus: {theirs['result']}"
    return series_difference(mine["result"], theirs["result"],
                             ordered or mine["resultType"] == "matrix", tolerance)


def series_difference(mine: list, theirs: list, ordered: bool, tolerance: float) -> str:
    def key(item):
        return json.dumps(item["metric"], sort_keys=True)

    if not ordered:
        mine, theirs = sorted(mine, key=key), sorted(theirs, key=key)
    if list(map(key, mine)) != list(map(key, theirs)):
        return f"series\n    {list(map(key, mine))}, Prometheus:\n    {list(map(key, theirs))}"
    for one, other in zip(mine, theirs):
        for member in ("value", "histogram", "values", "histograms"):
            if same_points(one.get(member), other.get(member), tolerance):
                continue
            if member != "values" or member not in one or member not in other:
                return f"{key(one)}: {str(one)[:500]}, Prometheus: {str(other)[:500]}"
            apart = [pair for pair in zip(one[member], other[member])
                     if not same_points(*pair, tolerance)][:2]
            return f"{key(one)}: {len(one[member])} points, Prometheus: {len(other[member])}; " \
                   f"first that differ {apart}"
    return ""


class PromqlParityTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        flags = ("--web.enable-remote-write-receiver",
                 "--enable-feature=native-histograms,promql-per-step-stats")
        cls.varve = harness.Varve(*flags, config="scrape_configs: []").start()
        cls.prometheus_url = prometheus_peer.start(*flags)
        # 7 s past a multiple of 10: see promql_queries.
        cls.start = int(time.time()) // 10 * 10 - 2400 - 3
        cls.mid = cls.start + 1200
        cls.end = cls.start + 2360
        data = promql_queries.series(harness.rng("promql parity data"), cls.start * 1000)
        for url in (cls.varve.url, cls.prometheus_url):
            answer = remote_write.push(url, data)
            assert answer.status == 204, f"{url}: {answer.status} {answer.text}"

    def compare(self, queries: list) -> None:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            wrong = [text for texts in pool.map(self.differences, queries) for text in texts]
        self.assertEqual(wrong, [], f"{len(wrong)} differ\n" + "\n".join(wrong))

    def differences(self, query: str) -> list:
        """What is wrong with one query: texts."""
        wrong = []
        rule = found(TOLERANCE, query)
        for path, params in (("query", {"time": self.mid + 140}),
                             ("query_range", {"start": self.start, "end": self.end, "step": 40})):
            params["query"] = query
            mine = self.varve.post(f"/api/v1/{path}", **params).json()
            theirs = harness.post_form(f"{self.prometheus_url}/api/v1/{path}", params).json()
            # Those of PromQL itself are newer than 2.42: script tests have them.
            self.assertNotIn("warnings", theirs)
            self.assertTrue(all(text.startswith("PromQL warning: ")
                                for text in mine.get("warnings", [])), mine.get("warnings"))
            apart = difference(comparable_error(mine), comparable_error(theirs),
                               path == "query" and is_ordered(query), rule[1] if rule else 0)
            if accepted(query, path):
                self.assertTrue(apart, f"no longer differs: {query}")
            elif apart:
                wrong.append(f"{path} {query}\n  {apart}")
        return wrong

    def test_each_function_operator_and_modifier(self):
        self.compare(promql_queries.fixed(self.mid))

    def test_what_fails_while_it_runs(self):
        self.compare(promql_queries.broken())

    def test_queries_are_written_alike(self):
        generator = promql_queries.Generator(harness.rng("promql parity format"), self.mid)
        queries = promql_queries.fixed(self.mid) + [generator.query() for _ in range(GENERATED)]
        for query in queries:
            texts = [harness.post_form(url + "/api/v1/format_query", {"query": query}).text
                     for url in (self.varve.url, self.prometheus_url)]
            self.assertEqual(texts[0], texts[1], query)

    def test_explain_says_what_was_read_and_what_has_no_partner(self):
        body = self.varve.post("/api/v1/query_range", start=self.start, end=self.end, step=40,
                               query='g * on (instance) other{job="a"}', explain="true").json()
        root = body["data"]["explain"]
        self.assertEqual(root["join"]["left"]["unmatched"], 2)
        self.assertEqual(root["join"]["left"]["example"]["instance"], "h2")
        self.assertEqual(root["join"]["right"], {"unmatched": 0})
        selectors = root["children"]
        self.assertEqual([node["series"] for node in selectors], [4, 2])
        for node in [root, *selectors]:
            self.assertGreater(node["chunks"], 0)
            self.assertGreater(node["bytes"], node["chunks"])
            self.assertGreaterEqual(node["cacheHits"] + node["cacheMisses"], 0)
        for member in ("chunks", "bytes", "samplesRead"):
            self.assertEqual(root[member], sum(node[member] for node in selectors))

    def test_statistics(self):
        """Samples looked at, in all and per step. What is read and the peak: newer, or internal."""
        queries = ("g", "brief", "1", "time()", "nosuch", "g[2m]", "rate(c_total[5m])", "sum(native)",
                   "sum(g) + sum(g)", f"g @ {self.mid}", f"rate(c_total[1m] @ {self.mid})",
                   "rate(c_total[1m] offset 3m)", "absent_over_time(g[3m])", "timestamp(g)",
                   "max_over_time(rate(c_total[1m])[5m:30s])", "max_over_time(g[5m:30s])",
                   f"max_over_time(g[5m:30s] @ {self.mid})")
        for query in queries:
            for path, params in (
                    ("query", {"time": self.mid + 140}),
                    ("query_range", {"start": self.mid, "end": self.mid + 200, "step": 40})):
                if path == "query_range" and query == "g[2m]":
                    continue
                params |= {"query": query, "stats": "all"}
                with self.subTest(query=query, path=path):
                    samples = [harness.post_form(f"{url}/api/v1/{path}", params)
                               .json()["data"]["stats"]["samples"]
                               for url in (self.varve.url, self.prometheus_url)]
                    for member in ("totalQueryableSamples", "totalQueryableSamplesPerStep"):
                        self.assertEqual(samples[0][member], samples[1][member])
                    read = sum(count for _, count in samples[0]["samplesReadPerStep"])
                    self.assertEqual(samples[0]["samplesRead"], read)

    def test_generated_queries(self):
        generator = promql_queries.Generator(harness.rng("promql parity queries"), self.mid)
        self.compare([generator.query() for _ in range(GENERATED)])


if __name__ == "__main__":
    unittest.main()
