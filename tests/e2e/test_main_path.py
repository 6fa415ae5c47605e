# SPDX-License-Identifier: Apache-2.0
"""The main job: scrape a real node exporter, store, answer, survive kill -9, stop cleanly."""

import signal
import unittest

import harness
import peers


def scrape_config(address: str, job: str = "node", interval: str = "1s", extra: str = "") -> str:
    return (f"global:\n  scrape_interval: {interval}\n  evaluation_interval: {interval}\n{extra}"
            f"scrape_configs:\n- job_name: {job}\n  static_configs:\n  - targets: ['{address}']\n")


def start_node_exporter() -> str:
    port = harness.free_port()
    address = f"127.0.0.1:{port}"
    harness.Process("node-exporter", [peers.path("node_exporter"), f"--web.listen-address={address}"])
    harness.wait_until(lambda: harness.get(f"http://{address}/metrics").status == 200, 30,
                       "node exporter serves")
    return address


def promtool(*arguments: str) -> str:
    done = harness.run([peers.path("promtool"), *arguments])
    assert done.returncode == 0, f"promtool {arguments}: {done.stdout}{done.stderr}"
    return done.stdout


class NodeExporter(unittest.TestCase):
    """One server scraping one real node exporter; the tests look at it from several sides."""

    @classmethod
    def setUpClass(cls):
        cls.address = start_node_exporter()
        cls.rules = harness.temp_dir("rules") / "rules.yml"
        cls.rules.write_text("groups:\n- name: g\n  rules:\n"
                             "  - record: job:up:sum\n    expr: sum by (job) (up)\n"
                             "    labels: {team: infra}\n")
        cls.varve = harness.Varve(config=scrape_config(
            cls.address, extra=f"rule_files: ['{cls.rules}']\n")).start()
        harness.wait_until(
            lambda: cls.varve.query("count_over_time(up[1m]) >= 4"), 30, "four scrapes")

    def test_values_are_the_exporters(self):
        page = harness.get(f"http://{self.address}/metrics").text
        exposed = {line.split()[0]: float(line.split()[1]) for line in page.splitlines()
                   if line.startswith(("node_boot_time_seconds ", "node_memory_MemTotal_bytes "))}
        self.assertEqual(len(exposed), 2)
        for name, value in exposed.items():
            self.assertEqual(self.varve.query(name),
                             [({"__name__": name, "instance": self.address, "job": "node"}, value)])

    def test_scrape_reports(self):
        for name in ("scrape_duration_seconds", "scrape_samples_scraped", "scrape_series_added",
                     "scrape_samples_post_metric_relabeling"):
            self.assertEqual(len(self.varve.query(name)), 1, name)
        self.assertGreater(self.varve.query("scrape_samples_scraped")[0][1], 300)
        [target] = self.varve.targets()
        self.assertEqual((target["health"], target["lastError"]), ("up", ""))

    def test_promtool_instant(self):
        out = promtool("query", "instant", self.varve.url, "up")
        self.assertIn(f'up{{instance="{self.address}", job="node"}} => 1 @[', out)

    def test_promtool_range(self):
        out = promtool("query", "range", "--step=1s", self.varve.url, "sum(up)")
        self.assertGreaterEqual(out.count("1 @["), 3)

    def test_promtool_series_and_labels(self):
        out = promtool("query", "series", "--match=up", self.varve.url)
        self.assertIn('__name__="up"', out)
        self.assertEqual(promtool("query", "labels", self.varve.url, "job").split(), ["node"])

    def test_promtool_reads_the_rules_result(self):
        def recorded():
            return "=> 1 @[" in promtool("query", "instant", self.varve.url, 'job:up:sum{team="infra"}')

        harness.wait_until(recorded, 20, "the recording rule's result")
        [group] = self.varve.api("rules")["groups"]
        self.assertEqual((group["name"], group["file"]), ("g", str(self.rules)))
        self.assertEqual(group["rules"][0]["health"], "ok")

    def test_rates_and_aggregations(self):
        cpus = self.varve.query('count(count by (cpu) (node_cpu_seconds_total))')
        self.assertGreaterEqual(cpus[0][1], 1)
        harness.wait_until(
            lambda: self.varve.query('sum(rate(node_cpu_seconds_total[10s])) > 0'), 20, "a rate")


def stored(varve) -> dict:
    """Every float sample of the job under test, by series."""
    data = varve.api("query", query='{job="node"}[1h]')
    return {tuple(sorted(one["metric"].items())): [tuple(v) for v in one["values"]]
            for one in data["result"]}


def test_kill_9_loses_no_stored_sample():
    address = start_node_exporter()
    varve = harness.Varve(config=scrape_config(address)).start()
    harness.wait_until(lambda: varve.query("count_over_time(up[1m]) >= 4"), 30, "four scrapes")
    before = stored(varve)
    varve.kill()
    varve.start()
    after = stored(varve)
    assert len(before) > 300
    for series, samples in before.items():
        assert after[series][:len(samples)] == samples, series
    harness.wait_until(lambda: len(stored(varve)) >= len(before) and
                       varve.query("count_over_time(up[1m]) > 4"), 30, "scraping goes on")
    assert varve.stop() == 0


