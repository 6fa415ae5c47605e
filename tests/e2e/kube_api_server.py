# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes API server for tests: TLS, tokens, RBAC, list, watch, and every fault on demand.

It answers what client libraries rely on: lists in pages that keep showing one version, watches
with selectors and bookmarks, streaming lists, compaction, and the errors of each as a Status.
Nothing can be changed through the API itself; tests change objects through `store` or the control
port.

In a test:
    server = kube_api_server.Server(rbac=Rbac.from_files([...])).start()
    server.store.apply(kube_objects.pod("a-1", "127.0.0.5"))
    server.inject(Fault("watch", "pods", status=410))

By itself, with a control port (see Control) and credentials in files:
    python3 tests/e2e/kube_api_server.py --port 0 --control-port 0 --dir /tmp/k
"""

import argparse
import base64
import contextlib
import dataclasses
import gzip
import json
import pathlib
import random
import shutil
import signal
import socket
import ssl
import sys
import tempfile
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import kube_objects
from kube_access import Certificates, Rbac, ServiceAccount
from kube_routes import Route, route_of
from kube_store import BadSelector, Expired, Resource, Store, field_selector, label_selector

GZIP_BYTES_MIN = 128 * 1024  # A real server compresses lists from this size on.
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclasses.dataclass
class Options:
    """How the server behaves; change them at any time."""

    chunk_bytes: int = 0  # Cut every body into TCP writes of this many bytes; 0 is whole.
    random_chunks: bool = False  # Cut at random places of 1..chunk_bytes instead.
    bookmark_seconds: float = 60.0
    watch_seconds_max: float = 1800.0  # Ends a watch even if the client asked for longer.
    streaming_list: bool = True  # Else sendInitialEvents is refused with 422.
    expired_as_status: bool = False  # A too old watch answers HTTP 410, not an ERROR event.
    limit_ignored_at_zero: bool = False  # As a watch cache does for resourceVersion=0.
    page_items_max: int = 0  # Pages are never longer than this; 0 is what the client asks.


@dataclasses.dataclass
class Fault:
    """What happens to the next `times` requests of this verb and resource (None is any).

    `page` 2 hits continued pages only, 1 first pages only. Without `status` the connection is
    closed unanswered; `hang_seconds` holds the answer back first.
    """

    verb: str | None = None  # get, list or watch
    resource: str | None = None
    status: int = 0
    reason: str = ""
    retry_after: int | None = None
    page: int = 0
    times: int = 1
    hang_seconds: float = 0.0
    causes: list | None = None


@dataclasses.dataclass
class Request:
    """One request as the log keeps it."""

    time: float
    path: str
    query: dict
    user: str | None
    verb: str
    resource: str
    namespace: str
    accept: str
    status: int = 0


class StatusError(Exception):
    """An answer other than 200, in the API's words."""

    def __init__(self, code: int, reason: str, message: str, *, retry_after: int | None = None,
                 causes: list | None = None, continue_token: str | None = None):
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after
        self.body = status_object(code, reason, message, retry_after, causes, continue_token)


def status_object(code, reason, message, retry_after=None, causes=None, continue_token=None) -> dict:
    meta = {"continue": continue_token} if continue_token else {}
    body = {"kind": "Status", "apiVersion": "v1", "metadata": meta, "status": "Failure",
            "message": message, "reason": reason, "code": code}
    details = {}
    if retry_after is not None:
        details["retryAfterSeconds"] = retry_after
    if causes:
        details["causes"] = causes
    if details:
        body["details"] = details
    return body


_REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound",
            405: "MethodNotAllowed", 410: "Expired", 422: "Invalid", 429: "TooManyRequests",
            500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}


# --- The server --------------------------------------------------------------------------------


class _Watcher:
    """One open watch; `end` is how to end it: eof, reset, expired or error."""

    def __init__(self, resource: Resource):
        self.resource = resource
        self.end: str | None = None
        self.wants_bookmarks = False
        self.bookmarks_due = 0
        self.bookmarks_sent = 0


