# SPDX-License-Identifier: Apache-2.0
"""Whole-server benchmarks: Varve beside Debian's Prometheus and VictoriaMetrics, same load, same run.

usage: run.py NAME [--targets N] [--hours H | --minutes M] [--seconds S]
              [--servers varve,prometheus,victoria] [--data DIR] [--reload] [--modes]

--data keeps the servers' data of `query` below DIR; the next run with as many targets and hours does
not send the load again.

Figures are those of one run on one machine: compare the ratios. `./dev bench` lists the names:
"""
# bench storage: remote-write load: CPU and bytes a sample, memory, time to be ready after kill -9
# bench churn: memory while all series are replaced every hour of a simulated clock, and while none is
# bench crash: kill -9 under load, --rounds times: everything acknowledged is there
# bench query: the queries of querybench.py over remote-written data
# bench scrape: 1,000 scrape targets: CPU a sample and memory
# bench scrape --modes: Varve's modes of scraping side by side: features, OpenMetrics, protobuf
# bench scrape --reload: 10,000 targets in ten jobs: the first scrapes, and reloads that change one job

import argparse
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import harness  # noqa: E402
import peers  # noqa: E402

BUILD = ROOT / "build" / "release"
START = 1_790_000_000  # Where the generated load begins, in Unix seconds.
STEP = 15
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """One server under test on a free loopback port, with a data directory of its own."""

    def __init__(self, name: str, scrape_config: str | None = None, data: pathlib.Path | None = None,
                 flags: tuple = ()):
        self.name = name
        self.flags = flags
        self.port = harness.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.dir = harness.temp_dir(f"bench-{name}")
        self.config = self.dir / "prometheus.yml"
        self.config.write_text(scrape_config or "scrape_configs: []\n")
        self.scrapes = scrape_config is not None
        self.data = data or self.dir / "data"
        self.process = None

    def command(self) -> list:
        if self.name == "victoria":
            command = [peers.path("victoria_metrics"), f"-storageDataPath={self.data}",
                       "-retentionPeriod=100y", f"-httpListenAddr=127.0.0.1:{self.port}",
                       "-search.latencyOffset=0s", "-search.disableCache"]
            return command + ([f"-promscrape.config={self.config}"] if self.scrapes else [])
        binary = peers.path("prometheus") if self.name == "prometheus" else harness.BINARY
        return [binary, f"--config.file={self.config}", f"--storage.tsdb.path={self.data}",
                "--storage.tsdb.retention.time=3650d", f"--web.listen-address=127.0.0.1:{self.port}",
                "--web.enable-remote-write-receiver", "--web.enable-lifecycle", *self.flags]

    def start(self) -> float:
        """Starts it and returns the seconds until it answers a query."""
        begin = time.monotonic()
        self.process = harness.Process(self.name, self.command())
        harness.wait_until(
            lambda: harness.get(self.url + "/api/v1/query?query=1", timeout=5).status == 200, 300,
            f"{self.name} answers", interval=0.01)
        return time.monotonic() - begin

    def cpu_seconds(self) -> float:
        text = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = text.rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mb(self, key: str) -> float:
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) / 1024
        return 0.0

    def disk_bytes(self) -> int:
        return sum(f.stat().st_size for f in self.data.rglob("*") if f.is_file())

    def seal(self) -> int:
        """Brings the data of a stopped server into its final form; returns its bytes."""
        before = os.times()
        subprocess.run([harness.BINARY, "tsdb", "seal", self.data], check=True)
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        print(f"{self.name}: sealed in {after.elapsed - before.elapsed:.1f} s, {cpu:.1f} CPU s", flush=True)
        return self.disk_bytes()

    def count(self) -> float:
        """How many samples of `up` are stored, over all time: whether anything was lost."""
        end = START + 10 * 86400
        answer = harness.get(f"{self.url}/api/v1/query?query=sum(count_over_time(up[10d]))&time={end}",
                             timeout=120).json()
        result = answer["data"]["result"]
        return float(result[0]["value"][1]) if result else 0.0

    def stop(self) -> None:
        self.process.stop(120)


