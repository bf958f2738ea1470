"""What else the machine did during a measurement: the time of its CPUs that was not ours."""

import os
import resource
import time
from dataclasses import dataclass

# Columns of the line "cpu" in /proc/stat, man 5 proc; idle and iowait are left out.
BUSY = (0, 1, 2, 5, 6)
STEAL = 7
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Reading:
    when: float
    busy: float  # seconds of all CPUs together, by this machine's processes
    stolen: float  # by other guests of the host
    own: float  # by us and what we waited for
    cpus: int


def parse_stat(text):
    """(busy, stolen, CPUs) in seconds from /proc/stat."""
    lines = text.splitlines()
    ticks = [int(field) for field in lines[0].split()[1:]]
    cpus = sum(1 for line in lines[1:] if line.startswith("cpu"))
    stolen = ticks[STEAL] if len(ticks) > STEAL else 0
    return sum(ticks[i] for i in BUSY) / TICK, stolen / TICK, cpus


def own_seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def read():
    try:
        with open("/proc/stat", encoding="ascii") as file:
            busy, stolen, cpus = parse_stat(file.read())
    except OSError:
        busy, stolen, cpus = 0.0, 0.0, 1
    return Reading(time.monotonic(), busy, stolen, own_seconds(), cpus)


def outside(before, after):
    """The share of the machine, 0..1, that others had; the clock ticks are coarse, so a short while tells little."""
    capacity = (after.when - before.when) * max(after.cpus, 1)
    if capacity <= 0:
        return 0.0
    others = (after.busy - before.busy) - (after.own - before.own)
    return min(max(others, 0.0) + max(after.stolen - before.stolen, 0.0), capacity) / capacity
