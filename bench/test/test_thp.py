import importlib.machinery
import importlib.util
import tempfile
import unittest
from pathlib import Path

import here


def script():
    """bench/thp/thp, which has no suffix."""
    loader = importlib.machinery.SourceFileLoader("thp", str(here.BENCH / "thp" / "thp"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("thp", loader))
    loader.exec_module(module)
    return module


class Setting(unittest.TestCase):
    """With a file in the kernel's place."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.thp = script()
        self.thp.SETTING = Path(holder.name) / "enabled"

    def test_it_is_put_back_however_the_measuring_ends(self):
        for end in (KeyboardInterrupt, ValueError, SystemExit):
            self.thp.SETTING.write_text("always [madvise] never\n", encoding="ascii")
            with self.assertRaises(end), self.thp.setting_kept():
                self.thp.SETTING.write_text("always", encoding="ascii")
                raise end
            self.assertEqual(self.thp.SETTING.read_text(encoding="ascii"), "madvise")

    def test_one_that_cannot_be_changed_ends_it(self):
        self.thp.SETTING = self.thp.SETTING.parent / "none" / "enabled"
        with self.assertRaises(SystemExit), self.thp.setting_kept():
            self.fail("went on")

    def test_each_setting_is_measured_as_often_with_each_allocator(self):
        self.thp.SETTING.write_text("[always] madvise never\n", encoding="ascii")
        seen = []

        class Allocator:
            name = "one"

        class Sample:
            time_ns, peak_rss_kb = 5, 7

        def measure(allocator):
            seen.append((allocator.name, self.thp.SETTING.read_text(encoding="ascii")))
            return Sample

        class Args:
            rounds = 3

        with self.thp.setting_kept() as interrupt:
            medians = self.thp.measured(Args, measure, [Allocator], interrupt)
        self.assertEqual(sorted(seen), [("one", "always")] * 3 + [("one", "madvise")] * 3)
        self.assertEqual(medians, {("one", "madvise"): [5, 7], ("one", "always"): [5, 7]})


if __name__ == "__main__":
    unittest.main()
