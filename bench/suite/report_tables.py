"""The tables of the report, as data; report_markdown and report_html show them."""

from dataclasses import dataclass, field
from typing import List

from lib import figures
from . import goals, limits, results
from .progress import clock
from .results import MEMORY, TIME


@dataclass(frozen=True)
class Cell:
    text: str
    kind: str = ""  # "best", "worse" (above 1.10 of it), "failed"


@dataclass
class Table:
    title: str
    header: List[str]
    rows: List[List[Cell]] = field(default_factory=list)
    note: str = ""


def plain(*texts):
    return [Cell(text) for text in texts]


# Numbers.


def digits(value):
    """Three that matter; thousands are not rounded to 1.23e+03."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def megabytes(kib):
    return digits(kib / 1024)


def ratio(value):
    return f"{value:.2f}" if value < 10 else digits(value)


def around(spread):
    if spread is None:
        return ""
    return f" ±{spread * 100:.0f}%"


def shown_value(key, value):
    if key == TIME:
        return figures.show_time(value)
    return f"{megabytes(value)} MB" if key == MEMORY else f"{digits(value)} {key.split()[-1]}"


def shown_key(key):
    return {TIME: "time", MEMORY: "peak RSS"}.get(key, key)


def ratio_cell(cell, key):
    if cell.failed:
        return Cell("failed", "failed")
    if cell.ratio is None:
        return Cell("-")
    kind = "best" if cell.ratio <= 1.005 else "worse" if round(cell.ratio, 2) > results.WORSE else ""
    size = "" if key == TIME else f" ({megabytes(cell.value)})"
    return Cell(ratio(cell.ratio) + around(cell.spread) + size, kind)


# Names of rows, with what a reader must know about them.


def marks(row, found):
    names, text = found.allocators(), ""
    noise = results.noise(row, names)
    if noise and noise * 100 > found.start.get("noise", 10):
        text += " ~"
    disturbed = row.disturbed()
    if disturbed and disturbed * 100 > found.start.get("outside", 10):
        text += " !"
    return text + (" (short)" if row.about.get("mode") == "smoke" != found.start.get("mode") else "")


MARKS = ("~: the spread of a ratio is above {noise:g}%. !: others had more than {outside:g}% of the machine. (short): "
         "measured as in smoke mode, since the time did not suffice for more.")


def rows_of(found, group):
    return [row for row in found.compared() if row.about["group"] == group]


# Tables.


def allocator_table(found):
    rows = [plain(a["name"], a.get("package") or "-", a.get("sha256") or "-", a.get("path") or "-")
            for a in found.start.get("allocators", [])]
    return Table("Allocators", ["name", "package", "sha256", "file"], rows)


def means_table(found, key):
    names, what = found.allocators(), "time" if key == TIME else "peak RSS"
    table = Table(f"Geometric means: {what} over the best", ["group", "rows"] + names,
                  note="Each row's ratio is to the best of all allocators in that row. A row counts if every allocator "
                       "has it, but for those marked (short); over all, each group counts once.")
    for group in found.groups():
        each, count = results.means(results.rows_of(found, group), names, key)
        if count:
            table.rows.append(plain(group, str(count)) + mean_cells(each, names))
    for what, without in (("over all", ()), ("but start-up", ("startup",))):
        each, count = results.overall(found, names, key, without)
        if count:
            table.rows.append(plain(what, str(count)) + mean_cells(each, names))
    return table


def goal_table(found, us=results.US):
    table = Table("Goals", ["goal", us, "at most", "verdict", "best peer"],
                  note=f"They are of the full mode, and of {', '.join(goals.DEBIANS)}, as Debian has them; without one of "
                       "these, what is promised of all of them has no verdict. The best peer is judged likewise, by the "
                       "others.")
    for goal in goals.goals(found, us):
        kind = {"met": "best", "MISSED": "worse"}.get(goal.verdict, "")
        table.rows.append(plain(goal.what, goal_value(goal.value), goal_value(goal.most)) +
                          [Cell(goal.verdict, kind)] +
                          plain(f"{goal.beside[0]} {goal_value(goal.beside[1])}" if goal.beside else "-"))
    return table


def goal_value(value):
    """A count, a ratio, or nothing."""
    return "-" if value is None else str(value) if isinstance(value, int) else ratio(value)


def peer_table(found, key, us=results.US):
    """Each allocator to the best of the others there."""
    names, what, at_most = found.allocators(), shown_key(key), goals.ROW[key]
    table = Table(f"{what[0].upper()}{what[1:]} over the best of the others",
                  ["group", "rows", f"above {at_most:.2f}"] + names,
                  note="Each allocator's ratio is to the best of the others in that row, so below 1.00 it is ahead of all of "
                       f"them. Each row counts once; how many there are, and how many are above {at_most:.2f}, is {us}'s.")
    if us not in names:
        return table
    for group, rows in [(group, results.rows_of(found, group)) for group in found.groups()] + [
            ("all rows", results.rows_of_all(found))]:
        ours = results.to_best_peer(rows, names, key, us)
        each = {name: results.mean_to_best_peer(rows, names, key, name) for name in names}
        if ours:
            table.rows.append(plain(group, str(len(ours)), str(sum(round(one.ratio, 2) > at_most for one in ours))) +
                              [Cell(ratio(each[name]) if each[name] else "-") for name in names])
    return table


def miss_table(found, us=results.US):
    bounds = {key: goals.ROW[key] for key in (TIME, MEMORY)}
    missed = {key: goals.misses(found, key, us) for key in bounds} if us in found.allocators() else {}
    table = Table(f"Where {us} is worse than {bounds[TIME]:.2f} of the best peer in time, {bounds[MEMORY]:.2f} of the "
                  "leanest in peak RSS", ["workload", "figure", us, "best peer", "ratio"])
    for key, each in missed.items():
        table.rows += [plain(name + marks(found.rows[name], found), shown_key(key), "failed", "-", "-")
                       for name in each.failed]
    above = [one for each in missed.values() for one in each.above]
    table.rows += [against_best(found, one) for one in sorted(above, key=lambda one: -one.ratio)]
    if missed and not table.rows:
        table.note = "None."
    return table


def against_best(found, one):
    return plain(one.name + marks(found.rows[one.name], found), shown_key(one.key), shown_value(one.key, one.value),
                 f"{one.best} {shown_value(one.key, one.best_value)}", ratio(one.ratio) + around(one.spread))


def mean_cells(each, names):
    lowest = min(value for value in each.values() if value)
    return [Cell(ratio(each[name]), "best" if each[name] <= lowest * 1.005 else
                 "worse" if each[name] / lowest > results.WORSE else "") for name in names]


def comparison_table(found, group, key):
    """Rows are workloads, columns allocators."""
    names = found.allocators()
    rows = [row for row in rows_of(found, group) if any(row.values(name, key) for name in names)]
    floor = key == TIME and any(row.values(limits.FLOOR, key) for row in rows)
    what = "time over the best of all" if key == TIME else "peak RSS over the lowest (MB)"
    table = Table(f"{group}: {what}", ["workload", "rounds", "best"] + names + (["floor"] if floor else []))
    for row in rows:
        table.rows.append(comparison_row(row, found, names, key, floor))
    return table


def comparison_row(row, found, names, key, floor):
    first = results.best(row, names, key)
    value = results.median(row.values(first, key).values())
    unit = f"/{row.about['unit']}" if key == TIME and row.about.get("unit") else ""
    counts = "" if results.compares(row, key) else " (not compared)"
    cells = plain(row.name + marks(row, found) + counts, str(row.rounds()),
                  f"{first} {shown_value(key, value)}{unit}")
    each = [results.cell(row, name, first, key) for name in names + ([limits.FLOOR] if floor else [])]
    return cells + [ratio_cell(cell, key) for cell in each[:len(names)]] + \
        [Cell(ratio(cell.ratio) if cell.ratio else "-") for cell in each[len(names):]]


def figures_table(found, group):
    """What else the workloads tell: percentiles, fragmentation and the like."""
    names = found.allocators()
    table = Table(f"{group}: other figures", ["workload: figure"] + names)
    for row in rows_of(found, group):
        for figure in row.figure_names():
            values = [results.median(row.figures(name, figure).values()) for name in names]
            table.rows.append(plain(f"{row.name}: {figure}", *(digits(v) if v is not None else "-" for v in values)))
    return table


def kernel_table(found, group):
    """Page faults, system time and voluntary switches: of the process, or of what it says it measured."""
    names = found.allocators()
    table = Table(f"{group}: page faults / system time in ms / its share of the CPU time / voluntary switches",
                  ["workload"] + names, note=f"*: above {MUCH:.0%}.")
    for row in rows_of(found, group):
        if any(row.values(name, "minor_faults") for name in names):
            table.rows.append(plain(row.name) + [kernel_cell(row, name) for name in names])
    return table


def kernel_cell(row, name):
    """Marked where the kernel has more of the time than needs no word."""
    faults, system, switches = (results.median(row.values(name, key).values())
                                for key in ("minor_faults", "system_ns", "voluntary_switches"))
    share = results.system_share(row, name)
    numbers = ["-" if value is None else digits(value) for value in (faults, None if system is None else system / 1e6, switches)]
    high = is_much(share)
    return Cell(" / ".join(numbers[:2] + [percent(share) + ("*" if high else "")] + numbers[2:]), "worse" if high else "")


MUCH = 0.05  # of the time


def percent(share):
    return "-" if share is None else f"{share:.0%}"


def is_much(share):
    """As shown, in whole per cent."""
    return share is not None and round(share, 2) > MUCH


def lost_table(found, us=results.US):
    """Where more than a little of our time is the kernel's, or goes by in waiting, and what is known of the reasons."""
    names, price = found.allocators(), results.page_price(found)
    peers = [name for name in names if name != us]
    table = Table(f"Where the kernel, or waiting, has more than {MUCH:.0%} of {us}'s time",
                  ["workload", "system", "least of peers", "pages", "waiting", "least of peers", "sleeps/s", "least of peers"],
                  note="system: its share of the CPU time. pages: of the same time what the page faults take at the price of a "
                       "fresh page; what is left of the system time is calls, and faults of files. waiting: of the time "
                       "that the threads of bench/threads could have had on the processors; they wait for locks, for each "
                       "other where the workload has them do so, or because another process ran. sleeps: voluntary switches "
                       "in a second of CPU time; who waits for a lock spins a while, which is user time, and then sleeps. "
                       "Where the peers' figure is as high it is the workload's own.")
    for row in found.compared() if us in names else []:
        system, waiting = results.system_share(row, us), results.waiting_share(row, us)
        if not is_much(system) and not is_much(waiting):
            continue
        pages = fault_share(row, us, price) if price else None
        table.rows.append(plain(
            row.name + marks(row, found), percent(system), least(row, peers, results.system_share, percent),
            percent(pages and pages[1]), percent(waiting), least(row, peers, results.waiting_share, percent),
            rounded(results.sleeps(row, us)), least(row, peers, results.sleeps, rounded)))
    return table


