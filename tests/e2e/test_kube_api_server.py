# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes API test server keeps the API's promises, seen by a plain client and by kubectl."""

import http.client
import json
import pathlib
import socket
import ssl
import sys
import threading
import time
import unittest
import urllib.parse

import harness
import kube_objects
import peers
from kube_access import Certificates, Rbac
from kube_api_server import Fault, Options, Server
from kube_store import BadSelector, RESOURCES, Store, field_selector, label_selector

ROLES = [
    {"kind": "ClusterRole", "metadata": {"name": "reader"},
     "rules": [{"apiGroups": [""], "resources": ["pods", "namespaces"], "verbs": ["get", "list", "watch"]},
               {"apiGroups": ["apps"], "resources": ["replicasets"], "resourceNames": ["one"], "verbs": ["get"]},
               {"nonResourceURLs": ["/metrics", "/logs/*"], "verbs": ["get"]}]},
    {"kind": "ClusterRoleBinding", "metadata": {"name": "reader"},
     "subjects": [{"kind": "ServiceAccount", "name": "varve", "namespace": "monitoring"}],
     "roleRef": {"kind": "ClusterRole", "name": "reader"}},
    {"kind": "RoleBinding", "metadata": {"name": "reader", "namespace": "team"},
     "subjects": [{"kind": "User", "name": "jane"}], "roleRef": {"kind": "ClusterRole", "name": "reader"}},
]


class Client:
    """One request a connection, so that nothing hides behind reuse."""

    def __init__(self, server: Server, token: str | None = "admin-token"):
        self.server = server
        self.token = token

    def open(self, path: str, accept: str = "application/json", **params) -> http.client.HTTPResponse:
        context = ssl.create_default_context(cafile=self.server.certificates.ca)
        connection = http.client.HTTPSConnection("127.0.0.1", self.server.port, context=context, timeout=20)
        query = "?" + urllib.parse.urlencode(params) if params else ""
        headers = {"Accept": accept}
        if self.token is not None:
            headers["Authorization"] = "Bearer " + self.token
        connection.request("GET", path + query, headers=headers)
        return connection.getresponse()

    def get(self, path: str, accept: str = "application/json", **params) -> tuple[int, dict]:
        answer = self.open(path, accept, **params)
        return answer.status, json.loads(answer.read())

    def list(self, path: str = "/api/v1/pods", **params) -> dict:
        status, body = self.get(path, **params)
        assert status == 200, body
        return body

    def watch(self, path: str = "/api/v1/pods", **params) -> "Stream":
        return Stream(self.open(path, watch="1", **params))


class Stream:
    def __init__(self, answer):
        assert answer.status == 200, answer.read()
        self._answer = answer

    def next(self) -> dict | None:
        line = self._answer.readline()
        return json.loads(line) if line else None

    def take(self, count: int) -> list:
        """(type, name) of the next events."""
        events = [self.next() for _ in range(count)]
        return [(e["type"], e["object"]["metadata"].get("name")) for e in events]

    def rest(self) -> list:
        events = []
        while event := self.next():
            events.append(event)
        return events


def names(page: dict) -> list[str]:
    return [item["metadata"]["name"] for item in page["items"]]


class ServerCase(unittest.TestCase):
    def setUp(self):
        self.server = Server(seed=harness.SEED)
        self.addCleanup(self.server.close)
        self.server.start()
        self.store = self.server.store
        self.client = Client(self.server)

    def add(self, *names_, **fields) -> None:
        for name in names_:
            self.store.apply(kube_objects.pod(name, "127.0.0.5", **fields))


