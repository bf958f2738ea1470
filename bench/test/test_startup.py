import tempfile
import unittest
from pathlib import Path

import here
from lib.allocators import Allocator
from suite import startup
from suite.workload import Context


class Times(unittest.TestCase):
    """With the real bench-runner and hyperfine."""

    def test_each_run_is_kept_and_the_command_quoted(self):
        here.require(here.BUILD / "bench-runner", Path("/usr/bin/hyperfine"))
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        place = Path(holder.name)
        context = Context(mode="smoke", build=here.BUILD, scratch=place, kept=place)
        workload = startup.Startup("quoted", "nothing", "run", {"smoke": 4},
                                   lambda _: ["/usr/bin/test", "a b'c", "=", "a b'c"], {"smoke": 2})
        workload.prepare(context)
        sample = workload.measure(context, Allocator("glibc", None))
        self.assertEqual(len(sample.times_ns), 4)
        self.assertLessEqual(min(sample.times_ns), sample.time_ns + 1)
        self.assertLessEqual(sample.time_ns - 1, max(sample.times_ns))


if __name__ == "__main__":
    unittest.main()