def rounded(value):
    return "-" if value is None else digits(value)


def least(row, names, measure, shown):
    each = {name: measure(row, name) for name in names}
    first = min((name for name in each if each[name] is not None), key=each.get, default=None)
    return "-" if first is None else f"{first} {shown(each[first])}"


def loss_table(found, us=results.US):
    table = Table(f"Where {us} is worse than {results.WORSE:.2f} of the best",
                  ["workload", "figure", us, "best", "ratio"])
    table.rows += [against_best(found, loss) for loss in results.losses(found, us)]
    compared = sum(1 for row in found.compared()
                   for key in [key for key in (TIME, MEMORY) if results.compares(row, key)] +
                   results.compared_figures(row) if row.values(us, key))
    table.note = f"{len(table.rows) or 'None'} of {counted(compared, 'comparison')}."
    return table


# Limits.


def floor_table(found):
    names = found.allocators()
    ours = [results.US] if results.US in names else []
    table = Table("Limits: a pair of calls", ["workload", "floor", "best", "best / floor"] +
                  [f"{name} / floor" for name in ours],
                  note="The floor is a bare thread-local stack behind the same two calls, which checks nothing.")
    for row in found.compared():
        floor = results.median(row.values(limits.FLOOR, TIME).values())
        first = results.best(row, names, TIME)
        if floor and first:
            best = results.median(row.values(first, TIME).values())
            mine = [results.median(row.values(name, TIME).values()) for name in ours]
            table.rows.append(plain(row.name, figures.show_time(floor), f"{first} {figures.show_time(best)}",
                                    ratio(best / floor), *(ratio(m / floor) if m else "-" for m in mine)))
    return table


