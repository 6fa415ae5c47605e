# SPDX-License-Identifier: Apache-2.0
"""Peers: the exporters and servers that tests run beside Varve.

Each comes from Debian by `apt-get download` and `dpkg-deb -x` into build/peers/PACKAGE, so nothing
is installed and no service starts; it works as root or not. A stamp file beside the directory
makes a second call cost nothing.

    python3 tests/e2e/peers.py                fetches all, prints `NAME PATH` lines
    python3 tests/e2e/peers.py promtool       fetches what promtool needs

In tests: `peers.path("promtool")`.
"""

import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS_DIR = pathlib.Path(os.environ.get("VARVE_PEERS_DIR", ROOT / "build" / "peers"))
ATTEMPTS = 4

# Name of the program: (Debian package, path inside it).
PROGRAMS = {
    "prometheus": ("prometheus", "usr/bin/prometheus"),
    "promtool": ("prometheus", "usr/bin/promtool"),
    "node_exporter": ("prometheus-node-exporter", "usr/bin/prometheus-node-exporter"),
    "alertmanager": ("prometheus-alertmanager", "usr/bin/prometheus-alertmanager"),
    "amtool": ("prometheus-alertmanager", "usr/bin/amtool"),
    "pushgateway": ("prometheus-pushgateway", "usr/bin/prometheus-pushgateway"),
    "blackbox_exporter": ("prometheus-blackbox-exporter", "usr/bin/prometheus-blackbox-exporter"),
    "victoria_metrics": ("victoria-metrics", "usr/bin/victoria-metrics"),
    "kubectl": ("kubernetes-client", "usr/bin/kubectl"),
}


class PeerError(Exception):
    """A package could not be fetched; the message has apt's own words."""


def path(name: str) -> pathlib.Path:
    """Returns the program's path, fetching its package first if need be."""
    package, inside = PROGRAMS[name]
    program = PEERS_DIR / package / inside
    if not (_stamp(package).exists() and program.exists()):
        _fetch(package)
    if not program.exists():
        raise PeerError(f"package {package} has no {inside}")
    return program


def _stamp(package: str) -> pathlib.Path:
    return PEERS_DIR / f"{package}.stamp"


def _fetch(package: str) -> None:
    PEERS_DIR.mkdir(parents=True, exist_ok=True)
    with open(PEERS_DIR / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _stamp(package).exists() and (PEERS_DIR / package).is_dir():
            return
        last = ""
        for attempt in range(ATTEMPTS):
            try:
                _fetch_once(package, attempt)
                return
            except subprocess.CalledProcessError as error:
                last = (error.stderr or error.stdout or str(error)).strip()
                # Not a wait for an event: a mirror that failed is left alone for a moment.
                time.sleep(2**attempt)
        raise PeerError(f"fetching {package} failed {ATTEMPTS} times: {last}")


def _fetch_once(package: str, attempt: int) -> None:
    download = PEERS_DIR / f"{package}.download"
    shutil.rmtree(download, ignore_errors=True)
    download.mkdir(parents=True)
    options = _apt_options(package, refresh=attempt > 0)
    _run(["apt-get", *options, "download", package], cwd=download)
    debs = list(download.glob("*.deb"))
    unpacked = PEERS_DIR / f"{package}.unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    _run(["dpkg-deb", "-x", str(debs[0]), str(unpacked)])
    shutil.rmtree(PEERS_DIR / package, ignore_errors=True)
    unpacked.rename(PEERS_DIR / package)
    _stamp(package).write_text(debs[0].name + "\n", encoding="utf-8")
    shutil.rmtree(download)


def _apt_options(package: str, refresh: bool) -> list[str]:
    """Uses the system's package lists when they know the package, else lists of our own."""
    # apt drops to a user of its own for downloads, who may not enter our directory.
    options = ["-q", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3"]
    if not refresh and _knows(package, options):
        return options
    private = PEERS_DIR / "apt"
    (private / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (private / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    options += ["-o", f"Dir::State::Lists={private / 'lists'}", "-o", f"Dir::Cache={private / 'cache'}"]
    if refresh or not _knows(package, options):
        _run(["apt-get", *options, "update"])
    return options


def _knows(package: str, options: list[str]) -> bool:
    shown = subprocess.run(
        ["apt-cache", *options, "show", "--no-all-versions", package],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return shown.returncode == 0


def _run(command: list[str], cwd: pathlib.Path | None = None) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in PROGRAMS]
    if unknown:
        print(f"unknown: {' '.join(unknown)}; known: {' '.join(PROGRAMS)}", file=sys.stderr)
        return 2
    for name in names or PROGRAMS:
        try:
            print(name, path(name))
        except PeerError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
