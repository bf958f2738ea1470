import re
import unittest
import xml.etree.ElementTree

import here  # noqa: F401
from suite import charts, report, report_html, report_markdown, results
from suite import report_tables as tables
from suite.report_html import colours, y_unit
from test_results import attempt, sample, start, workload


def found():
    names = ("bslab", "glibc", "mine")
    records = [{**start(*names), "noise": 10, "outside": 10, "left_out": ["tcmalloc"], "machine": {"kernel": "a < b"}}]
    for x in (16, 64, 4096):
        name = f"g/w/{x}"
        records.append(workload(name, curve=["w by size in bytes", x], models="a <b> & c"))
        for turn in range(3):
            records += [sample(a, turn, 10.0 * (i + 1) + turn, 1000 * (i + 1), name,
                               figures={"p99 us": 3.14159}, minor_faults=7, system_ns=1.5e6,
                               voluntary_switches=3,
                               series={"rss": [[0, 1], [1, 900]], "live": [[0, 1], [1, 800]]})
                        for i, a in enumerate(names)] + [attempt(turn, 0, 0.5, name)]
    records += [workload("g/bad"), sample("glibc", 0, 1.0, 10, "g/bad"),
                {"kind": "failure", "workload": "g/bad", "allocator": "bslab", "reason": "killed by SIGSEGV"},
                workload("g/none"), {"kind": "missing", "workload": "g/none", "reason": "nosuch"}]
    return results.build(records)


class Reports(unittest.TestCase):
    def test_markdown(self):
        text = report_markdown.render(found())
        for part in ("killed by SIGSEGV", "nosuch", "tcmalloc was not measured", "**1.00", "g/w/64 !", "p99 us",
                     "| g/w/64   | 7 / 1.5 / - / 3 |"):
            self.assertIn(part, text)

    def test_html_is_well_formed_and_alone(self):
        text = report_html.render(found())
        self.assertNotRegex(text, r"<script|src=|https?://|@import|url\(")
        self.assertIn("a &lt;b&gt; &amp; c", text)
        for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
            xml.etree.ElementTree.fromstring(drawing)

    def test_nothing_measured(self):
        empty = results.build([start("bslab")])
        self.assertIn("No workload", report_markdown.render(empty))
        self.assertIn("</html>", report_html.render(empty))
        self.assertIn("No workload", report.summary(empty))

    def test_colours(self):
        chosen = colours(["bslab", "x", "glibc", "y"])
        self.assertEqual(chosen["bslab"], 0)
        self.assertEqual(len(set(chosen.values())), 4)

    def test_units(self):
        self.assertEqual(y_unit([5.0], results.TIME), ("ns", 1))
        self.assertEqual(y_unit([5e6], results.TIME), ("us", 1e3))
        self.assertEqual(y_unit([5e10], results.TIME), ("s", 1e9))


class Goals(unittest.TestCase):
    def found(self, *names):
        records = [start(*names), workload("g/good"), workload("g/bad")]
        for name, ours in (("g/good", 5.0), ("g/bad", 20.0)):
            records += [sample(a, turn, ours if a == "bslab" else 10.0, 1000, name) for turn in range(2) for a in names]
        return results.build(records)

    def test_in_each_report(self):
        found = self.found("bslab", "glibc", "jemalloc", "mimalloc", "tcmalloc")
        for text in (report.summary(found), report_markdown.render(found), report_html.render(found)):
            for part in ("Goals", "MISSED", "Where bslab is worse than 1.10 of the best peer"):
                self.assertIn(part, text)
        self.assertIn("| g/bad    |   time | 20 ns | glibc 10 ns | 2.00 ±0% |", report.summary(found))
        self.assertIn('<td class="worse">MISSED</td>', report_html.render(found))

    def test_each_is_compared_with_the_others(self):
        table = tables.peer_table(self.found("bslab", "glibc"), results.TIME)
        self.assertEqual([[cell.text for cell in row] for row in table.rows],
                         [["g", "2", "1", "1.00", "1.00"], ["all rows", "2", "1", "1.00", "1.00"]])

    def test_a_failure_of_ours_is_a_miss(self):
        rows = [[cell.text for cell in row] for row in tables.miss_table(found()).rows]
        self.assertEqual(rows, [["g/bad", "time", "failed", "-", "-"], ["g/bad", "peak RSS", "failed", "-", "-"]])

    def test_no_row_that_misses(self):
        found = results.build([start("bslab", "glibc"), workload(), sample("bslab", 0, 1, 1), sample("glibc", 0, 1, 1)])
        self.assertEqual(tables.miss_table(found).note, "None.")

    def test_nobody_to_compare_with(self):
        for names in (("bslab",), ("glibc",)):
            found = self.found(*names)
            self.assertEqual((tables.goal_table(found).rows, tables.peer_table(found, results.TIME).rows), ([], []))
            self.assertIn("</html>", report_html.render(found))