def live_table(found):
    names = found.allocators()
    table = Table("Limits: memory", ["workload", "live MB"] + names,
                  note="Peak RSS over what the program itself holds. The program's own pages and libraries are in "
                       "the peak too, so 1.00 is out of reach for a small one.")
    for row in found.compared():
        live = results.live_kib(row, names)
        if live:
            peaks = [results.median(row.values(name, MEMORY).values()) for name in names]
            table.rows.append(plain(row.name, megabytes(live), *(ratio(p / live) if p else "-" for p in peaks)))
    return table


def fault_table(found, least=0.05):
    """How much of its CPU time a workload must spend on its page faults, if the kernel were all it paid."""
    names, price = found.allocators(), results.page_price(found)
    table = Table("Limits: pages", ["workload"] + names)
    if not price:
        return table
    table.note = (f"A fresh page costs {figures.show_time(price)} here. Page faults times that, as a share of the "
                  f"CPU time of the process; rows with less than {least:.0%} everywhere are left out, and those "
                  "in which only starting the process faults. Faults that map a page of a file cost less, so a share "
                  "may be overstated.")
    for row in (row for row in found.compared() if results.compares(row, MEMORY)):
        each = {name: fault_share(row, name, price) for name in names}
        if any(share and share[1] >= least for share in each.values()):
            table.rows.append(plain(row.name, *(f"{digits(s[0])} ({s[1]:.0%})" if s else "-" for s in each.values())))
    return table


