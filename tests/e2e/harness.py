# SPDX-License-Identifier: Apache-2.0
"""Harness: what every end-to-end test needs, on Python's standard library only.

    varve = harness.Varve("--web.enable-lifecycle", config="scrape_configs: []")
    varve.start()                                   # returns once /-/ready answers 200
    harness.wait_until(lambda: varve.query("up"), 20, "a first sample")
    assert varve.stop() == 0                        # SIGTERM, exit code

Rules for tests
  * Ports come from the system (free_port), waits poll with a deadline (wait_until), randomness comes
    from rng(name), which depends on TEST_SEED only.
  * What a test class or test function starts (Process, Varve, temp_dir, on_cleanup) is stopped when
    that class or function ends, and at exit. run.py prints the logs' tails of a failed one.

The binary is $VARVE_BINARY, else build/release/varve.
"""

import atexit
import contextlib
import gzip
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("TEST_SEED", "1"))
BINARY = pathlib.Path(os.environ.get("VARVE_BINARY", ROOT / "build" / "release" / "varve"))
START_TIMEOUT = 30.0
STOP_TIMEOUT = 30.0

_cleanups: list = []  # Run last first.
_processes: list["Process"] = []


# --- Time, ports, files ------------------------------------------------------------------------


def rng(name: str) -> random.Random:
    """A generator of its own for `name`: the same numbers for the same TEST_SEED."""
    return random.Random(f"{SEED}:{name}")


def wait_until(condition, timeout: float, what: str, interval: float = 0.05):
    """Polls until `condition()` is truthy and returns its value.

    Refused connections and failed assertions inside the condition count as "not yet".
    AssertionError past the deadline, naming `what` and the last value or error.
    """
    deadline = time.monotonic() + timeout
    while True:
        last = None
        try:
            value = condition()
            if value:
                return value
            last = repr(value)
        except (OSError, AssertionError, ApiError) as error:
            last = f"{type(error).__name__}: {error}"
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}; last: {last[:2000]}")
        time.sleep(interval)


