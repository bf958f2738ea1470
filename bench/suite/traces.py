"""Traces of real programs, recorded here and replayed under each allocator.

prepare() runs the program once under librecord.so and keeps what trace-prepare
makes of it beside the results, for all allocators and rounds, those of a
resumed run included; measure() runs trace-replay. How both work, and what a
replay can and cannot show: bench/trace/README.md.
"""

import os
import random
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Optional

from rss import programs

from . import process
from .workload import Failed, Missing, Workload

SCRIPTS = Path(__file__).resolve().parent.parent / "trace" / "work"
TOOLS = ("librecord.so", "trace-info", "trace-prepare", "trace-replay", "bench-runner")

LIMITS = {"smoke": 50_000, "quick": 1_000_000, "full": 3_000_000}  # operations recorded
RECORD_BYTES = 16
RUNS = {"smoke": 1, "quick": 5, "full": 5}  # processes per sample, of which the median is taken
RECORDING_TIMEOUT = 180  # seconds
REPLAY_TIMEOUT = 120


@dataclass
class Job:
    """A program to be recorded, and who drives it once it runs."""

    command: List[str]
    stdin: Optional[Path] = None
    environment: Dict[str, str] = field(default_factory=dict)
    only: Optional[str] = None  # of the processes, the one with this name
    drive: Optional[Callable[[subprocess.Popen, Path], None]] = None


@dataclass(frozen=True)
class Recording:
    name: str
    models: str
    make: Callable[[str, Path], Job]  # given the mode and a directory to run in
    threads: bool = False  # also replayed with its threads


def find(program):
    path = shutil.which(program, path=process.ENVIRONMENT["PATH"])
    if not path:
        raise Missing(f"{program} is not installed")
    return path


def from_rss(job, program, **more):
    """A job of bench/rss, with the same work."""
    return Job([find(program)] + job.arguments, stdin=job.stdin and Path(job.stdin),
               environment={**programs.ENVIRONMENT, **job.environment}, **more)


def sqlite3(mode, directory):
    """The work some times over in one session, for full."""
    job = from_rss(programs.sqlite_memory(directory), "sqlite3")
    script = directory / "work.sql"
    script.write_text(job.stdin.read_text(encoding="ascii") * (6 if mode == "full" else 1), encoding="ascii")
    job.stdin = script
    return job


def python3(_mode, directory):
    return from_rss(programs.python_malloc(directory), "python3")


def gcc(mode, directory):
    """The compiler proper. -S: what was compiled when the recording ends need not assemble."""
    source = directory / "work.c"
    functions = {"smoke": 10, "quick": 40, "full": 280}[mode]
    source.write_text(programs.c_source(functions), encoding="ascii")
    return Job([find("gcc"), "-O2", "-S", "-o", "work.s", str(source)], only="cc1")


def lua(mode, directory):
    """The work some times over, each dropping what the last kept, for full."""
    job = from_rss(programs.lua(directory), "lua5.4")
    script = directory / "work.lua"
    times = 3 if mode == "full" else 1
    script.write_text(f"for _ = 1, {times} do dofile('{job.command[1]}') end\n", encoding="utf-8")
    job.command[1] = str(script)
    return job


def node(mode, _directory):
    rounds = {"smoke": 50, "quick": 400, "full": 3000}[mode]
    return Job([find("node"), str(SCRIPTS / "node.js"), str(rounds)])


def redis(_mode, _directory):
    """Nothing is written to disk, and all comes through a socket in its directory."""
    command = [find("redis-server"), "--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no",
               "--daemonize", "no", "--loglevel", "warning"]
    return Job(command, drive=drive_redis)


