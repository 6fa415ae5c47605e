# SPDX-License-Identifier: Apache-2.0
"""Varve in a cluster: the real binary against the Kubernetes API test server."""

import json
import pathlib
import re
import threading
import unittest

import harness
import kube_meta
import kube_objects
import peers
from kube_access import Certificates, Rbac
from kube_api_server import Fault, Server
from kube_store import RESOURCES, Store

GOLDEN = pathlib.Path(__file__).with_name("golden")
ROLES = sorted((harness.ROOT / "deploy" / "kubernetes").glob("*.yaml"))
CHART = (GOLDEN / "annotations.yml").read_text("utf-8")
SCRAPE = {"prometheus.io/scrape": "true"}
JOB = "kubernetes-pods"
PODS = RESOURCES[0]
# How long a change may take to show: discovery hands changes on every 5 s, retries wait up to 30 s.
SOON, AFTER_RETRIES = 30, 75


def golden_cases() -> list[dict]:
    cases = json.loads((GOLDEN / "annotations.json").read_text("utf-8"))
    for number, case in enumerate(cases):
        case["namespace"] = f"case-{number:02}"
        case["pods"] = [kube_objects.pod(namespace=case["namespace"], **pod) for pod in case["pods"]]
    return cases


def wanted(case: dict, key: str = "targets") -> list:
    """(URL, labels) of each target of a golden case."""
    fixed = {"job": JOB, "namespace": case["namespace"], "node": "node-1"}
    return sorted([[t["url"], sorted((fixed | t["labels"]).items())] for t in case.get(key, case["targets"])])


def shown(targets: list[dict], namespace: str | None = None) -> list:
    """The same of /api/v1/targets."""
    return sorted([t["scrapeUrl"], sorted(t["labels"].items())] for t in targets
                  if t["scrapePool"] == JOB and namespace in (None, t["labels"].get("namespace")))


class ClusterCase(unittest.TestCase):
    """A cluster of one API server; self.varve() starts Varve inside."""

    def setUp(self):
        self.server = Server(rbac=Rbac.from_files(ROLES), seed=harness.SEED)
        self.addCleanup(self.server.close)
        self.addCleanup(harness.cleanup)
        self.account = self.server.service_account()
        self.server.start()
        self.store = self.server.store

    def varve(self, *flags: str, config: str | None = CHART) -> harness.Varve:
        """With the chart's configuration (intervals of 1 s), or None for none at all."""
        host, port = "127.0.0.1", str(self.server.port)
        started = harness.Varve(*flags, config=config, env={
            "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port,
            "VARVE_SERVICEACCOUNT_DIR": str(self.account.directory), "http_proxy": "", "https_proxy": ""})
        started.start()
        return started

    def add(self, name: str, port: int = 9, **fields) -> None:
        fields.setdefault("annotations", SCRAPE)
        self.store.apply(kube_objects.pod(name, fields.pop("ip", "127.0.0.5"),
                                          containers=[("app", [port])], labels={}, **fields))

    def wait_pods(self, varve: harness.Varve, names: set, timeout: float = SOON) -> None:
        """Until exactly these pods are targets."""
        def same():
            pods = {t["labels"]["pod"] for t in varve.targets() if t["scrapePool"] == JOB}
            assert pods == names, f"missing {sorted(names - pods)[:5]}, unwanted {sorted(pods - names)[:5]}"
            return True

        harness.wait_until(same, timeout, "the pods as targets")


