"""Drives bench-runner and reads what it prints."""

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass

from . import allocators

TIMEOUT = 3600  # seconds, for all the runs of one program

# What ld.so says, and goes on without the object: from then on it would be glibc
# that is measured.
NOT_PRELOADED = "ERROR: ld.so: object"

DEFAULT = allocators.REPOSITORY / "build" / "bench" / "bench-runner"


@dataclass(frozen=True)
class Run:
    wall_ns: int
    minor_faults: int
    peak_rss_kb: int
    status: int


def add_arguments(parser):
    parser.add_argument("--runner", default=str(DEFAULT), metavar="PATH",
                        help="the bench-runner built by bench/CMakeLists.txt")
    parser.add_argument("--pin", type=int, metavar="CPU",
                        help="run everything on this CPU")


def prepare(args):
    if not os.access(args.runner, os.X_OK):
        allocators.fail(f"no {args.runner}: build bench/ first "
                        "(see bench/README.md), or give --runner")
    pin(args.pin)


def pin(cpu):
    if cpu is None:
        return
    try:
        os.sched_setaffinity(0, {cpu})
    except (OSError, ValueError) as error:
        allocators.fail(f"--pin {cpu}: {error}")


def measure(args, chosen, command, *, runs, warmup, env, stdin=None):
    """Name -> list of Run, or None (with a line said) if it cannot be run."""
    line = [args.runner, "--runs", str(runs), "--warmup", str(warmup)]
    if stdin:
        line += ["--stdin", stdin]
    line += [f"{a.name}={a.path or ''}" for a in chosen] + ["--"] + command
    out, reason = call(line, env)
    if reason:
        allocators.warn(f"{command[0]} left out: {reason}")
        return None
    return parse(out)


def call(line, env):
    """What bench-runner printed, and why it failed or None."""
    with subprocess.Popen(line, env=env, text=True, start_new_session=True,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as child:
        try:
            out, err = child.communicate(timeout=TIMEOUT)
        except BaseException as error:
            # The program which runs is its child, in the same session: end both, whatever it was that came up.
            # It may have ended just now, and the exception must not get lost for that.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return "", f"not done after {TIMEOUT} s"
    refused = not_preloaded(err)
    if refused or child.returncode == 0:
        return out, refused
    return out, (err.strip() or "no output").splitlines()[-1]


def not_preloaded(errors):
    """The line in which ld.so says that it preloads nothing, or None."""
    return next((line.strip() for line in errors.splitlines()
                 if NOT_PRELOADED in line), None)


def parse(text):
    samples = {}
    for row in text.splitlines():
        name, _, wall, _, _, minor, _, rss, status, _ = row.split("\t")
        samples.setdefault(name, []).append(
            Run(int(wall), int(minor), int(rss), int(status)))
    return samples


def describe(status):
    """A shell's status: 128 and more is a signal; 137 may be the timeout."""
    return allocators.death(128 - status if status > 128 else status)


def drop_failed(samples, what):
    """Leaves out, with a line, an allocator under which the program failed."""
    kept = {}
    for name, runs in samples.items():
        bad = sorted({run.status for run in runs} - {0})
        if bad:
            allocators.warn(f"{what} under {name} left out: "
                            f"{', '.join(map(describe, bad))}")
        else:
            kept[name] = runs
    return kept
