"""Threads: what an allocator shares between them, and what it keeps for each. The programs are in bench/threads."""

import os

from . import process
from .workload import Missing, Workload

TIMEOUT = {"smoke": 60, "quick": 120, "full": 600}  # seconds


class Program(Workload):
    """One of bench/threads, with arguments; the last is how much it does, by mode."""

    group = "threads"
    threaded = True

    def __init__(self, what, program, arguments, amounts, models, **traits):
        self.name = f"threads/{what}"
        self.program = program
        self.arguments = arguments
        self.amounts = dict(zip(("smoke", "quick", "full"), amounts))
        self.models = models
        self.processors = traits.pop("processors", 1)
        for name, value in traits.items():
            setattr(self, name, value)

    def prepare(self, context):
        """Raises Missing if it is not built, or if this machine has too few processors for it to mean anything."""
        if not os.access(context.build / self.program, os.X_OK):
            raise Missing(f"no {self.program} in {context.build}: build bench/ first")
        if len(os.sched_getaffinity(0)) < self.processors:
            raise Missing(f"wants {self.processors} processors")

    def measure(self, context, allocator):
        """One process."""
        command = [context.build / self.program, *self.arguments, self.amounts[context.mode]]
        return process.run(context, allocator, command, timeout=TIMEOUT[context.mode])


def pipelines():
    for pairs in (1, 4):
        yield Program(f"pipeline/{pairs}", "threads-pipeline", [pairs], (500_000, 2_000_000, 15_000_000),
                      "producers and consumers: each block is freed by another thread (after xmalloc-test, Lever and "
                      "Boreham 2000)")


def servers():
    for threads in (1, 4, 16):
        yield Program(f"larson/{threads}", "threads-larson", [threads], (40, 300, 2500),
                      "a server: random objects replaced, arrays handed on to new threads (Larson and Krishnan, "
                      "ISMM 1998)")


def false_sharing():
    for kind, origin in (("active", "cache-thrash"), ("passive", "cache-scratch")):
        for threads in (2, 8):
            yield Program(f"{kind}-sharing/{threads}", "threads-sharing", [kind, threads],
                          (20_000, 300_000, 800_000),
                          f"small objects counted up 1,000 times each; {kind} false sharing (after {origin}, Hoard, "
                          "ASPLOS 2000)", processors=2)


def bursts():
    for threads in (2, 8):
        rounds = [amount // threads for amount in (160, 2400, 16_000)]
        yield Program(f"bursts/{threads}", "threads-bursts", [threads], rounds,
                      "threads allocate a burst each, exchange parts of it, and free them")


def swings():
    for threads in (2, 8):
        rounds = [amount // threads for amount in (16, 200, 1600)]
        yield Program(f"swing/{threads}", "threads-swing", [threads], rounds,
                      "threads replace blocks of up to 2 MiB, exchange some, and free all, again and again (after mstress, "
                      "mimalloc-bench)")


def short_lives():
    yield Program("short/8", "threads-short", [8], (2_000, 15_000, 60_000),
                  "threads come and go by the thousand and leave objects to others (after Larson's generations)")


def churns():
    for threads in (1, 2, 4, 8, 16, 32, 64):
        yield Program(f"churn/{threads}", "threads-churn", [threads], (1_000_000, 15_000_000, 60_000_000),
                      "16,384 objects divided among threads and replaced at random (after threadtest, Hoard, "
                      "ASPLOS 2000)", curve=("churn by threads", threads))


def sleepers():
    yield Program("idle/1000", "threads-idle", [1000], (10, 10, 10),
                  "1,000 threads that allocated a little each and sleep: a thread for each connection",
                  compares_time=False)
    yield Program("sleeping/64", "threads-sleeping", ["active", 64], (1_000_000, 8_000_000, 20_000_000),
                  "one active thread replaces objects of 64 that sleep")
    yield Program("calls/64", "threads-sleeping", ["calls", 64], (500_000, 3_000_000, 6_000_000),
                  "random calls to 64 threads that sleep, each replacing 200 objects")


def workloads():
    groups = (pipelines, servers, false_sharing, bursts, swings, short_lives, churns, sleepers)
    return [workload for group in groups for workload in group()]
