# SPDX-License-Identifier: Apache-2.0
"""`varve check`: what promtool finds right and wrong is right and wrong, with the same exit code.

Where both can be asked the same, standard output is compared line by line; errors differ in their
wording, but not in their number. The promtool of Debian is some versions older than what Varve
follows: cases that it does not know are checked against literal expectations.
"""

import json
import subprocess
import unittest

import harness
import peers

TIMEOUT = 60
HISTOGRAM_LABELS = ("__scrape_native_histograms__", "__convert_classic_histograms_to_nhcb__",
                    "__always_scrape_classic_histograms__")


def run(program, *arguments, cwd=None, stdin=""):
    done = subprocess.run([str(program), "check", *arguments], cwd=cwd, input=stdin, text=True,
                          capture_output=True, timeout=TIMEOUT, check=False)
    return done.returncode, done.stdout, done.stderr


class CheckCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.promtool = peers.path("promtool")
        cls.dir = harness.temp_dir("check")

    def write(self, name: str, text: str) -> str:
        (self.dir / name).write_text(text)
        return name

    def both(self, *arguments, stdin=""):
        """What promtool and Varve say, Varve's last."""
        return (run(self.promtool, *arguments, cwd=self.dir, stdin=stdin),
                run(harness.BINARY, *arguments, cwd=self.dir, stdin=stdin))

    def agree(self, *arguments, stdin="", errors=True):
        theirs, ours = self.both(*arguments, stdin=stdin)
        self.assertEqual(ours[0], theirs[0], (arguments, theirs, ours))
        self.assertEqual(ours[1], theirs[1], (arguments, theirs, ours))
        if errors:
            self.assertEqual(ours[2].count("FAILED"), theirs[2].count("FAILED"), (theirs, ours))
        return ours