def redis_commands(seed=1):
    """Without end: a cache of strings, and lists, hashes and sorted sets which grow and are unlinked.

    unlink of what has more than 64 members is left to a background thread.
    """
    draw = random.Random(seed)
    value = "x" * 20_000
    while True:
        key = int(30_000 * draw.random() ** 2)
        what = draw.random()
        small, large = key % 61, key % 13
        if what < 0.40:
            yield "GET", f"string:{key}"
        elif what < 0.60:
            yield "SET", f"string:{key}", value[:int(16 * 2 ** (9 * draw.random() ** 2))]
        elif what < 0.64:
            yield "SETEX", f"session:{key}", "1", f"user={key};{value[:key % 200]}"
        elif what < 0.68:
            yield "APPEND", f"log:{key % 500}", value[:key % 100]
        elif what < 0.72:
            yield "DEL", f"string:{key}", f"log:{key % 500}"
        elif what < 0.80:
            yield "HSET", f"hash:{small}", f"field{key}", value[:key % 90], f"other{key % 7}", str(key)
        elif what < 0.86:
            yield "LPUSH", f"list:{small}", value[:40 + key % 300]
        elif what < 0.89:
            yield "RPOP", f"list:{small}"
        elif what < 0.97:
            yield "ZADD", f"set:{large}", str(key % 997), f"member:{key}"
        elif what < 0.998:
            yield "ZRANGE", f"set:{large}", "0", "9"
        else:
            yield "UNLINK", f"hash:{small}", f"list:{small}", f"set:{large}"


def encode(command):
    parts = [f"*{len(command)}\r\n"] + [f"${len(part)}\r\n{part}\r\n" for part in command]
    return "".join(parts).encode("ascii")


