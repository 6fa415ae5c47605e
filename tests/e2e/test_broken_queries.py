# SPDX-License-Identifier: Apache-2.0
"""Broken queries answer as Debian's Prometheus does: status, error type and text.

The list is tests/promql/broken_queries.json. Where Prometheus 3.14 says something else than Debian's
2.42, an entry carries what 2.42 says and why; Varve says what 3.14 does.
"""

import json
import unittest

import harness
import prometheus_peer

LIST = harness.ROOT / "tests" / "promql" / "broken_queries.json"


def refusal(url: str, query: str) -> tuple:
    """(HTTP status, status, error type, error text) of an instant query."""
    answer = harness.post_form(url + "/api/v1/query", {"query": query})
    body = answer.json()
    return answer.status, body.get("status"), body.get("errorType"), body.get("error")


class BrokenQueriesTest(unittest.TestCase):
    def test_the_texts_are_those_of_prometheus(self):
        entries = json.loads(LIST.read_text(encoding="utf-8"))
        self.assertGreaterEqual(len(entries), 60)
        varve = harness.Varve(config="scrape_configs: []").start()
        prometheus = prometheus_peer.start()
        wrong = []
        for entry in entries:
            query = entry["query"]
            ours = refusal(varve.url, query)
            theirs = refusal(prometheus, query)
            prefix = 'invalid parameter "query": '
            expected = (400, "error", "bad_data", prefix + entry["error"])
            debian = prefix + entry.get("prometheus_2_42", entry["error"])
            if ours != expected:
                wrong.append(f"varve: {query!r}\n  is       {ours}\n  expected {expected}")
            if theirs != (400, "error", "bad_data", debian):
                wrong.append(f"prometheus: {query!r}\n  is       {theirs}\n  expected {debian}")
            if "prometheus_2_42" in entry:
                self.assertTrue(entry["reason"], f"a difference without a reason: {query!r}")
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_other_endpoints_refuse_them_too(self):
        varve = harness.Varve(config="scrape_configs: []").start()
        broken = "foo{"
        text = "1:5: parse error: unexpected end of input inside braces"
        for path, params in (
                ("query_range", {"query": broken, "start": 0, "end": 60, "step": 15}),
                ("format_query", {"query": broken}),
                ("series", {"match[]": broken, "start": 0, "end": 60})):
            with self.subTest(path):
                answer = harness.post_form(f"{varve.url}/api/v1/{path}", params)
                self.assertEqual(answer.status, 400)
                self.assertEqual(answer.json()["errorType"], "bad_data")
                self.assertIn(text, answer.json()["error"])