class ListTest(ServerCase):
    def test_pages_show_the_version_of_the_first(self):
        self.add(*[f"p-{i}" for i in range(5)])
        first = self.client.list(limit=2, resourceVersion="0")
        self.assertEqual(names(first), ["p-0", "p-1"])
        self.assertEqual(first["metadata"]["remainingItemCount"], 3)
        self.store.delete("Pod", "p-2")
        self.add("p-9")
        second = self.client.list(limit=2, **{"continue": first["metadata"]["continue"]})
        self.assertEqual(names(second), ["p-2", "p-3"])
        third = self.client.list(limit=2, **{"continue": second["metadata"]["continue"]})
        self.assertEqual(names(third), ["p-4"])
        self.assertNotIn("continue", third["metadata"])
        versions = {page["metadata"]["resourceVersion"] for page in (first, second, third)}
        self.assertEqual(len(versions), 1)
        self.assertEqual(names(self.client.list()), ["p-0", "p-1", "p-3", "p-4", "p-9"])

    def test_a_list_is_a_list(self):
        self.add("p-0")
        page = self.client.list()
        self.assertEqual((page["kind"], page["apiVersion"]), ("PodList", "v1"))
        self.assertNotIn("kind", page["items"][0])
        self.assertGreaterEqual(len(json.dumps(page["items"][0])), 8000)
        self.assertIn("managedFields", page["items"][0]["metadata"])
        self.assertEqual(self.client.list("/api/v1/namespaces/none/pods")["items"], [])
        status, body = self.client.get("/api/v1/namespaces/default/pods/p-0")
        self.assertEqual((status, body["kind"]), (200, "Pod"))
        self.assertEqual(self.client.get("/api/v1/namespaces/default/pods/p-1")[0], 404)

    def test_a_continued_page_refuses_a_resource_version(self):
        self.add("p-0", "p-1")
        token = self.client.list(limit=1)["metadata"]["continue"]
        for extra in ({"resourceVersion": "0"}, {"resourceVersion": "5"}):
            status, body = self.client.get("/api/v1/pods", **{"continue": token, "limit": 1, **extra})
            self.assertEqual(status, 400, body)
        status, body = self.client.get("/api/v1/pods", resourceVersionMatch="Exact", **{"continue": token})
        self.assertEqual(status, 422, body)
        self.assertEqual(self.client.get("/api/v1/pods", **{"continue": "AAAA"})[0], 400)

    def test_a_continue_token_expires(self):
        self.add("p-0", "p-1")
        token = self.client.list(limit=1)["metadata"]["continue"]
        self.store.compact()
        status, body = self.client.get("/api/v1/pods", limit=1, **{"continue": token})
        self.assertEqual((status, body["reason"], body["code"]), (410, "Expired", 410))
        # The token of the error leads on, inconsistently.
        page = self.client.list(limit=1, **{"continue": body["metadata"]["continue"]})
        self.assertEqual(names(page), ["p-1"])

    def test_resource_versions_of_lists(self):
        self.add("p-0")
        old = self.client.list()["metadata"]["resourceVersion"]
        self.add("p-1")
        self.assertEqual(len(self.client.list(resourceVersion=old)["items"]), 2)
        self.assertEqual(len(self.client.list(resourceVersion=old, resourceVersionMatch="Exact")["items"]), 1)
        self.assertEqual(len(self.client.list(resourceVersion=old, limit=5)["items"]), 1)
        self.store.compact()
        self.assertEqual(self.client.get("/api/v1/pods", resourceVersion=old, limit=5)[0], 410)
        status, body = self.client.get("/api/v1/pods", resourceVersion="999999")
        self.assertEqual((status, body["details"]["causes"][0]["reason"]), (504, "ResourceVersionTooLarge"))
        self.assertEqual(self.client.get("/api/v1/pods", resourceVersion="x")[0], 400)
        self.assertEqual(self.client.get("/api/v1/pods", limit="x")[0], 400)

    def test_limit_may_be_ignored_at_zero_and_pages_be_shorter(self):
        self.add(*[f"p-{i}" for i in range(5)])
        self.server.options.limit_ignored_at_zero = True
        self.assertEqual(len(self.client.list(limit=2, resourceVersion="0")["items"]), 5)
        self.server.options.page_items_max = 3
        self.assertEqual(len(self.client.list(limit=500)["items"]), 3)

    def test_selectors_and_namespaces(self):
        self.add("p-0", labels={"tier": "web"})
        self.add("p-1", namespace="team", node="node-2", phase="Pending")
        pods = lambda **q: names(self.client.list(**q))  # noqa: E731
        self.assertEqual(pods(labelSelector="tier=web"), ["p-0"])
        self.assertEqual(pods(labelSelector="tier!=web"), ["p-1"])
        self.assertEqual(pods(fieldSelector="spec.nodeName=node-2,status.phase!=Running"), ["p-1"])
        self.assertEqual(names(self.client.list("/api/v1/namespaces/team/pods")), ["p-1"])
        status, body = self.client.get("/api/v1/pods", fieldSelector="spec.foo=1")
        self.assertEqual((status, body["message"]), (400, "field label not supported: spec.foo"))
        self.assertEqual(self.client.get("/api/v1/pods", labelSelector="a=b=c")[0], 400)
        self.assertEqual(names(self.client.list(limit=1, labelSelector="tier=web")), ["p-0"])

    def test_metadata_only_and_gzip(self):
        self.add(*[f"p-{i}" for i in range(20)])
        accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        _, body = self.client.get("/api/v1/pods", accept)
        self.assertEqual(body["kind"], "PartialObjectMetadataList")
        self.assertEqual(set(body["items"][0]), {"kind", "apiVersion", "metadata"})
        context = ssl.create_default_context(cafile=self.server.certificates.ca)
        connection = http.client.HTTPSConnection("127.0.0.1", self.server.port, context=context)
        connection.request("GET", "/api/v1/pods", headers={
            "Authorization": "Bearer admin-token", "Accept-Encoding": "gzip"})
        self.assertEqual(connection.getresponse().headers["Content-Encoding"], "gzip")

    def test_every_cut_arrives_whole(self):
        self.add("p-0")
        whole = self.client.list()
        for cut in (1, 7):
            self.server.options = Options(chunk_bytes=cut)
            self.assertEqual(self.client.list(), whole)
            event = self.client.watch(resourceVersion="0").next()
            self.assertEqual(event["object"]["metadata"], whole["items"][0]["metadata"])
        self.server.options = Options(chunk_bytes=300, random_chunks=True)
        self.assertEqual(self.client.list(), whole)