class Config(CheckCase):
    def setUp(self):
        self.write("rules.yml", "groups:\n- name: g\n  rules:\n  - {record: a, expr: up}\n")
        self.write("twice.yml", "groups:\n- name: g\n  rules:\n  - {record: a, expr: up}\n"
                                "  - {record: a, expr: up}\n  - {alert: b, expr: up == 0}\n")
        self.write("bad_rules.yml", "groups:\n- name: g\n  rules:\n  - {record: a, expr: up(}\n")
        self.write("t.json", '[{"targets": ["a:1"]}]')
        self.write("bad.json", '[{"targets": ["a:1"]')
        self.write("slash.json", '[{"targets": ["http://a:1/x"]}]')

    def config(self, text: str) -> str:
        return self.write("p.yml", text)

    def test_good(self):
        for text in (
            "",
            "global: {scrape_interval: 5s}\n",
            "rule_files: [rules.yml]\n",
            "rule_files: ['r*.yml', 'none*.yml']\n",
            "scrape_configs: [{job_name: a, file_sd_configs: [{files: [t.json, 'u*.json']}]}]\n",
            "scrape_configs: [{job_name: a, tls_config: {ca_file: missing.pem}}]\n",
            "scrape_configs: [{job_name: a, static_configs: [{targets: ['a:1']}]}]\n",
            "alerting: {alertmanagers: [{static_configs: [{targets: [a]}]}]}\n",
        ):
            with self.subTest(text):
                self.assertEqual(self.agree("config", self.config(text))[0], 0)

    def test_bad(self):
        for text in (
            "globa: {}\n",
            "scrape_configs: [{job_nme: a}]\n",
            "rule_files: [missing.yml]\n",
            "rule_files: [bad_rules.yml]\n",
            "scrape_configs: [{job_name: a, file_sd_configs: [{files: [bad.json]}]}]\n",
            "scrape_configs: [{job_name: a, file_sd_configs: [{files: [slash.json]}]}]\n",
            "scrape_configs: [{job_name: a, authorization: {credentials_file: missing}}]\n",
            "scrape_configs: [{job_name: a, tls_config: {cert_file: missing, key_file: missing}}]\n",
        ):
            with self.subTest(text):
                self.assertEqual(self.agree("config", self.config(text))[0], 1)
        # What is wrong is named with its place.
        _, _, err = run(harness.BINARY, "config", self.config("scrape_configs:\n- job_nme: a\n"),
                        cwd=self.dir)
        self.assertIn("  FAILED: p.yml:2: scrape_configs[0].job_nme: field job_nme not found", err)

    def test_only_the_syntax(self):
        text = "rule_files: [missing.yml]\nscrape_configs: [{job_name: a, bearer_token_file: x}]\n"
        self.assertEqual(self.agree("config", "--syntax-only", self.config(text))[0], 0)
        self.assertEqual(self.agree("config", self.config(text))[0], 1)

    def test_several_files(self):
        good = self.write("good.yml", "scrape_configs: []\n")
        bad = self.write("bad.yml", "x: 1\n")
        self.assertEqual(self.agree("config", good, bad)[0], 1)
        self.assertEqual(self.agree("config", bad, good)[0], 1)

    def test_lint(self):
        path = self.config("rule_files: [twice.yml]\n")
        self.assertEqual(self.agree("config", path)[0], 0)
        self.assertEqual(self.agree("config", "--lint-fatal", path)[0], 3)
        self.assertEqual(self.agree("config", "--lint-fatal", "--lint=none", path)[0], 0)
        self.assertEqual(self.agree("config", "--lint-fatal", self.config(""))[0], 0)
        _, _, err = run(harness.BINARY, "config", "--lint-fatal",
                        self.config("rule_files: [twice.yml]\n"), cwd=self.dir)
        self.assertIn("1 duplicate rule(s) found.\nMetric: a\nLabel(s):\nMight cause", err)
        slow = self.config("scrape_configs: [{job_name: s, scrape_interval: 5m}]\n")
        code, _, err = run(harness.BINARY, "config", "--lint-fatal",
                           "--lint=too-long-scrape-interval", slow, cwd=self.dir)
        self.assertEqual(code, 3)
        self.assertIn("job: s, interval: 5m", err)
        code, _, _ = run(harness.BINARY, "config", "--lint-fatal", "--lint=all",
                         "--query.lookback-delta=6m", slow, cwd=self.dir)
        self.assertEqual(code, 0)

    def test_agent_mode(self):
        agent = self.config("remote_write: [{url: 'http://h'}]\n")
        self.assertEqual(self.agree("config", "--agent", agent)[0], 0)
        server = self.config("remote_write: [{url: 'http://h'}]\nrule_files: [rules.yml]\n")
        self.assertEqual(self.agree("config", "--agent", server)[0], 1)
        self.assertEqual(self.agree("config", server)[0], 0)

    def test_usage(self):
        for arguments in (["config"], ["config", "missing.yml"], ["config", "--odd", "p.yml"],
                          ["nothing"], []):
            with self.subTest(arguments):
                theirs, ours = self.both(*arguments)
                self.assertEqual((ours[0], ours[1]), (1, ""))
                self.assertEqual(ours[0], theirs[0])
        code, out, _ = run(harness.BINARY, "--help")
        self.assertEqual(code, 0)
        self.assertIn("service-discovery", out)

    def test_experimental_functions_need_their_flag(self):
        self.write("x.yml", "groups: [{name: g, rules: [{record: a, expr: 'mad_over_time(up[5m])'}]}]\n")
        path = self.config("rule_files: [x.yml]\n")
        self.assertEqual(run(harness.BINARY, "config", path, cwd=self.dir)[0], 1)
        self.assertEqual(run(harness.BINARY, "config",
                             "--enable-feature=a,promql-experimental-functions", path,
                             cwd=self.dir)[0], 0)


