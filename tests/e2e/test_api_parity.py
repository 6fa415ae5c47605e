# SPDX-License-Identifier: Apache-2.0
"""One list of requests to Varve and to Debian's Prometheus over the same data.

Goal: a client cannot tell the two apart, but for what ACCEPTED lists with its reason.
Method: both get the same samples by remote write, the same rule file and the same target; then each
request goes to both. Statuses, content types, JSON keys and types must be the same; for requests
whose answer depends on the pushed samples only, so must the values.
"""

import http.client
import json
import socket
import time
import unittest

import harness
import prometheus_peer
import remote_write

STEP = 15
SAMPLES = 40

RULES = """
groups:
  - name: recorded
    interval: 1s
    rules:
      - record: job:pushed:sum
        expr: sum by (job) (pushed)
        labels: {kind: recorded}
  - name: alerts
    interval: 1s
    rules:
      - alert: Always
        expr: vector(1) > 0
        labels: {severity: "{{ $value }}"}
        annotations: {summary: "value {{ $value }}"}
      - alert: Slow
        expr: vector(1)
        for: 1h
"""

# Members that one of the two has alone, by request path, with the reason. Dots go into objects,
# `[]` into lists, `*` is any member.
ACCEPTED = {
    "/api/v1/status/runtimeinfo": {
        "data.hostname": "newer than 2.42",
        "data.serverTime": "newer than 2.42",
        "data.GOMEMLIMIT": "newer than 2.42",
    },
    "/api/v1/query": {"data.stats.samples.samplesRead": "newer than 2.42",
                      "data.stats.samples.peakMemoryBytes": "Varve's own, beside Prometheus' figures"},
    "/api/v1/status/flags": {"data.*": "flags of 2.42 and 3.14 differ"},
    "/api/v1/targets": {
        "data.droppedTargetCounts": "newer than 2.42",
        "data.droppedTargets[].scrapePool": "newer than 2.42",
        **{f"data.{kind}[].discoveredLabels.{label}": "newer than 2.42"
           for kind in ("activeTargets", "droppedTargets")
           for label in ("__scrape_native_histograms__", "__convert_classic_histograms_to_nhcb__",
                         "__always_scrape_classic_histograms__")},
    },
}


class Request:
    """`exact`: the whole body must be the same, not only its shape."""

    def __init__(self, method: str, path: str, params=None, exact: bool = False):
        self.method = method
        self.path = path
        self.params = params or {}
        self.exact = exact

    def __str__(self):
        return f"{self.method} {self.path} {self.params}"

    def send(self, url: str) -> harness.Response:
        if self.method == "POST":
            return harness.post_form(url + self.path, self.params)
        query = "?" + harness.urllib.parse.urlencode(self.params, doseq=True) if self.params else ""
        return harness.http(self.method, url + self.path + query)


