import tempfile
import unittest
from pathlib import Path
from unittest import mock

import here  # noqa: F401
from suite import traces
from suite.workload import Context, Missing


class Kept(unittest.TestCase):
    """Recording and preparing are replaced by stand-ins that write files."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.directory = Path(holder.name)
        self.build = self.directory / "build"
        self.build.mkdir()
        for name in traces.TOOLS:
            (self.build / name).touch()
        self.kept = self.directory / "results"
        self.recorded = 0
        self.broken = None  # what a tool raises
        self.recording = traces.Recording("redis", "nothing", lambda *_: None, threads=True)
        for name, stand_in in (("run_recorded", self.record), ("tool", self.tool)):
            patch = mock.patch.object(traces, name, stand_in)
            patch.start()
            self.addCleanup(patch.stop)

    def record(self, _job, _context, directory, _limit):
        self.recorded += 1
        (directory / "trace").write_text(f"recording {self.recorded}", encoding="ascii")
        return directory / "trace"

    def tool(self, _context, name, *arguments):
        if name == "trace-info":
            return "told"
        if self.broken and "--threads" in arguments:
            raise self.broken
        arguments[-1].write_text(arguments[-2].read_text(encoding="ascii"), encoding="ascii")
        return ""

    def prepare(self, threads=False, mode="quick"):
        """As a run does, with a scratch directory of its own."""
        scratch = Path(tempfile.mkdtemp(dir=self.directory))
        workload = traces.Trace(self.recording, threads)
        workload.prepare(Context(mode=mode, build=self.build, scratch=scratch, kept=self.kept))
        self.assertEqual(list(scratch.iterdir()), [])
        return workload.prepared.read_text(encoding="ascii")

    def left(self):
        return sorted(str(path.relative_to(self.kept)) for path in self.kept.rglob("*") if path.is_file())

    def test_a_resumed_run_has_the_same(self):
        self.assertEqual([self.prepare(), self.prepare(), self.prepare(threads=True)], ["recording 1"] * 3)
        self.assertEqual(self.left(), [f"traces/quick/redis/{name}" for name in ("info", "replay", "threads.replay")])

    def test_each_mode_has_its_own(self):
        self.assertEqual([self.prepare(mode="quick"), self.prepare(mode="smoke")], ["recording 1", "recording 2"])

    def test_interrupted_it_leaves_nothing(self):
        for self.broken in (KeyboardInterrupt(), Missing("no"), OSError(28, "No space left on device")):
            self.assertRaises(type(self.broken), self.prepare)
            self.assertEqual(self.left(), [])
        self.broken = None
        self.assertEqual(self.prepare(), "recording 4")

    def test_killed_it_leaves_nothing_that_is_taken_for_whole(self):
        half = self.kept / "traces" / "quick" / "redis.new"
        half.mkdir(parents=True)
        (half / "replay").write_text("hal", encoding="ascii")
        self.assertEqual(self.prepare(), "recording 1")
        self.assertFalse(half.exists())


class Space(unittest.TestCase):
    def test_no_recording_where_there_is_no_space_for_it(self):
        job = traces.Job(["/nonexistent"])
        with mock.patch.object(traces.shutil, "disk_usage", lambda _: mock.Mock(free=1_000_000)):
            with self.assertRaisesRegex(Missing, "no space for a recording"):
                traces.run_recorded(job, None, Path("/"), 50_000)


if __name__ == "__main__":
    unittest.main()