def page_floor(found, row, name):
    """What the kernel takes for the faults of whoever has the fewest, as a share of one's CPU time: no allocator that
    gets its memory so is faster. None where it is not known, or next to nothing."""
    price = results.page_price(found)
    faults = [results.median(row.values(n, "minor_faults").values()) for n in found.allocators()]
    faults = [n for n in faults if n is not None]
    share = fault_share(row, name, price) if price and faults and results.compares(row, MEMORY) else None
    if not share or not share[0]:
        return None
    floor = share[1] * min(faults) / share[0]
    return floor if floor >= 0.01 else None


def fault_share(row, name, price):
    faults, user, system = (results.median(row.values(name, key).values())
                            for key in ("minor_faults", "user_ns", "system_ns"))
    if faults is None or user is None or system is None or user + system == 0:
        return None
    return faults, faults * price / (user + system)


# What went wrong.


def problems(found):
    """Lines: what failed, was left out, was noisy."""
    lines = [f"{name} was not measured: it is not installed, or does not load."
             for name in found.start.get("left_out", [])]
    for row in found.rows.values():
        lines += [f"{row.name} under {name} failed: {reason}" for name, reason in row.failed.items()]
        if row.missing:
            lines.append(f"{row.name} left out: {row.missing}")
    return lines + [event["text"] for event in found.events]


def rounds_line(found):
    counts = [row.rounds() for row in found.compared()]
    if not counts:
        return "No workload was measured."
    span = str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    shares = [row.disturbed() for row in found.compared() if row.disturbed() is not None]
    others = f" Others had {results.median(shares):.0%} of the machine meanwhile (median)." if shares else ""
    return (f"{counted(len(counts), 'workload')}, {span} round{'' if span == '1' else 's'} each, "
            f"{clock(found.seconds)} of measuring.{others}")


def counted(number, what):
    return f"{number} {what}{'' if number == 1 else 's'}"


HOW_TO_READ = (
    "Each round measures a workload under every allocator, one right after the other, each time beginning with "
    "another. A figure is the median over the rounds, of the ratio within a round, to the best of all allocators in "
    "that row (bslab included) where a table does not say otherwise, so the best has 1.00 and lower is better; ± is half "
    "the interquartile range, with two rounds half of their difference. A difference smaller than the spread is none.")


def reading_note(found):
    return MARKS.format(noise=found.start.get("noise", 10), outside=found.start.get("outside", 10))
