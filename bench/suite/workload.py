"""What a workload is: the contract between the groups and the driver.

A group is a module of this package with a function that returns its Workload
objects: workloads() or workloads(build), with the folder of the built programs.
It measures nothing, and starts at most one of these to ask for the names of its
rows. The driver calls prepare() once for each workload and mode, in a resumed
run again, then measure() once for each allocator and round, always with the
context that was prepared last.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional

from lib.allocators import Allocator

MODES = ("smoke", "quick", "full")  # seconds, a few seconds, what it takes


class Missing(Exception):
    """This cannot be measured here: str() says in a few words what is missing."""


class Failed(Exception):
    """It did not work under this allocator: str() says how it ended."""


@dataclass
class Sample:
    """One measurement. None: the workload does not have it."""

    time_ns: Optional[float] = None  # the cost that is compared, per operation or whole; lower is better
    peak_rss_kb: Optional[int] = None  # of the process under test
    minor_faults: Optional[int] = None
    system_ns: Optional[int] = None
    user_ns: Optional[int] = None
    voluntary_switches: Optional[int] = None
    figures: Dict[str, float] = field(default_factory=dict)  # "name unit": value, such as {"p99 us": 81.5}
    # Curves over time: "rss" -> [[seconds, KiB], ...]
    series: Dict[str, List[List[float]]] = field(default_factory=dict)
    times_ns: List[float] = field(default_factory=list)  # those of which time_ns is the median, for later questions


@dataclass
class Context:
    """Where a workload works."""

    mode: str  # of MODES
    build: Path  # build/bench, with the binaries of bench/CMakeLists.txt
    scratch: Path  # its own directory, empty at first; the driver removes it
    kept: Path  # beside the results, for all workloads: what prepare() makes and a resumed run must have again
    pin: Optional[int] = None


class Workload:
    """One row of the report."""

    name: str  # group/what or group/what/argument, such as "threads/larson/4"
    group: str
    models: str  # one line: what it stands for, and where the idea comes from
    unit: str = "op"  # what time_ns is a cost of: "op", "run", "request"
    # For curves: rows that differ in one argument only; ("pair by size", 64) puts this row at x = 64.
    curve: Optional[tuple] = None
    # False: time is not the point of this one, and does not count in the geometric mean of times (or of memory).
    compares_time: bool = True
    compares_memory: bool = True
    rounds: Optional[int] = None  # after which there is nothing more to learn
    threaded: bool = False  # several threads or processes at once: --pin leaves it alone
    without_allocator: bool = False  # of the machine: once a round, with nothing preloaded

    def prepare(self, context: Context) -> None:
        """Makes inputs; raises Missing when something is not installed."""

    def measure(self, context: Context, allocator: Allocator) -> Sample:
        """Raises Failed. Starts nothing that outlives the call."""
        raise NotImplementedError