class WatchTest(ServerCase):
    def watch_from_now(self, **params) -> Stream:
        version = self.client.list()["metadata"]["resourceVersion"]
        stream = self.client.watch(resourceVersion=version, **params)
        harness.wait_until(lambda: self.server.watches("pods") == 1, 5, "the watch")
        return stream

    def test_changes_arrive_in_order_and_move_the_version(self):
        self.add("p-0")
        stream = self.watch_from_now(timeoutSeconds=20)
        self.add("p-1")
        self.add("p-1", labels={"a": "b"})
        self.add("p-1", labels={"a": "b"})  # No change, no event.
        self.store.delete("Pod", "p-0")
        events = [stream.next() for _ in range(3)]
        self.assertEqual([(e["type"], e["object"]["metadata"]["name"]) for e in events],
                         [("ADDED", "p-1"), ("MODIFIED", "p-1"), ("DELETED", "p-0")])
        versions = [int(e["object"]["metadata"]["resourceVersion"]) for e in events]
        self.assertEqual(versions, sorted(set(versions)))
        self.assertEqual(events[2]["object"]["status"]["podIP"], "127.0.0.5")
        again = self.client.watch(resourceVersion=str(versions[0]), timeoutSeconds=20)
        self.assertEqual(again.take(2), [("MODIFIED", "p-1"), ("DELETED", "p-0")])

    def test_leaving_the_selection_is_a_deletion(self):
        self.add("p-0", labels={"tier": "web"})
        stream = self.watch_from_now(labelSelector="tier=web", timeoutSeconds=20)
        self.add("p-0", labels={"tier": "db"})
        self.add("p-1", labels={"tier": "db"})
        self.add("p-0", labels={"tier": "web"})
        first = stream.next()
        self.assertEqual(first["type"], "DELETED")
        self.assertEqual(first["object"]["metadata"]["labels"]["tier"], "web")
        self.assertEqual(stream.take(1), [("ADDED", "p-0")])

    def test_bookmarks_only_when_asked(self):
        self.server.options.bookmark_seconds = 0.05
        self.add("p-0")
        stream = self.watch_from_now(timeoutSeconds=1)
        self.server.bookmark()
        self.assertEqual(stream.rest(), [])
        version = self.client.list()["metadata"]["resourceVersion"]
        stream = self.client.watch(resourceVersion=version, allowWatchBookmarks="true", timeoutSeconds=1)
        self.store.apply(kube_objects.namespace("other"))  # Moves the counter, not the pods.
        events = stream.rest()
        self.assertGreater(len(events), 2)
        self.assertEqual({e["type"] for e in events}, {"BOOKMARK"})
        last = events[-1]["object"]
        self.assertEqual(set(last), {"kind", "apiVersion", "metadata"})
        self.assertEqual(last["metadata"]["resourceVersion"], str(self.store.version()))

    def test_too_old_is_an_error_event_or_a_status(self):
        self.add("p-0")
        old = self.client.list()["metadata"]["resourceVersion"]
        self.store.compact()
        events = self.client.watch(resourceVersion=old).rest()
        self.assertEqual([e["type"] for e in events], ["ERROR"])
        self.assertEqual((events[0]["object"]["code"], events[0]["object"]["reason"]), (410, "Expired"))
        self.server.options.expired_as_status = True
        status, body = self.client.get("/api/v1/pods", watch="1", resourceVersion=old)
        self.assertEqual((status, body["reason"]), (410, "Expired"))
        fresh = self.client.list()["metadata"]["resourceVersion"]
        self.assertEqual(self.client.watch(resourceVersion=fresh, timeoutSeconds=1).rest(), [])

    def test_ends_of_a_watch(self):
        self.add("p-0")
        started = time.monotonic()
        self.assertEqual(self.watch_from_now(timeoutSeconds=1).rest(), [])
        self.assertGreater(time.monotonic() - started, 0.9)
        for how, last in (("eof", []), ("expired", [410]), ("error", [500])):
            stream = self.watch_from_now(timeoutSeconds=20)
            self.assertEqual(self.server.end_watches(how, "pods"), 1)
            self.assertEqual([e["object"]["code"] for e in stream.rest()], last)
            harness.wait_until(lambda: self.server.watches() == 0, 5, "the watch gone")
        stream = self.watch_from_now(timeoutSeconds=20)
        self.assertEqual(self.server.end_watches("reset", "nodes"), 0)
        self.server.end_watches("reset")
        with self.assertRaises((http.client.HTTPException, OSError, ValueError)):
            stream.rest()

    def test_streaming_list(self):
        self.add("p-0", "p-1")
        ask = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan",
               "allowWatchBookmarks": "true", "resourceVersion": "", "timeoutSeconds": 20}
        stream = self.client.watch(**ask)
        self.assertEqual(stream.take(2), [("ADDED", "p-0"), ("ADDED", "p-1")])
        mark = stream.next()
        self.assertEqual(mark["type"], "BOOKMARK")
        self.assertEqual(mark["object"]["metadata"]["annotations"], {"k8s.io/initial-events-end": "true"})
        self.store.delete("Pod", "p-0")
        self.assertEqual(stream.take(1), [("DELETED", "p-0")])
        bad = dict(ask)
        del bad["resourceVersionMatch"]
        self.assertEqual(self.client.get("/api/v1/pods", watch="1", **bad)[0], 422)
        self.server.options.streaming_list = False
        status, body = self.client.get("/api/v1/pods", watch="1", **ask)
        self.assertEqual((status, body["reason"]), (422, "Invalid"))

    def test_watch_from_zero_starts_with_what_is_there(self):
        self.add("p-0")
        self.assertEqual(self.client.watch(resourceVersion="0", timeoutSeconds=20).take(1), [("ADDED", "p-0")])