class Server:
    """Listens on 127.0.0.1. Everything public is thread-safe."""

    def __init__(self, directory: pathlib.Path | None = None, port: int = 0, rbac: Rbac | None = None,
                 options: Options | None = None, seed: int = 1):
        self._own_directory = directory is None
        self.directory = directory or pathlib.Path(tempfile.mkdtemp(prefix="kube-api-"))
        self.options = options or Options()
        self.rbac = rbac  # None lets every known user read everything.
        self.store = Store(seed)
        self.certificates = Certificates(self.directory / "tls")
        self.port = port
        self.requests: list[Request] = []
        self.handshake_errors: list[str] = []
        self.tokens = {"admin-token": "system:admin"}  # token -> user; system:admin may do all.
        self.random = random.Random(seed)
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._watchers: set[_Watcher] = set()
        self._connections: set[socket.socket] = set()
        self._http: _HttpServer | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> "Server":
        """Listens; after stop(), on the same port again."""
        self._http = _HttpServer(("127.0.0.1", self.port), self)
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Closes the port and cuts every connection; objects stay."""
        if self._http is None:
            return
        self._http.shutdown()
        self._http.server_close()
        self._http = None
        self.end_watches("reset")
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                # Below TLS: the connection's own thread may be inside the TLS object.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def close(self) -> None:
        """stop(), and removes the directory if it made it."""
        self.stop()
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def use_certificates(self, certificates: Certificates) -> None:
        """For connections from now on."""
        self.certificates = certificates
        if self._http:
            self._http.load(certificates)

    def service_account(self, namespace: str = "monitoring", name: str = "varve",
                        token: str = "token-1") -> ServiceAccount:
        """Writes the credentials a pod of that account finds, and lets its token in."""
        self.set_token(token, namespace, name)
        return ServiceAccount(self.directory / "serviceaccount", self.certificates.ca, token, namespace)

    def set_token(self, token: str, namespace: str = "monitoring", name: str = "varve") -> None:
        """From now on only this token speaks for the account: the earlier ones get 401."""
        user = f"system:serviceaccount:{namespace}:{name}"
        with self._lock:
            self.tokens = {t: u for t, u in self.tokens.items() if u != user} | {token: user}

    def inject(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def end_watches(self, how: str = "eof", resource: str | None = None) -> int:
        """Ends the open watches (of one resource); returns how many.

        eof: the body ends cleanly; reset: the connection is cut inside an object; expired: an
        ERROR event with 410; error: an ERROR event with 500.
        """
        with self.store.changed:
            chosen = [w for w in self._watchers if resource in (None, w.resource.plural)]
            for watcher in chosen:
                watcher.end = how
            self.store.changed.notify_all()
        return len(chosen)

    def bookmark(self) -> None:
        """Sends a bookmark on every watch that asked for them, and returns once they are written."""
        with self.store.changed:
            for watcher in self._watchers:
                watcher.bookmarks_due += 1
            self.store.changed.notify_all()
            self.store.changed.wait_for(
                lambda: all(w.bookmarks_sent >= w.bookmarks_due for w in self._watchers if w.wants_bookmarks), 10)

    def watches(self, resource: str | None = None) -> int:
        """How many watches are open."""
        with self.store.changed:
            return sum(resource in (None, w.resource.plural) for w in self._watchers)

    def seen(self, verb: str, resource: str, status: int | None = None) -> list[Request]:
        """The logged requests of this kind."""
        return [r for r in list(self.requests) if (r.verb, r.resource) == (verb, resource)
                and status in (None, r.status)]

    # For the handler.

    def take_fault(self, request: Request) -> Fault | None:
        page = 2 if request.query.get("continue") else 1
        with self._lock:
            for fault in self._faults:
                if (fault.verb in (None, request.verb) and fault.resource in (None, request.resource)
                        and fault.page in (0, page)):
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                    return fault
        return None

    def user_of(self, token: str) -> str | None:
        with self._lock:
            return self.tokens.get(token)

    def add_watcher(self, watcher: _Watcher) -> None:
        with self.store.changed:
            self._watchers.add(watcher)

    def remove_watcher(self, watcher: _Watcher) -> None:
        with self.store.changed:
            self._watchers.discard(watcher)
            self.store.changed.notify_all()

    def track(self, connection, present: bool) -> None:
        with self._lock:
            (self._connections.add if present else self._connections.discard)(connection)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address, owner: Server):
        self.owner = owner
        self.load(owner.certificates)
        super().__init__(address, _Handler)

    def load(self, certificates: Certificates) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.cert, certificates.key)
        context.set_alpn_protocols(["http/1.1"])
        self._context = context

    def process_request_thread(self, request, client_address):
        # The handshake happens here, so that a silent client holds up its own thread only.
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request.settimeout(20)
        try:
            wrapped = self._context.wrap_socket(request, server_side=True)
        except (OSError, ValueError) as error:
            self.owner.handshake_errors.append(str(error))
            self.shutdown_request(request)
            return
        wrapped.settimeout(None)
        self.owner.track(wrapped, True)
        try:
            super().process_request_thread(wrapped, client_address)
        finally:
            self.owner.track(wrapped, False)

    def handle_error(self, _request, _client_address):
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):  # A client that went away is no news.
            raise error


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _HttpServer

    def log_message(self, *_args):
        pass

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = {k: v[-1] for k, v in urllib.parse.parse_qs(url.query, keep_blank_values=True).items()}
        route = route_of(url.path, query)
        self.entry = Request(time.time(), url.path, query, None, route.verb,
                             route.resource_name, route.namespace, self.headers.get("Accept", ""))
        self.owner = self.server.owner
        self.owner.requests.append(self.entry)
        try:
            self._authorize(route)
            self._fail_on_demand()
            self._answer(route, query)
        except StatusError as error:
            headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
            self._send(error.code, error.body, headers)
        except _Hangup:
            self.close_connection = True

    def _refuse_method(self):
        self.owner = self.server.owner
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        self.entry = Request(time.time(), self.path, {}, None, self.command.lower(), "", "", "")
        self.owner.requests.append(self.entry)
        self._send(405, status_object(405, "MethodNotAllowed",
                                      "the server does not allow this method on the requested resource"))

    do_POST = do_PUT = do_PATCH = do_DELETE = _refuse_method

    # Who may do what.

    def _authorize(self, route: Route) -> None:
        authorization = self.headers.get("Authorization", "")
        user = "system:anonymous"
        if authorization:
            scheme, _, token = authorization.partition(" ")
            user = self.owner.user_of(token.strip()) if scheme.lower() == "bearer" else None
            if user is None:
                raise StatusError(401, "Unauthorized", "Unauthorized")
        self.entry.user = user
        if user == "system:admin" or route.public:
            return
        if user != "system:anonymous" and (route.discovery or self.owner.rbac is None):
            return
        rbac = self.owner.rbac or Rbac([])
        if route.resource_name:
            if rbac.allowed(user, route.verb, route.group, route.resource_name, route.namespace, route.name):
                return
            scope = f'in the namespace "{route.namespace}"' if route.namespace else "at the cluster scope"
            name = f' "{route.name}"' if route.name else ""
            raise StatusError(403, "Forbidden", (
                f'{route.resource_name}{name} is forbidden: User "{user}" cannot {route.verb} resource '
                f'"{route.resource_name}" in API group "{route.group}" {scope}'))
        if not rbac.allowed(user, "get", "", "", path=self.entry.path):
            raise StatusError(403, "Forbidden",
                              f'forbidden: User "{user}" cannot get path "{self.entry.path}"')

    def _fail_on_demand(self) -> None:
        fault = self.owner.take_fault(self.entry)
        if fault is None:
            return
        if fault.hang_seconds:
            # A blackhole, not a wait: the test ends it by closing or by its own deadline.
            threading.Event().wait(fault.hang_seconds)
        if not fault.status:
            raise _Hangup
        reason = fault.reason or _REASONS.get(fault.status, "InternalError")
        raise StatusError(fault.status, reason, f"injected: {reason}", retry_after=fault.retry_after,
                          causes=fault.causes)

    # What there is.

    def _answer(self, route: Route, query: dict) -> None:
        if route.document is not None:
            self._send(200, route.document)
        elif route.resource is None:
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        elif route.verb == "get":
            item = self.owner.store.get(route.resource, route.namespace, route.name)
            if item is None:
                raise StatusError(404, "NotFound", f'{route.resource_name} "{route.name}" not found')
            self._send(200, self._shown(item))
        else:
            select = self._selector(route, query)
            if route.verb == "list":
                self._list(route.resource, query, select)
            else:
                self._watch(route.resource, query, select)

    def _selector(self, route: Route, query: dict):
        try:
            labels = label_selector(query.get("labelSelector", ""))
            fields = field_selector(query.get("fieldSelector", ""), route.resource)
        except BadSelector as error:
            raise StatusError(400, "BadRequest", str(error)) from None

        def select(item: dict) -> bool:
            meta = item["metadata"]
            return ((not route.namespace or meta.get("namespace", "") == route.namespace
                     or route.resource.kind == "Namespace")
                    and (not route.name or meta["name"] == route.name)
                    and labels(meta.get("labels") or {}) and fields(item))

        return select

    def _list(self, resource: Resource, query: dict, select) -> None:
        store, options = self.owner.store, self.owner.options
        limit = self._number(query, "limit")
        asked = query.get("resourceVersion", "")
        match = query.get("resourceVersionMatch", "")
        token = query.get("continue", "")
        if match and token:
            raise StatusError(422, "Invalid", "resourceVersionMatch is forbidden when continue is provided")
        if match and not asked:
            raise StatusError(422, "Invalid",
                              "resourceVersionMatch is forbidden unless resourceVersion is provided")
        if token and asked:
            raise StatusError(400, "BadRequest",
                              "specifying resource version is not allowed when using continue")
        after, version = None, None
        if token:
            version, after = self._position(token)
        elif asked not in ("", "0"):
            version = self._fresh_version(asked, exact=match == "Exact" or (limit > 0 and not match))
        elif asked == "0" and options.limit_ignored_at_zero:
            limit = 0
        version, items = store.snapshot(resource, version)
        items = [item for item in items if select(item)]
        if after is not None:
            items = [item for item in items if _key(item) > after]
        meta = {"resourceVersion": str(version)}
        if limit and options.page_items_max:
            limit = min(limit, options.page_items_max)
        if limit and len(items) > limit:
            position = {"v": "meta.k8s.io/v1", "rv": version, "start": _key(items[limit - 1])}
            meta["continue"] = base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")
            if not query.get("labelSelector") and not query.get("fieldSelector"):
                meta["remainingItemCount"] = len(items) - limit
            items = items[:limit]
        partial = "as=PartialObjectMetadataList" in self.entry.accept
        if partial:
            kind, api_version = "PartialObjectMetadataList", "meta.k8s.io/v1"
            items = [_partial(item) for item in items]
        else:
            kind, api_version = resource.kind + "List", resource.api_version
            # The items of a list carry neither kind nor apiVersion.
            items = [{k: v for k, v in item.items() if k not in ("kind", "apiVersion")} for item in items]
        self._send(200, {"kind": kind, "apiVersion": api_version, "metadata": meta, "items": items})

    def _position(self, token: str) -> tuple[int, str]:
        try:
            position = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            version, start = position["rv"], position["start"]
        except (ValueError, KeyError, TypeError):
            raise StatusError(400, "BadRequest", "continue key is not valid") from None
        try:
            self.owner.store.check_version(version)
        except Expired:
            fresh = {"v": "meta.k8s.io/v1", "rv": self.owner.store.version(), "start": start}
            raise StatusError(
                410, "Expired", "The provided continue parameter is too old to display a consistent "
                "list result. You can start a new list without the continue parameter.",
                continue_token=base64.urlsafe_b64encode(json.dumps(fresh).encode()).decode().rstrip("="),
            ) from None
        return version, start

    def _fresh_version(self, asked: str, exact: bool) -> int | None:
        """The version to show for a list that named one: None is the newest."""
        version = self._parse_version(asked)
        current = self.owner.store.version()
        if version > current:
            raise StatusError(504, "Timeout", f"Too large resource version: {version}, current: {current}",
                              retry_after=1, causes=[{"reason": "ResourceVersionTooLarge",
                                                      "message": "Too large resource version"}])
        if not exact:
            return None
        try:
            self.owner.store.check_version(version)
        except Expired as error:
            raise StatusError(410, "Expired", f"The resourceVersion for the provided list is too old: {error}") \
                from None
        return version

    @staticmethod
    def _parse_version(text: str) -> int:
        if not text.isdigit():
            raise StatusError(400, "BadRequest", f"Invalid value: \"{text}\": strconv.ParseUint: invalid syntax")
        return int(text)

    @staticmethod
    def _number(query: dict, name: str) -> int:
        text = query.get(name) or "0"
        if not text.isdigit():
            raise StatusError(400, "BadRequest", f'strconv.ParseInt: parsing "{text}": invalid syntax')
        return int(text)

    def _watch(self, resource: Resource, query: dict, select) -> None:
        store, options = self.owner.store, self.owner.options
        bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
        initial = query.get("sendInitialEvents")
        match = query.get("resourceVersionMatch", "")
        asked = query.get("resourceVersion", "")
        if initial and not options.streaming_list:
            raise StatusError(422, "Invalid", 'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: '
                              "Forbidden: sendInitialEvents is forbidden for watch unless the WatchList "
                              "feature gate is enabled")
        if initial and match != "NotOlderThan":
            raise StatusError(422, "Invalid", "resourceVersionMatch: Forbidden: sendInitialEvents requires "
                              "setting resourceVersionMatch to NotOlderThan")
        if match and not initial:
            raise StatusError(422, "Invalid", "resourceVersionMatch: Forbidden: resourceVersionMatch is "
                              "forbidden for watch unless sendInitialEvents is provided")
        seconds = float(self._number(query, "timeoutSeconds")) or options.watch_seconds_max
        deadline = time.monotonic() + min(seconds, options.watch_seconds_max)
        version = self._parse_version(asked or "0")
        if version and not (initial == "true"):
            try:
                store.check_version(version)
            except Expired as error:
                expired = StatusError(410, "Expired", str(error))
                if options.expired_as_status:
                    raise expired from None
                self._begin_stream()
                self._event("ERROR", expired.body)
                self._end_stream()
                return
        watcher = _Watcher(resource)
        watcher.wants_bookmarks = bookmarks
        with store.changed:
            if version == 0 or initial == "true":
                version, items = store.snapshot(resource)
            else:
                items = []
            self.owner.add_watcher(watcher)
        try:
            self._begin_stream()
            for item in filter(select, items):
                self._event("ADDED", self._shown(item))
            if initial == "true" and bookmarks:
                self._bookmark(resource, version, {INITIAL_EVENTS_END: "true"})
            self._follow(watcher, version, select, deadline)
        finally:
            self.owner.remove_watcher(watcher)

    def _follow(self, watcher: _Watcher, version: int, select, deadline: float) -> None:
        store, interval = self.owner.store, self.owner.options.bookmark_seconds
        next_bookmark = time.monotonic() + interval
        while True:
            with store.changed:
                def due():
                    return (watcher.end or watcher.bookmarks_due > watcher.bookmarks_sent
                            or store.events_after(watcher.resource, version))

                now = time.monotonic()
                store.changed.wait_for(due, max(0.0, min(deadline, next_bookmark) - now))
                events = store.events_after(watcher.resource, version)
                end, due_bookmarks, current = watcher.end, watcher.bookmarks_due, store.version()
            for event in events:
                version = event.version
                if shown := _as_selected(event, select):
                    self._event(shown[0], self._shown(shown[1]))
            now = time.monotonic()
            on_time = now >= min(next_bookmark, deadline) and not end
            if watcher.wants_bookmarks and (on_time or due_bookmarks > watcher.bookmarks_sent):
                version = current
                self._bookmark(watcher.resource, version)
            if now >= next_bookmark:
                next_bookmark = now + interval
            with store.changed:
                watcher.bookmarks_sent = due_bookmarks
                store.changed.notify_all()
            if end:
                self._end_watch(end, version)
                return
            if now >= deadline:
                self._end_stream()
                return

    def _end_watch(self, how: str, version: int) -> None:
        if how == "reset":
            self._write(b'{"type":"MODIFIED","object":{"kind":"Pod","metadata":{"name":"cut-')
            raise _Hangup
        if how == "expired":
            self._event("ERROR", status_object(410, "Expired", f"too old resource version: {version}"))
        if how == "error":
            self._event("ERROR", status_object(500, "InternalError", "an error on the server"))
        self._end_stream()

    # How it is written.

    def _shown(self, item: dict) -> dict:
        return _partial(item) if "as=PartialObjectMetadata;" in self.entry.accept + ";" else item

    def _bookmark(self, resource: Resource, version: int, annotations: dict | None = None) -> None:
        meta: dict = {"resourceVersion": str(version), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = annotations
        self._event("BOOKMARK", {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta})

    def _event(self, kind: str, item: dict) -> None:
        self._write(_json({"type": kind, "object": item}) + b"\n")

    def _begin_stream(self) -> None:
        self.entry.status = 200
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Cache-Control", "no-cache, private")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def _write(self, data: bytes) -> None:
        for piece in self._cut(data):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    def _end_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def _cut(self, data: bytes):
        options = self.owner.options
        while options.chunk_bytes and data:
            size = options.chunk_bytes
            if options.random_chunks:
                size = self.owner.random.randint(1, size)
            yield data[:size]
            data = data[size:]
        if data:
            yield data

    def _send(self, status: int, document, headers: dict | None = None) -> None:
        self.entry.status = status
        plain = isinstance(document, str)
        data = document.encode() if plain else _json(document) + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8" if plain else "application/json")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if len(data) >= GZIP_BYTES_MIN and "gzip" in self.headers.get("Accept-Encoding", ""):
            data = gzip.compress(data, 1)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        for piece in self._cut(data):
            self.wfile.write(piece)


class _Hangup(Exception):
    """The connection is to be closed without a word."""


def _json(document) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _key(item: dict) -> str:
    return f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}"


def _partial(item: dict) -> dict:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}


def _as_selected(event, select) -> tuple[str, dict] | None:
    """The event as a watch with this selector sees it: leaving the selection is a deletion."""
    before = event.previous is not None and select(event.previous)
    after = event.type != "DELETED" and select(event.object)
    if after:
        return ("MODIFIED" if before else "ADDED"), event.object
    if before:
        gone = dict(event.previous)
        gone["metadata"] = {**gone["metadata"], "resourceVersion": str(event.version)}
        return "DELETED", gone
    return None


# --- Control port and command line -------------------------------------------------------------


class Control:
    """Plain HTTP on 127.0.0.1 for tests in other languages. Bodies and answers are JSON.

    PUT  /objects          one object or a list of them
    DELETE /objects?kind=&namespace=&name=
    POST /pod              arguments of kube_objects.pod
    POST /token            {"token": ..., "namespace": ..., "name": ...}
    POST /faults           fields of Fault
    POST /options          fields of Options
    POST /end-watches      {"how": ..., "resource": ...}
    POST /bookmark, POST /compact, POST /stop, POST /start
    GET  /requests         the log
    """

    def __init__(self, server: Server, port: int = 0, service_account: ServiceAccount | None = None):
        self._server = server
        self._account = service_account
        control = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_args):
                pass

            def _serve(self):
                url = urllib.parse.urlsplit(self.path)
                query = {k: v[-1] for k, v in urllib.parse.parse_qs(url.query).items()}
                try:
                    body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                    status, answer = 200, control.act(self.command, url.path, query, body)
                except (KeyError, TypeError, ValueError) as error:
                    status, answer = 400, {"error": f"{type(error).__name__}: {error}"}
                data = _json(answer)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = _serve

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def act(self, method: str, path: str, query: dict, body):
        """Does one request; KeyError if there is no such path."""
        server, store = self._server, self._server.store
        match method, path:
            case "PUT", "/objects":
                return [store.apply(item)["metadata"] for item in (body if isinstance(body, list) else [body])]
            case "DELETE", "/objects":
                store.delete(query["kind"], query["name"], query.get("namespace", "default"))
            case "POST", "/pod":
                return store.apply(kube_objects.pod(**body))["metadata"]
            case "POST", "/token":
                server.set_token(**body)
                if self._account:
                    self._account.write(body["token"], server.certificates.ca, body.get("namespace", "monitoring"))
            case "POST", "/faults":
                server.inject(Fault(**body))
            case "POST", "/options":
                server.options = dataclasses.replace(server.options, **body)
            case "POST", "/end-watches":
                return {"ended": server.end_watches(**body)}
            case "POST", "/bookmark":
                server.bookmark()
            case "POST", "/compact":
                store.compact()
            case "POST", "/stop":
                server.stop()
            case "POST", "/start":
                server.start()
            case "GET", "/requests":
                return [dataclasses.asdict(request) for request in list(server.requests)]
            case _:
                raise KeyError(f"{method} {path}")
        return {}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--dir", type=pathlib.Path, help="certificates and service account go here")
    parser.add_argument("--rbac", type=pathlib.Path, nargs="*", help="YAML files with roles and bindings")
    parser.add_argument("--pods", type=int, default=0, help="start with this many pods")
    parser.add_argument("--seed", type=int, default=1)
    flags = parser.parse_args(arguments)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # For sigwait below.
    rbac = Rbac.from_files(flags.rbac) if flags.rbac else None
    server = Server(flags.dir, flags.port, rbac, seed=flags.seed)
    account = server.service_account()
    for i in range(flags.pods):
        server.store.apply(kube_objects.pod(f"app-{i}", f"127.0.{i // 250}.{i % 250 + 2}"))
    server.start()
    control = Control(server, flags.control_port, account)
    print(json.dumps({"url": server.url, "ca": str(server.certificates.ca), "port": server.port,
                      "serviceaccount": str(account.directory), "admin_token": "admin-token",
                      "control": f"http://127.0.0.1:{control.port}", "seed": flags.seed}), flush=True)
    try:
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    finally:
        control.close()
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
