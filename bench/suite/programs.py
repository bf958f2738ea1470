"""Whole programs with real work, and servers under load: what an allocator is to somebody who only uses it.

Each is Debian's build and runs as users run it. redis is not among them: Debian's redis-server is linked with jemalloc,
so without a preload it would run on jemalloc, and its row would be headed "glibc".
"""

import shutil
import tempfile
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional

from programs import inputs, servers
from . import process
from .workload import MODES, Failed, Missing, Workload

TIMEOUT = 300  # seconds


@dataclass
class Job:
    """What a program is to do; what it writes goes to the workload's scratch directory."""

    arguments: List[str]
    stdin: Optional[str] = None
    environment: Dict[str, str] = field(default_factory=dict)


class Program(Workload):
    """One run of a program from its start to its end; unit "run"."""

    group = "programs"
    unit = "run"

    def __init__(self, name, executable, package, models, amounts, job: Callable, *, threaded=False):
        self.name, self.models = f"programs/{name}", models
        self.executable, self.package, self.threaded = executable, package, threaded
        self.amounts = dict(zip(MODES, amounts))
        self.make_job = job  # given the scratch directory and the amount
        self.path = self.job = None

    def prepare(self, context):
        # By this path and not the caller's: a version manager's wrapper would be measured as well.
        self.path = shutil.which(self.executable, path=process.ENVIRONMENT["PATH"])
        if not self.path:
            raise Missing(f"{self.executable} (package {self.package})")
        self.job = self.make_job(context.scratch, self.amounts["smoke"])
        process.read_once(self, context)
        self.job = self.make_job(context.scratch, self.amounts[context.mode])

    def measure(self, context, allocator):
        environment = {"TMPDIR": str(context.scratch), **self.job.environment}
        return process.run(context, allocator, [self.path] + self.job.arguments, stdin=self.job.stdin,
                           env=environment, timeout=TIMEOUT)


def python(_scratch, times, **environment):
    """-B: nothing is written beside the script; the hash seed decides how sets and dictionaries grow."""
    work = str(inputs.SMALL_WORK / "work.py")
    again = f"import runpy\nfor _ in range({times}): runpy.run_path({work!r}, run_name='__main__')"
    return Job(["-B", "-s", "-c", again], environment={"PYTHONHASHSEED": "0", **environment})


def python_malloc(scratch, times):
    return python(scratch, times, PYTHONMALLOC="malloc")


def sqlite(scratch, customers):
    return Job(["-batch", ":memory:"], stdin=inputs.write(scratch / "work.sql", inputs.sql(customers)))


def lua(_scratch, times):
    return Job(["-e", f"for _ = 1, {times} do dofile('{inputs.SMALL_WORK / 'work.lua'}') end"])


def script(name, **environment):
    return lambda _scratch, rounds: Job([str(inputs.WORK / name), str(rounds)], environment=environment)


def compiler(scratch, functions):
    source = inputs.write(scratch / "work.c", inputs.c_source(functions))
    return Job(["-O2", "-c", "-o", str(scratch / "work.o"), source])


def ghostscript(scratch, pages):
    source = inputs.write(scratch / "pages.ps", inputs.postscript(pages))
    return Job(["-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=png16m", "-r100", "-dTextAlphaBits=4",
                "-dGraphicsAlphaBits=4", "-o", str(scratch / "page.png"), source])


def z3(scratch, problem):
    return Job(["smt.random_seed=1", "sat.random_seed=1", inputs.write(scratch / "work.smt2", inputs.smt(*problem))])


def ffmpeg(_scratch, what):
    size, seconds = what
    mixture = "[0:v][1:v]blend=all_mode=overlay:shortest=1,noise=alls=12:all_seed=5,split=2[a][b];" \
              "[b]scale=160:-2[s];[a][s]overlay=8:8,format=yuv420p"
    return Job(["-nostdin", "-hide_banner", "-loglevel", "error",
                "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration={seconds}",
                "-f", "lavfi", "-i", f"mandelbrot=size={size}:rate=25",
                "-filter_complex_threads", "2", "-filter_complex", mixture,
                "-c:v", "libx264", "-preset", "medium", "-threads", "4", "-f", "null", "-"])