class GoldenTest(ClusterCase):
    """The table of annotations: pod in, targets out."""

    def check(self, varve: harness.Varve, key: str) -> None:
        cases = golden_cases()
        for case in cases:
            for pod in case["pods"]:
                self.store.apply(pod)
        self.add("last", namespace="zz-last")
        harness.wait_until(lambda: shown(varve.targets(), "zz-last"), SOON, "the last pod")
        def every_case(targets):
            return all(shown(targets, case["namespace"]) == wanted(case, key) for case in cases)

        try:
            harness.wait_until(lambda: every_case(varve.targets()), SOON, "every case", 0.5)
        except AssertionError:
            pass  # Said case by case below.
        targets = varve.targets()
        for case in cases:
            with self.subTest(case["case"]):
                self.assertEqual(shown(targets, case["namespace"]), wanted(case, key))

    def test_with_the_charts_relabelling(self):
        self.check(self.varve(), "targets")

    def test_without_any_configuration(self):
        self.check(self.varve(config=None), "builtin_targets")

    def test_labels_before_relabelling(self):
        pods = [self.store.apply(pod) for case in golden_cases() for pod in case["pods"]]
        varve = self.varve(config=re.sub(r"(?s)    relabel_configs:.*", "", CHART))

        def flat(label_sets):
            return sorted(sorted((k, v) for k, v in s.items() if v) for s in label_sets)

        # Two targets may only differ in discovered labels, then one of them is shown.
        expected = {s["__meta_kubernetes_pod_uid"] + s["__address__"]: s
                    for pod in pods for s in kube_meta.pod_targets(pod)}
        defaults = {"job": JOB, "__metrics_path__": "/metrics", "__scheme__": "http",
                    "__scrape_interval__": "1s", "__scrape_timeout__": "1s",
                    "__scrape_native_histograms__": "false",
                    "__convert_classic_histograms_to_nhcb__": "false",
                    "__always_scrape_classic_histograms__": "false"}
        by_address: dict = {}
        for one in expected.values():
            by_address.setdefault(one["__address__"], []).append(one | defaults)

        def settled():
            seen = {t["discoveredLabels"]["__address__"] for t in varve.targets()}
            assert seen == set(by_address), seen ^ set(by_address)
            return True

        harness.wait_until(settled, SOON, "a target for each address")
        for target in varve.targets():
            discovered = target["discoveredLabels"]
            with self.subTest(discovered["__address__"]):
                self.assertIn(flat([discovered]), [flat([one]) for one in by_address[discovered["__address__"]]])

    def test_prometheus_agrees_with_the_table(self):
        """Debian's Prometheus 2.42 knows no Kubernetes: it gets the discovered labels from a file."""
        store, directory, cases = Store(harness.SEED), harness.temp_dir("oracle"), golden_cases()
        groups = [{"targets": [labels.pop("__address__")], "labels": {k: v for k, v in labels.items() if v}}
                  for case in cases for pod in case["pods"] for labels in kube_meta.pod_targets(store.apply(pod))]
        (directory / "pods.json").write_text(json.dumps(groups))
        from_file = f"file_sd_configs: [{{files: [{directory}/pods.json]}}]"
        config = re.sub(r"kubernetes_sd_configs:\n\s+- role: pod", from_file, CHART)
        (directory / "prometheus.yml").write_text(config)
        port = harness.free_port()
        harness.Process("prometheus", [
            peers.path("prometheus"), f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{port}"])

        def targets():
            return harness.get(f"http://127.0.0.1:{port}/api/v1/targets").json()["data"]["activeTargets"]

        last = max(case["namespace"] for case in cases if case["targets"])
        harness.wait_until(lambda: shown(targets(), last), 60, "the last case's target")
        everything = targets()
        for case in cases:
            with self.subTest(case["case"]):
                expected = [in_2_x(url, labels) for url, labels in wanted(case)]
                expected = sorted(one for i, one in enumerate(expected) if one not in expected[:i])
                self.assertEqual(shown(everything, case["namespace"]), expected)


def in_2_x(url: str, labels: list) -> list:
    """Accepted difference: 2.x appends the scheme's port to a bare address."""
    bare = re.fullmatch(r"http://([^:/]+)(/.*)", url)
    if bare:
        url = f"http://{bare[1]}:80{bare[2]}"
        labels = [(k, v + ":80" if k == "instance" else v) for k, v in labels]
    return [url, labels]


class RolesTest(ClusterCase):
    """Every role finds what other code finds in the same objects, at first and after changes."""

    FINDERS = {
        "node": ("Node", lambda one, _: kube_meta.node_targets(one)),
        "pod": ("Pod", lambda one, _: kube_meta.pod_targets(one)),
        "service": ("Service", lambda one, _: kube_meta.service_targets(one)),
        "ingress": ("Ingress", lambda one, _: kube_meta.ingress_targets(one)),
        "endpoints": ("Endpoints", lambda one, cluster: kube_meta.endpoints_targets(
            one, cluster["Service"], cluster["Pod"])),
        "endpointslice": ("EndpointSlice", lambda one, cluster: kube_meta.endpointslice_targets(
            one, cluster["Service"], cluster["Pod"])),
    }

    def found_by_role(self) -> dict:
        """The labels of each role's targets after `labelmap __meta_kubernetes_(.+)`."""
        objects, found = {r.kind: self.store.snapshot(r)[1] for r in RESOURCES}, {}
        for role, (kind, finder) in self.FINDERS.items():
            sets = set()
            for one in objects[kind]:
                for target in finder(one, objects):
                    labels = {name.removeprefix("__meta_kubernetes_"): value for name, value in target.items()}
                    address = labels.pop("__address__")
                    sets.add(tuple(sorted(({"instance": address, "job": role} | labels).items())))
            found[role] = sets
        return found

    def matches(self, varve: harness.Varve, what: str) -> None:
        expected = self.found_by_role()

        def same(role):
            seen = {tuple(sorted(t["labels"].items())) for t in varve.targets() if t["scrapePool"] == role}
            missing, unwanted = expected[role] - seen, seen - expected[role]
            assert not missing and not unwanted, f"missing {sorted(missing)[:2]}, unwanted {sorted(unwanted)[:2]}"
            return True

        for role in self.FINDERS:
            self.assertTrue(expected[role], role)
            with self.subTest(f"{role}, {what}"):
                harness.wait_until(lambda role=role: same(role), SOON, f"{role}, {what}")

    def test_every_role(self):
        apply = self.store.apply
        apply(kube_objects.node("node-1", "127.0.0.1", labels={"zone": "a"}))
        apply(kube_objects.node("node-2", addresses=[{"type": "Hostname", "address": "node-2"},
                                                     {"type": "ExternalIP", "address": "127.0.0.3"}]))
        apply(kube_objects.node("node-3", addresses=[]))
        pods = [apply(kube_objects.pod(f"web-{i}", f"127.0.2.{i + 1}",
                                       containers=[("app", [(80, "http"), (81, "admin")])],
                                       init_containers=[("mesh", [(15090, "envoy")])])) for i in range(3)]
        apply(kube_objects.pod("alone", "127.0.2.9", namespace="team",
                               containers=[("a", []), ("b", [(1, "x", "UDP")])]))
        apply(kube_objects.service("web", [(80, "http"), (443, "https")], annotations=SCRAPE))
        apply(kube_objects.external_service("far", "db.example", [(5432, "sql")]))
        apply(kube_objects.endpoints("web", pods, [(80, "http")], not_ready=("web-2",), others=("127.0.3.1",)))
        apply(kube_objects.endpoints("no-service", pods[:1], [(80, "http")]))
        apply(kube_objects.endpointslice("web-x7", "web", pods, [(80, "http")], not_ready=("web-1",)))
        apply(kube_objects.ingress("front", [("a.example", ["/", "/x"]), ("b.c.example", []), ("c.example", ["/"])],
                                   tls=("*.c.example", "a.example"), class_name="nginx"))
        # Every role's pool shows what it found.
        jobs = "".join(f"""
  - job_name: {role}
    kubernetes_sd_configs: [{{role: {role}}}]
    relabel_configs: [{{action: labelmap, regex: __meta_kubernetes_(.+)}}]""" for role in self.FINDERS)
        varve = self.varve(config="global: {scrape_interval: 1h}\nscrape_configs:" + jobs)
        self.matches(varve, "at first")

        # What becomes of a pod shows once its endpoints change, as their controllers see to.
        pods[1] = apply(kube_objects.pod("web-1", "127.0.2.2", containers=[("app", [(80, "http"), (82, "other")])],
                                         ready=False))
        apply(kube_objects.endpoints("web", pods, [(80, "http")], not_ready=("web-1",)))
        apply(kube_objects.endpointslice("web-x7", "web", pods, [(80, "http")], not_ready=("web-1", "web-2")))
        # A change of the service shows at once.
        apply(kube_objects.service("web", [(80, "http")], annotations={"team": "shop"}))
        apply(kube_objects.node("node-1", "127.0.0.1", labels={"zone": "b"}))
        apply(kube_objects.ingress("front", [("a.example", ["/y"])]))
        self.matches(varve, "after changes")

        self.store.delete("Pod", "web-0")
        apply(kube_objects.endpoints("web", pods[1:], [(80, "http")]))
        apply(kube_objects.endpointslice("web-x7", "web", pods[1:], [(80, "http")]))
        self.store.delete("Service", "web")
        self.store.delete("Node", "node-2")
        self.store.delete("Endpoints", "no-service")
        self.matches(varve, "after deletions")


class InClusterTest(ClusterCase):
    """Without a configuration file, on the credentials of a service account."""

    def test_pods_appear_change_and_vanish(self):
        first = harness.MetricServer("127.0.0.5", pages={"/metrics": "pod_metric 1\n", "/m": "pod_metric 2\n"})
        second = harness.MetricServer("127.0.0.6", pages={"/metrics": "pod_metric 3\n"})
        self.add("shop-1", first.port, ip=first.host)
        varve = self.varve(config=None)
        self.wait_pods(varve, {"shop-1"})

        def value(pod):
            found = varve.query(f'pod_metric{{namespace="default",pod="{pod}",job="{JOB}"}}')
            return found[0][1] if found else None

        harness.wait_until(lambda: value("shop-1") == 1, SOON, "a sample of the first pod")
        health = {t["labels"]["pod"]: t["health"] for t in varve.targets() if t["scrapePool"] == JOB}
        self.assertEqual(health, {"shop-1": "up"})

        self.add("shop-2", second.port, ip=second.host)
        self.wait_pods(varve, {"shop-1", "shop-2"})
        harness.wait_until(lambda: value("shop-2") == 3, SOON, "a sample of the second pod")

        self.add("shop-1", first.port, ip=first.host, annotations={**SCRAPE, "prometheus.io/path": "/m"})
        harness.wait_until(lambda: value("shop-1") == 2, SOON, "the new path")

        self.store.apply(kube_objects.pod("shop-2", "", labels={}, annotations=SCRAPE))
        self.wait_pods(varve, {"shop-1"})
        harness.wait_until(lambda: value("shop-2") is None, SOON, "the pod without an address stale")
        self.add("shop-2", second.port, ip=second.host)
        self.wait_pods(varve, {"shop-1", "shop-2"})

        self.store.delete("Pod", "shop-1")
        self.wait_pods(varve, {"shop-2"})
        harness.wait_until(lambda: value("shop-1") is None, SOON, "the deleted pod stale")
        self.assertEqual(varve.stop(), 0)

    def test_what_is_asked_of_the_api_server(self):
        for i in range(10):
            self.add(f"p-{i}")
        varve = self.varve(config=None)
        self.wait_pods(varve, {f"p-{i}" for i in range(10)})
        requests = list(self.server.requests)
        self.assertEqual({(r.verb, r.status) for r in requests if r.status}, {("watch", 200)})
        self.assertEqual({r.user for r in requests}, {"system:serviceaccount:monitoring:varve"})
        for request in requests:
            self.assertEqual(request.query["sendInitialEvents"], "true")
            self.assertEqual(request.query["resourceVersionMatch"], "NotOlderThan")
            self.assertIn(request.query.get("allowWatchBookmarks"), ("true", "1"))
        # The list goes on as the watch.
        self.add("more")
        self.wait_pods(varve, {"more", *[f"p-{i}" for i in range(10)]})
        self.assertEqual(len(self.server.seen("watch", "pods")),
                         len({str(r.query.get("fieldSelector")) for r in self.server.seen("watch", "pods")}))
        self.assertEqual(varve.stop(), 0)

    def test_what_is_asked_of_a_server_without_streaming_lists(self):
        self.server.options.streaming_list = False
        self.server.options.page_items_max = 3
        for i in range(10):
            self.add(f"p-{i}")
        varve = self.varve(config=None)
        self.wait_pods(varve, {f"p-{i}" for i in range(10)})
        harness.wait_until(lambda: self.server.watches("pods"), SOON, "a watch")
        refused = [r for r in self.server.requests if r.status == 422]
        requests = [r for r in self.server.requests if r.status != 422]
        self.assertEqual({"sendInitialEvents" in r.query for r in refused}, {True})
        self.assertEqual({r.status for r in requests}, {200})
        self.assertEqual({r.user for r in requests}, {"system:serviceaccount:monitoring:varve"})
        for request in requests:
            self.assertNotIn("sendInitialEvents", request.query)
            if "continue" in request.query:
                self.assertNotIn("resourceVersion", request.query)
            if request.verb == "watch":
                self.assertIn(request.query.get("allowWatchBookmarks"), ("true", "1"))
                self.assertGreaterEqual(int(request.query["timeoutSeconds"]), 60)
        self.assertEqual(len([r for r in requests if r.query.get("continue")]), 3)
        self.assertEqual(varve.stop(), 0)

    def test_the_clusters_own_parts(self):
        self.store.apply(kube_objects.node("node-1", "127.0.0.7"))
        self.store.apply(kube_objects.service("kubernetes", [(443, "https")]))
        slice_ = kube_objects.endpointslice("kubernetes", "kubernetes", [], [(self.server.port, "https")])
        slice_["endpoints"] = [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}]
        self.store.apply(slice_)
        self.add("other")  # In the same namespace as the API server's service.
        varve = self.varve(config=None)

        def targets():
            return {t["scrapeUrl"]: t["labels"] for t in varve.targets()
                    if t["scrapePool"] in ("kubelet", "kubelet-cadvisor", "apiserver")}

        node = {"job": "kubelet", "instance": "node-1", "node": "node-1"}
        expected = {
            "https://127.0.0.7:10250/metrics": {**node, "metrics_path": "/metrics"},
            "https://127.0.0.7:10250/metrics/cadvisor": {**node, "metrics_path": "/metrics/cadvisor"},
            f"https://127.0.0.1:{self.server.port}/metrics": {
                "job": "apiserver", "instance": f"127.0.0.1:{self.server.port}", "namespace": "default",
                "service": "kubernetes", "endpoint": "https"},
        }
        harness.wait_until(lambda: targets() == expected, SOON, "targets of the cluster's own")
        # The deployed role is enough for all that is asked, and pods are listed once.
        self.assertEqual({r.status for r in self.server.requests if r.resource}, {200})
        lists = [r.query.get("fieldSelector") for r in self.server.seen("watch", "pods")
                 if "sendInitialEvents" in r.query]
        self.assertEqual(sorted(lists, key=str), [None, "metadata.name=kubernetes"])

    def test_outside_a_cluster_nothing_is_asked(self):
        varve = harness.Varve().start()
        harness.wait_until(varve.targets, SOON, "its own target")
        self.assertNotIn(JOB, {t["scrapePool"] for t in varve.targets()})
        self.assertEqual(self.server.requests, [])


class ProtocolTest(ClusterCase):
    """What goes wrong between Varve and the API server, and how it recovers."""

    def started(self, *names: str) -> harness.Varve:
        """Varve with these pods as its targets, watching."""
        for name in names:
            self.add(name)
        varve = self.varve()
        self.wait_pods(varve, set(names))
        harness.wait_until(lambda: self.server.watches("pods") == 1, SOON, "a watch")
        return varve

    def test_token_rotation(self):
        varve = self.started("a")
        self.server.set_token("token-2")  # The account's file still holds the old one.
        self.server.end_watches("eof")
        harness.wait_until(lambda: [r for r in self.server.requests if r.status == 401], SOON, "a 401")
        self.add("b")
        harness.holds_for(lambda: shown(varve.targets()), 1, "the targets stay while there is no access")
        self.account.write("token-2", self.server.certificates.ca, "monitoring")
        self.wait_pods(varve, {"a", "b"}, AFTER_RETRIES)

    def expired_version(self, how: str, as_status: bool) -> None:
        """A watch that cannot be resumed leads to a list that shows what it missed."""
        varve = self.started("a", "b")
        self.server.options.expired_as_status = as_status
        # Held off until the version it would resume from is gone.
        self.server.inject(Fault("watch", "pods", status=429, retry_after=1, times=1))
        self.server.end_watches(how)
        self.store.delete("Pod", "b")
        self.store.compact()
        self.wait_pods(varve, {"a"}, AFTER_RETRIES)
        self.add("b")
        self.wait_pods(varve, {"a", "b"}, AFTER_RETRIES)
        self.assertEqual(len(self.server.seen("watch", "pods", 429)), 1)
        self.assertGreaterEqual(
            len([one for one in self.server.seen("watch", "pods") if one.query.get("sendInitialEvents")]), 2)

    # A server and a Varve each: the pauses between failures grow from one to the next.
    def test_expired_versions_as_an_event(self):
        self.expired_version("eof", as_status=False)

    def test_expired_versions_as_a_status(self):
        self.expired_version("eof", as_status=True)

    def test_expired_versions_of_an_open_watch(self):
        self.expired_version("expired", as_status=False)

    def test_a_page_expires_in_the_middle_of_a_list(self):
        self.server.options.streaming_list = False
        self.server.options.page_items_max = 2
        self.server.inject(Fault("list", "pods", status=410, page=2))
        self.started(*[f"p-{i}" for i in range(7)])

    def test_server_gone_and_back(self):
        varve = self.started("a", "b")
        self.server.stop()
        self.store.delete("Pod", "a")
        self.add("c")
        harness.holds_for(lambda: len(shown(varve.targets())) == 2, 3, "the targets stay while it is gone")
        stale = [one for one in varve.api("discoveries")["discoveries"] if one["stale"]]
        self.assertTrue(stale)
        self.assertEqual({one["mechanism"] for one in stale}, {"kubernetes"})
        self.assertIn("connection refused", stale[0]["lastError"])
        self.server.start()
        self.wait_pods(varve, {"b", "c"}, AFTER_RETRIES)
        harness.wait_until(
            lambda: not [one for one in varve.api("discoveries")["discoveries"] if one["stale"]],
            AFTER_RETRIES, "discovery works again")

    def test_broken_watches(self):
        varve = self.started("a")
        names = {"a"}
        for how in ("reset", "error", "eof", "expired"):
            with self.subTest(how):
                self.server.end_watches(how)
                self.add(how)
                names.add(how)
                self.wait_pods(varve, names, AFTER_RETRIES)
                harness.wait_until(lambda: self.server.watches("pods") == 1, AFTER_RETRIES, "a watch again")

    def test_refusals_at_first(self):
        self.server.options.streaming_list = False
        faults = [Fault("list", "pods", status=429, retry_after=1), Fault("list", "pods", status=500),
                  Fault("list", "pods"), Fault("list", "pods", status=504, reason="Timeout", causes=[
                      {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}])]
        for fault in faults:
            self.server.inject(fault)
        self.add("a")
        varve = self.varve()
        self.wait_pods(varve, {"a"}, AFTER_RETRIES)
        self.assertEqual(len(self.server.seen("list", "pods", 429)), 1)
        self.assertGreaterEqual(len(self.server.seen("list", "pods")), 5)

    def test_refusals_of_streaming_lists(self):
        """Lists in pages take over; later lists are streams again."""
        self.server.inject(Fault("watch", "pods", status=429, retry_after=1))
        self.server.inject(Fault("watch", "pods", status=500))
        varve = self.started("a")
        self.assertEqual(len(self.server.seen("watch", "pods", 429)), 1)
        self.assertGreaterEqual(len(self.server.seen("list", "pods", 200)), 1)
        harness.wait_until(lambda: self.server.watches("pods") == 1, AFTER_RETRIES, "a watch")
        lists = len(self.server.seen("list", "pods"))
        self.server.end_watches("expired")
        self.add("b")
        self.wait_pods(varve, {"a", "b"}, AFTER_RETRIES)
        self.assertEqual(self.server.seen("watch", "pods")[-1].query.get("sendInitialEvents"), "true")
        self.assertEqual(len(self.server.seen("list", "pods")), lists)

    def test_a_watch_resumes_at_a_bookmark(self):
        self.started("a")
        self.store.apply(kube_objects.namespace("other"))  # Moves the version, sends no pod.
        marked = str(self.store.version())
        self.server.bookmark()
        lists = len(self.server.seen("list", "pods"))
        self.assertEqual(self.resume(), marked)
        self.assertEqual(len(self.server.seen("list", "pods")), lists)

    def resume(self) -> str:
        """Ends the watch; returns the version the next one starts from."""
        before = len(self.server.seen("watch", "pods"))
        self.server.end_watches("eof")
        harness.wait_until(lambda: len(self.server.seen("watch", "pods")) > before, SOON, "the next watch")
        return self.server.seen("watch", "pods")[-1].query["resourceVersion"]

    def test_objects_cut_at_every_byte(self):
        self.server.options.chunk_bytes = 1
        varve = self.started("a", "b")
        self.server.options.chunk_bytes = 3000
        self.server.options.random_chunks = True
        for i in range(20):
            self.add(f"more-{i}")
        self.wait_pods(varve, {"a", "b", *[f"more-{i}" for i in range(20)]})

    def test_5000_pods(self):
        """As a stream and in pages; one in a hundred is a target. Then every pod of a node goes."""
        for i in range(5000):
            self.add(f"p-{i:04}", annotations=SCRAPE if i % 100 == 0 else {}, node=f"node-{i % 50}")
        wanted = {f"p-{i:04}" for i in range(0, 5000, 100)}
        for streaming in (True, False):
            with self.subTest(streaming=streaming):
                self.server.options.streaming_list = streaming
                varve = self.varve("--scrape.discovery-reload-interval=1s")
                self.wait_pods(varve, wanted)
                if streaming:
                    self.assertEqual(varve.stop(), 0)
        self.assertEqual(len(self.server.seen("list", "pods")), 10)
        for i in range(0, 5000, 50):
            self.store.delete("Pod", f"p-{i:04}")
        self.wait_pods(varve, set())

    def test_forbidden_is_said_and_heals(self):
        granted, self.server.rbac = self.server.rbac, Rbac([])
        self.add("a")
        varve = self.varve()
        harness.wait_until(lambda: self.server.seen("list", "pods", 403), SOON, "a 403")
        harness.wait_until(lambda: "forbidden" in varve.log(), SOON, "the log to say so")
        self.assertEqual(shown(varve.targets()), [])
        self.server.rbac = granted
        self.wait_pods(varve, {"a"}, AFTER_RETRIES)

    def test_a_server_of_another_name_is_not_believed(self):
        certificates = Certificates(self.server.directory / "named", ("DNS:kubernetes.example",))
        self.server.use_certificates(certificates)
        self.account.write("token-1", certificates.ca, "monitoring")
        self.add("a")
        varve = self.varve()
        # The name is checked once the handshake is over, so only the client can tell.
        refusal = "certificate is not valid for 127.0.0.1"
        harness.wait_until(lambda: varve.log().count(refusal) >= 2, SOON, "the refusals in the log")
        self.assertEqual(self.server.requests, [])
        self.assertEqual(shown(varve.targets()), [])
        self.server.use_certificates(certificates.issue())
        self.wait_pods(varve, {"a"}, AFTER_RETRIES)

    def test_an_unknown_authority_is_not_believed(self):
        self.server.use_certificates(Certificates(self.server.directory / "unknown"))
        self.add("a")
        varve = self.varve()
        harness.wait_until(lambda: len(self.server.handshake_errors) >= 2, SOON, "refused handshakes")
        self.assertEqual(self.server.requests, [])
        self.assertEqual(shown(varve.targets()), [])

    def test_a_silent_server_does_not_hold_up_the_stop(self):
        self.server.inject(Fault("watch", "pods", hang_seconds=120))
        varve = self.varve()
        harness.wait_until(lambda: self.server.seen("watch", "pods"), SOON, "the list asked for")
        self.assertEqual(varve.get("/-/healthy").status, 200)
        self.assertEqual(varve.stop(20), 0)

    def test_the_deployed_cluster_role_is_enough_with_all_metadata_attached(self):
        self.store.apply(kube_objects.node("node-1"))
        self.store.apply(kube_objects.namespace("default"))
        self.add("a")
        attach = {"pod": ", attach_metadata: {node: true, namespace: true}"}
        jobs = "".join(f"""
  - job_name: {role}
    kubernetes_sd_configs: [{{role: {role}{attach.get(role, "")}}}]"""
                       for role in ("node", "pod"))
        varve = self.varve(config="scrape_configs:" + jobs)
        harness.wait_until(lambda: {"node", "pod"} <= {t["scrapePool"] for t in varve.targets()},
                           SOON, "targets of both roles")
        asked = {"nodes", "pods", "namespaces"}
        harness.wait_until(lambda: {r.resource for r in self.server.requests} >= asked, SOON,
                           "every resource asked for")
        self.assertEqual({r.status for r in self.server.requests if r.status}, {200})

    def test_a_random_history_ends_in_the_same_targets(self):
        """Changes, cut watches, compactions and refusals in any order: the end is what the store holds."""
        random = harness.rng("history")
        varve = self.started("p-0")
        self.server.options.chunk_bytes = 2000
        self.server.options.random_chunks = True
        names = {"p-0"}
        pause = threading.Event()
        for step in range(150):
            match random.randrange(10):
                case 0:
                    self.server.end_watches(random.choice(["eof", "reset", "expired", "error"]))
                case 1:
                    self.store.compact()
                case 2 if step % 3 == 0:
                    self.server.inject(Fault(random.choice(["list", "watch"]), "pods",
                                             status=random.choice([0, 410, 429, 500])))
                case 3 | 4 if len(names) > 1:
                    gone = random.choice(sorted(names))
                    names.remove(gone)
                    self.store.delete("Pod", gone)
                case _:
                    name = f"p-{random.randrange(30)}"
                    names.add(name)
                    self.add(name, random.randrange(1, 9))
            pause.wait(0.02)  # Spreads the history over a few watches; nothing depends on it.
        self.wait_pods(varve, names, 2 * AFTER_RETRIES)
        expected = {(i["metadata"]["name"], str(i["spec"]["containers"][0]["ports"][0]["containerPort"]))
                    for i in self.store.snapshot(PODS)[1]}

        def same():
            seen = {(t["labels"]["pod"], t["labels"]["instance"].rsplit(":", 1)[1]) for t in varve.targets()}
            assert seen == expected, seen ^ expected
            return True

        harness.wait_until(same, AFTER_RETRIES, "every pod at its last port")
