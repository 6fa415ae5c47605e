# SPDX-License-Identifier: Apache-2.0
"""Debian's exporters, scraped by one configuration that Varve and Debian's Prometheus both run: the
same series with the same labels, and the values that tests know."""

import unittest

import alertmanager_peer
import harness
import peers
import prometheus_peer
from test_main_path import start_node_exporter

BLACKBOX = ("modules:\n  http_2xx: {prober: http, timeout: 2s}\n"
            "  tcp: {prober: tcp, timeout: 2s}\n")


def start(program: str, *arguments: str) -> str:
    """Starts an exporter; `{address}` in an argument is where it listens, which is returned."""
    address = f"127.0.0.1:{harness.free_port()}"
    harness.Process(program, [peers.path(program)]
                    + [argument.format(address=address) for argument in arguments])
    harness.wait_until(lambda: harness.get(f"http://{address}/metrics").status == 200, 30,
                       f"{program} serves")
    return address


def written(name: str, text: str) -> str:
    path = harness.temp_dir(name) / f"{name}.yml"
    path.write_text(text)
    return str(path)


def series_of(url: str, job: str) -> set:
    """The label sets of a job; bounds as numbers, which Prometheus 3 writes in one form only."""
    answer = harness.get(f'{url}/api/v1/series?match[]={{job="{job}"}}').json()
    return {tuple(sorted((name, str(float(value)) if name in ("le", "quantile") else value)
                         for name, value in labels.items())) for labels in answer["data"]}


class Exporters(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = start_node_exporter()
        cls.pushgateway = start("pushgateway", "--web.listen-address={address}")
        cls.alertmanager = alertmanager_peer.start()
        cls.blackbox = start("blackbox_exporter", "--web.listen-address={address}",
                             "--config.file=" + written("blackbox", BLACKBOX))
        pushed = harness.http("POST", f"http://{cls.pushgateway}/metrics/job/backup/instance/db1",
                              b"# TYPE backup_size_bytes gauge\nbackup_size_bytes 4096\n")
        assert pushed.status == 200, pushed.text
        cls.closed = f"127.0.0.1:{harness.free_port()}"
        config = f"""global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: node
  static_configs: [{{targets: ['{cls.node}']}}]
- job_name: pushgateway
  honor_labels: true
  static_configs: [{{targets: ['{cls.pushgateway}']}}]
- job_name: alertmanager
  static_configs: [{{targets: ['{cls.alertmanager}']}}]
- job_name: probe
  metrics_path: /probe
  params: {{module: [http_2xx]}}
  static_configs: [{{targets: ['http://{cls.node}/', 'http://{cls.closed}/']}}]
  relabel_configs: &through_blackbox
  - {{source_labels: [__address__], target_label: __param_target}}
  - {{source_labels: [__param_target], target_label: instance}}
  - {{target_label: __address__, replacement: '{cls.blackbox}'}}
- job_name: probe_tcp
  metrics_path: /probe
  params: {{module: [tcp]}}
  static_configs: [{{targets: ['{cls.node}']}}]
  relabel_configs: *through_blackbox
"""
        cls.varve = harness.Varve(config=config).start()
        cls.prometheus = prometheus_peer.start(config=config)
        for url in (cls.varve.url, cls.prometheus):
            harness.wait_until(lambda url=url: cls.counts(url) == 6, 60, f"{url} has scraped all")

    @classmethod
    def counts(cls, url: str) -> float:
        """Targets that were scraped at least three times."""
        answer = harness.get(f"{url}/api/v1/query?query=count(count_over_time(up[1m])>=3)").json()
        result = answer["data"]["result"]
        return float(result[0]["value"][1]) if result else 0

    def test_every_target_is_up(self):
        self.assertEqual([value for _labels, value in self.varve.query("up")], [1.0] * 6)

    def test_series_are_those_of_prometheus(self):
        for job in ("node", "pushgateway", "backup", "alertmanager", "probe", "probe_tcp"):
            with self.subTest(job=job):
                ours, theirs = series_of(self.varve.url, job), series_of(self.prometheus, job)
                self.assertGreater(len(theirs), 0 if job == "backup" else 5)
                self.assertEqual(ours, theirs)

    def test_pushed_samples_keep_their_labels(self):
        self.assertEqual(self.varve.query("backup_size_bytes"), [
            ({"__name__": "backup_size_bytes", "instance": "db1", "job": "backup"}, 4096.0)])

    def test_probes(self):
        self.assertEqual(
            {labels["instance"]: value for labels, value in self.varve.query("probe_success")},
            {f"http://{self.node}/": 1.0, f"http://{self.closed}/": 0.0, self.node: 1.0})


if __name__ == "__main__":
    unittest.main()