class DbBench(Workload):
    """RocksDB's own benchmark; time_ns is that of all its parts together, and the figures are the parts."""

    name = "programs/rocksdb"
    threaded = True
    group = "programs"
    unit = "run"
    models = "RocksDB's db_bench, 2 threads: fill and overwrite at random, read, seek; no log, a small cache, lz4"
    parts = ["fillrandom", "overwrite", "readrandom", "seekrandom"]
    sizes = {"smoke": 20000, "quick": 100000, "full": 200000}
    path = None

    def prepare(self, context):
        self.path = shutil.which("db_bench", path=process.ENVIRONMENT["PATH"])
        if not self.path:
            raise Missing("db_bench (package rocksdb-tools)")
        process.read_once(self, context)

    def measure(self, context, allocator):
        with tempfile.TemporaryDirectory(dir=context.scratch) as directory:
            count = self.sizes[context.mode]
            sample, text = process.run_and_read(context, allocator, [
                self.path, f"--benchmarks={','.join(self.parts)}", f"--db={directory}/db", f"--num={count}",
                f"--reads={count // 2}", "--threads=2", "--value_size=200", "--seed=7", "--compression_type=lz4",
                "--disable_wal=1", "--cache_size=8000000", "--write_buffer_size=4000000", "--progress_reports=false"],
                timeout=TIMEOUT)
        for line in text.splitlines():
            name, colon, rest = line.partition(" : ")
            if colon and name.strip() in self.parts:
                sample.figures[f"{name.strip()} us/op"] = float(rest.split()[0])
        if len(sample.figures) != len(self.parts):
            raise Failed("db_bench does not tell of all that it was to do")
        return sample


def workloads():
    """The amounts are for smoke, quick and full."""
    return [
        Program("sqlite3", "sqlite3", "sqlite3",
                "an SQL engine in memory: a shop's tables are filled, indexed, joined, grouped, updated",
                (5000, 20000, 50000), sqlite),
        Program("python3", "python3", "python3",
                "CPython as it comes: parses and compiles modules, counts words, JSON there and back",
                (1, 2, 4), python),
        Program("python3-malloc", "python3", "python3",
                "the same with PYTHONMALLOC=malloc: every object is malloc's, the worst an interpreter can ask",
                (1, 2, 4), python_malloc),
        Program("node", "node", "nodejs",
                "V8 and its buffers outside the collected heap: JSON, compression, a cache of blocks up to 20 KB",
                (2, 8, 24), script("work.js"), threaded=True),
        Program("ruby", "ruby", "ruby",
                "an interpreter with a collected heap and a malloc for each longer string and array",
                (1, 4, 10), script("work.rb")),
        Program("perl", "perl", "perl",
                "an interpreter that counts references: hashes, rewritten text, nested records cloned and sorted",
                (1, 2, 5), script("work.pl", PERL_HASH_SEED="0", PERL_PERTURB_KEYS="0")),
        Program("lua", "lua5.4", "lua5.4",
                "an interpreter with a malloc for each table and string: binary trees, words, closures",
                (1, 4, 10), lua),
        Program("gcc", "gcc", "gcc",
                "a compiler that frees little before its end; the memory is that of cc1, its largest child",
                (15, 80, 250), compiler),
        Program("clang", "clang", "clang",
                "LLVM, a compiler in C++ that frees as it goes: arenas, hash tables, small operator new",
                (15, 80, 250), compiler),
        Program("ghostscript", "gs", "ghostscript",
                "an interpreter that draws pages of text, trees and shadings, with a heap of its own in chunks",
                (2, 6, 18), ghostscript),
        Program("z3", "z3", "z3",
                "a solver: clauses, terms and tables in millions of small blocks; pigeons in holes and a job shop",
                ((8, 20, 10, 150), (9, 36, 10, 240), (10, 44, 10, 290)), z3),
        Program("ffmpeg", "ffmpeg", "ffmpeg",
                "an encoder (x264) on 4 threads: aligned frames handed from thread to thread and reused",
                (("320x180", 2), ("640x360", 4), ("1280x720", 4)), ffmpeg, threaded=True),
        DbBench(),
    ] + servers.workloads()