class AccessTest(ServerCase):
    def setUp(self):
        super().setUp()
        self.server.rbac = Rbac(ROLES)
        self.account = self.server.service_account()
        self.add("p-0")

    def test_tokens(self):
        self.assertEqual(Client(self.server, "token-1").get("/api/v1/pods")[0], 200)
        self.assertEqual(Client(self.server, "wrong").get("/api/v1/pods")[0], 401)
        status, body = Client(self.server, None).get("/api/v1/pods")
        self.assertEqual(status, 403)
        self.assertIn("system:anonymous", body["message"])
        self.server.set_token("token-2")
        self.assertEqual(Client(self.server, "token-1").get("/api/v1/pods")[0], 401)
        self.assertEqual(Client(self.server, "token-2").get("/api/v1/pods")[0], 200)

    def test_rbac_refuses_what_the_role_does_not_grant(self):
        client = Client(self.server, "token-1")
        status, body = client.get("/api/v1/secrets")
        self.assertEqual(status, 403)
        self.assertEqual(body["message"], (
            'secrets is forbidden: User "system:serviceaccount:monitoring:varve" cannot list resource '
            '"secrets" in API group "" at the cluster scope'))
        status, body = client.get("/api/v1/namespaces/team/secrets", watch="1")
        self.assertIn('cannot watch resource "secrets" in API group "" in the namespace "team"', body["message"])
        self.assertEqual(client.get("/apis/apps/v1/namespaces/default/replicasets/one")[0], 404)
        self.assertEqual(client.get("/apis/apps/v1/namespaces/default/replicasets/two")[0], 403)
        self.assertEqual(client.get("/metrics")[0], 404)
        self.assertEqual(client.get("/logs/x")[0], 404)
        self.assertEqual(client.get("/debug")[0], 403)
        self.assertEqual(client.get("/apis")[0], 200)

    def test_role_bindings_hold_in_their_namespace(self):
        rbac = Rbac(ROLES)
        self.assertTrue(rbac.allowed("jane", "list", "", "pods", "team"))
        self.assertFalse(rbac.allowed("jane", "list", "", "pods", "default"))
        self.assertFalse(rbac.allowed("jane", "list", "", "pods"))
        self.assertFalse(rbac.allowed("jane", "get", "", "", path="/metrics"))

    def test_the_certificate_is_checked_by_name(self):
        self.server.use_certificates(Certificates(self.server.directory / "other", ("DNS:elsewhere.example",)))
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.client.get("/api/v1/pods")
        harness.wait_until(lambda: self.server.handshake_errors, 5, "the failed handshake noted")
        again = Certificates(self.server.directory / "again", ("DNS:elsewhere.example",)).issue()
        self.server.use_certificates(again)
        self.assertEqual(self.client.get("/api/v1/pods")[0], 200)

    def test_a_service_account_directory_swaps_like_the_kubelets(self):
        directory = self.account.directory
        token = directory / "token"
        self.assertEqual(token.read_text(), "token-1")
        with open(token, encoding="utf-8") as held:
            self.account.write("token-2", self.server.certificates.ca, "monitoring")
            self.assertEqual(token.read_text(), "token-2")
            self.assertEqual(held.read(), "token-1")
        self.assertTrue((directory / "..data").is_symlink())
        self.assertEqual((directory / "ca.crt").read_bytes(), self.server.certificates.ca.read_bytes())