def test_sigterm_under_load_loses_nothing():
    exporter = harness.MetricServer(
        pages={"/metrics": "".join(f'm{{i="{i}"}} {i}\n' for i in range(2000))})
    varve = harness.Varve(config=scrape_config(exporter.address, interval="100ms")
                          .replace("global:\n", "global:\n  scrape_timeout: 100ms\n")).start()
    harness.wait_until(lambda: varve.query("count_over_time(up[1m]) >= 5"), 30, "five scrapes")
    before = stored(varve)
    assert varve.stop() == 0, varve.log()
    varve.start()
    after = stored(varve)
    assert len(before) >= 2000
    for series, samples in before.items():
        assert after[series][:len(samples)] == samples, series


def test_malformed_line_fails_its_scrape_only():
    bad = harness.MetricServer(pages={"/metrics": "good 1\nbad{ 2\n"})
    good = harness.MetricServer(pages={"/metrics": "fine 1\n"})
    config = ("global: {scrape_interval: 200ms, scrape_timeout: 200ms}\nscrape_configs:\n"
              f"- job_name: bad\n  static_configs: [{{targets: ['{bad.address}']}}]\n"
              f"- job_name: good\n  static_configs: [{{targets: ['{good.address}']}}]\n")
    varve = harness.Varve(config=config).start()
    harness.wait_until(lambda: varve.query('up{job="good"} == 1'), 20, "the good target is up")
    harness.wait_until(lambda: varve.query('up{job="bad"} == 0'), 20, "the bad target is down")
    targets = {t["labels"]["job"]: t for t in varve.targets()}
    assert targets["bad"]["health"] == "down" and targets["bad"]["lastError"], targets
    assert targets["good"]["health"] == "up", targets
    assert varve.query("good") == [], "a failed scrape stores nothing of its page"
    bad.pages["/metrics"] = "good 1\n"
    harness.wait_until(lambda: varve.query("good"), 20, "the target recovers")


def test_vanished_target_goes_stale_at_once():
    exporter = harness.MetricServer(pages={"/metrics": "a 1\nb 1\n"})
    varve = harness.Varve(config=scrape_config(exporter.address, interval="200ms").replace(
        "global:\n", "global:\n  scrape_timeout: 200ms\n")).start()
    harness.wait_until(lambda: varve.query("b"), 20, "b is there")
    exporter.pages["/metrics"] = "a 1\n"
    harness.wait_until(lambda: not varve.query("b"), 20, "b is stale")
    assert varve.query("a")
    exporter.status = 500
    harness.wait_until(lambda: not varve.query("a"), 20, "a is stale")
    harness.wait_until(lambda: varve.query("up == 0"), 20, "up is 0")


class Reload(unittest.TestCase):
    def reload_changes_the_targets(self, varve, reload):
        first = harness.MetricServer(pages={"/metrics": "m 1\n"})
        second = harness.MetricServer(pages={"/metrics": "m 2\n"})
        varve.write_config(scrape_config(first.address, job="first", interval="200ms").replace(
            "global:\n", "global:\n  scrape_timeout: 200ms\n"))
        varve.start()
        harness.wait_until(lambda: varve.query('m{job="first"}'), 20, "the first target")
        varve.write_config(scrape_config(second.address, job="second", interval="200ms").replace(
            "global:\n", "global:\n  scrape_timeout: 200ms\n"))
        reload()
        harness.wait_until(lambda: varve.query('m{job="second"} == 2'), 20, "the second target")
        self.assertIn("second", varve.api("status/config")["yaml"])

    def test_by_sighup(self):
        varve = harness.Varve(config="")
        self.reload_changes_the_targets(varve, lambda: varve.process.signal(signal.SIGHUP))

    def test_by_itself(self):
        varve = harness.Varve("--config.auto-reload", "--config.auto-reload-interval=1s", config="")
        self.reload_changes_the_targets(varve, lambda: None)
        loads = varve.log().count("Completed loading of configuration file")
        self.assertEqual(loads, 1)
        # A bad file is tried until it is good, and the last good one stays.
        good = varve.config_path.read_text()
        varve.write_config("scrape_configs: {")
        harness.wait_until(lambda: varve.log().count("Error reloading config") >= 2, 20, "retries")
        self.assertIn("second", varve.api("status/config")["yaml"])
        varve.write_config(good)
        harness.wait_until(
            lambda: "\nprometheus_config_last_reload_successful 1\n" in varve.get("/metrics").text,
            20, "the good file")

    def test_over_http(self):
        varve = harness.Varve("--web.enable-lifecycle", config="")

        def reload():
            self.assertEqual(varve.post("/-/reload").status, 200)

        self.reload_changes_the_targets(varve, reload)

    def test_without_the_flag_it_is_forbidden(self):
        varve = harness.Varve(config="scrape_configs: []\n").start()
        answer = varve.post("/-/reload")
        self.assertEqual((answer.status, answer.text), (403, "Lifecycle API is not enabled."))

    def test_a_bad_file_is_kept_out(self):
        varve = harness.Varve("--web.enable-lifecycle", config="scrape_configs: []\n").start()
        before = varve.api("status/config")
        varve.write_config("scrape_configs:\n- job_name: x\n  scrape_interval: fast\n")
        answer = varve.post("/-/reload")
        self.assertEqual(answer.status, 500)
        self.assertIn("failed to reload config: ", answer.text)
        self.assertIn("prometheus.yml:3", answer.text)
        self.assertIn("scrape_interval", answer.text)
        self.assertEqual(varve.api("status/config"), before)
        self.assertEqual(varve.query("prometheus_config_last_reload_successful"), [])
        metrics = varve.get("/metrics").text
        self.assertIn("\nprometheus_config_last_reload_successful 0\n", metrics)

    def test_a_bad_rule_file_is_kept_out_and_named(self):
        rules = harness.temp_dir("rules") / "rules.yml"
        rules.write_text("groups: []\n")
        varve = harness.Varve("--web.enable-lifecycle",
                              config=f"rule_files: ['{rules}']\nscrape_configs: []\n").start()
        rules.write_text("groups:\n- name: g\n  rules:\n  - record: ok\n    expr: sum(\n")
        answer = varve.post("/-/reload")
        self.assertEqual(answer.status, 500)
        self.assertIn(f"{rules}", answer.text)
        self.assertRegex(answer.text, r"rules\.yml:\D*[45]")


