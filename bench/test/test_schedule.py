import unittest

import here  # noqa: F401
from suite import load, micro, schedule
from suite.progress import clock
from suite.children import descendants, parent_and_state


class Order(unittest.TestCase):
    def test_each_begins_once_in_as_many_rounds(self):
        firsts = [schedule.order(["a", "b", "c"], turn, 5)[0] for turn in range(3)]
        self.assertEqual(sorted(firsts), ["a", "b", "c"])

    def test_every_other_round_is_reversed(self):
        self.assertEqual([schedule.order(["a", "b", "c"], turn, 0) for turn in range(4)],
                         [["a", "b", "c"], ["b", "a", "c"], ["c", "a", "b"], ["a", "c", "b"]])

    def test_in_one_round_each_comes_first_both_ways(self):
        orders = [tuple(schedule.order(["a", "b", "c"], 0, place)) for place in range(6)]
        self.assertEqual(len(set(orders)), 6)

    def test_nobody_is_lost(self):
        self.assertEqual(sorted(schedule.order([1, 2, 3], 2, 2)), [1, 2, 3])
        self.assertEqual(schedule.order([], 1, 1), [])


class Allot(unittest.TestCase):
    def test_all_get_the_most_if_there_is_time(self):
        self.assertEqual(schedule.allot({"a": 1, "b": 2}, {}, 100, 5), {"a": 5, "b": 5})

    def test_without_a_budget_all_get_the_most(self):
        self.assertEqual(schedule.allot({"a": 1000}, {"a": 1}, None, 7), {"a": 7})

    def test_rounds_that_are_enough(self):
        self.assertEqual(schedule.allot({"a": 1, "b": 1, "c": 1}, {}, 100, 5, {"a": 2, "b": 9}), {"a": 2, "b": 5, "c": 5})

    def test_those_with_the_fewest_come_first(self):
        self.assertEqual(schedule.allot({"cheap": 1, "dear": 10}, {"cheap": 1, "dear": 1}, 22, 9),
                         {"cheap": 3, "dear": 3})

    def test_what_does_not_fit_leaves_its_time_to_others(self):
        self.assertEqual(schedule.allot({"cheap": 1, "dear": 10}, {"cheap": 1, "dear": 1}, 4, 9),
                         {"cheap": 5, "dear": 1})

    def test_the_budget_holds(self):
        costs = {"a": 0.7, "b": 3.1, "c": 11, "d": 0.01}
        rounds = schedule.allot(costs, {}, 60, 15)
        self.assertLessEqual(sum(costs[name] * rounds[name] for name in costs), 60)

    def test_done_rounds_are_not_taken_away(self):
        self.assertEqual(schedule.allot({"a": 1}, {"a": 4}, -3, 2), {"a": 4})


class Long(unittest.TestCase):
    def test_half_more_than_its_share(self):
        self.assertTrue(schedule.too_long(16, 100, "g", ["g"] * 9))
        self.assertFalse(schedule.too_long(14, 100, "g", ["g"] * 9))
        self.assertFalse(schedule.too_long(1e9, None, "g", []))

    def test_what_is_cheap_is_never_too_long(self):
        self.assertFalse(schedule.too_long(1.9, 1, "g", ["g"] * 99))

    def test_programs_may_take_more(self):
        self.assertFalse(schedule.too_long(30, 100, "programs", ["g"] * 9))
        self.assertTrue(schedule.too_long(14, 100, "micro", ["g"] * 9))

    def test_stems(self):
        self.assertEqual(schedule.stem("threads/larson/16"), "threads/larson")
        self.assertEqual(schedule.stem("programs/python3"), "programs/python3")
        self.assertEqual(schedule.stem("memory/sweep/256M"), "memory/sweep")
        self.assertEqual(schedule.stem("startup/true"), "startup/true")

    def test_budget(self):
        self.assertEqual(schedule.budget_for("quick", 3).most, 3)
        self.assertIsNone(schedule.budget_for("quick", 3).seconds)
        self.assertLess(schedule.budget_for("quick", None).seconds, 300)
        self.assertLess(schedule.budget_for("full", None).seconds, 7200)
        self.assertEqual(schedule.budget_for("smoke", None).most, 1)


class Parsing(unittest.TestCase):
    STAT = "cpu  100 50 30 9999 7 1 2 40 0 0\ncpu0 1 2 3\ncpu1 1 2 3\nintr 5\n"

    def test_proc_stat(self):
        busy, stolen, cpus = load.parse_stat(self.STAT)
        self.assertAlmostEqual(busy * load.TICK, 183)
        self.assertAlmostEqual(stolen * load.TICK, 40)
        self.assertEqual(cpus, 2)

    def test_outside(self):
        before = load.Reading(0, 100, 10, 5, 2)
        self.assertAlmostEqual(load.outside(before, load.Reading(10, 115, 11, 15, 2)), (5 + 1) / 20)
        self.assertEqual(load.outside(before, load.Reading(10, 109, 10, 15, 2)), 0)  # ticks are coarse
        self.assertEqual(load.outside(before, before), 0)

    def test_process_names_with_brackets(self):
        self.assertEqual(parent_and_state("12 (a ) S 3 (b) R 77 1 1"), (77, "R"))

    def test_descendants_but_not_zombies(self):
        processes = {1: (0, "S"), 10: (1, "S"), 11: (10, "R"), 12: (11, "Z"), 20: (1, "S")}
        self.assertEqual(descendants(10, processes), [11])

    def test_curves_of_the_micro_benchmarks(self):
        self.assertEqual(micro.curve_of("pair/64"), ("pair by size in bytes", 64))
        self.assertEqual(micro.curve_of("churn/100000"), ("churn by live objects", 100000))
        self.assertEqual(micro.curve_of("pair_mt/64/real_time/threads:8"), ("pair_mt/64 by threads", 8))
        self.assertEqual(micro.curve_of("memalign/align:64/size:1024"), ("memalign/align:64 by size in bytes", 1024))
        self.assertEqual(micro.curve_of("calloc_used/65536"), ("calloc_used by size in bytes", 65536))
        self.assertEqual(micro.curve_of("calloc_part/used:25/size:1048576"), ("calloc_part/used:25 by size in bytes", 1048576))
        self.assertIsNone(micro.curve_of("realloc_string"))

    def test_clock(self):
        self.assertEqual([clock(s) for s in (0, 61.4, 3700)], ["0:00", "1:01", "1:01:40"])


if __name__ == "__main__":
    unittest.main()