class Floors(unittest.TestCase):
    def test_of_pages_is_the_share_of_the_fewest_faults(self):
        each = [sample("bslab", 0, 10, minor_faults=100, user_ns=500, system_ns=500),
                sample("glibc", 0, 10, minor_faults=40, user_ns=1000, system_ns=1000)]
        fresh = [workload(results.limits.PAGE_ROW, "limits"), sample("glibc", 0, 5.0, name=results.limits.PAGE_ROW)]
        found = results.build([start("bslab", "glibc"), workload(), *each, *fresh])
        self.assertAlmostEqual(tables.page_floor(found, found.rows["g/w"], "bslab"), 40 * 5 / 1000)
        self.assertIsNone(tables.page_floor(results.build([start("bslab"), workload(), each[0]]),
                                            found.rows["g/w"], "bslab"))


class Kernel(unittest.TestCase):
    """What the kernel and waiting take."""

    def found(self, *records, name="threads/w", group="threads"):
        """Ours and a peer's: user and system time of each, and the CPU time per operation; of 10 ns."""
        each = [sample(who, 0, 10.0, 1000, name, minor_faults=5, user_ns=user, system_ns=system, voluntary_switches=4,
                       figures={"cpu ns": cpu}) for who, user, system, cpu in records]
        page = [workload(results.limits.PAGE_ROW, "limits"), sample("glibc", 0, 20.0, name=results.limits.PAGE_ROW)]
        return results.build([start("bslab", "glibc"), *page, workload(name, group), *each])

    def test_a_share_that_is_high_is_marked(self):
        found = self.found(("bslab", 94, 6, 10), ("glibc", 96, 4, 10))
        row, = tables.kernel_table(found, "threads").rows
        self.assertEqual([(cell.text, cell.kind) for cell in row[1:]],
                         [("5 / 6e-06 / 6%* / 4", "worse"), ("5 / 4e-06 / 4% / 4", "")])

    def lost(self, *records, **more):
        return [[cell.text for cell in row] for row in tables.lost_table(self.found(*records, **more)).rows]

    def test_rows_with_much_of_it(self):
        self.assertEqual(self.lost(("bslab", 500, 500, 9.8), ("glibc", 900, 100, 10)),
                         [["threads/w", "50%", "glibc 10%", "10%", "2%", "glibc 0%", "4,000,000", "glibc 4,000,000"]])

    def test_or_much_waiting(self):
        self.assertEqual([row[4] for row in self.lost(("bslab", 100, 0, 7), ("glibc", 100, 0, 10))], ["30%"])

    def test_and_no_others(self):
        self.assertEqual(self.lost(("bslab", 946, 54, 9.5), ("glibc", 1, 999, 1)), [])

    def test_waiting_is_of_programs_that_count_their_threads_time(self):
        self.assertEqual(self.lost(("bslab", 100, 0, 7), ("glibc", 100, 0, 10), name="trace/w", group="trace"), [])


class Charts(unittest.TestCase):
    def test_linear_ticks(self):
        self.assertEqual(charts.linear_ticks(0, 10), [0, 2, 4, 6, 8, 10])

    def test_log_ticks_are_few(self):
        self.assertEqual(charts.log_ticks(1, 100, 7), [1, 2, 5, 10, 20, 50, 100])
        self.assertLessEqual(len(charts.log_ticks(1, 1e9)), 6)

    def test_numbers_are_short(self):
        self.assertEqual([charts.short(v) for v in (0, 0.12345, 12.345, 123.4, 65432, 2.5e6)],
                         ["0", "0.123", "12.3", "123", "65.4k", "2.5M"])
        self.assertEqual([charts.binary(v) for v in (8, 1024, 32768, 1 << 20, 3 << 30)], ["8", "1K", "32K", "1M", "3G"])

    def test_labels_are_moved_apart_and_stay_inside(self):
        placed = charts.spread_out([50, 51, 52, 99], 10, 0, 100)
        self.assertTrue(all(b - a >= 10 for a, b in zip(placed, placed[1:])))
        self.assertTrue(0 <= placed[0] and placed[-1] <= 100)

    def test_one_point_and_flat_curves(self):
        self.assertIn("<svg", charts.line_chart("t", ("x", "y"), [("a", 0, [(1, 0)])]))
        self.assertEqual(charts.line_chart("t", ("x", "y"), [("a", 0, [])]), "")


if __name__ == "__main__":
    unittest.main()
