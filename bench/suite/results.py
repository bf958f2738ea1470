"""What was measured, read back from the raw file, and the figures made of it: medians, spreads, ratios."""

import math
import re
import statistics
from dataclasses import dataclass, field
from typing import Dict, List, Optional

from . import limits, rawfile

US = "bslab"
WORSE = 1.10  # a row that is worse than this is listed as a loss
TIME, MEMORY = "time_ns", "peak_rss_kb"


@dataclass
class Row:
    """One workload: its description, and the samples (dicts) by round, attempt and allocator."""

    about: dict
    tries: Dict[int, Dict[int, Dict[str, dict]]] = field(default_factory=dict)
    outside: Dict[tuple, float] = field(default_factory=dict)  # (round, attempt) -> share of the machine others had
    failed: Dict[str, str] = field(default_factory=dict)
    missing: Optional[str] = None
    seconds: Dict[str, float] = field(default_factory=dict)  # by allocator, of all its measurements
    measured: Dict[str, int] = field(default_factory=dict)  # how many measurements that were

    @property
    def name(self):
        return self.about["name"]

    def attempt(self, turn):
        """Of a round that was repeated because of load from outside: the attempt that had the least of it."""
        return min(self.tries[turn], key=lambda attempt: (self.outside.get((turn, attempt), math.inf), attempt))

    def round(self, turn):
        """Allocator -> sample; all of one attempt, unless it was interrupted."""
        chosen = {}
        for samples in self.tries[turn].values():
            chosen.update(samples)
        return {**chosen, **self.tries[turn][self.attempt(turn)]}

    def disturbed(self):
        """The median over the rounds of the load from outside, or None."""
        shares = [self.outside[turn, self.attempt(turn)] for turn in self.tries
                  if (turn, self.attempt(turn)) in self.outside]
        return median(shares)

    def kept(self, allocator):
        """Samples by round; nothing of an allocator that failed in any."""
        if allocator in self.failed:
            return {}
        rounds = {turn: self.round(turn).get(allocator) for turn in sorted(self.tries)}
        return {turn: sample for turn, sample in rounds.items() if sample is not None}

    def participants(self):
        return list(dict.fromkeys(name for turn in sorted(self.tries) for name in self.round(turn)))

    def values(self, allocator, key):
        """By round, where the sample has it; a key that is no measurement of its own is one of the figures."""
        found = {turn: sample.get(key, sample.get("figures", {}).get(key)) for turn, sample in self.kept(allocator).items()}
        return {turn: value for turn, value in found.items() if value is not None}

    def figures(self, allocator, name):
        found = {turn: sample.get("figures", {}).get(name) for turn, sample in self.kept(allocator).items()}
        return {turn: value for turn, value in found.items() if value is not None}

    def figure_names(self):
        return list(dict.fromkeys(figure for name in self.participants() for sample in self.kept(name).values()
                                  for figure in sample.get("figures", {})))

    def rounds(self):
        """How many all allocators that did not fail have made."""
        counts = [len(self.kept(name)) for name in self.participants()
                  if name not in self.failed and name != limits.FLOOR]
        return min(counts, default=0)

    def done(self, allocator, turn):
        """Whether there is nothing to measure any more."""
        return allocator in self.failed or any(allocator in t for t in self.tries.get(turn, {}).values())

    def cost(self, participants):
        """Seconds of one round, as far as is known."""
        return sum(self.seconds[name] / self.measured[name] for name in participants if self.measured.get(name))


@dataclass
class Results:
    start: dict
    rows: Dict[str, Row] = field(default_factory=dict)  # by name, in the order of the report
    events: List[dict] = field(default_factory=list)  # "note": warnings worth showing
    seconds: float = 0.0  # spent

    def allocators(self):
        """Names, in the order of the columns; the floor is none."""
        return [a["name"] for a in self.start.get("allocators", []) if a["name"] != limits.FLOOR]

    def compared(self):
        """The rows with samples that are compared, the limits left out."""
        return [row for row in self.rows.values() if row.tries and row.about["group"] != "limits"]

    def groups(self):
        return list(dict.fromkeys(row.about["group"] for row in self.compared()))


def load(path):
    return build(rawfile.read(path))


def build(records):
    results = Results(start={})
    for record in records:
        take(results, record)
    return results


def take(results, record):
    """One record more; of a kind that is not known, nothing."""
    HANDLERS.get(record["kind"], lambda *_: None)(results, record)


def take_start(results, record):
    """The first start has the arguments; one that resumed only adds to the story."""
    if not results.start:
        results.start = record