class FaultTest(ServerCase):
    def test_injected_answers(self):
        self.add("p-0", "p-1")
        self.server.inject(Fault("list", "pods", status=429, retry_after=2, times=2))
        answer = self.client.open("/api/v1/pods")
        self.assertEqual((answer.status, answer.headers["Retry-After"]), (429, "2"))
        self.assertEqual(json.loads(answer.read())["details"]["retryAfterSeconds"], 2)
        self.assertEqual(self.client.get("/api/v1/nodes")[0], 200)
        self.assertEqual(self.client.get("/api/v1/pods")[0], 429)
        self.assertEqual(self.client.get("/api/v1/pods")[0], 200)
        self.server.inject(Fault("list", page=2, status=410))
        token = self.client.list(limit=1)["metadata"]["continue"]
        self.assertEqual(self.client.get("/api/v1/pods", **{"continue": token})[0], 410)
        self.server.inject(Fault("list", "pods"))
        with self.assertRaises((http.client.HTTPException, OSError)):
            self.client.get("/api/v1/pods")
        self.assertEqual(len(self.server.seen("list", "pods", 429)), 2)

    def test_gone_and_back_on_the_same_port(self):
        self.add("p-0")
        stream = self.client.watch(resourceVersion=str(self.store.version()))
        port = self.server.port
        self.server.stop()
        with self.assertRaises((http.client.HTTPException, OSError, ValueError)):
            if not stream.rest():
                raise OSError("cut")
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)
        self.server.start()
        self.assertEqual(self.server.port, port)
        self.assertEqual(len(self.client.list()["items"]), 1)

    def test_what_is_not_there(self):
        for path in ("/api/v1/widgets", "/apis/none/v1/pods", "/api/v1/nodes/x/proxy", "/nothing",
                     "/apis/none", "/apis/none/v1", "/api/v2", "/api/v1/namespaces/a/nodes"):
            self.assertEqual(self.client.get(path)[0], 404, path)
        self.assertEqual(self.client.open("/healthz").read(), b"ok")

    def test_nothing_is_changed_through_the_api(self):
        context = ssl.create_default_context(cafile=self.server.certificates.ca)
        connection = http.client.HTTPSConnection("127.0.0.1", self.server.port, context=context)
        connection.request("POST", "/api/v1/namespaces/default/pods", body=b"{}")
        self.assertEqual(connection.getresponse().status, 405)


