"""bench/run: measures the workloads of the suite under the allocators, in turns, and writes it all down."""

import contextlib
import errno
import math
import os
import re
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from lib import allocators
from . import arguments, children, groups, limits, load, machine, rawfile, report, results, schedule
from .interrupts import Interrupts
from .progress import Progress, clock
from .turns import Turns
from .workload import Context, Failed, Missing, Sample

RESULTS = allocators.REPOSITORY / "build" / "bench-results"
WELL, FAILED, WRONG, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130
# After so many repeated rounds in a row that were disturbed as well no more are for a while; seconds.
USELESS, PATIENCE = 4, 300
NOT_IN_MODE = "not in mode"  # how a workload that only --full has says so: nothing is wrong with that
LEAST_SPACE = 500  # MB, for scratch files


# Where the results are, and what a run before has left there.


def saved_arguments(start):
    """What a run that is resumed was started with."""
    return {key: start.get(key) for key in ("mode", "groups", "filter", "rounds", "pin", "noise", "outside")}


def repeated_seconds(records):
    """What went into repeated rounds before a resume: their share is one of the whole run."""
    return sum(record["seconds"] for record in records if record["kind"] == "sample" and record.get("attempt", 0) > 0)


def has_results(directory):
    """Whether a run has begun there: one that was interrupted at once may have left an empty file."""
    path = directory / rawfile.NAME
    return path.exists() and bool(results.load(path).start)


def newest_results():
    found = sorted(RESULTS.glob(f"*/{rawfile.NAME}"), key=lambda path: path.stat().st_mtime)
    found = [path for path in found if path.stat().st_size]
    if not found:
        allocators.fail(f"--resume: nothing in {RESULTS}")
    return found[-1].parent