def take_workload(results, record):
    row = results.rows.setdefault(record["name"], Row(record))
    row.about, row.missing = record, None


def take_sample(results, record):
    row = results.rows.get(record["workload"])
    results.seconds += record["seconds"]
    if row is None:
        return
    name, turn, attempt = record["allocator"], record["round"], record.get("attempt", 0)
    row.seconds[name] = row.seconds.get(name, 0.0) + record["seconds"]
    row.measured[name] = row.measured.get(name, 0) + 1
    row.tries.setdefault(turn, {}).setdefault(attempt, {})[name] = record["sample"]


def take_attempt(results, record):
    row = results.rows.get(record["workload"])
    if row is not None:
        row.outside[record["round"], record["attempt"]] = record["outside"]


def take_failure(results, record):
    row = results.rows.get(record["workload"])
    results.seconds += record.get("seconds", 0.0)
    if row is not None:
        row.failed[record["allocator"]] = record["reason"]


def take_missing(results, record):
    row = results.rows.get(record["workload"])
    if row is not None:
        row.missing = record["reason"]


def take_spent(results, record):
    """Time that went into no sample: preparing, and a try that was too long."""
    results.seconds += record["seconds"]


HANDLERS = {"start": take_start, "workload": take_workload, "sample": take_sample, "attempt": take_attempt,
            "failure": take_failure, "missing": take_missing, "spent": take_spent,
            "note": lambda results, record: results.events.append(record)}


# Figures.


def median(values):
    values = list(values)
    return statistics.median(values) if values else None


def spread(values):
    """Half the interquartile range over the median, of two half of what is between them: 0.02 is plus-minus 2%."""
    values = sorted(values)
    if len(values) < 2:
        return None
    if len(values) == 2:
        low, high = values
        middle = (low + high) / 2
    else:
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / middle if middle else None


def geometric_mean(values):
    values = [value for value in values if value and value > 0]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def best(row, names, key):
    """The name with the lowest median, or None."""
    medians = {name: median(row.values(name, key).values()) for name in names}
    present = [name for name in names if medians[name] is not None]
    return min(present, key=medians.get) if present else None


def ratios(row, name, base, key):
    """Within each round that both have: what slows a machine for longer than a round falls on both sides.

    Figures of memory are what is above a baseline and may be 0, which is no reason not to compare: a MiB is nothing.
    """
    least = 1.0 if key.endswith(" MB") else 0.0
    mine, theirs = ({turn: max(value, least) for turn, value in row.values(of, key).items()} for of in (name, base))
    return [mine[turn] / theirs[turn] for turn in sorted(mine) if theirs.get(turn)]


@dataclass(frozen=True)
class Cell:
    ratio: Optional[float] = None  # to the best of the row
    spread: Optional[float] = None
    value: Optional[float] = None  # the median itself
    failed: Optional[str] = None


def cell(row, name, base, key):
    if name in row.failed:
        return Cell(failed=row.failed[name])
    value = median(row.values(name, key).values())
    if value is None or base is None:
        return Cell()
    each = ratios(row, name, base, key)
    return Cell(median(each), spread(each), value)


def cells(row, names, key):
    """Name -> Cell, against the best of all the names."""
    base = best(row, names, key)
    return {name: cell(row, name, base, key) for name in names}


def compares(row, key):
    return row.about.get("compares_time" if key == TIME else "compares_memory", True)


def is_short(row, found_mode):
    """Measured as in smoke mode, since the time did not suffice: its figures say little."""
    return (row.about.get("mode") == "smoke") and found_mode not in (None, "smoke")


def mean_rows(rows, names, key):
    """The rows that a mean may take: compared, and measured under every allocator, else the means are of different
    things."""
    return [row for row in rows if compares(row, key) and all(row.values(name, key) for name in names)]


def rows_of(results, group):
    return [row for row in results.compared() if row.about["group"] == group and
            not is_short(row, results.start.get("mode"))]


def rows_of_all(results):
    return [row for group in results.groups() for row in rows_of(results, group)]


def rows_with_both(results, group):
    """For time against memory: two means of the same rows."""
    names, rows = results.allocators(), rows_of(results, group)
    memory = {row.name for row in mean_rows(rows, names, MEMORY)}
    return [row for row in mean_rows(rows, names, TIME) if row.name in memory]


def means(rows, names, key):
    """Name -> geometric mean of its ratios to the best of each row, and how many rows took part."""
    taken = mean_rows(rows, names, key)
    each = [cells(row, names, key) for row in taken]
    return {name: geometric_mean(row[name].ratio for row in each) for name in names}, len(taken)