class ControlTest(unittest.TestCase):
    def test_standalone_with_a_control_port(self):
        script = pathlib.Path(__file__).with_name("kube_api_server.py")
        process = harness.Process("kube", [sys.executable, script, "--port", "0", "--control-port", "0",
                                           "--pods", "3", "--dir", harness.temp_dir("kube")])
        info = json.loads(harness.wait_until(process.log, 20, "the first line"))
        control = info["control"]

        def act(method, path, body=None):
            return harness.http(method, control + path, json.dumps(body or {}).encode())

        context = ssl.create_default_context(cafile=info["ca"])

        def pods(token):
            connection = http.client.HTTPSConnection("127.0.0.1", info["port"], context=context, timeout=20)
            connection.request("GET", "/api/v1/pods", headers={"Authorization": "Bearer " + token})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

        token_file = pathlib.Path(info["serviceaccount"]) / "token"
        self.assertEqual(len(pods(token_file.read_text())[1]["items"]), 3)
        self.assertEqual(act("POST", "/pod", {"name": "new-1", "ip": "127.0.0.7"}).status, 200)
        self.assertEqual(act("DELETE", "/objects?kind=Pod&name=app-0").status, 200)
        self.assertEqual(act("DELETE", "/objects?kind=Pod&name=app-0").status, 400)
        self.assertEqual(act("PUT", "/objects", [kube_objects.node("node-9")]).status, 200)
        self.assertEqual(names(pods("token-1")[1]), ["app-1", "app-2", "new-1"])
        act("POST", "/token", {"token": "token-2"})
        self.assertEqual(pods("token-1")[0], 401)
        self.assertEqual(pods(token_file.read_text())[0], 200)
        act("POST", "/faults", {"verb": "list", "status": 503})
        self.assertEqual(pods("token-2")[0], 503)
        act("POST", "/options", {"page_items_max": 1})
        act("POST", "/compact")
        self.assertEqual(act("POST", "/end-watches", {"how": "eof"}).json(), {"ended": 0})
        self.assertEqual(len(act("GET", "/requests").json()), 5)
        self.assertEqual(act("POST", "/faults", {"no_such": 1}).status, 400)
        self.assertEqual(act("GET", "/nothing").status, 400)
        act("POST", "/stop")
        self.assertRaises(OSError, pods, "token-2")
        act("POST", "/start")
        self.assertEqual(pods("token-2")[0], 200)
        self.assertEqual(process.stop(), 0)


class KubectlTest(ServerCase):
    """Debian's kubectl takes the server for a real one."""

    def kubectl(self, *words, token="admin-token") -> list:
        return [peers.path("kubectl"), f"--server={self.server.url}", f"--token={token}",
                f"--certificate-authority={self.server.certificates.ca}", "--kubeconfig=/dev/null",
                f"--cache-dir={self.server.directory}/cache", *words]

    def test_kubectl_lists_and_watches(self):
        self.add("p-0", labels={"tier": "web"})
        self.add("p-1", namespace="team")
        self.store.apply(kube_objects.node("node-1"))
        listed = harness.run(self.kubectl("get", "pods", "-A", "-o", "name"))
        self.assertEqual(listed.stdout.split(), ["pod/p-0", "pod/p-1"], listed.stderr)
        self.server.options.page_items_max = 1
        chosen = harness.run(self.kubectl("get", "po", "-A", "-l", "tier=web",
                                          "-o", "jsonpath={.items[*].status.podIP}"))
        self.assertEqual(chosen.stdout, "127.0.0.5", chosen.stderr)
        paged = harness.run(self.kubectl("get", "pods", "-A", "--chunk-size=1", "-o", "name"))
        self.assertEqual(paged.stdout.split(), ["pod/p-0", "pod/p-1"], paged.stderr)
        described = harness.run(self.kubectl("describe", "pod", "p-0"))
        self.assertIn("IP:           127.0.0.5", described.stdout, described.stderr)
        resources = harness.run(self.kubectl("api-resources", "-o", "name"))
        self.assertEqual(set(resources.stdout.split()),
                         {r.plural + ("." + r.group if r.group else "") for r in RESOURCES})
        process = harness.Process("kubectl", self.kubectl("get", "pods", "-w", "--no-headers", "-o",
                                                          "custom-columns=N:.metadata.name,P:.status.phase"))
        harness.wait_until(lambda: self.server.watches("pods") == 1, 20, "kubectl's watch")
        self.add("p-2", phase="Pending")
        self.store.delete("Pod", "p-0")
        harness.wait_until(lambda: len(process.log().splitlines()) == 3, 20, "kubectl's lines")
        self.assertEqual([line.split() for line in process.log().splitlines()],
                         [["p-0", "Running"], ["p-2", "Pending"], ["p-0", "Running"]])

    def test_kubectl_is_told_what_is_forbidden(self):
        self.server.rbac = Rbac(ROLES)
        self.server.set_token("token-1")
        refused = harness.run(self.kubectl("get", "secrets", token="token-1"))
        self.assertEqual(refused.returncode, 1)
        self.assertIn('cannot list resource "secrets" in API group "" in the namespace "default"', refused.stderr)
        unknown = harness.run(self.kubectl("get", "pods", token="bad"))
        self.assertIn("must be logged in", unknown.stderr)