def choose_directory(args):
    """Creates it. Without --resume it must not hold results."""
    if args.resume:
        directory = args.results or newest_results()
        if not has_results(directory):
            allocators.fail(f"--resume: nothing to go on with in {directory}")
        return directory
    directory = args.results or RESULTS / f"{args.mode}-{time.strftime('%Y%m%d-%H%M%S')}"
    if has_results(directory):
        allocators.fail(f"{directory} has results: --resume goes on with them, --results names another directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        allocators.fail(f"cannot make {directory}: {error.strerror}")
    return directory


# Allocators.


def choose_allocators(args, tell_left_out):
    """Those that load. One named --add floor would be taken for the limit."""
    if any(text.startswith(f"{limits.FLOOR}=") for text in args.add):
        allocators.fail(f"--add: {limits.FLOOR} is the name of the limit; take another")
    if args.mode == "smoke" and not args.only:
        added = [text.partition("=")[0] for text in args.add]
        args.only = ",".join(dict.fromkeys([results.US, "glibc"] + added))
    chosen = allocators.chosen(args)
    wanted = args.only.split(",") if args.only else list(allocators.known())
    present = {allocator.name for allocator in chosen}
    for name in wanted:
        if name not in present:
            tell_left_out(name)
    return first_ours(chosen)


def first_ours(chosen):
    return sorted(chosen, key=lambda allocator: allocator.name != results.US)


def check_floor(start, build):
    """As an allocator's file; older results do not have it."""
    floor = limits.floor(build)
    if "floor" in start and describe_floor(floor) != start["floor"]:
        allocators.fail(f"--resume: {build / 'libfloor.so'} has changed since; start anew")


def describe_floor(floor):
    return floor and machine.describe_allocator(floor)["sha256"]


def saved_allocators(start):
    """The same files as before, or none at all: two builds must not share a column."""
    chosen = []
    for saved in start["allocators"]:
        path = saved["path"] if saved["preloaded"] else None
        allocator = allocators.Allocator(saved["name"], path)
        if machine.describe_allocator(allocator)["sha256"] != saved["sha256"]:
            allocators.fail(f"--resume: {saved['name']} ({saved['path']}) has changed since; start anew")
        if allocators.usable(allocator):
            chosen.append(allocator)
    return chosen


class Changed(Exception):
    """An allocator's file is not the one that the run began with: the run ends, or two builds would share a column."""


class Suite:
    """One run: what it measures, what it has, and how it goes on."""

    def __init__(self, args, workloads, chosen, raw, found, progress, interrupts):
        self.args, self.workloads, self.chosen, self.raw, self.found = args, workloads, chosen, raw, found
        self.progress, self.interrupts = progress, interrupts
        self.floor = limits.floor(args.build)
        self.budget = schedule.budget_for(args.mode, args.rounds)
        self.began, self.before = time.monotonic(), found.seconds
        self.contexts, self.short, self.retried, self.useless = {}, set(), 0.0, 0
        self.gave_up = None  # when repeating became useless, the last time
        self.machine = Turns(args.lock)
        self.targets = {}
        self.files = {a.path: machine.identity_of(a.path) for a in chosen + [self.floor] if a and a.path}
        self.incomplete = self.changed = False

    # Keeping.

    def keep(self, **record):
        """Into the file and into the results, in one piece."""
        with self.interrupts.hold():
            self.raw.append(record)
            results.take(self.found, record)

    def tell(self, text):
        """A line for the reader of the log and of the report."""
        self.progress.note(text)
        self.keep(kind="note", text=text)

    # Time.

    def spent(self):
        """Seconds, those before a resume included, and not those in which others had the machine."""
        return self.before + time.monotonic() - self.began - self.machine.waited

    def seconds_left(self):
        return None if self.budget.seconds is None else self.budget.seconds - self.spent()

    def fits(self, seconds):
        left = self.seconds_left()
        return left is None or seconds <= left

    def row(self, workload):
        return self.found.rows.get(workload.name)

    def cost(self, workload):
        row = self.row(workload)
        return row.cost([a.name for a in self.participants(workload)]) if row else 0.0

    def time_left(self):
        """What the planned rounds that are not made yet will take, as far as is known."""
        left = self.seconds_left()
        if not self.targets:
            return self.first_rounds_left() if left is None else left
        planned = sum(self.cost(w) * max(self.targets.get(w.name, 0) - self.row(w).rounds(), 0)
                      for w in self.workloads if self.row(w))
        return planned if left is None else min(planned, max(left, 0))

    def first_rounds_left(self):
        """The workloads that were not begun, as if they were like the others. None: nothing is known yet."""
        begun = sum(1 for w in self.workloads if self.row(w))
        return self.spent() / begun * (len(self.workloads) - begun) * (self.args.rounds or 1) if begun else None

    # One measurement.

    def participants(self, workload):
        if workload.without_allocator:
            return [allocators.Allocator("glibc", None)]
        row = self.row(workload)
        with_floor = [self.floor] if self.floor and limits.has_floor(workload.name) else []
        return [a for a in self.chosen + with_floor if not row or a.name not in row.failed]

    @contextlib.contextmanager
    def pinned(self, workload):
        """--pin is for one thread: several would only wait for each other."""
        if self.args.pin is None or workload.threaded:
            yield
            return
        everywhere = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self.args.pin})
        try:
            yield
        finally:
            os.sched_setaffinity(0, everywhere)

    def prepared(self, workload, mode):
        """The context, or None if this cannot be measured here. prepare() is called once for each mode."""
        if (workload.name, mode) not in self.contexts:
            self.contexts[workload.name, mode] = self.prepare(workload, mode)
        return self.contexts[workload.name, mode]

    def prepare(self, workload, mode):
        scratch, began, reason = None, time.monotonic(), None
        try:
            scratch = Path(tempfile.mkdtemp(dir=self.scratch))
            context = Context(mode=mode, build=self.args.build, scratch=scratch, kept=self.raw.path.parent.resolve(),
                              pin=self.args.pin)
            workload.prepare(context)
        except Missing as error:
            reason = str(error)
        except Exception as error:  # a workload that is wrong is one row less, and no more
            self.interrupts.check()
            reason = explain(error)
        finally:
            self.sweep(workload)
        self.keep(kind="workload", **describe(workload, mode))
        self.keep(kind="spent", seconds=time.monotonic() - began)
        if reason:
            self.keep(kind="missing", workload=workload.name, reason=reason)
            self.progress.note(f"{workload.name} left out: {reason}")
            return None
        return context

    def sweep(self, workload):
        left = children.end_all()
        if left and not isinstance(sys.exc_info()[1], KeyboardInterrupt):  # then they had no time to end
            self.tell(f"{workload.name} left {left} process{'es' if left > 1 else ''} behind; ended")

    def require_unchanged(self, allocator):
        """After a measurement, before it counts: one that a new build came into is not of either."""
        if allocator.path and machine.identity_of(allocator.path) != self.files[allocator.path]:
            raise Changed(f"{allocator.name} ({allocator.path}) has changed during the run, which ends here")

    def measure(self, workload, context, allocator, turn, attempt):
        """One sample into the results, or the failure; the seconds it took."""
        began = time.monotonic()
        try:
            with self.pinned(workload):
                sample = clean(workload.measure(context, allocator))
        except Exception as error:
            seconds = time.monotonic() - began
            self.take_failure(workload, allocator, turn, error, seconds)
        else:
            seconds = time.monotonic() - began
            self.require_unchanged(allocator)
            self.keep(kind="sample", workload=workload.name, allocator=allocator.name, round=turn, attempt=attempt,
                      seconds=round(seconds, 4), sample=sample)
        finally:
            self.sweep(workload)
        return seconds

    def take_failure(self, workload, allocator, turn, error, seconds):
        """A disk that is full is nobody's fault: told, and tried again by --resume."""
        self.interrupts.check()
        self.require_unchanged(allocator)
        where = f"{workload.name} under {allocator.name}"
        if is_for_space(error) or machine.is_full(self.scratch):
            self.tell(f"{where} skipped: no space on the disk for it")
            self.incomplete = True
            return
        reason = explain(error)
        self.keep(kind="failure", workload=workload.name, allocator=allocator.name, round=turn, reason=reason,
                  seconds=round(seconds, 4))
        self.progress.note(f"{where} failed: {reason}")

    # Rounds.

    def show(self, workload, turn):
        place = f"round {turn + 1} of up to {max(self.targets.values(), default=self.budget.most)}"
        self.progress.update(f"{self.args.mode}: {workload.name} ({place})", self.time_left())

    def missing_in(self, workload, turn, place):
        row = self.row(workload)
        everyone = schedule.order(self.participants(workload), turn, place)
        return [a for a in everyone if not row or not row.done(a.name, turn)]

    def attempt(self, workload, context, who, turn, attempt, before=None):
        """Measures each once, one right after the other; the share of the machine that others had meanwhile.

        before: the load when it began, if one is measured already.
        """
        before = before or load.read()
        for allocator in who:
            self.measure(workload, context, allocator, turn, attempt)
        share = load.outside(before, load.read())
        self.keep(kind="attempt", workload=workload.name, round=turn, attempt=attempt, outside=round(share, 4))
        return share

    def one_round(self, workload, turn, place):
        self.interrupts.check()
        if self.missing_in(workload, turn, place):
            self.machine.take()
            self.round_alone(workload, turn, place)

    def round_alone(self, workload, turn, place):
        who = self.missing_in(workload, turn, place)
        self.show(workload, turn)
        context, before = self.context_for(workload, place)
        if context is None:
            return
        who = self.missing_in(workload, turn, place)  # choosing the mode may have measured one
        share = self.attempt(workload, context, who, turn, 0, before)
        if share * 100 > self.args.outside:
            self.again(workload, context, turn, place, share)

    def may_repeat(self, cost):
        """What bounds the cost is the share; that it did not help is true of some minutes only."""
        if self.useless >= USELESS and time.monotonic() - self.gave_up > PATIENCE:
            self.useless = 0
        allowed = self.budget.seconds is None or self.retried + cost <= self.budget.seconds * self.budget.retry_share
        return self.budget.retry_share > 0 and self.useless < USELESS and allowed and self.fits(cost)

    def again(self, workload, context, turn, place, share):
        """A disturbed round is repeated once, if there is time; of the two the quieter counts."""
        cost = self.cost(workload)
        if not self.may_repeat(cost):
            return
        self.retried += cost
        who = schedule.order(self.participants(workload), turn, place)
        repeated = self.attempt(workload, context, who, turn, 1)
        self.progress.note(f"{workload.name}: others took {share:.0%} of the machine in round {turn + 1}; "
                           f"measured again ({repeated:.0%})")
        self.useless = self.useless + 1 if repeated * 100 > self.args.outside else 0
        if self.useless == USELESS:
            self.give_up(repeated)

    def give_up(self, repeated):
        """For a while; the report has the first time only."""
        tell = self.progress.note if self.gave_up else self.tell
        tell(f"others keep taking much of the machine ({repeated:.0%}): disturbed rounds are only marked for "
             f"{PATIENCE // 60} minutes")
        self.gave_up = time.monotonic()

    def context_for(self, workload, place):
        """In quick mode a workload that would take much more than its share is measured as in smoke mode, and marked.

        Which that is shows only when it is tried, under the one whose turn it is to be the first; rows that differ in
        the last argument follow. Also the load before the trial, if that has become a part of the first round.
        """
        row = self.row(workload)
        if row and row.tries:
            return self.prepared(workload, row.about["mode"]), None
        if self.args.mode != "quick" or self.budget.seconds is None:
            return self.prepared(workload, self.args.mode), None
        if schedule.stem(workload.name) in self.short:
            return self.prepared(workload, "smoke"), None
        return self.try_out(workload, place)

    def try_out(self, workload, place):
        context = self.prepared(workload, "quick")
        if context is None:
            return None, None
        who = schedule.order(self.participants(workload), 0, place)
        before, began = load.read(), time.monotonic()
        try:
            with self.pinned(workload):
                sample = clean(workload.measure(context, who[0]))
        except Exception as error:
            self.take_failure(workload, who[0], 0, error, time.monotonic() - began)
            return context, before
        finally:
            self.sweep(workload)
        if self.judge(workload, who, sample, time.monotonic() - began):
            return context, before
        return self.prepared(workload, "smoke"), None

    def judge(self, workload, who, sample, seconds):
        """Keeps the sample of a trial, or gives up the mode it was made in: False."""
        self.require_unchanged(who[0])
        left = [w.group for w in self.workloads if not self.row(w)]
        if not schedule.too_long(seconds * len(who), self.seconds_left(), workload.group, left):
            self.keep(kind="sample", workload=workload.name, allocator=who[0].name, round=0, attempt=0,
                      seconds=round(seconds, 4), sample=sample)
            return True
        self.short.add(schedule.stem(workload.name))
        self.keep(kind="spent", seconds=round(seconds, 4))
        return False

    def first_rounds(self):
        skipped = []
        for place, workload in enumerate(self.workloads):
            if self.fits(self.cost(workload)):
                self.one_round(workload, 0, place)
            elif self.missing_in(workload, 0, place):
                skipped.append(workload.name)
        if skipped:
            self.incomplete = True
            self.tell(f"no time left for {len(skipped)} workloads: {', '.join(skipped)}")

    def measurable(self):
        return [(place, w) for place, w in enumerate(self.workloads)
                if self.row(w) and self.row(w).tries and not self.row(w).missing]

    def allot(self, extra=0, only=None):
        rows = [w for _, w in self.measurable() if only is None or w.name in only]
        self.targets = schedule.allot({w.name: self.cost(w) for w in rows},
                                      {w.name: self.row(w).rounds() for w in rows}, self.seconds_left(),
                                      self.budget.most + extra, {w.name: w.rounds for w in rows if w.rounds})

    def make_rounds(self):
        """As many as the targets say; a target is what fitted when it was set, so the clock is asked again."""
        for turn in range(max(self.targets.values(), default=0)):
            for place, workload in self.measurable():
                if turn < self.targets.get(workload.name, 0) and self.fits(self.cost(workload)):
                    self.one_round(workload, turn, place)

    def noisy_rows(self):
        names = [allocator.name for allocator in self.chosen]
        spreads = {w.name: results.noise(self.row(w), names) for _, w in self.measurable()}
        return [name for name, spread in spreads.items() if spread and spread * 100 > self.args.noise]

    def run(self):
        self.first_rounds()
        self.allot()
        self.make_rounds()
        noisy = self.noisy_rows()
        if noisy and self.budget.extra:
            self.progress.note(f"{len(noisy)} rows have a spread above {self.args.noise:g}%: more rounds for them, "
                               "if there is time")
            self.allot(self.budget.extra, set(noisy))
            self.make_rounds()
            noisy = self.noisy_rows()
        if noisy:
            self.tell(f"spread above {self.args.noise:g}%: {', '.join(noisy)}")

    def run_in_scratch(self):
        """True if it came to its end."""
        self.scratch = tempfile.mkdtemp(prefix="bslab-bench-")
        try:
            if machine.free_megabytes(self.scratch) < LEAST_SPACE:
                self.tell(f"less than {LEAST_SPACE} MB free in {self.scratch}: some workloads may fail")
            self.run()
            return True
        except KeyboardInterrupt:
            self.progress.note("interrupted: what was measured is kept; --resume goes on from here")
            return False
        except Changed as error:
            self.tell(str(error))
            self.changed = True
            return True
        finally:
            children.end_all()
            self.machine.drop()
            self.progress.clear()
            shutil.rmtree(self.scratch, ignore_errors=True)


