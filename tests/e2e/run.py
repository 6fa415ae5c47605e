# SPDX-License-Identifier: Apache-2.0
"""Runs the end-to-end tests.

    python3 tests/e2e/run.py              every tests/e2e/test_*.py
    python3 tests/e2e/run.py kubernetes   those whose `module.Class.method` contains the word

A test is a method of a unittest.TestCase or a plain function named test_*. Prints one line a test;
the last line is `N passed, M failed`, and the exit code is 1 if M > 0 or nothing ran.
TEST_SEED fixes all randomness, TEST_TIMEOUT is the seconds one test may take.
"""

import importlib
import inspect
import os
import pathlib
import signal
import sys
import time
import traceback
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import harness  # noqa: E402

TIMEOUT_SECONDS = int(os.environ.get("TEST_TIMEOUT", "240"))


class TestTimeout(BaseException):
    """Not an Exception, so that no test swallows it."""


def _on_alarm(_number, _frame):
    raise TestTimeout(f"the test took longer than {TIMEOUT_SECONDS} s")


class Result(unittest.TestResult):
    """Prints each outcome as it comes."""

    def __init__(self):
        super().__init__()
        self.passed = 0
        self.failed = 0
        self.skips = 0
        self._started = 0.0
        self._bad = False

    def startTest(self, test):
        super().startTest(test)
        self._started = time.monotonic()
        self._bad = False
        signal.alarm(TIMEOUT_SECONDS)

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)

    def addSuccess(self, test):
        super().addSuccess(test)
        if not self._bad:
            self.passed += 1
            self._line("ok", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.skips += 1
        self._line("skip", test, reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._fail(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self._fail(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._fail(subtest, err)

    def _fail(self, test, err):
        in_fixture = isinstance(test, unittest.suite._ErrorHolder)  # setUpClass: no startTest.
        if in_fixture or not self._bad:
            self.failed += 1
        self._bad = not in_fixture
        self._line("FAIL", test)
        print("".join(traceback.format_exception(*err)).rstrip())
        tails = harness.log_tails()
        if tails:
            print(tails)
        sys.stdout.flush()

    def _line(self, word, test, note=""):
        seconds = time.monotonic() - self._started if self._started else 0.0
        name = test.id() if hasattr(test, "id") else str(test)
        print(f"{word:4} {name} ({seconds:.1f} s){' ' + note if note else ''}", flush=True)


class _Function(unittest.FunctionTestCase):
    def id(self):
        function = self._testFunc
        return f"{function.__module__}.{function.__name__}"


def groups_of(module):
    """Yields suites of one class, or of one function, in the order of the file."""
    members = [m for m in vars(module).values() if getattr(m, "__module__", "") == module.__name__]
    for member in members:
        if inspect.isclass(member) and issubclass(member, unittest.TestCase):
            yield unittest.defaultTestLoader.loadTestsFromTestCase(member)
        elif inspect.isfunction(member) and member.__name__.startswith("test_"):
            yield unittest.TestSuite([_Function(member)])


def main(patterns: list[str]) -> int:
    signal.signal(signal.SIGALRM, _on_alarm)
    print(f"seed {harness.SEED} (TEST_SEED)", flush=True)
    result = Result()
    for file in sorted(HERE.glob("test_*.py")):
        try:
            module = importlib.import_module(file.stem)
        except Exception:
            result.failed += 1
            print(f"FAIL {file.stem} (import)\n{traceback.format_exc()}", flush=True)
            continue
        for suite in groups_of(module):
            chosen = unittest.TestSuite(
                test for test in suite
                if not patterns or any(pattern in test.id() for pattern in patterns))
            if chosen.countTestCases() == 0:
                continue
            try:
                chosen.run(result)
            except TestTimeout as error:
                result.failed += 1
                print(f"FAIL {file.stem} {error}\n{traceback.format_exc()}")
                print(harness.log_tails(), flush=True)
            finally:
                signal.alarm(0)
                harness.cleanup()
    if result.skips:
        print(f"{result.skips} skipped")
    print(f"{result.passed} passed, {result.failed} failed", flush=True)
    return 1 if result.failed or result.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