def connect(server, directory, name):
    """A path through /proc, as that of a socket may have no more than 107 characters."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(500):
            try:
                client = socket.socket(socket.AF_UNIX)
                client.connect(f"/proc/self/fd/{handle}/{name}")
                return client
            except OSError:
                client.close()
            if server.poll() is not None:
                return None
            time.sleep(0.02)
    finally:
        os.close(handle)
    raise Missing(f"nothing answers at {name}")


def drive_redis(server, directory):
    """Commands in batches until the server has been recorded to the limit, and so is gone."""
    client = connect(server, directory, "redis.sock")
    if not client:
        return
    client.settimeout(30)
    commands = redis_commands()
    with client:
        try:
            while server.poll() is None:
                batch = [next(commands) for _ in range(200)]
                # Its own message is the last answer: all before it have been given.
                client.sendall(b"".join(map(encode, batch)) + encode(("ECHO", "end of batch")))
                if not read_until(client, b"\r\nend of batch\r\n"):
                    return
        except ConnectionError:
            return
        except TimeoutError:
            raise Missing("redis-server does not answer when recorded") from None


def read_until(client, mark):
    tail = b""
    while not tail.endswith(mark):
        received = client.recv(1 << 16)
        if not received:
            return False
        tail = (tail + received)[-64:]
    return True


def start(job, context, directory, trace, limit):
    environment = {**process.ENVIRONMENT, **job.environment,
                   "LD_PRELOAD": str(context.build.resolve() / "librecord.so"),
                   "TRACE_FILE": str(trace), "TRACE_LIMIT": str(limit), "TRACE_AT_LIMIT": "exit"}
    if job.only:
        environment["TRACE_PROGRAM"] = job.only
    with open(job.stdin or os.devnull, "rb") as source, open(directory / "output", "wb") as output:
        return subprocess.Popen(job.command, cwd=directory, env=environment, stdin=source, stdout=output,
                                stderr=subprocess.STDOUT, start_new_session=True)


def kill(child):
    """Its session is its own, with all it started."""
    try:
        os.killpg(child.pid, 9)
    except ProcessLookupError:
        pass
    child.wait()


def run_recorded(job, context, directory, limit):
    """The trace, the largest if there were several processes."""
    # A full disk ends the recording and not the program: that would be a shorter trace, and nobody told.
    if shutil.disk_usage(directory).free < limit * RECORD_BYTES * 2:
        raise Missing(f"no space for a recording in {directory.parent}")
    trace = directory / "trace"
    child = start(job, context, directory, trace, limit)
    try:
        if job.drive:
            job.drive(child, directory)
        status = child.wait(timeout=RECORDING_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise Missing(f"{Path(job.command[0]).name} is not recorded within {RECORDING_TIMEOUT} s") from None
    finally:
        kill(child)
    if status:
        lines = (directory / "output").read_text(encoding="utf-8", errors="replace").splitlines()
        raise Missing(f"{Path(job.command[0]).name} fails when recorded (status {status}): {(lines or [''])[-1]}")
    traces = sorted(directory.glob("trace.*"), key=lambda path: path.stat().st_size)
    if not traces:
        raise Missing(f"{Path(job.command[0]).name} left no trace")
    return traces[-1]


def tool(context, name, *arguments):
    line = [str(context.build / name)] + [str(argument) for argument in arguments]
    done = subprocess.run(line, timeout=RECORDING_TIMEOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing((done.stderr.strip() or f"{name} fails").splitlines()[-1])
    return done.stdout


class Trace(Workload):
    group = "trace"
    unit = "op"

    def __init__(self, recording, threads):
        self.recording = recording
        self.threads = self.threaded = threads
        self.name = f"trace/{recording.name}" + ("/threads" if threads else "")
        how = "its threads" if threads else "one thread"
        self.models = f"{recording.models}, recorded and replayed with {how}"
        self.prepared = None

    def prepare(self, context):
        for name in TOOLS:
            if not (context.build / name).exists():
                raise Missing(f"{name} is not built")
        place = context.kept / "traces" / context.mode / self.recording.name
        if not place.exists():
            self.record(context, place)
        self.prepared = place / ("threads.replay" if self.threads else "replay")

    def record(self, context, place):
        """All is made beside its place and renamed in one: what is there is whole, and of one recording.

        The trace itself, which is larger, is not kept.
        """
        unfinished = place.with_name(f"{place.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)  # left by a run that was killed
        unfinished.mkdir(parents=True)
        try:
            with tempfile.TemporaryDirectory(dir=context.scratch) as name:
                job = self.recording.make(context.mode, Path(name))
                trace = run_recorded(job, context, Path(name), LIMITS[context.mode])
                (unfinished / "info").write_text(tool(context, "trace-info", trace), encoding="utf-8")
                tool(context, "trace-prepare", trace, unfinished / "replay")
                if self.recording.threads:
                    tool(context, "trace-prepare", "--threads", trace, unfinished / "threads.replay")
            unfinished.rename(place)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def measure(self, context, allocator):
        if context.mode == "smoke":
            self.replay(context, allocator, "--check")
        samples = [self.replay(context, allocator) for _ in range(RUNS[context.mode])]
        middle = statistics.median_low(sample.time_ns for sample in samples)
        return next(sample for sample in samples if sample.time_ns == middle)

    def replay(self, context, allocator, *options):
        command = [context.build / "trace-replay", *options, self.prepared]
        sample = process.run(context, allocator, command, timeout=REPLAY_TIMEOUT)
        if "ops" not in sample.figures:
            raise Failed("the replay prints no result")
        return sample


RECORDINGS = [
    Recording("sqlite3", "sqlite3: tables in memory filled, indexed, joined and updated", sqlite3),
    Recording("python3", "python3 with PYTHONMALLOC=malloc: parses, counts and serialises", python3),
    Recording("gcc", "cc1 -O2 on generated C", gcc),
    Recording("lua", "lua5.4: trees, string tables and closures built and dropped; all by realloc", lua),
    Recording("redis", "redis-server: strings, hashes, lists and sorted sets grown and dropped", redis, threads=True),
    Recording("node", "node's C++: streams, zlib, digests, HTTP, messages to two workers", node, threads=True),
]


def workloads():
    return [Trace(recording, threads) for recording in RECORDINGS
            for threads in ([False, True] if recording.threads else [False])]