def shape(value):
    """Keys and types of a JSON value; a list has the union of its elements' shapes."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        merged = None
        for item in value:
            merged = merge(merged, shape(item))
        return ["empty"] if merged is None else [merged]
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "null" if value is None else "string"


def merge(one, other):
    if one is None or one == other:
        return other
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: merge(one.get(key), other.get(key)) if key in one and key in other
                else one.get(key, other.get(key)) for key in {**one, **other}}
    if isinstance(one, list) and isinstance(other, list):
        if one == ["empty"]:
            return other
        return one if other == ["empty"] else [merge(one[0], other[0])]
    return f"{one}|{other}"


def differences(one, other, path="", accepted=()):
    """Paths where two shapes differ, without the accepted ones."""
    def allowed(at):
        return at in accepted or any(one.endswith(".*") and at.startswith(one[:-1])
                                     for one in accepted)

    if isinstance(one, dict) and isinstance(other, dict):
        found = []
        for key in sorted({**one, **other}):
            at = f"{path}.{key}" if path else key
            if allowed(at):
                continue
            if key not in one or key not in other:
                found.append(f"{at}: only in {'Prometheus' if key not in one else 'Varve'}")
            else:
                found += differences(one[key], other[key], at, accepted)
        return found
    if isinstance(one, list) and isinstance(other, list):
        return differences(one[0], other[0], path + "[]", accepted)
    return [] if one == other else [f"{path}: {one} in Varve, {other} in Prometheus"]


class ApiParityTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.target = harness.MetricServer(pages={"/metrics": (
            "# HELP scraped_total Things <seen>.\n# TYPE scraped_total counter\nscraped_total 3\n")})
        rules = harness.temp_dir("rules") / "rules.yml"
        rules.write_text(RULES, encoding="utf-8")
        config = f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s, external_labels: {{cluster: test}}}}
rule_files: [{rules}]
scrape_configs:
  - job_name: scraped
    static_configs: [{{targets: ["{cls.target.address}"]}}]
  - job_name: dropped
    static_configs: [{{targets: ["{cls.target.address}"]}}]
    relabel_configs: [{{action: drop}}]
"""
        cls.varve = harness.Varve("--web.enable-remote-write-receiver",
                                  "--enable-feature=native-histograms", config=config).start()
        cls.prometheus_url = prometheus_peer.start(
            "--web.enable-remote-write-receiver", "--enable-feature=native-histograms",
            config=config)
        cls.start = int(time.time()) - SAMPLES * STEP
        cls.start -= cls.start % STEP
        cls.end = cls.start + (SAMPLES - 1) * STEP
        for url in (cls.varve.url, cls.prometheus_url):
            answer = remote_write.push(url, cls.series())
            assert answer.status == 204, f"{url}: {answer.status} {answer.text}"
        for url in (cls.varve.url, cls.prometheus_url):
            harness.wait_until(lambda url=url: cls.settled(url), 30, f"{url} scrapes and evaluates")

    @classmethod
    def series(cls) -> list:
        times = [(cls.start + i * STEP) * 1000 for i in range(SAMPLES)]
        series = []
        for job, factor in (("a", 1.0), ("b", 2.5)):
            for instance in ("one", "two", "three"):
                labels = {"__name__": "pushed", "job": job, "instance": instance}
                series.append((labels, [(t, factor * (i * i % 17) + len(instance))
                                        for i, t in enumerate(times)]))
        series.append(({"__name__": "pushed_total", "job": "a", "note": "<&> \u00e9 \"q\" \\"},
                       [(t, float(i * 7)) for i, t in enumerate(times)]))
        series.append(({"__name__": "special", "job": "a"},
                       list(zip(times, [float("nan"), float("inf"), float("-inf"), 1e-9, 1e21,
                                        -0.0, 123456789.125]))))
        for le, count in (("0.1", 1.0), ("1", 3.0), ("+Inf", 4.0)):
            series.append(({"__name__": "lat_bucket", "le": le, "job": "a"},
                           [(t, count * i) for i, t in enumerate(times)]))
        return series

    @classmethod
    def settled(cls, url: str) -> bool:
        targets = harness.get(url + "/api/v1/targets").json()["data"]
        groups = harness.get(url + "/api/v1/rules").json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return (len(targets["activeTargets"]) == 1 and len(targets["droppedTargets"]) == 1
                and targets["activeTargets"][0]["health"] == "up"
                and len(rules) == 3 and all(rule["health"] == "ok" for rule in rules)
                and any(rule.get("state") == "firing" for rule in rules)
                and harness.get(url + "/api/v1/metadata").json()["data"])

    def requests(self) -> list:
        start, end = self.start, self.end
        at = {"time": end - 1}
        span = {"start": start, "end": end, "step": STEP}
        # Ranges and the lookback are left-open since 3.0: between two samples both see the same.
        between = {"start": start + 1, "end": end, "step": STEP}
        pushed = {"match[]": ['{job=~"a|b",__name__=~"pushed.*|special|lat_.*"}'],
                  "start": start, "end": end}
        api = "/api/v1/"
        return [
            # Save & test; the alerting pages.
            Request("POST", api + "query", {"query": "1+1", "time": 4}, exact=True),
            Request("GET", api + "query", {"query": "1+1", "time": "4"}, exact=True),
            Request("GET", api + "status/buildinfo"),
            Request("GET", api + "query", {"query": "prometheus_build_info", **at}),
            # Start of a data source.
            Request("GET", api + "rules"),
            Request("GET", api + "rules", {"type": "record"}),
            Request("GET", api + "rules", {"type": "alert"}),
            Request("GET", api + "query_exemplars",
                    {"query": "test", "start": start * 1000, "end": end * 1000}, exact=True),
            Request("POST", api + "query_exemplars",
                    {"query": "pushed", "start": start, "end": end}, exact=True),
            # Metric browser, builder, completion.
            Request("GET", api + "label/__name__/values", pushed, exact=True),
            Request("GET", api + "label/job/values", {**pushed, "limit": 40000}, exact=True),
            Request("GET", api + "label/note/values", pushed, exact=True),
            Request("GET", api + "label/nosuch/values", pushed, exact=True),
            Request("GET", api + "label/__name__/values"),
            Request("GET", api + "labels", pushed, exact=True),
            Request("POST", api + "labels", pushed, exact=True),
            Request("GET", api + "labels"),
            Request("GET", api + "metadata"),
            Request("GET", api + "metadata", {"metric": "scraped_total"}),
            Request("GET", api + "metadata", {"limit": 1}),
            Request("GET", api + "metadata", {"metric": "nosuch"}, exact=True),
            Request("GET", api + "series", pushed, exact=True),
            Request("POST", api + "series", pushed, exact=True),
            Request("GET", api + "series", {"match[]": ["pushed", "special"], "start": start,
                                            "end": end}, exact=True),
            Request("GET", api + "series", {"match[]": "nosuch"}, exact=True),
            # Panels and Explore.
            Request("POST", api + "query", {"query": "pushed", **at}, exact=True),
            Request("GET", api + "query", {"query": "pushed_total", **at}, exact=True),
            Request("GET", api + "query", {"query": "special[10m]", "time": end}, exact=True),
            Request("GET", api + "query", {"query": "pushed{job=\"a\"}[1m]", "time": end - 0.5},
                    exact=True),
            Request("GET", api + "query", {"query": "nosuch", **at}, exact=True),
            Request("GET", api + "query", {"query": "\"text <>\"", **at}, exact=True),
            Request("GET", api + "query", {"query": "scalar(sum(pushed))", "time": end - 0.125},
                    exact=True),
            Request("GET", api + "query", {"query": "sum by (job) (pushed)", **at,
                                           "timeout": "30s"}, exact=True),
            Request("GET", api + "query", {"query": "pushed", **at, "stats": "all"}),
            Request("GET", api + "query", {
                "query": "histogram_quantile(0.9, rate(lat_bucket[5m]))", **at}, exact=True),
            Request("POST", api + "query_range", {"query": "sum by (job) (rate(pushed_total[1m]))",
                                                  **between}, exact=True),
            Request("GET", api + "query_range", {"query": "pushed", **span}, exact=True),
            Request("GET", api + "query_range", {"query": "pushed{job=\"b\"}", **span,
                                                 "step": 7.5}, exact=True),
            Request("GET", api + "query_range", {"query": "special", **between, "step": "15s"},
                    exact=True),
            Request("GET", api + "query_range", {"query": "nosuch", **span}, exact=True),
            Request("GET", api + "query_range", {"query": "1", "start": start, "end": start,
                                                 "step": 15}, exact=True),
            Request("GET", api + "query_range", {
                "query": "group by (__name__) ({job=~\"a|b\"}) unless "
                         "group by (__name__) ({job=~\"a|b\"} offset 5m)", **span}, exact=True),
            Request("GET", api + "format_query", {"query": "sum(rate(x[5m]))by(job)"}, exact=True),
            # Status pages.
            Request("GET", api + "targets"),
            Request("GET", api + "targets", {"state": "active"}),
            Request("GET", api + "targets", {"state": "dropped"}),
            Request("GET", api + "targets/metadata"),
            Request("GET", api + "targets/metadata", {"metric": "scraped_total"}),
            Request("GET", api + "targets/metadata", {"match_target": '{job="scraped"}'}),
            Request("GET", api + "scrape_pools"),
            Request("GET", api + "alertmanagers", exact=True),
            Request("GET", api + "alerts"),
            Request("GET", api + "status/config"),
            Request("GET", api + "status/flags"),
            Request("GET", api + "status/runtimeinfo"),
            Request("GET", api + "status/tsdb"),
            Request("GET", api + "status/walreplay"),
            Request("GET", "/-/healthy", exact=True),
            Request("HEAD", "/-/healthy"),
            Request("GET", "/-/ready", exact=True),
            Request("POST", "/-/reload"),
            Request("POST", "/-/quit"),
            Request("GET", "/metrics"),
            Request("GET", "/version"),
            Request("GET", "/federate", {"match[]": "nosuch"}, exact=True),
            # Errors.
            Request("GET", api + "query", exact=True),
            Request("GET", api + "query", {"query": "sum("}, exact=True),
            Request("GET", api + "query", {"query": "up", "time": "x"}, exact=True),
            Request("GET", api + "query", {"query": "up", "timeout": "x"}, exact=True),
            # Which pair of duplicates is named is no promise.
            Request("GET", api + "query", {"query": "pushed + on (job) pushed", **at}),
            Request("GET", api + "query_range", {"query": "up"}, exact=True),
            Request("GET", api + "query_range", {"query": "up", "start": 2, "end": 1, "step": 1},
                    exact=True),
            Request("GET", api + "query_range", {"query": "up", "start": 1, "end": 2, "step": 0},
                    exact=True),
            Request("GET", api + "query_range", {"query": "up", "start": 1, "end": 2, "step": "x"},
                    exact=True),
            Request("GET", api + "query_range", {"query": "up", "start": 0, "end": 11001,
                                                 "step": 1}, exact=True),
            # 2.42 does not say yet that it is the parameter `query` that is wrong.
            Request("GET", api + "query_range", {"query": "up[5m]", **span}),
            Request("GET", api + "series", exact=True),
            Request("GET", api + "series", {"match[]": "{x=~\".*\"}"}, exact=True),
            Request("GET", api + "series", {"match[]": "x{"}, exact=True),
            Request("GET", api + "series", {"match[]": "up", "start": "x"}, exact=True),
            Request("GET", api + "metadata", {"limit": "x"}, exact=True),
            Request("GET", api + "targets/metadata", {"match_target": "{"}, exact=True),
            Request("GET", api + "rules", {"type": "x"}, exact=True),
            Request("GET", api + "query_exemplars", {"query": "up", "start": 2, "end": 1},
                    exact=True),
            Request("GET", api + "query_exemplars", {"query": "sum("}, exact=True),
            Request("GET", api + "nosuch", exact=True),
            Request("POST", api + "targets"),
            Request("POST", api + "admin/tsdb/delete_series", {"match[]": "x"}, exact=True),
            Request("PUT", api + "admin/tsdb/snapshot"),
            Request("GET", api + "admin/tsdb/snapshot"),
            Request("GET", "/nosuch", exact=True),
        ]

    def test_same_answers(self):
        for request in self.requests():
            with self.subTest(str(request)):
                mine = request.send(self.varve.url)
                theirs = request.send(self.prometheus_url)
                self.assertEqual(mine.status, theirs.status, mine.text[:500])
                self.compare_types(mine, theirs)
                if request.exact:
                    self.assertEqual(self.comparable(mine), self.comparable(theirs))
                elif "json" in mine.headers.get("Content-Type", ""):
                    accepted = ACCEPTED.get(request.path, {})
                    found = differences(shape(mine.json()), shape(theirs.json()),
                                        accepted=set(accepted))
                    self.assertEqual(found, [])

    def compare_types(self, mine, theirs):
        def media(answer):
            return (answer.headers.get("Content-Type") or "").split(";")[0]

        if theirs.body:
            self.assertEqual(media(mine), media(theirs))

    @staticmethod
    def comparable(answer):
        """The body; an instant query's vector is sorted, since its order is no promise."""
        try:
            body = json.loads(answer.body)
        except ValueError:
            return answer.text
        data = body.get("data")
        if isinstance(data, dict) and isinstance(data.get("result"), list):
            if data.get("resultType") == "vector":
                data["result"].sort(key=lambda item: json.dumps(item["metric"], sort_keys=True))
        return body

    def test_numbers_are_written_alike(self):
        """Byte for byte, since json.loads would hide how a number is written."""
        for query in ("special", "sum(pushed_total)", "sum(pushed) / 3"):
            params = {"query": query, "start": self.start + 0.25, "end": self.end, "step": 7.5}
            request = Request("GET", "/api/v1/query_range", params)
            self.assertEqual(request.send(self.varve.url).text,
                             request.send(self.prometheus_url).text)

    def test_remote_write_refuses_the_same(self):
        sample = [({"__name__": "refused", "job": "a"}, [(self.end * 1000, 1.0)])]
        older = [({"__name__": "refused", "job": "a"}, [((self.end - 60) * 1000, 1.0)])]
        nameless = [({"job": "a"}, [(self.end * 1000, 1.0)])]
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        for url in (self.varve.url, self.prometheus_url):
            with self.subTest(url):
                self.assertEqual(remote_write.push(url, sample).status, 204)
                self.assertEqual(remote_write.push(url, sample).status, 204, "the same again")
                answer = remote_write.push(url, older)
                self.assertEqual((answer.status, answer.text), (400, "out of order sample\n"))
                self.assertEqual(remote_write.push(url, nameless).status, 204)
                self.assertEqual(harness.http("POST", url + "/api/v1/write", b"no snappy",
                                              headers).status, 400)

    def test_histograms_written_remotely_are_answered_alike(self):
        histogram = {"schema": 0, "zero_threshold": 0.001, "zero_count": 2, "sum": 18.5, "start": 0,
                     "positive": [1, 0, 3, 2]}
        larger = {**histogram, "positive": [2, 1, 3, 5], "sum": 40.0}
        series = [({"__name__": "native", "job": "a"},
                   [((self.end - 30) * 1000, histogram), (self.end * 1000, larger)])]
        for url in (self.varve.url, self.prometheus_url):
            self.assertEqual(remote_write.push(url, series).status, 204)
        # No quantile: 3.0 interpolates exponentially.
        for query in ("native", "native[5m]", "histogram_count(native)", "sum(native)", "rate(native[5m])"):
            with self.subTest(query):
                request = Request("GET", "/api/v1/query", {"query": query, "time": self.end})
                self.assertEqual(self.comparable(request.send(self.varve.url)),
                                 self.comparable(request.send(self.prometheus_url)))

    def test_a_query_of_100_kb_by_post(self):
        # As Grafana writes a variable with everything selected.
        names = "|".join(f"instance-{number:05}" for number in range(7_000))
        query = f'sum by (job) (pushed{{instance=~"one|{names}"}})'
        self.assertGreater(len(query), 100_000)
        params = {"query": query, "time": self.end}
        mine = self.varve.post("/api/v1/query", **params)
        self.assertEqual(mine.status, 200, mine.text[:500])
        theirs = harness.post_form(self.prometheus_url + "/api/v1/query", params)
        self.assertEqual(self.comparable(mine), self.comparable(theirs))

    def test_gzip_when_asked(self):
        answer = self.varve.get("/api/v1/query_range", {"Accept-Encoding": "gzip"},
                                query="pushed", start=self.start, end=self.end, step=1)
        self.assertEqual(answer.headers.get("Content-Encoding"), "gzip")
        plain = self.varve.get("/api/v1/query_range", query="pushed", start=self.start,
                               end=self.end, step=1)
        self.assertIsNone(plain.headers.get("Content-Encoding"))
        self.assertEqual(answer.json(), plain.json())
        self.assertLess(len(answer.raw) * 4, len(plain.raw))

    def test_health_answers_while_64_idle_connections_stay_open(self):
        idle = []
        try:
            for number in range(64):
                if number % 2:  # Half of them have never said anything.
                    idle.append(socket.create_connection(("127.0.0.1", self.varve.port), 10))
                    continue
                connection = http.client.HTTPConnection("127.0.0.1", self.varve.port, timeout=10)
                connection.request("GET", "/-/healthy")
                self.assertEqual(connection.getresponse().read(),
                                 b"Prometheus Server is Healthy.\n")
                idle.append(connection)
            begin = time.monotonic()
            self.assertEqual(self.varve.get("/-/healthy", timeout=5).status, 200)
            self.assertLess(time.monotonic() - begin, 2)
        finally:
            for connection in idle:
                connection.close()


if __name__ == "__main__":
    unittest.main()
