# SPDX-License-Identifier: Apache-2.0
"""Goal: what the server acknowledged survives `kill -9`, nothing else appears, what was deleted stays
deleted, and a snapshot is all that was acknowledged before it. Method: two writers post remote-write
requests in step, days of samples a second, so that checkpoints, folding, sealing and retention go on
all the time; beside them series are written and deleted, deleted samples cleaned, and snapshots taken.
The server is killed at random moments, or soon after one of these calls, amid its end or its start;
then it is started again and asked for everything.
"""

import random
import shutil
import threading
import time
import unittest

import harness
import remote_write

SERIES = 25
STEP_MS = 300_000
DAY_MS = 86_400_000
RETENTION_MS = DAY_MS
FLAGS = ("--web.enable-remote-write-receiver", "--web.enable-admin-api", "--storage.tsdb.retention.time=1d")
ADMIN = "/api/v1/admin/tsdb/"


# What goes on by itself, by its counter.
COUNTED = {
    "folds": 'varve_tsdb_compactions_total{kind="fold"}',
    "merges": 'varve_tsdb_compactions_total{kind="merge"}',
    "retentions": "prometheus_tsdb_time_retentions_total",
}


class Load:
    """What was sent and what was acknowledged. Numbers count steps: step i has a sample of every series."""

    WRITERS = ("a", "b")

    def __init__(self, base_ms: int):
        self.base_ms = base_ms
        self.sent = dict.fromkeys(self.WRITERS, 0)
        self.acknowledged = dict.fromkeys(self.WRITERS, 0)
        # Series that get a sample and then are deleted: (step, "sent", "written", "deleting" or "deleted").
        self.doomed: dict[int, tuple[int, str]] = {}
        self.snapshots: list[tuple[str, dict]] = []  # Names, and what was acknowledged before.
        self.calls = 0

    def time_ms(self, step: int) -> int:
        return self.base_ms + step * STEP_MS

    def step(self) -> int:
        """Those before it are acknowledged."""
        return min(self.acknowledged.values())

    @staticmethod
    def value(series: int, step: int) -> float:
        return series * 1e6 + step


class Gone(Exception):
    """The server does not answer any more."""


class Worker(threading.Thread):
    """Calls `work` until the server is gone; what else goes wrong is in `error`."""

    def __init__(self, work):
        super().__init__()
        self.work, self.error = work, None

    def run(self):
        try:
            while True:
                self.work()
        except (OSError, Gone, threading.BrokenBarrierError):
            pass
        except Exception as error:  # Shown by join_all().
            self.error = error


def must(answer: harness.Response) -> harness.Response:
    """A server that ends may refuse; one that goes on must not."""
    if answer.status >= 500:
        raise Gone()
    assert answer.status < 300, f"{answer.status}: {answer.text[:500]}"
    return answer