class WebConfig(CheckCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in ("a", "b"):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                            "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x", "-days",
                            "1", "-keyout", f"{name}.key", "-out", f"{name}.crt"],
                           cwd=cls.dir, check=True, capture_output=True)

    def test_files(self):
        hashed = "$2y$10$" + "a" * 53
        cases = {
            "": 0,
            "tls_server_config: {cert_file: a.crt, key_file: a.key}\n": 0,
            "tls_server_config: {cert_file: a.crt, key_file: b.key}\n": 1,
            "tls_server_config: {cert_file: a.crt}\n": 1,
            "tls_server_config: {key_file: a.key}\n": 1,
            "tls_server_config: {cert_file: missing, key_file: a.key}\n": 1,
            "tls_server_config: {cert_file: a.crt, key_file: a.key, min_version: TLS13}\n": 0,
            "tls_server_config: {cert_file: a.crt, key_file: a.key, min_version: TLS15}\n": 1,
            "tls_server_config: {cert_file: a.crt, key_file: a.key, client_auth_type: Odd}\n": 1,
            "tls_server_config: {cert_file: a.crt, key_file: a.key, client_ca_file: a.crt,"
            " client_auth_type: RequireAndVerifyClientCert}\n": 0,
            "tls_server_config: {cert_file: a.crt, key_file: a.key,"
            " client_auth_type: RequireAndVerifyClientCert}\n": 0,  # By the system's authorities.
            "tls_server_config: {cert_file: a.crt, key_file: a.key, client_ca_file: a.crt}\n": 1,
            f"basic_auth_users: {{a: {hashed}}}\n": 0,
            "basic_auth_users: {a: short}\n": 1,
            f"basic_auth_users: {{a: {hashed.replace('$10$', '$99$')}}}\n": 1,
            "http_server_config: {http2: false, headers: {X-Frame-Options: deny}}\n": 0,
            "http_server_config: {headers: {X-Frame-Options: maybe}}\n": 1,
            "http_server_config: {headers: {X-Other: a}}\n": 1,
            "odd: 1\n": 1,
            "tls_server_config: {odd: 1}\n": 1,
        }
        for text, code in cases.items():
            with self.subTest(text):
                theirs, ours = self.both("web-config", self.write("web.yml", text))
                self.assertEqual(ours[0], code, ours)
                self.assertEqual(theirs[0], code, theirs)
                self.assertEqual(ours[1], "")
                word = "SUCCESS" if code == 0 else "FAILED: "
                self.assertTrue(ours[2].startswith(f"web.yml {word}"), ours)
                self.assertNotIn(hashed, ours[2])

    def test_several_and_none(self):
        good, bad = self.write("g.yml", ""), self.write("b.yml", "odd: 1\n")
        self.assertEqual(run(harness.BINARY, "web-config", good, bad, cwd=self.dir)[0], 1)
        self.assertEqual(run(harness.BINARY, "web-config", cwd=self.dir)[0], 1)
        self.assertEqual(run(harness.BINARY, "web-config", "missing", cwd=self.dir)[0], 1)


class Metrics(CheckCase):
    def same(self, text: str):
        theirs, ours = self.both("metrics", stdin=text)
        self.assertEqual(ours, theirs, text)
        return ours[0]

    def test_families(self):
        self.assertEqual(self.same(""), 0)
        self.assertEqual(self.same("# HELP a_total x\n# TYPE a_total counter\na_total 1\n"), 0)
        self.assertEqual(self.same("# HELP a_total x\n# TYPE a_total counter\n"), 0)
        for text in (
            "a 1\n",
            '# HELP fooCamel_ms x\n# TYPE fooCamel_ms gauge\nfooCamel_ms{aB="1",le="1"} 1\n',
            "# HELP x_counter y\n# TYPE x_counter counter\nx_counter 1\n",
            '# TYPE a histogram\na_bucket{le="1"} 1\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
            "# HELP foo_total x\n# TYPE foo_total gauge\nfoo_total 1\n",
            "# HELP a:b x\n# TYPE a:b gauge\na:b 1\n",
            '# HELP y x\n# TYPE y gauge\ny{quantile="1"} 1\ny{quantile="2"} 1\n',
            "# HELP z_bucket x\n# TYPE z_bucket gauge\nz_bucket 1\n",
            "# HELP z_count x\n# TYPE z_count gauge\nz_count 1\n",
            "# HELP z_sum x\n# TYPE z_sum counter\nz_sum 1\n",
            "# HELP a_gauge_b x\n# TYPE a_gauge_b gauge\na_gauge_b 1\n",
            "# HELP histogram_x x\n# TYPE histogram_x gauge\nhistogram_x 1\nuntyped_total 1\n",
            '# TYPE s summary\ns{quantile="0.5",fooBar="a"} 1\ns_sum{fooBar="a"} 1\n',
        ):
            with self.subTest(text):
                self.assertEqual(self.same(text), 3)

    def test_units(self):
        words = ["amperes", "bytes", "celsius", "grams", "joules", "kelvin", "meters", "metres",
                 "seconds", "volts", "minutes", "hours", "days", "weeks", "kelvins", "fahrenheit",
                 "rankine", "inches", "yards", "miles", "bits", "calories", "pounds", "ounces",
                 "ms", "us", "ns", "sec", "s", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d",
                 "kg", "percent", "ratio", "moles", "watts"]
        prefixes = ["", "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo",
                    "kibi", "mega", "mibi", "giga", "gibi", "tera", "tebi", "peta", "pebi", "mebi"]
        lines = []
        for word in words:
            for prefix in prefixes:
                for name in (f"a_{prefix}{word}", f"{prefix}{word}_a", f"a_{prefix}{word}_info"):
                    lines += [f"# HELP {name} x", f"# TYPE {name} gauge", f"{name} 1"]
        self.assertEqual(self.same("\n".join(lines) + "\n"), 3)

    def test_what_is_no_exposition(self):
        for text in ("a{ 1\n", "1 a\n", "# TYPE a odd\na 1\n"):
            with self.subTest(text):
                theirs, ours = self.both("metrics", stdin=text)
                self.assertEqual((theirs[0], ours[0]), (1, 1))
                self.assertTrue(ours[2].startswith("error while linting: "), ours)

    def test_this_servers_own(self):
        varve = harness.Varve(config="scrape_configs: []\n").start()
        theirs, ours = self.both("metrics", stdin=varve.get("/metrics").text)
        self.assertEqual(ours, theirs)


