import unittest
from types import SimpleNamespace

import here  # noqa: F401
from lib import figures, table
from lib.allocators import Allocator

ARGS = SimpleNamespace(metric="auto", noise=5, rounds=5)
NAMES = ["glibc", "bslab", "jemalloc", "mimalloc", "tcmalloc", "other"]


def entries(times):
    """Wall time is ten times the CPU time."""
    return [{"cpu_time": time, "real_time": 10 * time} for time in times]


def runs(**times):
    return {name: entries(each if isinstance(each, list) else [each] * 5) for name, each in times.items()}


class Row(unittest.TestCase):
    """Of bench/compare, on made-up times."""

    def row(self, benchmark="pair/64", names=NAMES, **times):
        return dict(zip(["name", "best"] + names + ["three", "goal"], table.row(ARGS, benchmark, runs(**times), names)))

    def test_ratios_to_the_best_peer(self):
        row = self.row(glibc=20, bslab=8, jemalloc=12, mimalloc=10, tcmalloc=15, other=9)
        self.assertEqual((row["name"], row["best"]), ("pair/64", "other 9 ns"))
        self.assertEqual([row[name] for name in ("glibc", "bslab", "other")], ["2.22 ±0%", "0.89 ±0%", "1.00 ±0%"])

    def test_the_best_of_three_are_debians(self):
        row = self.row(glibc=1, bslab=8, jemalloc=12, mimalloc=10, tcmalloc=15, other=1)
        self.assertEqual((row["three"], row["goal"]), ("0.80 [0.80 0.80] mimalloc", "1.00 met"))

    def test_ratios_are_within_rounds(self):
        slow = [10, 10, 1000, 10, 2000]
        row = self.row(names=["bslab", "tcmalloc"], bslab=[2 * time for time in slow], tcmalloc=slow)
        self.assertEqual((row["bslab"], row["three"], row["goal"]), ("2.00 ±0%", "2.00 [2.00 2.00] tcmalloc", "1.00 MISSED"))

    def test_with_threads_it_is_wall_time(self):
        row = self.row("pair_mt/64/real_time/threads:2", ["bslab", "tcmalloc"], bslab=8, tcmalloc=10)
        self.assertEqual((row["best"], row["goal"]), ("tcmalloc 100 ns", "-"))

    def test_a_spread_above_the_noise_is_marked(self):
        row = self.row(names=["bslab", "tcmalloc"], bslab=[8, 9, 10, 11, 12], tcmalloc=10)
        self.assertEqual((row["name"], row["bslab"]), ("pair/64 ~", "1.00 ±10%"))

    def test_who_failed(self):
        row = self.row(names=["glibc", "bslab", "tcmalloc"], bslab=8, glibc=10)
        self.assertEqual((row["tcmalloc"], row["three"], row["goal"]), ("failed", "-", "-"))
        row = self.row(names=["bslab", "tcmalloc"], tcmalloc=10)
        self.assertEqual((row["bslab"], row["three"]), ("failed", "-"))

    def test_goals(self):
        self.assertEqual([table.goal_of(name) for name in ("pair/16", "pair/32768", "pair/65536", "lifo/48", "churn/1000",
                                                           "churn/10000", "churn/100000", "xthread/64")],
                         [1.0, 1.0, None, 1.0, 0.8, None, 0.9, None])

    def test_the_whole_table(self):
        results = SimpleNamespace(runs={"pair/64": runs(bslab=8, tcmalloc=10), "pair/16": {}})
        text = table.render(ARGS, results, [Allocator("bslab", "x"), Allocator("tcmalloc", "y")])
        self.assertIn("| pair/64   | tcmalloc 10 ns | 0.80 ±0% | 1.00 ±0% | 0.80 [0.80 0.80] tcmalloc | 1.00 met |", text)
        self.assertNotIn("pair/16 ", text)


class Figures(unittest.TestCase):
    def test_a_goal_is_met_as_shown(self):
        self.assertEqual([figures.verdict(ratio, 1.0) for ratio in (0.9, 1.004, 1.006)],
                         ["1.00 met", "1.00 met", "1.00 MISSED"])

    def test_times(self):
        self.assertEqual([figures.show_time(time) for time in (1.234, 1234, 1.234e6, 1.234e9)],
                         ["1.23 ns", "1.23 us", "1.23 ms", "1.23 s"])

    def test_rotation(self):
        self.assertEqual([figures.rotated([1, 2, 3], turn) for turn in (0, 1, 5)], [[1, 2, 3], [2, 3, 1], [3, 1, 2]])
        self.assertEqual(figures.rotated([], 3), [])


if __name__ == "__main__":
    unittest.main()