def holds_for(condition, seconds: float, what: str, interval: float = 0.05) -> None:
    """Fails if `condition()` is not truthy all through `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not condition():
            raise AssertionError(f"did not hold for {seconds:g} s: {what}")
        time.sleep(interval)


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that was free on `host` a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def temp_dir(name: str = "test") -> pathlib.Path:
    """A directory removed at cleanup; kept when KEEP_TEMP is set."""
    made = pathlib.Path(tempfile.mkdtemp(prefix=f"varve-{name}-"))
    if not os.environ.get("KEEP_TEMP"):
        on_cleanup(lambda: shutil.rmtree(made, ignore_errors=True))
    return made


def yaml_documents(path) -> list:
    """Every document of a YAML file; ValueError for a key given twice. Needs python3-yaml."""
    try:
        import yaml
    except ImportError:  # A python3 that is not Debian's; the package is pure Python at heart.
        import sys

        sys.path.append("/usr/lib/python3/dist-packages")
        import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = {key for key in keys if keys.count(key) > 1}
            if twice:
                raise ValueError(f"{path}: twice in one mapping: {twice}")
            return super().construct_mapping(node, deep)

    return list(yaml.load_all(pathlib.Path(path).read_text("utf-8"), Loader))


# --- HTTP --------------------------------------------------------------------------------------


class ApiError(Exception):
    """The API answered `status: error`."""

    def __init__(self, status: int, body: dict):
        super().__init__(f"{status} {body.get('errorType')}: {body.get('error')}")
        self.status = status
        self.error_type = body.get("errorType")
        self.error = body.get("error")


class Response:
    """A whole HTTP answer; gzip is undone in `body`."""

    def __init__(self, status: int, headers, body: bytes):
        self.status = status
        self.headers = headers
        self.raw = body
        self.body = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self):
        """AssertionError if the body is not JSON: a server that is still starting, say."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise AssertionError(f"answer {self.status} is not JSON: {self.text[:500]}") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args, **_kwargs):
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def http(method: str, url: str, body: bytes | None = None, headers: dict | None = None,
         timeout: float = 30.0) -> Response:
    """One request. Any status is an answer; redirects are not followed; OSError if none came."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with _opener.open(request, timeout=timeout) as answer:
            return Response(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Response(error.code, error.headers, error.read())


def get(url: str, headers: dict | None = None, timeout: float = 30.0) -> Response:
    return http("GET", url, headers=headers, timeout=timeout)


def post_form(url: str, params, timeout: float = 30.0) -> Response:
    body = urllib.parse.urlencode(params, doseq=True).encode()
    return http("POST", url, body, {"Content-Type": "application/x-www-form-urlencoded"}, timeout)


# --- Processes ---------------------------------------------------------------------------------


class Process:
    """A child in a session of its own, its output in a file. Stopped at cleanup."""

    def __init__(self, name: str, command: list, env: dict | None = None, cwd=None):
        self.name = name
        self.command = [str(word) for word in command]
        self.log_path = temp_dir(f"log-{name}") / "output"
        environment = {**os.environ, **(env or {})}
        with open(self.log_path, "wb") as log:
            self._child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                           stderr=subprocess.STDOUT, env=environment, cwd=cwd,
                                           start_new_session=True)
        _processes.append(self)

    @property
    def pid(self) -> int:
        return self._child.pid

    def running(self) -> bool:
        return self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative if a signal ended it."""
        return self._child.poll()

    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")

    def signal(self, number: int) -> None:
        self._child.send_signal(number)

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        """The exit code; AssertionError if it still runs at the deadline."""
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {timeout:g} s") from None

    def stop(self, timeout: float = STOP_TIMEOUT) -> int:
        """SIGTERM, then the exit code."""
        if self.running():
            self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """SIGKILL to it and to whatever it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()


def run(command: list, timeout: float = 60.0, env: dict | None = None,
        cwd=None) -> subprocess.CompletedProcess:
    """Runs to the end; text output captured, any exit code is an answer."""
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=timeout, env={**os.environ, **(env or {})}, cwd=cwd, check=False)


class Varve:
    """The real binary on a free port of 127.0.0.1, with a data directory of its own.

    `config` is the configuration's text (written to a file and passed), None for no flag at all;
    the working directory is an empty one, so that no stray prometheus.yml is found.
    """

    def __init__(self, *flags: str, config: str | None = None, data_dir=None, env=None,
                 port: int | None = None):
        self.dir = temp_dir("varve")
        self.data_dir = pathlib.Path(data_dir) if data_dir else self.dir / "data"
        self.cwd = self.dir / "cwd"
        self.cwd.mkdir()
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.flags = list(flags)
        # Not in a cluster, even if the tests run in one, unless the test says so.
        self.env = {"KUBERNETES_SERVICE_HOST": "", "KUBERNETES_SERVICE_PORT": "", **(env or {})}
        self.config_path = self.dir / "prometheus.yml" if config is not None else None
        self.process: Process | None = None
        if config is not None:
            self.write_config(config)

    def write_config(self, text: str) -> None:
        self.config_path.write_text(text, encoding="utf-8")

    def command(self) -> list[str]:
        command = [str(BINARY), f"--web.listen-address=127.0.0.1:{self.port}",
                   f"--storage.tsdb.path={self.data_dir}"]
        if self.config_path:
            command.append(f"--config.file={self.config_path}")
        return command + self.flags

    def launch(self) -> "Varve":
        """Starts the process and returns at once."""
        self.process = Process("varve", self.command(), env=self.env, cwd=self.cwd)
        return self

    def start(self, timeout: float = START_TIMEOUT) -> "Varve":
        """Starts the process and returns once it is ready."""
        self.launch()

        def ready():
            if not self.process.running():
                raise SystemError(f"varve exited with {self.process.exit_code}:\n{self.log()}")
            return get(self.url + "/-/ready", timeout=5).status == 200

        wait_until(ready, timeout, "varve ready")
        return self

    def stop(self, timeout: float = STOP_TIMEOUT) -> int:
        return self.process.stop(timeout)

    def kill(self) -> None:
        self.process.kill()

    def log(self) -> str:
        return self.process.log()

    def get(self, path: str, headers: dict | None = None, timeout: float = 30.0, **params) -> Response:
        query = "?" + urllib.parse.urlencode(params, doseq=True) if params else ""
        return get(self.url + path + query, headers, timeout)

    def post(self, path: str, timeout: float = 30.0, **params) -> Response:
        return post_form(self.url + path, params, timeout)

    def api(self, path: str, **params):
        """GET /api/v1/PATH and its `data`; ApiError if the answer is an error."""
        answer = self.get("/api/v1/" + path, **params)
        body = answer.json()
        if body.get("status") != "success":
            raise ApiError(answer.status, body)
        return body.get("data")

    def query(self, expression: str, **params) -> list[tuple[dict, float]]:
        """An instant query's vector as (labels, value) pairs."""
        data = self.api("query", query=expression, **params)
        if data["resultType"] in ("scalar", "string"):
            return [({}, float(data["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def query_range(self, expression: str, start: float, end: float, step: float) -> list:
        """A range query's matrix as (labels, [(time, value)]) pairs."""
        data = self.api("query_range", query=expression, start=start, end=end, step=step)
        return [(one["metric"], [(t, float(v)) for t, v in one["values"]])
                for one in data["result"]]

    def targets(self) -> list[dict]:
        """The active targets as /api/v1/targets shows them."""
        return self.api("targets")["activeTargets"]


# --- A target to scrape ------------------------------------------------------------------------


class MetricServer:
    """A tiny HTTP exporter. Any 127.x.y.z is an address of this machine, so that a pod IP is real.

    Every path in `pages` (default {"/metrics": ...}) answers its text; change it at any time.
    `requests` records (path with query, headers) of every request seen.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, pages: dict | None = None,
                 status: int = 200,
                 content_type: str = "text/plain; version=0.0.4; charset=utf-8"):
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        outer = self
        self.pages = pages if pages is not None else {"/metrics": "test_metric 1\n"}
        self.status = status
        self.requests: list = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.requests.append((self.path, dict(self.headers)))
                page = outer.pages.get(self.path.split("?")[0])
                status = outer.status if page is not None else 404
                body = (page if page is not None else "no such page\n").encode()
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_args):
                pass  # A client that went away.

        self._server = Server((host, port), Handler)
        self.host, self.port = self._server.server_address[:2]
        self.address = f"{self.host}:{self.port}"
        self.url = f"http://{self.address}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        on_cleanup(self.stop)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


# --- Cleanup -----------------------------------------------------------------------------------


def on_cleanup(action) -> None:
    """Runs `action()` when the test class or function ends, last registered first."""
    _cleanups.append(action)


def log_tails(lines: int = 40) -> str:
    """The last lines every process of this test wrote."""
    tails = []
    for process in _processes:
        with contextlib.suppress(OSError):
            tail = "\n".join(process.log().splitlines()[-lines:])
            tails.append(f"--- {process.name} (exit code {process.exit_code})\n{tail}")
    return "\n".join(tails)


def cleanup() -> None:
    """Ends every process, removes every temporary directory, runs every registered action."""
    while _processes:
        _processes.pop().kill()
    while _cleanups:
        with contextlib.suppress(Exception):
            _cleanups.pop()()


atexit.register(cleanup)
signal.signal(signal.SIGTERM, lambda *_: os._exit(143) if cleanup() is None else None)