def test_label_selector_table():
    labels = {"a": "1", "b/c": "x", "e": ""}
    table = {
        "": True, "a": True, "!a": False, "z": False, "!z": True, "a=1": True, "a==1": True, "a=2": False,
        "a!=2": True, "z!=2": True, "a in (1,2)": True, "a notin (1, 2)": False, "z notin (1)": True,
        "z in (1)": False, "b/c=x": True, "a>0": True, "a<1": False, "b/c>1": False, "e=": True, "a=": False,
        "a=1,b/c=x , !z": True, "a=1,z": False,
    }
    for text, expected in table.items():
        assert label_selector(text)(labels) is expected, text
    for text in ("a=b=c", "a in 1", ",", "a,", "a b", "=1", "a in (1"):
        try:
            label_selector(text)
        except BadSelector:
            continue
        raise AssertionError(f"accepted: {text}")


def test_field_selector_table():
    pods = RESOURCES[0]
    item = kube_objects.pod("p", "1.2.3.4")
    for text, expected in {"metadata.name=p": True, "metadata.name!=p": False, "status.podIP==1.2.3.4": True,
                           "spec.hostNetwork=false": True, "status.nominatedNodeName=": True,
                           "metadata.name=p,spec.nodeName=x": False}.items():
        assert field_selector(text, pods)(item) is expected, text
    try:
        field_selector("spec.unschedulable=true", pods)
    except BadSelector:
        return
    raise AssertionError("a node's field was accepted for pods")


def test_store_keeps_every_version_whatever_the_order():
    """A random history: each snapshot equals a model's state at that version."""
    random, store, model = harness.rng("store"), Store(harness.SEED), {}
    history = []
    for step in range(400):
        name = f"p-{random.randrange(8)}"
        if name in model and random.random() < 0.4:
            store.delete("Pod", name)
            del model[name]
        else:
            meta = {"name": name, "labels": {"n": str(step)}}
            store.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta})
            model[name] = str(step)
        history.append((store.version(), dict(model)))
    for version, expected in history:
        _, items = store.snapshot(RESOURCES[0], version)
        assert {i["metadata"]["name"]: i["metadata"]["labels"]["n"] for i in items} == expected, version


def test_many_watchers_miss_nothing():
    server = Server(seed=harness.SEED)
    harness.on_cleanup(server.close)
    server.start()
    server.options = Options(chunk_bytes=700, random_chunks=True)
    client = Client(server)
    version = str(server.store.version())
    results: list = []

    def follow():
        stream = client.watch(resourceVersion=version, timeoutSeconds=30)
        results.append([name for _, name in stream.take(40)])

    threads = [threading.Thread(target=follow) for _ in range(8)]
    for thread in threads:
        thread.start()
    harness.wait_until(lambda: server.watches() == 8, 10, "eight watches")
    for i in range(40):
        server.store.apply(kube_objects.pod(f"p-{i}", "127.0.0.5"))
    for thread in threads:
        thread.join(30)
    assert results == [[f"p-{i}" for i in range(40)]] * 8, [len(r) for r in results]
