"""The micro-benchmarks of bench/micro, one row each. See bench/README.md for what each models."""

import json
import re
import subprocess

from lib import allocators
from lib import micro as provider
from . import process
from .workload import Failed, Missing, Workload

SECONDS = {"smoke": 0.002, "quick": 0.02, "full": 0.2}  # of the measured loop

MODELS = {
    "pair": "the short-lived temporary: malloc, free, nothing between; 8 B to 1 GiB (after gperftools' malloc_bench)",
    "sized_delete": "C++'s operator new and its delete that tells the size (after gperftools' malloc_bench)",
    "pair_mt": "pair in several threads at once",
    "lifo": "1,000 blocks made, then freed in reverse: a stack unwinding",
    "fifo": "1,000 blocks made, then freed in the same order: a queue drained",
    "shuffle": "1,000 blocks made, then freed in random order: a hash table destroyed",
    "churn": "a long-running program: random objects replaced, 8 B to 8 KiB, mostly small (after glibc's benchtests)",
    "churn_uniform": "churn with sizes uniform in 8..1024 B (after larson)",
    "churn_wide": "churn with sizes uniform in 16..8000 B (after rpmalloc's chart)",
    "churn_mt": "churn in several threads, each with a live set of its own",
    "calloc": "objects made zeroed, and not touched",
    "calloc_used": "zeroed tables that are used: each page read and written once",
    "calloc_part": "zeroed tables of which a part is used",
    "realloc_string": "a string appended to",
    "realloc_append": "a buffer of up to 2 MiB, 16 bytes more at a time",
    "realloc_buffers": "two buffers of up to 2 MiB, a page more at a time, in turn",
    "realloc_vector": "arrays doubled",
    "realloc_large": "a buffer of pages grown by half at a time, 1 to 64 MiB",
    "memalign": "aligned buffers: vectors, cache lines, direct I/O",
    "large": "5 to 25 MiB buffers, each page touched (after malloc-large)",
    "xthread": "producer and consumer (after xmalloc-test)",
}

# Those that keep a live set: in the others peak RSS is that of an empty process.
WITH_MEMORY = ("churn", "churn_uniform", "churn_wide", "churn_mt", "large", "realloc_large")

# What the one argument is.
AXES = {**dict.fromkeys(("pair", "sized_delete", "lifo", "fifo", "shuffle", "calloc", "calloc_used"), "size in bytes"),
        **dict.fromkeys(("churn", "churn_uniform", "churn_wide", "large"), "live objects")}


def curve_of(benchmark):
    """("pair by size in bytes", 64), or by threads, or by size for each alignment or share used, or None."""
    family, _, rest = benchmark.partition("/")
    threads = re.search(r"^(.*?)(?:/real_time)?/threads:(\d+)$", rest)
    if threads:
        return f"{family}/{threads.group(1)} by threads", int(threads.group(2))
    aligned = re.search(r"^((?:align|used):\d+)/size:(\d+)$", rest)
    if aligned:
        return f"{family}/{aligned.group(1)} by size in bytes", int(aligned.group(2))
    if family in AXES and rest.isdigit():
        return f"{family} by {AXES[family]}", int(rest)
    return None


class Micro(Workload):
    """One benchmark in a process of its own. CPU time with one thread, wall time with several, as bench/compare."""

    group = "micro"
    unit = "op"

    def __init__(self, benchmark):
        family = benchmark.partition("/")[0]
        self.benchmark = benchmark
        self.name = f"micro/{benchmark.replace('/real_time', '')}"
        self.models = MODELS.get(family, "see bench/README.md")
        self.curve = curve_of(benchmark)
        self.compares_memory = family in WITH_MEMORY
        self.threaded = "/threads:" in benchmark

    def prepare(self, context):
        if not (context.build / "micro").exists():
            raise Missing(f"no {context.build / 'micro'}")

    def measure(self, context, allocator):
        out = context.scratch / f"{allocator.name}.json"
        out.unlink(missing_ok=True)
        try:
            sample = process.run(context, allocator, [
                context.build / "micro", f"--benchmark_filter=^{re.escape(self.benchmark)}$",
                f"--benchmark_min_time={SECONDS[context.mode]}", f"--benchmark_out={out}",
                "--benchmark_out_format=json"], timeout=120)
        except Failed as failure:
            raise Failed(told_error(out) or str(failure)) from None
        sample.time_ns = self.read_time(out.read_text(encoding="utf-8"), allocator)
        return sample

    def read_time(self, text, allocator):
        try:
            report = json.loads(text)
            entry = report["benchmarks"][0]
            provider.check_provider(report["context"]["malloc"], allocator)
            return entry["real_time" if self.threaded else "cpu_time"]
        except (ValueError, LookupError, OSError) as error:
            raise Failed(f"no result in the benchmark's JSON: {error}") from None
        except RuntimeError as error:
            raise Failed(str(error)) from None


def told_error(out):
    """What a benchmark that gave up says in its JSON, or None."""
    try:
        return json.loads(out.read_text(encoding="utf-8"))["benchmarks"][0]["error_message"]
    except (ValueError, LookupError, OSError):
        return None


def workloads(build=allocators.REPOSITORY / "build" / "bench"):
    listed = subprocess.run([str(build / "micro"), "--benchmark_list_tests"], env=process.ENVIRONMENT,
                            capture_output=True, text=True, check=True, timeout=20)
    return [Micro(name) for name in listed.stdout.split()]