def push(server: Server, targets: int, hours: float, step: int) -> tuple[int, float]:
    """Sends the load; returns samples and wall seconds."""
    end = START + int(hours * 3600)
    done = subprocess.run([BUILD / "bench" / "pushgen", server.url + "/api/v1/write", str(targets),
                           str(START), str(end), str(step)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{server.name}: pushgen failed: {done.stdout} {done.stderr}")
    words = done.stdout.split()
    return int(words[1]), float(words[3])


def table(rows: list[list[str]]) -> None:
    print("\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows), flush=True)


def bench_storage(options) -> None:
    rows = [["server", "CPU s per M samples", "bytes per sample, clean stop", "sealed", "peak RSS MB",
             "ready after kill -9, s", "samples kept"], ["---"] * 7]
    for name in options.servers:
        server = Server(name)
        server.start()
        before = server.cpu_seconds()
        samples, seconds = push(server, options.targets, options.hours, options.step)
        cpu = (server.cpu_seconds() - before) / samples * 1e6
        peak = server.memory_mb("VmHWM")
        kept = server.count()
        server.process.kill()
        ready = server.start()
        survived = server.count()
        server.stop()
        size = server.disk_bytes() / samples
        sealed = f"{server.seal() / samples:.3f}" if name == "varve" else ""
        rows.append([name, f"{cpu:.2f}", f"{size:.2f}", sealed, f"{peak:.0f}", f"{ready:.2f}",
                     f"{survived:.0f} of {kept:.0f}"])
        print(f"{name}: {samples} samples in {seconds:.0f} s", flush=True)
        harness.cleanup()
    table(rows)


def bench_churn(options) -> None:
    """Peak memory of the storage over hours of a simulated clock, with the same series throughout and
    with all of them replaced every hour."""
    rows = [["series", "replaced", "samples", "CPU s per M samples", "peak RSS MB", "ratio"], ["---"] * 6]
    steady = 0.0
    for every in (0, 3600):
        data = harness.temp_dir("churn")
        done = subprocess.run([BUILD / "bench" / "churn", data, str(options.targets * 1000), f"{options.hours:g}",
                               str(options.step), str(every)], capture_output=True, text=True, check=False)
        print(done.stdout, flush=True)
        if done.returncode != 0:
            raise SystemExit(f"churn failed: {done.stderr[-2000:]}")
        words = done.stdout.splitlines()[-1].split()
        samples, cpu, peak = int(words[1]), float(words[3]), float(words[5])
        steady = steady or peak
        rows.append([str(options.targets * 1000), f"every {every} s" if every else "never", str(samples),
                     f"{cpu / samples * 1e6:.2f}", f"{peak:.0f}", f"{peak / steady:.2f}"])
        harness.cleanup()
    table(rows)


def bench_crash(options) -> None:
    import test_crash

    begin = time.monotonic()
    print(f"seed {harness.SEED} (TEST_SEED)", flush=True)
    done = test_crash.crash_rounds(options.rounds, 3.0, harness.rng("bench-crash"))
    print(f"{options.rounds} kills in {time.monotonic() - begin:.0f} s, nothing lost, nothing invented: "
          + ", ".join(f"{count:.0f} {what}" for what, count in done.items()), flush=True)
    harness.cleanup()


def bench_query(options) -> None:
    servers = []
    for name in sorted(options.servers, key=lambda n: n != "prometheus"):
        kept = options.data and options.data / f"{name}-{options.targets}-{options.hours:g}"
        server = Server(name, data=kept)
        servers.append(server)
        if kept and kept.exists():
            server.start()
            continue
        server.start()
        samples, seconds = push(server, options.targets, options.hours, options.step)
        print(f"{server.name}: {samples} samples in {seconds:.0f} s", flush=True)
    end = START + int(options.hours * 3600) - STEP
    names = [f"{s.name}={s.url},{s.process.pid}" for s in servers]
    subprocess.run([sys.executable, ROOT / "bench" / "querybench.py", str(START), str(end), *names],
                   check=False)
    for server in servers:
        server.stop()


def bench_scrape(options) -> None:
    rows = [["server", "CPU s per M samples", "peak RSS MB", "samples per s"], ["---"] * 4]
    for name in options.servers:
        targets = harness.temp_dir("farm") / "targets.json"
        port = harness.free_port()
        farm = harness.Process("farm", [BUILD / "bench" / "farm", port, options.targets, 500, targets, 10])
        harness.wait_until(lambda: "farm:" in farm.log(), 120, "the farm serves")
        server = Server(name, "global:\n  scrape_interval: 10s\nscrape_configs:\n- job_name: farm\n"
                              f"  file_sd_configs:\n  - files: ['{targets}']\n")
        server.start()
        # The first scrapes make the series, which are then checkpointed; the steady state is measured.
        time.sleep(150)
        before, begin = server.cpu_seconds(), time.monotonic()
        time.sleep(options.seconds)
        seconds = time.monotonic() - begin
        samples = options.targets * 505 * seconds / 10
        cpu = (server.cpu_seconds() - before) / samples * 1e6
        rows.append([name, f"{cpu:.2f}", f"{server.memory_mb('VmHWM'):.0f}", f"{samples / seconds:.0f}"])
        server.stop()
        harness.cleanup()
    table(rows)


# What is measured side by side: format of the farm, flags, and lines of the scrape configuration.
MODES = [
    ("text", "", ""),
    ("text", "extra-scrape-metrics", ""),
    ("text", "type-and-unit-labels", ""),
    ("openmetrics", "", ""),
    ("openmetrics", "created-timestamp-zero-ingestion", ""),
    ("openmetrics", "st-storage", ""),
    ("protobuf", "", "scrape_protocols: [PrometheusProto]"),
    ("protobuf", "st-storage", "scrape_protocols: [PrometheusProto]"),
    ("protobuf", "", "scrape_native_histograms: true"),
]


def bench_modes(options) -> None:
    farms, servers = {}, []
    for form in ("text", "openmetrics", "protobuf"):
        farms[form] = harness.temp_dir("farm") / "targets.json"
        farm = harness.Process(f"farm-{form}", [BUILD / "bench" / "farm", harness.free_port(), options.targets,
                                                500, farms[form], 10, 0, form])
        harness.wait_until(lambda farm=farm: "farm:" in farm.log(), 120, "the farm serves")
    for form, feature, line in MODES:
        server = Server("varve", "global:\n  scrape_interval: 10s\nscrape_configs:\n- job_name: farm\n"
                                 f"  {line or 'honor_timestamps: true'}\n"
                                 f"  file_sd_configs:\n  - files: ['{farms[form]}']\n",
                        flags=(f"--enable-feature={feature}",) if feature else ())
        server.start()
        servers.append(server)
    time.sleep(100)
    before, begin = [server.cpu_seconds() for server in servers], time.monotonic()
    time.sleep(options.seconds)
    seconds = time.monotonic() - begin
    after = [server.cpu_seconds() for server in servers]
    rows = [["format", "feature or setting", "samples a scrape", "CPU s per M samples",
             "CPU ms per scrape", "peak RSS MB"], ["---"] * 6]
    for mode, server, cpu in zip(MODES, servers, [b - a for a, b in zip(before, after)]):
        result = harness.get(f"{server.url}/api/v1/query?query=avg(scrape_samples_scraped)").json()
        up = harness.get(f"{server.url}/api/v1/query?query=sum(up)").json()["data"]["result"][0]["value"][1]
        assert int(up) == options.targets, f"{mode}: {up} targets are up"
        samples = float(result["data"]["result"][0]["value"][1])
        scrapes = options.targets * seconds / 10
        rows.append([mode[0], mode[1] or mode[2] or "none", f"{samples:.0f}",
                     f"{cpu / scrapes / (samples + 5) * 1e6:.2f}", f"{1000 * cpu / scrapes:.3f}",
                     f"{server.memory_mb('VmHWM'):.0f}"])
        server.stop()
    harness.cleanup()
    table(rows)


def jobs_config(port: int, targets: int, limit: int) -> str:
    """Ten jobs with a tenth of the farm's targets each; `limit` is the first one's sample_limit."""
    jobs = []
    for job in range(10):
        names = ", ".join(f"t-{i}" for i in range(job, targets, 10))
        jobs.append(f"""- job_name: job-{job}
  sample_limit: {limit if job == 0 else 0}
  static_configs: [{{targets: [{names}]}}]
  relabel_configs:
  - {{source_labels: [__address__], target_label: instance}}
  - {{source_labels: [__address__], regex: t-(.*), target_label: __metrics_path__, replacement: /t/$1}}
  - {{target_label: __address__, replacement: "127.0.0.1:{port}"}}
""")
    return "global: {scrape_interval: 15s}\nscrape_configs:\n" + "".join(jobs)


def bench_reload(options) -> None:
    interval, reloads = 15, 5
    rows = [["server", "last first scrape, s after the launch", "and after it was ready",
             "reloads, ms", "latest request, ms", "missing requests"], ["---"] * 6]
    for name in options.servers:
        if name == "victoria":
            continue
        port = harness.free_port()
        farm = harness.Process("farm", [BUILD / "bench" / "farm", port, options.targets, 100,
                                        harness.temp_dir("farm") / "targets.json", interval, interval])
        harness.wait_until(lambda: "farm:" in farm.log(), 120, "the farm serves")
        server = Server(name, jobs_config(port, options.targets, 1000))
        launch = time.monotonic()
        ready = server.start()
        harness.wait_until(lambda: "first seen" in farm.log(), 120, "every target is asked", 0.5)
        first = float(re.search(r"first seen at (.*)", farm.log())[1]) - launch
        time.sleep(2 * interval)  # What is new is over.
        before, took = farm.log().count("late by"), []
        for turn in range(reloads):
            server.config.write_text(jobs_config(port, options.targets, 1001 + turn))
            begin = time.monotonic()
            assert harness.http("POST", server.url + "/-/reload").status == 200
            took.append(1000 * (time.monotonic() - begin))
            time.sleep(7)  # Longer than changes of targets wait for one another.
        time.sleep(2 * interval)
        lines = re.findall(r"most (.*); (.*) missing", farm.log())[before:]
        rows.append([name, f"{first:.2f}", f"{first - ready:.2f}", " ".join(f"{ms:.0f}" for ms in took),
                     f"{max(float(late) for late, _missing in lines):.1f}",
                     str(sum(int(missing) for _late, missing in lines))])
        server.stop()
        harness.cleanup()
    table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1])
    parser.add_argument("name", choices=["storage", "churn", "crash", "query", "scrape"])
    parser.add_argument("--targets", type=int)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--minutes", type=float, help="of load, instead of --hours")
    parser.add_argument("--step", type=int, help="seconds between samples of a series (15; churn: 300)")
    parser.add_argument("--rounds", type=int, default=200)
    # As long as half a million series of the farm go without a checkpoint of Varve's, and a little more:
    # what is measured has one in it.
    parser.add_argument("--seconds", type=float, default=160)
    parser.add_argument("--servers", default="varve,prometheus,victoria")
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--reload", action="store_true")
    parser.add_argument("--modes", action="store_true")
    options = parser.parse_args()
    options.servers = options.servers.split(",")
    if options.minutes is not None:
        options.hours = options.minutes / 60
    if options.reload:
        options.name = "reload"
    if options.modes:
        options.name = "modes"
    defaults = {"scrape": 1000, "modes": 1000, "churn": 100, "reload": 10000}
    options.targets = options.targets or defaults.get(options.name, 10)
    options.step = options.step or (300 if options.name == "churn" else STEP)
    subprocess.run(["ninja", "-C", BUILD, "pushgen", "farm", "churn"], check=True, stdout=subprocess.DEVNULL)
    {"storage": bench_storage, "churn": bench_churn, "crash": bench_crash, "query": bench_query,
     "scrape": bench_scrape, "modes": bench_modes, "reload": bench_reload}[options.name](options)


if __name__ == "__main__":
    main()