# Small helpers.


def explain(error):
    text = str(error).strip()
    if isinstance(error, (Failed, Missing)):
        return text or "no reason given"
    return f"{type(error).__name__}: {text}".splitlines()[0]


def is_for_space(error):
    """Of the driver's own, or as a server or a client said it; they run in the locale C."""
    own = isinstance(error, OSError) and error.errno == errno.ENOSPC
    return own or os.strerror(errno.ENOSPC) in str(error)


def clean(sample):
    """As plain data, None and empty left out. Raises Failed at what is no number."""
    if not isinstance(sample, Sample):
        raise Failed(f"measure() returned {type(sample).__name__}")
    data = {key: value for key, value in asdict(sample).items() if value not in (None, {}, [])}
    numbers = [(key, value) for key, value in data.items() if key not in ("figures", "series", "times_ns")]
    numbers += [("times_ns", value) for value in data.get("times_ns", [])]
    points = [(name, value) for name, curve in data.get("series", {}).items() for point in curve for value in point]
    for name, number in numbers + list(data.get("figures", {}).items()) + points:
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            raise Failed(f"{name}: {number!r} is no number")
    return data


def describe(workload, mode):
    return {"name": workload.name, "group": workload.group, "models": workload.models, "unit": workload.unit,
            "curve": list(workload.curve) if workload.curve else None, "mode": mode,
            "compares_time": workload.compares_time, "compares_memory": workload.compares_memory}


