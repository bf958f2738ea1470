import errno
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import here
from lib import runner
from lib.allocators import Allocator
from suite import machine, process, programs
from suite.workload import Context, Failed

GLIBC = Allocator("glibc", None)


class LastWords(unittest.TestCase):
    def words(self, said):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "errors"
            path.write_bytes(said)
            return process.last_words(path)

    def test_the_last_line_that_says_anything(self):
        self.assertEqual(self.words(b"a warning\nno memory\n \n\n"), ": no memory")
        self.assertEqual(self.words(b"cut short"), ": cut short")

    def test_nothing_said(self):
        self.assertEqual(self.words(b""), "")
        self.assertEqual(self.words(b"\n \n"), "")

    def test_neither_long_nor_harmful(self):
        said = self.words(b"x" * 1_000_000)
        self.assertEqual(len(said), 2 + process.LONGEST)
        self.assertTrue(said.endswith("x..."))
        self.assertEqual(self.words(b"\x1b[2J\xffred"), ": ?[2J\ufffdred")


class ReadOnce(unittest.TestCase):
    """A program's first measured run finds it in memory."""

    def runs(self, mode, error=None):
        program = programs.Program("true", "true", "coreutils", "", (1, 10, 100), lambda _, amount: programs.Job([amount]))
        with mock.patch.object(process, "run", side_effect=error) as run:
            program.prepare(Context(mode=mode, build=Path(), scratch=Path(), kept=Path()))
        self.assertEqual(program.job.arguments, [program.amounts[mode]])
        return [(call.args[1], call.args[2][1]) for call in run.call_args_list]

    def test_by_a_small_run_under_glibc(self):
        self.assertEqual(self.runs("full"), [(GLIBC, 1)])

    def test_that_may_fail(self):
        self.assertEqual(self.runs("quick", Failed("x")), [(GLIBC, 1)])

    def test_but_in_smoke_mode(self):
        self.assertEqual(self.runs("smoke"), [])


class Runner(unittest.TestCase):
    """With the real bench-runner."""

    def setUp(self):
        here.require(here.BUILD / "bench-runner")
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.directory = Path(holder.name)
        self.context = Context(mode="smoke", build=here.BUILD, scratch=self.directory, kept=self.directory)

    def shell(self, script, **more):
        return process.run_and_read(self.context, GLIBC, ["/bin/sh", "-c", script], **more)

    def reason(self, *arguments, **more):
        with self.assertRaises(Failed) as caught:
            self.shell(*arguments, **more)
        return str(caught.exception)

    def test_a_failure_ends_with_what_was_said_last(self):
        self.assertEqual(self.reason("echo one >&2; echo two >&2; exit 7"), "exit status 7: two")
        self.assertEqual(self.reason("echo elsewhere; exit 7"), "exit status 7")
        self.assertEqual(self.reason("echo oh >&2; kill -SEGV $$"), "killed by SIGSEGV: oh")

    def test_what_is_said_is_no_failure(self):
        sample, text = self.shell("echo out; echo err >&2")
        self.assertEqual(text, "out\n")
        self.assertGreater(sample.time_ns, 0)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_a_preload_that_does_not_take(self):
        gone = Allocator("gone", "/nonexistent/libgone.so")
        with self.assertRaises(Failed) as caught:
            process.run(self.context, gone, ["/bin/true"])
        self.assertIn("object '/nonexistent/libgone.so' from LD_PRELOAD", str(caught.exception))
        # hyperfine's way: what the caller starts itself.
        _, reason = runner.call(["/bin/true"], process.environment(gone))
        self.assertIn("/nonexistent/libgone.so", reason)

    def test_a_failure_on_a_full_disk(self):
        with mock.patch.object(machine, "is_full", lambda _: True):
            self.assertEqual(self.shell("echo fine")[1], "fine\n")
            with self.assertRaises(OSError) as caught:
                self.shell("exit 1")
        self.assertEqual(caught.exception.errno, errno.ENOSPC)

    def test_one_that_hangs(self):
        self.assertEqual(self.reason("echo waiting >&2; exec sleep 60", timeout=1), "killed by SIGKILL: waiting")

    def test_what_the_runner_says_is_not_lost_in_the_file(self):
        with self.assertRaises(Failed) as caught:
            process.run(self.context, GLIBC, ["/nonexistent/program"])
        self.assertIn("/nonexistent/program: No such file", str(caught.exception))

    def test_interrupted_when_the_runner_has_just_ended(self):
        def ended(child, timeout):
            child.wait()
            raise KeyboardInterrupt

        with mock.patch.object(subprocess.Popen, "communicate", ended):
            self.assertRaises(KeyboardInterrupt, self.shell, "true")

    def test_a_file_that_cannot_be_written(self):
        _, reason = runner.call([str(here.BUILD / "bench-runner"), "--stderr", "/nonexistent/file", "glibc=", "--",
                                 "/bin/true"], process.ENVIRONMENT)
        self.assertIn("/nonexistent/file", reason)


if __name__ == "__main__":
    unittest.main()
