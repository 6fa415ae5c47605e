# SPDX-License-Identifier: Apache-2.0
"""Runs the browser tests against the real binary that scrapes itself, a node exporter and a target
that is down, with a rule file.

    python3 tests/browser/run.py [--screenshots DIR]

The last line is `N passed, M failed`.
"""

import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import harness  # noqa: E402
import peers  # noqa: E402

RULES = """groups:
- name: console
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
  - record: instance:node_cpu:rate
    expr: sum by (mode) (rate(node_cpu_seconds_total[30s]))
"""


def start() -> harness.Varve:
    exporter = f"127.0.0.1:{harness.free_port()}"
    harness.Process("node-exporter", [peers.path("node_exporter"), f"--web.listen-address={exporter}"])
    rules = harness.temp_dir("rules") / "rules.yml"
    rules.write_text(RULES)
    port = harness.free_port()
    down = harness.free_port()
    config = (f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{rules}']\n"
              "scrape_configs:\n"
              f"- job_name: varve\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
              f"- job_name: node\n  static_configs: [{{targets: ['{exporter}']}}]\n"
              f"- job_name: down\n  static_configs: [{{targets: ['127.0.0.1:{down}']}}]\n")
    varve = harness.Varve(config=config, port=port).start()
    harness.wait_until(lambda: len(varve.query("up == 1")) == 2, 60, "two targets are up")
    harness.wait_until(lambda: varve.query("count_over_time(up{job='node'}[5m]) >= 10"), 60,
                       "ten scrapes")
    harness.wait_until(lambda: varve.query("job:up:sum"), 60, "the rules' results")
    return varve


def main() -> int:
    varve = start()
    command = ["node", str(HERE / "run.mjs"), "--url", varve.url, *sys.argv[1:]]
    return subprocess.run(command, check=False, timeout=900).returncode


if __name__ == "__main__":
    sys.exit(main())
