"""What is possible: the floor of a pair of calls, of memory, and of a page.

The floor of a pair is libfloor.so (bench/limits/floor.c): preloaded and measured like an allocator, by the same
benchmarks in the same rounds, but no allocator, and never a peer. The floor of memory is what the program itself holds,
where a workload tells. The floor of a page is the kernel's price of touching a fresh one.
"""

import re

from lib.allocators import Allocator
from . import process
from .workload import Missing, Workload

FLOOR = "floor"
PAGE_ROW = "limits/fresh page"

# libfloor serves one thread, 2,000 blocks of a size, and 32 KiB.
FLOOR_ROWS = re.compile(r"^micro/(?:pair|lifo|fifo|shuffle)/(\d+)$")
FLOOR_LARGEST = 32 << 10

# "live MB", "peak live KiB": how much the program holds, as it tells in Sample.figures.
LIVE = re.compile(r"^(?:peak )?live(?: peak)?(?: at peak)? (bytes|B|kB|KB|KiB|MB|MiB|GB|GiB)$", re.IGNORECASE)
KIB = {"bytes": 1 / 1024, "b": 1 / 1024, "kb": 1.0, "kib": 1.0, "mb": 1024.0, "mib": 1024.0,
       "gb": 1048576.0, "gib": 1048576.0}
# Until November 2026 a replay told millions of bytes, by this name.
OF_OLD_REPLAYS, MILLION = "peak live MB", 1e6 / 1024


class FreshPage(Workload):
    """No allocator takes part, so it is measured once a round, without a preload."""

    name = PAGE_ROW
    group = "limits"
    models = "the kernel's price of a page: fresh memory touched (after lmbench)"
    unit = "page"
    compares_time = compares_memory = False
    without_allocator = True

    def prepare(self, context):
        if not (context.build / "limit-touch").exists():
            raise Missing(f"no {context.build / 'limit-touch'}: build with the group limits")

    def measure(self, context, allocator):
        mib = {"smoke": 4, "quick": 32, "full": 256}[context.mode]
        return process.run(context, allocator, [context.build / "limit-touch", mib, 5], timeout=60)


def workloads():
    return [FreshPage()]


def floor(build):
    """The floor as something to preload, or None if it is not built."""
    path = build / "libfloor.so"
    return Allocator(FLOOR, str(path)) if path.exists() else None


def has_floor(name):
    """Whether the floor can run this row."""
    row = FLOOR_ROWS.search(name)
    return bool(row) and int(row.group(1)) <= FLOOR_LARGEST


def live_kib(sample):
    """What a sample (as data) says of live memory, at its peak, in KiB, or None: a figure, or a curve over time."""
    figures, curve = sample.get("figures", {}), sample.get("series", {}).get("live", [])
    found = [value * (MILLION if name == OF_OLD_REPLAYS else KIB[LIVE.match(name).group(1).lower()])
             for name, value in figures.items() if LIVE.match(name)]
    return max(found + [kib for _, kib in curve], default=None)