def select(workloads, patterns, tell):
    """Those that any of the patterns matches, and whether one matched nothing."""
    useless = [p for p in patterns if not any(re.search(p, w.name) for w in workloads)]
    for pattern in useless:
        tell(f"--filter {pattern}: no workload has such a name")
    if patterns:
        workloads = [w for w in workloads if any(re.search(p, w.name) for p in patterns)]
    return workloads, bool(useless)


def describe_start(args, chosen, left_out):
    described = [{"name": a.name, "preloaded": a.path is not None, **machine.describe_allocator(a)} for a in chosen]
    return {"kind": "start", "version": 1, "when": time.strftime("%Y-%m-%d %H:%M:%S %z"), "mode": args.mode,
            "groups": args.groups, "filter": args.filter, "rounds": args.rounds, "pin": args.pin, "noise": args.noise,
            "outside": args.outside, "allocators": described, "left_out": left_out,
            "floor": describe_floor(limits.floor(args.build)), "machine": machine.describe(args.build)}


def resumed(suite):
    """The record of it, and a line if the figures before and after are of different things."""
    now = machine.describe(suite.args.build)
    suite.keep(kind="resumed", when=time.strftime("%Y-%m-%d %H:%M:%S %z"), machine=now)
    different = machine.differences(suite.found.start.get("machine", {}), now)
    if different:
        suite.tell(f"resumed with another {'; '.join(different)}")


