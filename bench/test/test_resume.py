import argparse
import contextlib
import errno
import fcntl
import io
import os
import signal
import tempfile
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

import here  # noqa: F401
from lib.allocators import Allocator
from suite import driver, groups, load, machine, rawfile, results, schedule
from suite.progress import Progress
from suite.workload import Failed, Missing, Sample, Workload


class Fake(Workload):
    group = "fake"
    models = "nothing"

    def __init__(self, name, calls, fails=(), stop_after=None):
        self.name, self.calls, self.fails, self.stop_after = f"fake/{name}", calls, fails, stop_after

    def measure(self, context, allocator):
        if self.stop_after is not None and len(self.calls) >= self.stop_after:
            raise KeyboardInterrupt
        self.calls.append((self.name, allocator.name))
        if allocator.name in self.fails:
            raise Failed("exit status 9")
        return Sample(time_ns=10.0)


class Prepared(Workload):
    """Keeps what it made in the first run, and counts."""

    name, group, models = "fake/prepared", "fake", "nothing"

    def __init__(self, calls, stop_after=None):
        self.calls, self.stop_after = calls, stop_after

    def prepare(self, context):
        self.calls.append(("prepare", context.mode))
        if not (context.kept / "made").exists():
            (context.kept / "made").write_text("once", encoding="ascii")
            self.calls.append(("make", context.mode))
        self.context = context

    def measure(self, context, allocator):
        if context is not self.context:
            raise Failed("not the context prepared last")
        if self.stop_after is not None and len(self.calls) >= self.stop_after:
            raise KeyboardInterrupt
        self.calls.append(("measure", context.mode))
        return Sample(time_ns=10.0)


class Absent(Workload):
    name, group, models = "fake/absent", "fake", "nothing"

    def prepare(self, context):
        raise Missing("nosuch (package nosuch)")


class Uninterrupted(driver.Interrupts):
    def __init__(self):  # no handlers: the test runner's stay
        self.held = self.came = self.asked = False