def overall(results, names, key, without=(), rows=rows_of):
    """The geometric mean of the groups' means, so that a group counts once however many rows it has."""
    by_group = [means(rows(results, group), names, key) for group in results.groups() if group not in without]
    taken = [each for each, rows in by_group if rows]
    return {name: geometric_mean(each[name] for each in taken) for name in names}, sum(rows for _, rows in by_group)


@dataclass(frozen=True)
class Comparison:
    """Of one row: ours to the best of some."""

    name: str
    key: str
    value: float
    best: str
    best_value: float
    ratio: float
    spread: Optional[float]


# Figures of their own that are better when lower. The others are parts of those, or counts.
LOWER_IS_BETTER = re.compile(r"^(p99 us|.* us/op|thread us|last free ns|fork ms|copied MB|valley rss MB|"
                             r"rss (after [135]\d* s|after frees|when empty) MB|per thread KiB)$")


def compared_figures(row):
    """What is compared beside time and peak RSS."""
    return [name for name in row.figure_names() if LOWER_IS_BETTER.match(name)]


def losses(results, us=US, limit=WORSE):
    """Where we are worse than the limit times the best, the worst first. As shown, with two decimals."""
    names, found = results.allocators(), []
    for row in results.compared():
        if is_short(row, results.start.get("mode")):
            continue
        keys = [key for key in (TIME, MEMORY) if compares(row, key)] + compared_figures(row)
        found += [loss for key in keys for loss in [compared_to(row, names, key, us)]
                  if loss and round(loss.ratio, 2) > limit]
    return sorted(found, key=lambda loss: -loss.ratio)


def compared_to(row, names, key, us):
    """A Comparison with the best of the names, or None."""
    first = best(row, names, key)
    ours = cell(row, us, first, key)
    if ours.ratio is None:
        return None
    return Comparison(row.name, key, ours.value, first, median(row.values(first, key).values()), ours.ratio, ours.spread)


def to_best_peer(rows, names, key, us=US):
    """Comparisons with the best of the others, each row once: all that we and one peer at least have a figure for."""
    peers = [name for name in names if name != us]
    each = [compared_to(row, peers, key, us) for row in rows if compares(row, key)]
    return [one for one in each if one]


def mean_to_best_peer(rows, names, key, us=US):
    return geometric_mean(one.ratio for one in to_best_peer(rows, names, key, us))


def noise(row, names):
    """The largest spread of the row's ratios, of time and of memory, or None if there are too few rounds to know."""
    spreads = [c.spread for key in (TIME, MEMORY) if compares(row, key) for c in cells(row, names, key).values()
               if c.spread is not None]
    return max(spreads, default=None)


def live_kib(row, names):
    """What the program holds: the median of what the samples tell, the same whoever allocates."""
    told = [limits.live_kib(sample) for name in names for sample in row.kept(name).values()]
    return median(value for value in told if value)


def cpu_ns(row, name):
    """By round: user and system time."""
    user, system = row.values(name, "user_ns"), row.values(name, "system_ns")
    return {turn: user[turn] + system[turn] for turn in user if system.get(turn, 0) + user[turn] and turn in system}


def system_share(row, name):
    """How much of its CPU time is the kernel's, or None."""
    system = row.values(name, "system_ns")
    return median(system[turn] / cpu for turn, cpu in cpu_ns(row, name).items())


def sleeps(row, name):
    """Voluntary switches in a second of CPU time, or None: who waits for a lock, having spun, sleeps."""
    switches = row.values(name, "voluntary_switches")
    return median(switches[turn] * 1e9 / cpu for turn, cpu in cpu_ns(row, name).items() if turn in switches)


def waiting_share(row, name):
    """Of the processors' time that the threads of a program in bench/threads could have had, what they did not; or None."""
    time, cpu = row.values(name, TIME), row.figures(name, "cpu ns")
    if row.about["group"] != "threads":
        return None
    return median(max(1 - cpu[turn] / time[turn], 0.0) for turn in time if turn in cpu)


def page_price(results):
    """Nanoseconds of the kernel's for a fresh page, or None."""
    row = results.rows.get(limits.PAGE_ROW)
    return median(row.values("glibc", TIME).values()) if row else None


def representative(row, name, series):
    """The curve over time of the sample whose peak RSS is the median one."""
    found = sorted((sample.get(MEMORY) or 0, turn) for turn, sample in row.kept(name).items()
                   if sample.get("series", {}).get(series))
    return row.kept(name)[found[len(found) // 2][1]]["series"][series] if found else None
