"""What the project promises of the suite's figures in full mode, and whether it is so."""

from dataclasses import dataclass
from typing import List, Optional, Tuple

from lib import allocators
from . import results
from .results import MEMORY, TIME

DEBIANS = ("glibc", *allocators.PEERS)  # whom the goals are about

# Of the ratios to the best peer: their geometric mean, with those four and with more beside them, and each row's.
MEAN = {TIME: 0.95, MEMORY: 1.00}
MEAN_OF_MORE = {TIME: 1.00, MEMORY: 1.00}
ROW = {TIME: 1.10, MEMORY: 1.15}


@dataclass(frozen=True)
class Goal:
    what: str
    value: float
    most: Optional[float]  # None: what is promised is not of these peers
    beside: Optional[Tuple[str, float]] = None  # who of the peers is the best at it, and how good

    @property
    def verdict(self):
        """As shown, with two decimals."""
        return "-" if self.most is None else "met" if round(self.value, 2) <= self.most else "MISSED"


@dataclass(frozen=True)
class Misses:
    """The rows worse than their goal, the worst first, and those that we failed where a peer did not."""

    above: List[results.Comparison]
    failed: List[str]


def misses(found, key, us=results.US):
    names, rows = found.allocators(), results.rows_of_all(found)
    above = [one for one in results.to_best_peer(rows, names, key, us) if round(one.ratio, 2) > ROW[key]]
    failed = [row.name for row in rows if results.compares(row, key) and us in row.failed and
              any(row.values(name, key) for name in names)]
    return Misses(sorted(above, key=lambda one: -one.ratio), failed)


def most_of_mean(names, key, us):
    peers = set(names) - {us}
    if not peers >= set(DEBIANS) - {us}:
        return None
    return (MEAN_OF_MORE if peers > set(DEBIANS) else MEAN)[key]


def judged(found, us, what, measure, most):
    """A goal, if measure(name), of an allocator, has something to tell of us; of the others the lowest is the best."""
    value = measure(us)
    each = {name: measure(name) for name in found.allocators() if name != us}
    first = min((name for name in each if each[name] is not None), key=each.get, default=None)
    if value is not None:
        yield Goal(what, value, most, first and (first, each[first]))


def of_all_rows(found, us):
    """The means over all rows, each once, and how many rows are above what each is to be at most."""
    names, rows = found.allocators(), results.rows_of_all(found)
    for key, what, peer in ((TIME, "time", "best"), (MEMORY, "peak RSS", "leanest")):
        mean = list(judged(found, us, f"{what} over the {peer} peer's, geometric mean of all rows",
                           lambda name, key=key: results.mean_to_best_peer(rows, names, key, name),
                           most_of_mean(names, key, us)))
        yield from mean
        missed = misses(found, key, us)
        if mean or missed.failed:
            yield Goal(f"rows above {ROW[key]:.2f} in {what}", len(missed.above) + len(missed.failed),
                       None if most_of_mean(names, key, us) is None else 0)


# Of single rows.


def of_idle_threads(found, us):
    row = found.rows.get("threads/idle/1000")
    if row:
        yield from judged(found, us, f"{row.name}: peak RSS over glibc's",
                          lambda name: results.cell(row, name, "glibc", MEMORY).ratio, 0.5)


def of_pipelines(found, us):
    for row in found.compared():
        live = results.live_kib(row, [us])
        if row.name.startswith("threads/pipeline/") and live:
            yield from judged(found, us, f"{row.name}: peak RSS in MB, of 1.1 times what is live and 4 more",
                              lambda name, row=row: megabytes(row.values(name, MEMORY)), 1.1 * live / 1024 + 4)


def of_freed_heap(found, us):
    """Of 1 GiB, as in full mode."""
    row = found.rows.get("memory/afterfree/idle")
    full = results.median(row.figures(us, "full rss MB").values()) if row else None
    live = results.median(row.figures(us, "still live MB").values()) if row else None
    if full and full >= 1024 and live is not None:
        yield from judged(found, us, f"{row.name}: RSS in MB 5 s after, of 1.1 times what is live and 8 more",
                          lambda name: results.median(row.figures(name, "rss after 5 s MB").values()), 1.1 * live + 8)


# From, to, and times: no operation of the curve costs so many times one of another row of it.
FLAT = (("memory/sweep/1M", "memory/sweep/8192M", 1.5), ("threads/churn/1", "threads/churn/64", 1.5))
FAULTS = "faults/op"


def of_curves(found, us):
    """Where both ends were measured. The best peer's growth says how much of it is the machine's."""
    price = results.page_price(found)
    for first, last, most in FLAT:
        measured = {row.name: (row.about["curve"] or [None])[0] for row in found.compared()}
        if first not in measured or last not in measured:
            continue
        rows = [found.rows[name] for name, label in measured.items() if label == measured[first]]
        aside = price and all(row.figures(us, FAULTS) for row in rows)
        yield from judged(found, us, f"{first} to {last.rpartition('/')[2]}: the dearest row's time over the cheapest's, page "
                          f"faults {'aside' if aside else 'included'}",
                          lambda name, rows=rows, price=price if aside else 0: growth(rows, name, price), most)


def growth(rows, name, price):
    costs = [cost(row, name, price) for row in rows]
    return max(costs) / min(costs) if costs and None not in costs and min(costs) > 0 else None


def cost(row, name, price):
    """Of an operation, without what the kernel takes for its page faults."""
    faults = row.figures(name, FAULTS)
    return results.median(time - faults.get(turn, 0) * price for turn, time in row.values(name, TIME).items())


def megabytes(values):
    kib = results.median(values.values())
    return kib and kib / 1024


def goals(found, us=results.US):
    if us not in found.allocators():
        return []
    parts = (of_all_rows, of_idle_threads, of_pipelines, of_freed_heap, of_curves)
    return [goal for part in parts for goal in part(found, us)]
