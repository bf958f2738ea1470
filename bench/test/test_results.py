import unittest

import here  # noqa: F401
from suite import goals, results
from suite.results import MEMORY, TIME


def workload(name="g/w", group="g", **more):
    return {"kind": "workload", "name": name, "group": group, "models": "", "unit": "op", "curve": None,
            "mode": "quick", "compares_time": True, "compares_memory": True, **more}


def sample(allocator, turn, time, rss=1000, name="g/w", attempt=0, **more):
    return {"kind": "sample", "workload": name, "allocator": allocator, "round": turn, "attempt": attempt,
            "seconds": 1.0, "sample": {"time_ns": time, "peak_rss_kb": rss, **more}}


def attempt(turn, number, outside, name="g/w"):
    return {"kind": "attempt", "workload": name, "round": turn, "attempt": number, "outside": outside}


def start(*names):
    return {"kind": "start", "mode": "quick", "allocators": [{"name": name} for name in names]}


class Figures(unittest.TestCase):
    def test_median(self):
        self.assertEqual(results.median([3, 1, 2]), 2)
        self.assertIsNone(results.median([]))

    def test_spread_is_half_the_interquartile_range(self):
        self.assertAlmostEqual(results.spread([90, 95, 100, 105, 110]), 0.05)

    def test_spread_of_two_is_half_their_difference(self):
        self.assertAlmostEqual(results.spread([90, 110]), 0.1)

    def test_spread_of_one_is_unknown(self):
        self.assertIsNone(results.spread([1]))

    def test_one_outlier_of_five_does_not_show(self):
        self.assertEqual(results.spread([100, 100, 100, 100, 900]), 0)

    def test_geometric_mean(self):
        self.assertAlmostEqual(results.geometric_mean([1, 4]), 2)
        self.assertIsNone(results.geometric_mean([]))


class Rows(unittest.TestCase):
    def row(self, *records):
        return results.build([start("a", "b"), workload(), *records]).rows["g/w"]

    def test_ratios_are_within_rounds(self):
        row = self.row(sample("a", 0, 10), sample("b", 0, 20), sample("a", 1, 100), sample("b", 1, 200))
        self.assertEqual(results.ratios(row, "b", "a", TIME), [2, 2])

    def test_a_round_that_one_lacks_does_not_count(self):
        row = self.row(sample("a", 0, 10), sample("b", 0, 20), sample("b", 1, 90))
        self.assertEqual(results.ratios(row, "b", "a", TIME), [2])

    def test_a_figure_of_memory_that_is_nothing_is_a_mib(self):
        row = self.row(*(sample(name, 0, 1, figures={"valley rss MB": value, "p99 us": value})
                         for name, value in (("a", 0.0), ("b", 50.0), ("c", 0.5))))
        self.assertEqual([results.ratios(row, name, "a", "valley rss MB") for name in "abc"], [[1], [50], [1]])
        self.assertEqual(results.ratios(row, "b", "a", "p99 us"), [])

    def test_best_is_the_lowest_median(self):
        row = self.row(*(sample("a", i, t) for i, t in enumerate((5, 5, 100))),
                       *(sample("b", i, t) for i, t in enumerate((6, 6, 6))))
        self.assertEqual(results.best(row, ["a", "b"], TIME), "a")

    def test_cell_has_ratio_and_value(self):
        row = self.row(*(sample("a", i, 10) for i in range(3)), *(sample("b", i, 15) for i in range(3)))
        cell = results.cells(row, ["a", "b"], TIME)["b"]
        self.assertEqual((cell.ratio, cell.spread, cell.value), (1.5, 0, 15))

    def test_who_failed_once_has_no_samples(self):
        row = self.row(sample("a", 0, 10), {"kind": "failure", "workload": "g/w", "allocator": "a", "reason": "died"})
        self.assertEqual(row.kept("a"), {})
        self.assertEqual(results.cell(row, "a", "b", TIME).failed, "died")
        self.assertTrue(row.done("a", 7))

    def test_the_quieter_attempt_counts(self):
        row = self.row(sample("a", 0, 99), attempt(0, 0, 0.5), sample("a", 0, 10, attempt=1), attempt(0, 1, 0.1))
        self.assertEqual(row.values("a", TIME), {0: 10})
        self.assertEqual(row.disturbed(), 0.1)

    def test_an_attempt_that_was_interrupted_does_not(self):
        row = self.row(sample("a", 0, 99), sample("b", 0, 98), attempt(0, 0, 0.5), sample("a", 0, 10, attempt=1))
        self.assertEqual((row.values("a", TIME), row.values("b", TIME)), ({0: 99}, {0: 98}))

    def test_cost_is_the_mean_of_each(self):
        row = self.row(sample("a", 0, 1), sample("a", 1, 1), sample("b", 0, 1))
        self.assertEqual(row.cost(["a", "b", "c"]), 2.0)

    def test_the_floor_is_no_allocator(self):
        found = results.build([start("a"), workload(), sample("a", 0, 10), sample("floor", 0, 5)])
        self.assertEqual(found.allocators(), ["a"])
        self.assertEqual(results.cells(found.rows["g/w"], found.allocators(), TIME)["a"].ratio, 1)

    def test_live_bytes_from_a_figure_or_a_curve(self):
        row = self.row(sample("a", 0, 1, figures={"peak live MiB": 2.0}))
        self.assertEqual(results.live_kib(row, ["a"]), 2048)
        row = self.row(sample("a", 0, 1, series={"live": [[0, 5], [1, 9], [2, 3]]}))
        self.assertEqual(results.live_kib(row, ["a"]), 9)