class Round:
    """The threads that load one server until it is killed."""

    def __init__(self, varve: harness.Varve, load: Load, random_source: random.Random):
        self.varve, self.load, self.random = varve, load, random_source
        self.together = threading.Barrier(len(Load.WRITERS))
        self.workers = [Worker(lambda name=name: self.write(name)) for name in Load.WRITERS]
        self.workers += [Worker(self.doom), Worker(self.admin)]
        for worker in self.workers:
            worker.start()

    def join(self) -> None:
        for worker in self.workers:
            worker.join()
            if worker.error:
                raise worker.error

    def write(self, name: str) -> None:
        load = self.load
        try:
            self.together.wait(20)
            step = load.sent[name]
            load.sent[name] = step + 1
            must(remote_write.push(self.varve.url, [
                ({"__name__": "crash", "writer": name, "series": str(series)},
                 [(load.time_ms(step), load.value(series, step))]) for series in range(SERIES)]))
            load.acknowledged[name] = step + 1
        except BaseException:
            self.together.abort()
            raise

    def doom(self) -> None:
        """Writes a series and deletes it."""
        load, number = self.load, len(self.load.doomed)
        step = max(load.step() - 1, 0)
        load.doomed[number] = (step, "sent")
        answer = remote_write.push(self.varve.url, [
            ({"__name__": "doomed", "number": str(number), "part": part}, [(load.time_ms(step), number)])
            for part in "xyz"])
        if answer.status == 400 and "out of bounds" in answer.text:  # The writers were an hour ahead by then.
            load.doomed[number] = (step, "deleted")
            return
        must(answer)
        load.doomed[number] = (step, "written")
        if number % 3 == 0:
            return
        load.doomed[number] = (step, "deleting")
        must(self.varve.post(ADMIN + "delete_series", **{"match[]": f'doomed{{number="{number}"}}'}))
        load.doomed[number] = (step, "deleted")

    def admin(self) -> None:
        self.load.calls += 1
        if self.load.calls % 2:
            must(self.varve.post(ADMIN + "clean_tombstones"))
            return
        before = dict(self.load.acknowledged)
        answer = must(self.varve.post(ADMIN + "snapshot"))
        self.load.snapshots.append((answer.json()["data"]["name"], before))

    def kill(self, seconds: float, done: dict) -> None:
        """After so many seconds, at one of several kinds of moment. Counts what went on until then."""
        time.sleep(seconds)
        for what, name in COUNTED.items():
            done[what] += metric(self.varve, name)
        moment = self.random.choice(("any", "delete_series", "clean_tombstones", "snapshot", "stop", "start"))
        if moment == "stop":
            self.varve.process.signal(15)
        elif moment not in ("any", "start"):
            call = threading.Thread(target=self.call, args=(moment,))
            call.start()
            time.sleep(self.random.uniform(0, 0.03))
        if moment == "stop":
            time.sleep(self.random.uniform(0, 0.15))
        self.varve.kill()
        self.join()
        if moment == "start":
            self.varve.launch()
            time.sleep(self.random.uniform(0, 0.3))
            self.varve.kill()

    def call(self, name: str) -> None:
        parameters = {"match[]": "nothing"} if name == "delete_series" else {}
        try:
            self.varve.post(ADMIN + name, **parameters)
        except OSError:
            pass


def read_all(varve: harness.Varve, selector: str, load: Load) -> dict:
    """label values to [(time, value)]."""
    end = (load.time_ms(max(load.sent.values())) + STEP_MS) / 1000
    answer = varve.api("query", query=f"{selector}[{int(end) - load.base_ms // 1000 + 86400}s]", time=end)
    return {tuple(value for name, value in sorted(one["metric"].items()) if name != "__name__"):
            [(round(float(t) * 1000), float(v)) for t, v in one["values"]] for one in answer["result"]}


def check_written(varve: harness.Varve, load: Load, acknowledged: dict, where: str) -> dict:
    """Compares with what the writers sent; returns the steps that are there."""
    there = {}
    for name in Load.WRITERS:
        found = read_all(varve, f'crash{{writer="{name}"}}', load)
        ends = {0} if not found else set()
        for (series, _), samples in found.items():
            last = (samples[-1][0] - load.base_ms) // STEP_MS
            first = last + 1 - len(samples)
            wanted = [(load.time_ms(step), load.value(int(series), step)) for step in range(first, last + 1)]
            assert samples == wanted, f"{where}: series {series} of {name} has gaps or what was not written"
            # Retention takes whole files of samples that are too old.
            assert first == 0 or load.time_ms(first - 1) < load.time_ms(last) - RETENTION_MS + 2 * STEP_MS, \
                f"{where}: series {series} of {name} begins at {first}, ends at {last}"
            ends.add(last + 1)
        assert len(found) in (0, SERIES) and len(ends) == 1, f"{where}: a request is there in part"
        [there[name]] = ends
        # The last request may have been written without having been answered.
        assert acknowledged[name] <= there[name] <= load.sent[name], \
            f"{where}: {there[name]} steps of {name}, {acknowledged[name]} acknowledged, {load.sent[name]} sent"
    return there