class Directory(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.directory = Path(self.holder.name)
        self.addCleanup(self.holder.cleanup)
        self.path = self.directory / rawfile.NAME


class Suites(Directory):
    def run_suite(self, workloads, rounds=2, lock=None, ours="x", outside=1000, retried=0.0):
        """As bench/run does; what it returns, and the results read back."""
        args = argparse.Namespace(mode="quick", rounds=rounds, build=self.directory, pin=None, noise=10,
                                  outside=outside, lock=lock)
        found = results.load(self.path) if self.path.exists() else results.Results(start={})
        raw = rawfile.RawFile(self.path, self.fail)
        chosen = [Allocator("bslab", str(ours)), Allocator("glibc", None)]
        suite = driver.Suite(args, workloads, chosen, raw, found, Progress(io.StringIO()), Uninterrupted())
        suite.retried = retried
        finished = suite.run_in_scratch()
        raw.close()
        self.waited, self.changed = suite.machine.waited, suite.changed
        return finished, results.load(self.path)

    def test_each_once_a_round(self):
        calls = []
        finished, found = self.run_suite([Fake("a", calls), Fake("b", calls)])
        self.assertTrue(finished)
        self.assertEqual(len(calls), 8)
        self.assertEqual(found.rows["fake/a"].rounds(), 2)

    def test_nothing_is_measured_while_others_hold_the_lock(self):
        lock, held = self.directory / "lock", 0.3
        calls, before = [], []

        def hold_it():
            time.sleep(held)
            before.extend(calls)
            file.close()

        file = open(lock, "ab")
        fcntl.flock(file, fcntl.LOCK_EX)
        holder = threading.Thread(target=hold_it)
        holder.start()
        finished, _ = self.run_suite([Fake("a", calls)], lock=lock)
        holder.join()
        self.assertTrue(finished)
        self.assertEqual((before, len(calls)), ([], 4))
        self.assertGreater(self.waited, held / 2)

    def test_the_lock_is_held_while_measuring_and_not_after(self):
        lock, calls = self.directory / "lock", []
        with open(lock, "ab") as file:
            class Tries(Fake):
                def measure(self, context, allocator):
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        return super().measure(context, allocator)
                    raise Failed("not locked")

            _, found = self.run_suite([Tries("a", calls)], lock=lock)
            self.assertEqual(found.rows["fake/a"].failed, {})
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_the_first_one_changes(self):
        calls = []
        self.run_suite([Fake("a", calls)])
        self.assertNotEqual(calls[0], calls[2])

    def test_resume_measures_nothing_twice(self):
        calls = []
        for stop in (3, 6, None):
            finished, found = self.run_suite([Fake("a", calls, stop_after=stop), Fake("b", calls, stop_after=stop)])
            self.assertEqual(finished, stop is None)
        self.assertEqual(sorted(calls), sorted([(f"fake/{w}", a) for w in "ab" for a in ("bslab", "glibc")] * 2))
        self.assertEqual([found.rows[f"fake/{w}"].rounds() for w in "ab"], [2, 2])

    def test_resume_after_the_end_measures_nothing(self):
        calls = []
        self.run_suite([Fake("a", calls)])
        self.run_suite([Fake("a", calls)])
        self.assertEqual(len(calls), 4)

    def test_prepare_is_called_once_and_what_it_keeps_is_there_when_resumed(self):
        calls = []
        for stop in (4, None):
            finished, found = self.run_suite([Prepared(calls, stop_after=stop)])
        self.assertTrue(finished)
        self.assertEqual(found.rows["fake/prepared"].failed, {})
        self.assertEqual([what for what, _ in calls], ["prepare", "make", "measure", "measure", "prepare",
                                                       "measure", "measure"])

    def test_prepare_is_called_once_for_each_mode(self):
        calls = []
        budget = mock.patch.dict(schedule.BUDGETS, quick=schedule.Budget(60, 3, 0))
        with budget, mock.patch.object(schedule, "too_long", lambda *_: True):
            _, found = self.run_suite([Prepared(calls)], rounds=None)
        self.assertEqual([call for call in calls if call[0] == "prepare"], [("prepare", "quick"), ("prepare", "smoke")])
        self.assertEqual(found.rows["fake/prepared"].failed, {})
        self.assertEqual(found.rows["fake/prepared"].rounds(), 3)
        self.assertEqual(calls.count(("measure", "quick")), 1)

    def test_a_trial_is_of_the_first_round_its_order_and_its_load(self):
        calls = []
        budget = mock.patch.dict(schedule.BUDGETS, quick=schedule.Budget(60, 1, 0))

        def read():
            calls.append("load")
            return load.Reading(0.0, 0.0, 0.0, 0.0, 1)

        with budget, mock.patch.object(load, "read", read):
            self.run_suite([Fake("a", calls), Fake("b", calls)], rounds=None)
        self.assertEqual(calls, ["load", ("fake/a", "bslab"), ("fake/a", "glibc"), "load",
                                 "load", ("fake/b", "glibc"), ("fake/b", "bslab"), "load"])

    def attempts_of(self, found):
        return [turn for row in found.rows.values() for turn, number in sorted(row.outside) if number == 1]

    def test_repeating_that_does_not_help_stops_for_some_minutes(self):
        for patience, repeated in ((1e9, driver.USELESS), (-1, 9)):
            self.path.unlink(missing_ok=True)
            with mock.patch.object(driver, "PATIENCE", patience), mock.patch.object(load, "outside", lambda *_: 0.5):
                _, found = self.run_suite([Fake("a", [])], rounds=9, outside=10)
            self.assertEqual(len(self.attempts_of(found)), repeated)
            self.assertEqual(sum("only marked" in event["text"] for event in found.events), 1)

    def test_what_was_repeated_before_a_resume_counts(self):
        budget = mock.patch.dict(schedule.BUDGETS, quick=schedule.Budget(60, 1, 0))
        with budget, mock.patch.object(load, "outside", lambda *_: 0.5):
            _, found = self.run_suite([Fake("a", [])], rounds=None, outside=10)
            self.assertEqual(len(self.attempts_of(found)), 1)
            self.path.unlink()
            _, found = self.run_suite([Fake("a", [])], rounds=None, outside=10, retried=9.0)
            self.assertEqual(self.attempts_of(found), [])
        records = [{"kind": "sample", "seconds": 1.5, "attempt": 1}, {"kind": "sample", "seconds": 7, "attempt": 0},
                   {"kind": "sample", "seconds": 2.5, "attempt": 1}, {"kind": "note", "text": ""}]
        self.assertEqual(driver.repeated_seconds(records), 4)

    def test_who_fails_is_left_out_and_the_rest_goes_on(self):
        calls = []
        _, found = self.run_suite([Fake("a", calls, fails=("bslab",)), Fake("b", calls)])
        self.assertEqual(found.rows["fake/a"].failed, {"bslab": "exit status 9"})
        self.assertEqual(calls.count(("fake/a", "bslab")), 1)
        self.assertEqual(calls.count(("fake/a", "glibc")), 2)
        self.assertEqual(driver.status_of(found, True, False, True), driver.FAILED)

    def test_a_file_that_changes_ends_the_run(self):
        ours = self.directory / "libours.so"

        class Builds(Fake):
            def measure(self, context, allocator):
                sample = super().measure(context, allocator)
                if len(self.calls) == change_at:
                    ours.write_text("another build", encoding="ascii")
                if len(self.calls) >= change_at and allocator.name == "bslab":
                    raise Failed("file too short")
                return sample

        for change_at in (3, 4):  # while glibc is measured, and while bslab is, in the second round
            calls = []
            ours.write_text("a build", encoding="ascii")
            self.path.unlink(missing_ok=True)
            finished, found = self.run_suite([Builds("a", calls), Fake("b", [])], ours=ours, rounds=9)
            self.assertTrue(finished and self.changed)
            self.assertEqual([name for _, name in calls], ["bslab", "glibc", "glibc", "bslab"])
            self.assertIn(f"bslab ({ours}) has changed", found.events[-1]["text"])
            self.assertEqual([row.failed for row in found.rows.values()], [{}, {}])
            self.assertEqual(len(found.rows["fake/a"].values("bslab", results.TIME)), 1)

    def test_a_full_disk_is_no_failure_and_is_tried_again(self):
        for error, full in ((OSError(errno.ENOSPC, "No space left on device"), False),
                            (Failed("exit status 1: could not extend file: No space left on device"), False),
                            (Failed("killed by SIGBUS"), True)):
            self.path.unlink(missing_ok=True)
            calls = []
            workload = Fake("a", calls)
            with mock.patch.object(machine, "is_full", lambda _: full), \
                    mock.patch.object(workload, "measure", side_effect=error):
                _, found = self.run_suite([workload], rounds=1)
            self.assertEqual(found.rows["fake/a"].failed, {})
            self.assertIn("fake/a under bslab skipped: no space", found.events[0]["text"])
            _, found = self.run_suite([workload], rounds=1)
            self.assertEqual((len(calls), found.rows["fake/a"].rounds()), (2, 1))

    def test_what_is_missing_is_told_and_is_no_failure(self):
        calls = []
        _, found = self.run_suite([Absent(), Fake("b", calls)])
        self.assertEqual(found.rows["fake/absent"].missing, "nosuch (package nosuch)")
        self.assertEqual(len(calls), 4)
        self.assertEqual(driver.status_of(found, True, False, True), driver.INCOMPLETE)

    def test_an_interrupt_that_another_exception_hides_is_none_the_less_one(self):
        interrupts = Uninterrupted()

        class Hiding(Fake):
            def measure(self, context, allocator):
                try:
                    interrupts.handle(None, None)
                finally:
                    raise ProcessLookupError("while cleaning up")

        with mock.patch(f"{__name__}.Uninterrupted", lambda: interrupts):
            finished, found = self.run_suite([Hiding("a", [])])
        self.assertFalse(finished)
        self.assertEqual(found.rows["fake/a"].failed, {})

    def test_an_interrupt_that_got_lost_ends_the_run_before_the_next_round(self):
        calls, interrupts = [], Uninterrupted()

        class Losing(Fake):
            def measure(self, context, allocator):
                with contextlib.suppress(KeyboardInterrupt):
                    interrupts.handle(None, None)
                return super().measure(context, allocator)

        with mock.patch(f"{__name__}.Uninterrupted", lambda: interrupts):
            finished, _ = self.run_suite([Losing("a", calls)], rounds=9)
        self.assertFalse(finished)
        self.assertEqual(len(calls), 2)

    def test_a_run_interrupted_at_once_left_nothing_to_resume(self):
        self.path.touch()
        self.assertFalse(driver.has_results(self.directory))
        self.path.write_text('{"kind": "start", "mode": "quick"}\n', encoding="ascii")
        self.assertTrue(driver.has_results(self.directory))

    def test_status(self):
        found = results.Results(start={})
        self.assertEqual(driver.status_of(found, True, False, True), driver.WELL)
        self.assertEqual(driver.status_of(found, True, True, True), driver.INCOMPLETE)
        self.assertEqual(driver.status_of(found, True, False, False), driver.FAILED)
        self.assertEqual(driver.status_of(found, False, False, True), driver.INTERRUPTED)


class Signals(unittest.TestCase):
    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def setUp(self):
        for number in self.NUMBERS:
            self.addCleanup(signal.signal, number, signal.signal(number, signal.SIG_DFL))  # who started us may ignore it

    def test_what_is_ignored_stays_so(self):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        interrupts = driver.Interrupts()
        self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
        self.assertEqual(signal.getsignal(signal.SIGTERM), interrupts.handle)

    def test_only_the_first_one_counts(self):
        driver.Interrupts()
        with self.assertRaises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        for number in self.NUMBERS:
            signal.raise_signal(number)

    def test_one_that_is_held_comes_afterwards(self):
        interrupts, done = driver.Interrupts(), []
        with self.assertRaises(KeyboardInterrupt):
            with interrupts.hold():
                signal.raise_signal(signal.SIGINT)
                done.append("written")
        self.assertEqual(done, ["written"])


class RawFiles(Directory):
    def setUp(self):
        super().setUp()
        self.told = []

    def open(self, write=os.write):
        return rawfile.RawFile(self.path, self.told.append, write)

    def test_a_line_cut_short_is_left_out(self):
        self.path.write_text('{"kind": "note", "text": "a"}\n{"kind": "no', encoding="ascii")
        raw = self.open()
        raw.append({"kind": "note", "text": "b"})
        self.assertTrue(raw.close())
        self.assertEqual([r["text"] for r in rawfile.read(self.path)], ["a", "b"])

    def test_a_full_disk_loses_nothing(self):
        room = [5]

        def write(fd, data):
            if room[0] == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            part, room[0] = data[:room[0]], max(room[0] - len(data), 0)
            return os.write(fd, part)

        raw = self.open(write)
        raw.append({"kind": "note", "text": "a"})
        raw.append({"kind": "note", "text": "b"})
        self.assertEqual(len(self.told), 1)
        room[0] = 1000
        self.assertTrue(raw.close())
        self.assertEqual([r["text"] for r in rawfile.read(self.path)], ["a", "b"])

    def test_each_record_is_on_the_disk_at_once(self):
        with mock.patch.object(os, "fdatasync") as sync:
            raw = self.open()
            raw.append({"kind": "note", "text": "a"})
            raw.append({"kind": "note", "text": "b"})
            self.assertEqual(sync.call_count, 2)
            self.assertTrue(raw.close())
            self.assertEqual(sync.call_count, 2)

    def test_what_could_not_be_synced_is_tried_again(self):
        raw = self.open()
        with mock.patch.object(os, "fdatasync", side_effect=OSError(errno.EIO, "Input/output error")):
            raw.append({"kind": "note", "text": "a"})
        self.assertEqual(len(self.told), 1)
        self.assertTrue(raw.close())

    def test_a_disk_that_stays_full_is_told(self):
        raw = self.open(lambda fd, data: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
        raw.append({"kind": "note", "text": "a"})
        self.assertFalse(raw.close())

    def test_one_writer(self):
        raw = self.open()
        self.assertRaises(BlockingIOError, self.open)
        raw.close()


class Choosing(unittest.TestCase):
    def test_filters(self):
        told = []
        workloads = [Fake("a", []), Fake("b", [])]
        chosen, useless = driver.select(workloads, ["a$", "zzz"], told.append)
        self.assertEqual([w.name for w in chosen], ["fake/a"])
        self.assertTrue(useless)
        self.assertIn("zzz", told[0])

    def test_a_group_that_is_not_there(self):
        told = []
        self.assertEqual(groups.load(["nosuch"], Path("/nonexistent"), told.append), ([], ["nosuch"]))
        self.assertEqual(told, ["group nosuch left out: no such group"])

    def test_a_name_twice(self):
        told = []
        self.assertEqual(len(groups.unique([Fake("a", []), Fake("a", [])], told.append)), 1)
        self.assertEqual(len(told), 1)

    def test_what_is_no_number(self):
        self.assertEqual(driver.clean(Sample(time_ns=1.5)), {"time_ns": 1.5})
        self.assertEqual(driver.clean(Sample(series={"rss": [[0, 1]]})), {"series": {"rss": [[0, 1]]}})
        self.assertEqual(driver.clean(Sample(times_ns=[1, 2])), {"times_ns": [1, 2]})
        for wrong in (Sample(time_ns=float("nan")), Sample(figures={"p99 us": float("inf")}), None,
                      Sample(times_ns=[1, float("nan")]),
                      Sample(series={"rss": [[0, 1], [1, float("nan")]]}), Sample(series={"rss": [[None, 1]]})):
            self.assertRaises(Failed, driver.clean, wrong)


if __name__ == "__main__":
    unittest.main()
