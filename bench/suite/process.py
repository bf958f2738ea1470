"""One run of a command under an allocator, measured from outside by bench-runner."""

import contextlib
import errno
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from lib import allocators, runner
from . import machine
from .workload import Failed, Sample

# Fixed and small: what a run does must not depend on who starts it.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": "/nonexistent"}

LONGEST = 200  # characters of a program's last words


def run(context, allocator, command, **more):
    """Sample with wall time as time_ns. command[0] is a path; more: see run_and_read.

    If the command prints a line that begins with '{', the last such line is a JSON object that is laid over the sample:
    the keys are Sample's, so a program that measures itself prints {"time_ns": 12.5, "figures": {"p99 us": 80}}.
    """
    return overlay(*run_and_read(context, allocator, command, **more))


def run_and_read(context, allocator, command, *, stdin=None, env=None, timeout=600):
    """The Sample, and what the command printed. If it fails, the reason ends with the last it said on stderr.

    A preload that does not take is a failure, though ld.so only warns of it: it would be glibc that is measured.
    """
    with tempfile.TemporaryDirectory(dir=context.scratch) as directory:
        output, errors = Path(directory) / "output", Path(directory) / "errors"
        line = [str(context.build / "bench-runner"), "--runs", "1", "--warmup", "0", "--timeout", str(timeout),
                "--stdout", str(output), "--stderr", str(errors)]
        if stdin:
            line += ["--stdin", str(stdin)]
        line += [f"{allocator.name}={allocator.path or ''}", "--"] + [str(part) for part in command]
        out, reason = runner.call(line, {**ENVIRONMENT, **(env or {})})
        if reason:
            raise Failed(reason)
        sample, status = read_row(out.splitlines()[0])
        refused = runner.not_preloaded(errors.read_text(encoding="utf-8", errors="replace"))
        if refused:
            raise Failed(refused)
        if status:
            require_space(context.scratch)
            raise Failed(runner.describe(status) + last_words(errors))
        return sample, output.read_text(encoding="utf-8", errors="replace")


def read_once(workload, context):
    """What a first run reads from the disk is then in memory: a small run under glibc, which does not count. Of
    prepare(), at its end: or the disk would be a part of the first allocator's wall time.

    One that fails will be told of when it counts.
    """
    if context.mode != "smoke":
        with contextlib.suppress(Failed):
            workload.measure(replace(context, mode="smoke"), allocators.Allocator("glibc", None))


def require_space(path):
    """Asked when a program failed, while what it wrote is still there: a full disk is not the allocator's fault."""
    if machine.is_full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def last_words(path):
    """": " and the last line of the file that says anything, or nothing; fit for a terminal."""
    with open(path, "rb") as file:
        file.seek(max(file.seek(0, 2) - 16 * LONGEST, 0))
        lines = file.read().decode(errors="replace").splitlines()
    said = [line.strip() for line in lines if line.strip()]
    if not said:
        return ""
    text = "".join(c if c.isprintable() else "?" for c in said[-1])
    return f": {text if len(text) <= LONGEST else text[:LONGEST - 3] + '...'}"


def read_row(row):
    _, _, wall, user, system, minor, _, rss, status, switches = row.split("\t")
    return Sample(time_ns=int(wall), user_ns=int(user), system_ns=int(system), minor_faults=int(minor),
                  peak_rss_kb=int(rss), voluntary_switches=int(switches)), int(status)


def overlay(sample, text):
    lines = [line for line in text.splitlines() if line.startswith("{")]
    if not lines:
        return sample
    try:
        told = json.loads(lines[-1])
    except ValueError as error:
        raise Failed(f"bad JSON from the program: {error}") from None
    for key, value in told.items():
        if not hasattr(sample, key):
            raise Failed(f"the program tells of an unknown '{key}'")
        setattr(sample, key, value)
    return sample


def environment(allocator, env=None):
    """For what a workload starts itself, such as a server: PATH and the like, and the preload."""
    return allocators.environment(allocator, {**ENVIRONMENT, **(env or {})})