def check_doomed(varve: harness.Varve, load: Load, where: str) -> None:
    found: dict[int, int] = {}
    for (number, _), samples in read_all(varve, "doomed", load).items():
        step, _ = load.doomed[int(number)]
        assert samples == [(load.time_ms(step), float(number))], f"{where}: doomed {number}"
        found[int(number)] = found.get(int(number), 0) + 1
    oldest = load.time_ms(load.step()) - RETENTION_MS + 2 * STEP_MS
    for number, (step, state) in load.doomed.items():
        parts = found.get(number, 0)
        if state == "deleted":
            assert parts == 0, f"{where}: {number} is there again"
        elif state == "written" and load.time_ms(step) > oldest:
            assert parts == 3, f"{where}: {number} is there {parts} of 3 times"
        assert parts in (0, 3), f"{where}: {number} is there {parts} of 3 times"
        if state in ("sent", "deleting"):  # As it is now it stays, unless it is deleted again.
            load.doomed[number] = (step, "written" if parts else "deleted")


def check_snapshot(varve: harness.Varve, load: Load, where: str) -> None:
    """Opens one that was acknowledged."""
    name, acknowledged = load.snapshots[-1]
    copy = harness.Varve(*FLAGS, config="scrape_configs: []\n", data_dir=varve.data_dir / "snapshots" / name)
    copy.start()
    check_written(copy, load, acknowledged, f"{where}, snapshot {name}")
    assert copy.stop() == 0


def metric(varve: harness.Varve, name: str) -> float:
    for line in varve.get("/metrics").text.splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise AssertionError(f"no metric {name}")


def crash_rounds(rounds: int, seconds_max: float, random_source: random.Random) -> dict:
    """Kills and starts a server `rounds` times; returns how much of what went on."""
    load = Load((int(time.time()) // 86400 - 3000) * DAY_MS)
    varve = harness.Varve(*FLAGS, config="scrape_configs: []\n").start()
    done = {"samples": 0, "deletes": 0, "snapshots opened": 0, **dict.fromkeys(COUNTED, 0)}
    for number in range(rounds):
        where = f"round {number}"
        load.snapshots.clear()
        # Folding comes by itself every ten seconds.
        seconds = random_source.uniform(10, 12) if number % 10 == 4 else random_source.uniform(0.05, seconds_max)
        Round(varve, load, random_source).kill(seconds, done)
        varve.start()
        load.acknowledged = check_written(varve, load, load.acknowledged, where)
        load.sent = dict(load.acknowledged)
        # Both go on from the same step.
        behind = min(load.sent.values())
        for name in Load.WRITERS:
            for step in range(load.sent[name], max(load.sent.values())):
                must(remote_write.push(varve.url, [
                    ({"__name__": "crash", "writer": name, "series": str(series)},
                     [(load.time_ms(step), load.value(series, step))]) for series in range(SERIES)]))
        load.sent = dict.fromkeys(Load.WRITERS, max(load.sent.values()))
        load.acknowledged = dict(load.sent)
        assert load.step() - behind <= 1
        check_doomed(varve, load, where)
        if load.snapshots and random_source.random() < 0.4:
            check_snapshot(varve, load, where)
            done["snapshots opened"] += 1
        shutil.rmtree(varve.data_dir / "snapshots", ignore_errors=True)
        assert metric(varve, "prometheus_tsdb_wal_corruptions_total") == 0, f"{where}: damage"
    done["samples"] = SERIES * sum(load.acknowledged.values())
    done["deletes"] = sum(state == "deleted" for _, state in load.doomed.values())
    assert varve.stop() == 0
    return done


class KillNine(unittest.TestCase):
    def test_everything_acknowledged_is_there(self):
        done = crash_rounds(10, 1.0, harness.rng("crash"))
        print(done)
        self.assertGreater(done["samples"], 1000)
        self.assertGreater(done["deletes"], 10)
        self.assertGreater(done["snapshots opened"], 0)
        for what in COUNTED:
            self.assertGreater(done[what], 0, what)