class ServiceDiscovery(CheckCase):
    def test_static(self):
        path = self.write("p.yml", """
scrape_configs:
- job_name: a
  params: {x: [y]}
  static_configs: [{targets: [h, 'drop:1', 'empty:1'], labels: {q: '<&>"'}}]
  relabel_configs:
  - {source_labels: [__address__], regex: 'drop:1', action: drop}
  - {source_labels: [__address__], regex: 'empty:1', target_label: __address__, replacement: ''}
- job_name: none
""")
        theirs, ours = self.both("service-discovery", path, "a", "--timeout=1s")
        self.assertEqual((theirs[0], ours[0]), (0, 0))
        # Debian's promtool still adds a default port, knows fewer labels of histograms, and says of
        # errors only that there is one.
        expected = json.loads(theirs[1].replace('"h:80"', '"h"'))
        found = json.loads(ours[1])
        self.assertEqual([one.pop("error", None) for one in found], [None, None, "no address"])
        for one in found:
            for label in HISTOGRAM_LABELS:
                self.assertEqual(one["discoveredLabels"].pop(label), "false")
                one["labels"].pop(label, None)
        self.assertEqual(found[:2], [{**one, "labels": one["labels"] or {}} for one in expected[:2]])
        self.assertEqual(len(expected), 3)
        self.assertEqual(run(harness.BINARY, "service-discovery", path, "none", cwd=self.dir)[:2],
                         (0, "[]"))

    def test_files_and_http(self):
        self.write("t.json", '[{"targets": ["a:1", "b:1", "a:1"]}]')
        server = harness.MetricServer(pages={"/targets": '[{"targets": ["c:1"]}]'},
                                      content_type="application/json")
        path = self.write("p.yml", f"""
scrape_configs:
- job_name: a
  file_sd_configs: [{{files: [t.json]}}]
  http_sd_configs: [{{url: 'http://{server.address}/targets'}}]
""")
        code, out, err = run(harness.BINARY, "service-discovery", path, "a", cwd=self.dir)
        self.assertEqual((code, err), (0, ""))
        addresses = [one["labels"]["__address__"] for one in json.loads(out)]
        self.assertEqual(sorted(addresses), ["a:1", "b:1", "c:1"])

    def test_what_fails_is_said(self):
        port = harness.free_port()
        path = self.write("p.yml", "scrape_configs: [{job_name: a, http_sd_configs: [{url: "
                                   f"'http://127.0.0.1:{port}/', refresh_interval: 100ms}}]}}]\n")
        code, out, err = run(harness.BINARY, "service-discovery", path, "a", "--timeout=1s",
                             cwd=self.dir)
        self.assertEqual((code, out), (0, "[]"))
        self.assertIn("connection refused", err)
        self.assertEqual(self.both("service-discovery", path, "b")[1],
                         (1, "", "Job b not found. Select one of:\n\ta\n"))
        theirs, ours = self.both("service-discovery", path, "b")
        self.assertEqual(ours, theirs)
        self.assertEqual(run(harness.BINARY, "service-discovery", "missing", "a")[0], 1)
        self.assertEqual(run(harness.BINARY, "service-discovery", path, cwd=self.dir)[0], 1)
