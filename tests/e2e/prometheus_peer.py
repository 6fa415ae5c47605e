# SPDX-License-Identifier: Apache-2.0
"""Debian's Prometheus as a child of a test."""

import harness
import peers


def start(*arguments: str, config: str = "scrape_configs: []\n") -> str:
    """Starts it with `config`; returns its URL once it is ready. Stopped at cleanup."""
    directory = harness.temp_dir("prometheus")
    (directory / "prometheus.yml").write_text(config, encoding="utf-8")
    url = f"http://127.0.0.1:{harness.free_port()}"
    process = harness.Process("prometheus", [
        peers.path("prometheus"), f"--config.file={directory}/prometheus.yml",
        f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address={url.removeprefix('http://')}", *arguments])

    def ready():
        if not process.running():
            raise SystemError(f"prometheus exited:\n{process.log()}")
        return harness.get(url + "/-/ready", timeout=5).status == 200

    harness.wait_until(ready, 60, "prometheus ready")
    return url