class Means(unittest.TestCase):
    def found(self):
        return results.build([
            start("bslab", "glibc"), workload("g/1"), workload("g/2"), workload("h/1", "h"),
            sample("bslab", 0, 10, 100, "g/1"), sample("glibc", 0, 40, 100, "g/1"),
            sample("bslab", 0, 10, 200, "g/2"), sample("glibc", 0, 10, 100, "g/2"),
            sample("bslab", 0, 18, 100, "h/1"), sample("glibc", 0, 10, 100, "h/1")])

    def test_of_a_group(self):
        found = self.found()
        each, count = results.means([found.rows["g/1"], found.rows["g/2"]], ["bslab", "glibc"], TIME)
        self.assertEqual((each, count), ({"bslab": 1, "glibc": 2}, 2))

    def test_over_all_each_group_counts_once(self):
        each, count = results.overall(self.found(), ["bslab", "glibc"], TIME)
        self.assertAlmostEqual(each["glibc"], 2 ** 0.5)
        self.assertAlmostEqual(each["bslab"], 1.8 ** 0.5)
        self.assertEqual(count, 3)

    def test_a_row_that_one_failed_counts_for_none(self):
        found = self.found()
        results.take(found, {"kind": "failure", "workload": "g/1", "allocator": "glibc", "reason": "x"})
        each, count = results.means([found.rows["g/1"], found.rows["g/2"]], ["bslab", "glibc"], TIME)
        self.assertEqual((each, count), ({"bslab": 1, "glibc": 1}, 1))

    def test_losses_are_the_worst_first(self):
        losses = results.losses(self.found())
        self.assertEqual([(loss.name, loss.key, loss.ratio) for loss in losses],
                         [("g/2", MEMORY, 2), ("h/1", TIME, 1.8)])

    def test_1_10_itself_is_no_loss(self):
        found = results.build([start("bslab", "glibc"), workload(), sample("bslab", 0, 1.104, 1),
                               sample("glibc", 0, 1.0, 1)])
        self.assertEqual(results.losses(found), [])

    def test_a_figure_that_is_better_when_lower_can_be_a_loss(self):
        found = results.build([start("bslab", "glibc"), workload(compares_time=False, compares_memory=False),
                               sample("bslab", 0, 1, 1, figures={"p99 us": 300, "p50 us": 900}),
                               sample("glibc", 0, 1, 1, figures={"p99 us": 100, "p50 us": 100})])
        self.assertEqual([(loss.key, loss.ratio) for loss in results.losses(found)], [("p99 us", 3)])

    def test_a_best_of_nothing_hides_no_loss(self):
        found = results.build([start("bslab", "glibc"), workload(compares_time=False, compares_memory=False),
                               sample("bslab", 0, 1, 1, figures={"rss after 5 s MB": 50}),
                               sample("glibc", 0, 1, 1, figures={"rss after 5 s MB": 0})])
        self.assertEqual([(loss.key, loss.ratio, loss.best_value) for loss in results.losses(found)],
                         [("rss after 5 s MB", 50, 0)])

    def test_what_was_measured_in_short_counts_for_nothing(self):
        found = results.build([{**start("bslab", "glibc"), "mode": "full"}, workload(mode="smoke"), sample("bslab", 0, 9, 1),
                               sample("glibc", 0, 1, 1)])
        self.assertEqual(results.losses(found), [])
        self.assertEqual(results.overall(found, ["bslab", "glibc"], TIME)[1], 0)

    def test_time_against_memory_is_of_rows_that_have_both(self):
        found = results.build([start("bslab", "glibc"), workload(), sample("bslab", 0, 2, 1), sample("glibc", 0, 1, 1),
                               workload("g/2", compares_memory=False), sample("bslab", 0, 9, 1, "g/2"),
                               sample("glibc", 0, 1, 1, "g/2")])
        each = results.overall(found, ["bslab", "glibc"], TIME, rows=results.rows_with_both)[0]
        self.assertEqual(each, {"bslab": 2, "glibc": 1})

    def test_rows_that_do_not_compare_time(self):
        found = results.build([start("bslab", "glibc"), workload(compares_time=False), sample("bslab", 0, 9, 1),
                               sample("glibc", 0, 1, 1)])
        self.assertEqual(results.losses(found), [])
        self.assertEqual(results.overall(found, ["bslab", "glibc"], TIME)[1], 0)


