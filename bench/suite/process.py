"""One run of a command under an allocator, measured from outside by bench-runner."""

import json
import tempfile
from pathlib import Path

from lib import allocators, runner
from .workload import Failed, Sample

# Fixed and small: what a run does must not depend on who starts it.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": "/nonexistent"}


def run(context, allocator, command, *, stdin=None, env=None, timeout=600):
    """Sample with wall time as time_ns. command[0] is a path.

    If the command prints a line that begins with '{', the last such line is a JSON object that is laid over the sample:
    the keys are Sample's, so a program that measures itself prints {"time_ns": 12.5, "figures": {"p99 us": 80}}.
    """
    with tempfile.TemporaryDirectory(dir=context.scratch) as directory:
        output = Path(directory) / "output"
        line = [str(context.build / "bench-runner"), "--runs", "1", "--warmup", "0", "--timeout", str(timeout),
                "--stdout", str(output)]
        if stdin:
            line += ["--stdin", str(stdin)]
        line += [f"{allocator.name}={allocator.path or ''}", "--"] + [str(part) for part in command]
        out, reason = runner.call(line, {**ENVIRONMENT, **(env or {})})
        if reason:
            raise Failed(reason)
        text = output.read_text(encoding="utf-8", errors="replace")
    sample, status = read_row(out.splitlines()[0])
    if status:
        raise Failed(runner.describe(status))
    return overlay(sample, text)


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