class RefusedStarts(unittest.TestCase):
    """Each failure is one clear line and the right exit code."""

    def refused(self, varve, code: int, *words: str):
        varve.launch()
        self.assertEqual(varve.process.wait(20), code, varve.log())
        errors = [line for line in varve.log().splitlines() if "level=ERROR" in line]
        self.assertEqual(len(errors), 1, varve.log())
        for word in words:
            self.assertIn(word, errors[0])

    def test_missing_configuration(self):
        varve = harness.Varve("--config.file=/nonexistent/prometheus.yml")
        self.refused(varve, 2, "/nonexistent/prometheus.yml")

    def test_bad_configuration_names_file_line_and_field(self):
        varve = harness.Varve(config="scrape_configs:\n- job_name: x\n  scrape_intervall: 5s\n")
        self.refused(varve, 2, "prometheus.yml:3", "scrape_intervall")

    def test_bad_rule_file(self):
        rules = harness.temp_dir("rules") / "bad.yml"
        rules.write_text("groups:\n- name: g\n  rules:\n  - recrod: x\n    expr: up\n")
        varve = harness.Varve(config=f"rule_files: ['{rules}']\n")
        self.refused(varve, 2, "bad.yml", "4", "recrod")

    def test_port_in_use(self):
        first = harness.Varve(config="").start()
        second = harness.Varve(config="", port=first.port)
        self.refused(second, 1, f"127.0.0.1:{first.port}", "address already in use")

    def test_locked_data_directory(self):
        first = harness.Varve(config="").start()
        second = harness.Varve(config="", data_dir=first.data_dir)
        self.refused(second, 1, str(first.data_dir))

    def test_unusable_data_directory(self):
        file = harness.temp_dir("data") / "file"
        file.write_text("not a directory")
        self.refused(harness.Varve(config="", data_dir=file / "below"), 1, str(file))

    def test_unknown_flag(self):
        varve = harness.Varve("--no.such.flag", config="").launch()
        self.assertEqual(varve.process.wait(20), 2)
        self.assertIn("--no.such.flag", varve.log())


def test_bad_query_answers_400_with_prometheus_text():
    varve = harness.Varve(config="").start()
    answer = varve.get("/api/v1/query", query="sum(")
    assert answer.status == 400, answer.text
    assert answer.json() == {
        "status": "error", "errorType": "bad_data",
        "error": 'invalid parameter "query": 1:5: parse error: unclosed left parenthesis'}


def test_prometheus_data_is_left_alone_and_named():
    data = harness.temp_dir("data")
    (data / "wal").mkdir()
    (data / "wal" / "00000000").write_bytes(b"a segment")
    block = data / "01HAAAAAAAAAAAAAAAAAAAAAAA"
    block.mkdir()
    (block / "meta.json").write_text('{"version":1}')
    varve = harness.Varve(config="", data_dir=data).start()
    assert str(data) in varve.log() and "Prometheus" in varve.log(), varve.log()
    assert varve.stop() == 0
    assert (data / "wal" / "00000000").read_bytes() == b"a segment"
    assert (block / "meta.json").read_text() == '{"version":1}'


def test_without_configuration_it_scrapes_itself():
    varve = harness.Varve().start()
    harness.wait_until(lambda: any(t["health"] == "up" and str(varve.port) in t["scrapeUrl"]
                                   for t in varve.targets()), 40, "the server scrapes itself")
    harness.wait_until(lambda: varve.query("prometheus_build_info"), 20, "its own metrics")
