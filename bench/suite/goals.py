"""What the project promises of the suite's figures in full mode, and whether it is so."""

from dataclasses import dataclass
from typing import List, Optional

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
    beside: str = "-"  # who of the peers is the best at it, and how good

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


def of_all_rows(found, us):
    """The means over all rows, each once, and how many rows are above what each is to be at most."""
    names, rows = found.allocators(), results.rows_of_all(found)
    for key, what, peer in ((TIME, "time", "best"), (MEMORY, "peak RSS", "leanest")):
        mean = results.mean_to_best_peer(rows, names, key, us)
        if mean is None:
            continue
        others = {name: results.mean_to_best_peer(rows, names, key, name) for name in names if name != us}
        first = min((name for name in others if others[name]), key=others.get, default=None)
        yield Goal(f"{what} over the {peer} peer's, geometric mean of all rows", mean, most_of_mean(names, key, us),
                   f"{first} {others[first]:.2f}" if first else "-")
        missed = misses(found, key, us)
        yield Goal(f"rows above {ROW[key]:.2f} in {what}", len(missed.above) + len(missed.failed),
                   None if most_of_mean(names, key, us) is None else 0)


def goals(found, us=results.US):
    return list(of_all_rows(found, us)) if us in found.allocators() else []