PEERS = ("glibc", "jemalloc", "mimalloc", "tcmalloc")


class Goals(unittest.TestCase):
    """To the best peer."""

    def found(self, *records, names=("bslab", *PEERS), us=(9, 10), peers=(10, 20)):
        """g/w: our time and peak RSS, and those of the best peer; the others have twice that."""
        each = [sample(name, 0, *(peers if name == PEERS[0] else [2 * value for value in peers]))
                for name in names if name != "bslab"]
        return results.build([start(*names), workload(), sample("bslab", 0, *us), *each, *records])

    def compared(self, found, key=TIME, us=results.US):
        return results.to_best_peer(results.rows_of_all(found), found.allocators(), key, us)

    def test_we_are_no_peer(self):
        found = self.found()
        self.assertEqual([(one.ratio, one.best, one.best_value) for one in self.compared(found)], [(0.9, "glibc", 10)])
        self.assertEqual([one.ratio for one in self.compared(found, MEMORY)], [0.5])

    def test_whoever_asks_is_none_himself(self):
        self.assertEqual([(one.best, one.ratio) for one in self.compared(self.found(), us="glibc")],
                         [("bslab", 10 / 9)])

    def test_nor_is_the_floor(self):
        self.assertEqual([one.ratio for one in self.compared(self.found(sample("floor", 0, 1)))], [0.9])

    def test_ratios_are_within_rounds(self):
        found = self.found(sample("bslab", 1, 900), *(sample(name, 1, 1000) for name in PEERS))
        self.assertEqual([one.ratio for one in self.compared(found)], [0.9])

    def test_a_row_that_a_peer_failed_still_counts(self):
        found = self.found({"kind": "failure", "workload": "g/w", "allocator": "glibc", "reason": "x"})
        self.assertEqual([(one.best, one.ratio) for one in self.compared(found)], [("jemalloc", 9 / 20)])

    def test_rows_that_are_not_compared_or_were_measured_in_short_do_not(self):
        found = self.found(workload("g/2", compares_time=False), sample("bslab", 0, 9, 1, "g/2"),
                           sample("glibc", 0, 1, 1, "g/2"), workload("g/3", mode="smoke"),
                           sample("bslab", 0, 9, 1, "g/3"), sample("glibc", 0, 1, 1, "g/3"))
        self.assertEqual([one.name for one in self.compared(found)], ["g/w"])

    def test_the_mean_counts_each_row_once(self):
        found = self.found(workload("h/1", "h"), sample("bslab", 0, 80, 1, "h/1"), sample("glibc", 0, 10, 1, "h/1"),
                           workload("h/2", "h"), sample("bslab", 0, 10, 1, "h/2"), sample("glibc", 0, 10, 1, "h/2"),
                           us=(10, 10))
        mean = results.mean_to_best_peer(results.rows_of_all(found), found.allocators(), TIME)
        self.assertAlmostEqual(mean, 2)

    def verdicts(self, found):
        return [(goal.value, goal.most, goal.verdict) for goal in goals.of_all_rows(found, results.US)]

    def test_verdicts(self):
        self.assertEqual(self.verdicts(self.found()), [(0.9, 0.95, "met"), (0, 0, "met"), (0.5, 1.0, "met"), (0, 0, "met")])
        self.assertEqual(self.verdicts(self.found(us=(12, 24))),
                         [(1.2, 0.95, "MISSED"), (1, 0, "MISSED"), (1.2, 1.0, "MISSED"), (1, 0, "MISSED")])

    def test_as_shown_with_two_decimals(self):
        self.assertEqual([verdict for *_, verdict in self.verdicts(self.found(us=(9.54, 20.08)))], ["met"] * 4)
        self.assertEqual([verdict for *_, verdict in self.verdicts(self.found(us=(9.56, 20.12)))],
                         ["MISSED", "met", "MISSED", "met"])
        found = self.found(us=(11.04, 23.08))
        self.assertEqual([goals.misses(found, key).above for key in (TIME, MEMORY)], [[], []])

    def test_with_more_peers_the_mean_may_be_higher(self):
        self.assertEqual(self.verdicts(self.found(names=("bslab", *PEERS, "more"), us=(9.9, 1)))[0], (0.99, 1.0, "met"))

    def test_without_one_of_debians_there_is_no_verdict(self):
        found = self.found(names=("bslab", *PEERS[:3], "more"), us=(9, 30))
        self.assertEqual({verdict for *_, verdict in self.verdicts(found)}, {"-"})

    def test_misses_are_the_worst_first_and_failures(self):
        found = self.found(*(record for name, time in (("g/2", 12), ("g/3", 30), ("g/4", 11))
                             for record in (workload(name), sample("bslab", 0, time, 1, name), sample("glibc", 0, 10, 1, name))),
                           {"kind": "failure", "workload": "g/w", "allocator": "bslab", "reason": "x"})
        missed = goals.misses(found, TIME)
        self.assertEqual(([one.name for one in missed.above], missed.failed), (["g/3", "g/2"], ["g/w"]))

    def of_row(self, part, *records, names=("bslab", "glibc", "mimalloc")):
        return [(round(goal.value, 4), round(goal.most, 4), goal.verdict, goal.beside)
                for goal in part(results.build([start(*names), *records]), "bslab")]

    def test_idle_threads(self):
        name = "threads/idle/1000"
        records = [workload(name), *(sample(who, 0, 1, rss, name) for who, rss in
                                     (("bslab", 71), ("glibc", 100), ("mimalloc", 400)))]
        self.assertEqual(self.of_row(goals.of_idle_threads, *records), [(0.71, 0.5, "MISSED", ("glibc", 1))])
        self.assertEqual(self.of_row(goals.of_idle_threads), [])

    def test_pipelines(self):
        name = "threads/pipeline/4"
        records = [workload(name), *(sample(who, 0, 1, mib * 1024, name, figures={"peak live KiB": 1024})
                                     for who, mib in (("bslab", 5), ("glibc", 3), ("mimalloc", 6)))]
        self.assertEqual(self.of_row(goals.of_pipelines, *records), [(5, 5.1, "met", ("glibc", 3))])
        self.assertEqual(self.of_row(goals.of_pipelines, workload(name), sample("bslab", 0, 1, 1, name)), [])

    def test_a_freed_heap_of_a_gib(self):
        name = "memory/afterfree/idle"

        def records(full):
            return [workload(name), *(sample(who, 0, 1, 1, name, figures={"full rss MB": full, "still live MB": 10,
                                                                          "rss after 5 s MB": rest})
                                      for who, rest in (("bslab", 20), ("glibc", 1000), ("mimalloc", 0.0)))]
        self.assertEqual(self.of_row(goals.of_freed_heap, *records(1030)), [(20, 19, "MISSED", ("mimalloc", 0))])
        self.assertEqual(self.of_row(goals.of_freed_heap, *records(70)), [])

    def curve(self, *costs, faults=None):
        """Of each row ours and a peer's time."""
        names = ["threads/churn/1", "threads/churn/2", "threads/churn/64"][3 - len(costs):]
        figures = {} if faults is None else {"figures": {"faults/op": faults}}
        return [record for name, (ours, theirs) in zip(names, costs) for record in (
            workload(name, curve=["churn by threads", 1]), sample("bslab", 0, ours, 1, name, **figures),
            sample("mimalloc", 0, theirs, 1, name, **figures))]

    def test_curves(self):
        curve = self.curve((10, 10), (30, 10), (20, 12))
        self.assertEqual(self.of_row(goals.of_curves, *curve), [(3, 1.5, "MISSED", ("mimalloc", 1.2))])
        self.assertEqual(self.of_row(goals.of_curves, *self.curve((10, 10), (20, 12))), [])
        not_measured = [workload("memory/sweep/1M", curve=["churn by live bytes", 1]), sample("bslab", 0, 1, 1, "memory/sweep/1M"),
                        workload("memory/sweep/8192M", curve=["churn by live bytes", 8192])]
        self.assertEqual(self.of_row(goals.of_curves, *not_measured), [])

    def test_page_faults_aside(self):
        page = [workload(results.limits.PAGE_ROW, "limits"), sample("glibc", 0, 40, name=results.limits.PAGE_ROW)]
        curve = self.curve((14, 14), (16, 14), (14, 14), faults=0.1)
        self.assertEqual(self.of_row(goals.of_curves, *page, *curve), [(1.2, 1.5, "met", ("mimalloc", 1))])
        each = goals.of_curves(results.build([start("bslab"), *page, *curve]), "bslab")
        self.assertIn("page faults aside", next(each).what)
        each = goals.of_curves(results.build([start("bslab"), *curve]), "bslab")
        self.assertIn("page faults included", next(each).what)

    def test_without_us_there_are_none(self):
        self.assertEqual(goals.goals(results.build([start("glibc"), workload(), sample("glibc", 0, 1)])), [])


if __name__ == "__main__":
    unittest.main()
