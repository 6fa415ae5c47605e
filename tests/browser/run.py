# SPDX-License-Identifier: Apache-2.0
"""Runs the browser tests against the real binary: itself, a node exporter, once with a
sample limit that it exceeds, and a closed port as targets, a recording and an alerting rule.

    python3 tests/browser/run.py [--screenshots DIR] [--only TEXT]

Arguments go on to run.mjs, whose output and exit code these are.
"""

import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import harness  # noqa: E402
import peers  # noqa: E402

RULES = """
groups:
- name: node
  rules:
  - record: instance:node_cpu:rate1m
    expr: sum by (instance) (rate(node_cpu_seconds_total{mode!="idle"}[1m]))
    labels: {team: infra}
- name: availability
  rules:
  - alert: TargetDown
    expr: up == 0
    labels: {severity: page}
    annotations: {summary: "{{ $labels.instance }} is down"}
"""


def start_server() -> harness.Varve:
    exporter_port = harness.free_port()
    exporter = f"127.0.0.1:{exporter_port}"
    harness.Process("node-exporter",
                    [peers.path("node_exporter"), f"--web.listen-address={exporter}"])
    rules = harness.temp_dir("rules") / "rules.yml"
    rules.write_text(RULES, encoding="utf-8")
    own_port = harness.free_port()
    config = f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ['{rules}']
scrape_configs:
- job_name: varve
  static_configs: [{{targets: ['127.0.0.1:{own_port}']}}]
- job_name: node
  static_configs: [{{targets: ['{exporter}'], labels: {{env: prod}}}}]
  relabel_configs: [{{source_labels: [env], regex: prod, target_label: env, replacement: test}}]
  metric_relabel_configs: [{{source_labels: [__name__], regex: 'node_disk_.*', action: drop}}]
- job_name: limited
  sample_limit: 10
  label_limit: 30
  static_configs: [{{targets: ['{exporter}']}}]
- job_name: elsewhere
  static_configs: [{{targets: ['10.0.0.1:9100', '10.0.0.2:9100'], labels: {{zone: a}}}}]
  relabel_configs:
  - {{target_label: seen, replacement: yes}}
  - {{source_labels: [zone], regex: b, action: keep}}
  - {{target_label: never, replacement: reached}}
- job_name: closed
  static_configs: [{{targets: ['127.0.0.1:{harness.free_port()}']}}]
"""
    varve = harness.Varve(config=config, port=own_port).start()
    harness.wait_until(lambda: len(varve.query("count_over_time(up[1m]) >= 8")) == 4, 60,
                       "eight scrapes of each target")
    harness.wait_until(lambda: varve.query("instance:node_cpu:rate1m"), 30, "a rule's result")
    return varve


def main() -> int:
    varve = start_server()
    command = ["node", str(HERE / "run.mjs"), "--url", varve.url, *sys.argv[1:]]
    code = subprocess.run(command, check=False).returncode
    if code != 0:
        print(harness.log_tails(), file=sys.stderr)
    harness.cleanup()
    return code


if __name__ == "__main__":
    sys.exit(main())
