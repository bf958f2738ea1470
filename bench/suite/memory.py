"""Memory: what a heap costs beyond what the program asked for, and when it is given back.

The programs are those of bench/memory/, which say at their heads what they model. Peak RSS is told without their tables.
"""

import os
from pathlib import Path

from . import process
from .workload import MODES, Failed, Missing, Workload

TIMEOUT = {"smoke": 30, "quick": 60, "full": 300}


class Program(Workload):
    """A program of bench/memory/ with its arguments for each mode; None: not in this mode."""

    group = "memory"

    def __init__(self, name, program, arguments, models, *, compares_time=True, compares_memory=True, curve=None,
                 needs_mib=0, rounds=None):
        self.name = f"memory/{name}"
        self.program = f"memory-{program}"
        self.arguments = dict(zip(MODES, arguments))
        self.models = models
        self.compares_time = compares_time
        self.compares_memory = compares_memory
        self.curve = curve
        self.needs_mib, self.rounds = needs_mib, rounds

    def prepare(self, context):
        if not os.access(context.build / self.program, os.X_OK):
            raise Missing(f"no {self.program} in the build: its group is 'memory'")
        if self.arguments[context.mode] is None:
            raise Missing(f"not in mode {context.mode}")
        if available_mib() < self.needs_mib:
            raise Missing(f"needs {self.needs_mib} MiB of free memory")

    def measure(self, context, allocator):
        command = [context.build / self.program, *self.arguments[context.mode]]
        sample = process.run(context, allocator, command, timeout=TIMEOUT[context.mode])
        if not sample.figures:
            raise Failed(f"{self.program} told nothing")
        return sample


def available_mib():
    """MemAvailable, or a lot where the kernel does not tell."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return 1 << 30


def cycles():
    for name, objects, how in (("scattered", 1, "one by one"), ("grouped", 16384, "with their neighbours")):
        yield Program(f"cycles/{name}", "cycles", [(8, min(objects, 2048), 2, 20), (64, objects, 4, 500), (128, objects, 6, 600)],
                      f"load in waves: a heap grows, and shrinks to 10% by objects that die {how}, again and again "
                      "(ramps, Wilson et al. 1995)")


def survivors():
    for size, other in ((64, 512), (512, 64)):
        yield Program(f"survivor/{size}-{other}", "survivor", [(mib, size, other) for mib in (8, 64, 256)],
                      f"one object of {size} B left in each page, then as many bytes in objects of {other} B "
                      "(the case of Mesh, PLDI 2019)", compares_time=False)


def after_frees():
    for name, busy, how in (("idle", 0, "the process sleeps"), ("busy", 1, "it works on a thousand objects")):
        mib = 256 if busy else 1024  # the goal for it is of a GiB, and of a process that sleeps
        yield Program(f"afterfree/{name}", "afterfree", [(16, 1, busy), (64, 5, busy), (mib, 30, busy)],
                      f"RSS in the seconds after a heap of small objects was freed, while {how} "
                      "(decay and purge delays)", compares_time=False, compares_memory=False, rounds=2,
                      needs_mib=0 if busy else 2048)


# Live MiB; operations per mode, None for not in it; MiB that must be free.
SWEEP = [
    (1, (200_000, 4_000_000, 40_000_000), 0),
    (16, (200_000, 4_000_000, 40_000_000), 0),
    (256, (200_000, 2_000_000, 10_000_000), 1024),
    (1024, (None, None, 5_000_000), 3072),
    (8192, (None, None, 5_000_000), 16384),
]


def sweep():
    for mib, operations, needs_mib in SWEEP:
        yield Program(f"sweep/{mib}M", "sweep", [count and (mib, count) for count in operations],
                      f"random churn of mixed small sizes with {mib} MiB live (the churn of micro/, beyond the caches)",
                      curve=("churn by live bytes", mib << 20), needs_mib=needs_mib)


def workloads():
    return [
        Program("shift", "shift", [(8, 2), (64, 3), (128, 4)],
                "the mix of sizes moves from small to large and back, and some objects stay "
                "(Robson 1971, Wilson et al. 1995)", compares_time=False),
        *cycles(),
        *survivors(),
        *after_frees(),
        Program("server", "server", [(8, 3, 6_000), (64, 6, 300_000), (256, 12, 2_000_000)],
                "days of a server in a minute: requests, sessions and a cache, with sizes that drift "
                "(lifetimes as in Maas et al., ASPLOS 2020)"),
        Program("snapshot", "snapshot", [(16, 2_000), (128, 20_000), (512, 200_000)],
                "a parent goes on allocating while a forked child holds its heap (Redis' BGSAVE)",
                compares_memory=False),
        *sweep(),
    ]
