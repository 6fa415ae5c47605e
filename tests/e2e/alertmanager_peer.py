# SPDX-License-Identifier: Apache-2.0
"""Debian's Alertmanager as a child of a test."""

import harness
import peers

CONFIG = "route: {receiver: none}\nreceivers: [{name: none}]\n"
# Compiled into Debian's program, which does not start without the templates that its package has there.
TEMPLATES = b"/usr/share/prometheus/alertmanager"
# As long, and below the directory it is started in.
TEMPLATES_HERE = TEMPLATES[1:].replace(b"usr/", b"usr//")


def start(config: str = CONFIG) -> str:
    """Starts it with `config`; returns its address once it is ready. Stopped at cleanup."""
    directory = harness.temp_dir("alertmanager")
    (directory / "alertmanager.yml").write_text(config, encoding="utf-8")
    package = peers.path("alertmanager").parents[2]
    program = directory / "alertmanager"
    program.write_bytes(peers.path("alertmanager").read_bytes().replace(TEMPLATES, TEMPLATES_HERE))
    program.chmod(0o755)
    address = f"127.0.0.1:{harness.free_port()}"
    process = harness.Process("alertmanager", [
        program, f"--config.file={directory}/alertmanager.yml",
        f"--storage.path={directory}/data", f"--web.listen-address={address}",
        "--cluster.listen-address="], cwd=package)

    def ready():
        if not process.running():
            raise SystemError(f"alertmanager exited:\n{process.log()}")
        return harness.get(f"http://{address}/-/ready", timeout=5).status == 200

    harness.wait_until(ready, 60, "alertmanager ready")
    return address