def status_of(found, finished, incomplete, kept):
    if not finished:
        return INTERRUPTED
    if not kept or any(row.failed for row in found.rows.values()):
        return FAILED
    missing = [row.missing for row in found.rows.values() if row.missing and NOT_IN_MODE not in row.missing]
    return INCOMPLETE if incomplete or missing else WELL


def open_raw(directory):
    try:
        return rawfile.RawFile(directory / rawfile.NAME, allocators.warn)
    except BlockingIOError:
        allocators.fail(f"another run writes into {directory}")
    except OSError as error:
        allocators.fail(f"cannot write {directory / rawfile.NAME}: {error.strerror}")


def main(argv=None):
    args = arguments.parse(argv)
    args.mode = args.mode or "quick"
    interrupts = Interrupts()
    children.adopt_orphans()
    try:
        return run(args, interrupts)
    except KeyboardInterrupt:
        return INTERRUPTED


def run(args, interrupts):
    directory = choose_directory(args)
    records = rawfile.read(directory / rawfile.NAME) if args.resume else []
    found = results.build(records)
    if found.start:
        vars(args).update(saved_arguments(found.start))
    arguments.check(args)
    left_out = list(found.start.get("left_out", []))
    if found.start:
        check_floor(found.start, args.build)
    chosen = saved_allocators(found.start) if found.start else choose_allocators(args, left_out.append)
    if not chosen:
        allocators.fail("no allocator left to compare")
    wanted = args.groups.split(",") if args.groups else groups.KNOWN
    workloads, absent = groups.load(wanted, args.build, allocators.warn)
    workloads, useless = select(workloads, args.filter, allocators.warn)
    if not workloads:
        allocators.fail("no workload to measure")
    raw = open_raw(directory)
    suite = Suite(args, workloads, chosen, raw, found, Progress(sys.stderr), interrupts)
    suite.retried = repeated_seconds(records)
    suite.incomplete = bool(absent or useless or left_out)
    if found.start:
        resumed(suite)
    else:
        suite.keep(**describe_start(args, chosen, left_out))
    return measure_and_report(suite, directory)


def measure_and_report(suite, directory):
    began = time.monotonic()
    finished = suite.run_in_scratch()
    kept = suite.raw.close()
    if not kept:
        allocators.warn(f"the last samples could not be written to {directory / rawfile.NAME} and are lost")
    with suite.interrupts.hold():
        written = report.write(suite.found, directory)
    print(report.summary(suite.found))
    print(f"\n{clock(time.monotonic() - began)} in {directory}" + (f": {', '.join(written)}" if written else ""))
    return status_of(suite.found, finished, suite.incomplete,
                     kept and len(written) == 2 and not suite.changed)
