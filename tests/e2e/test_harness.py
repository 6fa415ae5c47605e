# SPDX-License-Identifier: Apache-2.0
"""The harness itself: deadlines, processes and cleanup, without the binary."""

import signal
import time
import unittest

import harness


class HarnessTest(unittest.TestCase):
    def test_wait_until_returns_the_value_and_names_what_failed(self):
        values = iter([None, 0, "seen"])
        self.assertEqual(harness.wait_until(lambda: next(values), 5, "a value", 0.001), "seen")
        with self.assertRaisesRegex(AssertionError, "the moon; last: False"):
            harness.wait_until(lambda: False, 0.05, "the moon", 0.01)

    def test_wait_until_treats_a_refused_connection_as_not_yet(self):
        port = harness.free_port()
        with self.assertRaisesRegex(AssertionError, "refused"):
            harness.wait_until(lambda: harness.get(f"http://127.0.0.1:{port}/"), 0.1, "an answer")

    def test_process_output_and_exit_codes(self):
        process = harness.Process("shell", ["sh", "-c", "echo hello; exit 3"])
        self.assertEqual(process.wait(), 3)
        self.assertEqual(process.log(), "hello\n")
        sleeper = harness.Process("sleeper", ["sleep", "600"])
        self.assertTrue(sleeper.running())
        self.assertEqual(sleeper.stop(), -signal.SIGTERM)

    def test_cleanup_ends_what_a_process_started(self):
        process = harness.Process("parent", ["sh", "-c", "sleep 600 & echo $!; wait"])
        child = int(harness.wait_until(process.log, 5, "the child's pid"))
        log = process.log_path
        harness.cleanup()
        self.assertFalse(process.running())
        self.assertFalse(log.exists())

        def gone():
            try:
                with open(f"/proc/{child}/stat", encoding="utf-8") as stat:
                    return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
            except FileNotFoundError:
                return True

        harness.wait_until(gone, 5, "the grandchild gone")

    def test_a_metric_server_has_an_address_of_its_own(self):
        server = harness.MetricServer("127.0.0.9", pages={"/metrics": "a 1\n", "/m": "b 2\n"})
        self.assertEqual(server.host, "127.0.0.9")
        self.assertEqual(harness.get(server.url + "/m?x=1").text, "b 2\n")
        self.assertEqual(harness.get(server.url + "/none").status, 404)
        self.assertEqual([path for path, _ in server.requests], ["/m?x=1", "/none"])
        started = time.monotonic()
        server.stop()
        self.assertLess(time.monotonic() - started, 5)

    def test_rng_depends_on_the_seed_and_the_name(self):
        self.assertEqual(harness.rng("a").random(), harness.rng("a").random())
        self.assertNotEqual(harness.rng("a").random(), harness.rng("b").random())


def test_any_status_is_an_answer():
    server = harness.MetricServer()
    assert harness.get(server.url + "/metrics", {"Accept-Encoding": "gzip"}).text == "test_metric 1\n"
    assert harness.post_form(server.url + "/metrics", {"a": "b"}).status == 501
