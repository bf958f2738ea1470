"""What an allocator costs processes that hardly allocate: the time to start and end them."""

import json
import shlex
import shutil
import tempfile
from pathlib import Path

from lib import runner
from programs import inputs
from . import process
from .workload import Failed, Missing, Workload


class Startup(Workload):
    """Times by hyperfine (the median of its runs), page faults and memory by one run of bench-runner."""

    group = "startup"

    def __init__(self, name, models, unit, runs, command, processes, *, threaded=False):
        self.name, self.models, self.unit, self.threaded = f"startup/{name}", models, unit, threaded
        self.runs = runs  # mode -> how often
        self.command = command  # given the scratch directory and the mode
        self.processes = processes  # mode -> how many a run starts; the time is per process
        self.hyperfine = self.made = None

    def prepare(self, context):
        self.hyperfine = shutil.which("hyperfine", path=process.ENVIRONMENT["PATH"])
        if not self.hyperfine:
            raise Missing("hyperfine (package hyperfine)")
        self.made = self.command(context)

    def measure(self, context, allocator):
        processes = self.processes[context.mode]
        sample = process.run(context, allocator, self.made)  # and it warms up
        told = self.times(context, allocator)
        sample.time_ns = told["median"] * 1e9 / processes
        sample.times_ns = [round(seconds * 1e9 / processes) for seconds in told["times"]]
        # Of a single run bench-runner's clock ticks are too coarse; hyperfine has the mean of all.
        sample.user_ns, sample.system_ns = told["user"] * 1e9, told["system"] * 1e9
        sample.figures = {"mean us": told["mean"] * 1e6 / processes, "min us": told["min"] * 1e6 / processes,
                          "stddev us": (told["stddev"] or 0) * 1e6 / processes}
        return sample

    def times(self, context, allocator):
        """hyperfine passes its environment on, and so runs under the preload itself, which is not in its times."""
        with tempfile.TemporaryDirectory(dir=context.scratch) as directory:
            export = Path(directory) / "times.json"
            runs = self.runs[context.mode]
            line = [self.hyperfine, "-N", "--style", "none", "--warmup", str(runs // 20), "--runs", str(runs),
                    "--export-json", str(export), shlex.join(self.made)]
            _, reason = runner.call(line, process.environment(allocator))
            if reason:
                raise Failed(reason)
            return json.loads(export.read_text(encoding="utf-8"))["results"][0]


def true(_context):
    return ["/bin/true"]


SCRIPT_PROCESSES = {"smoke": 50, "quick": 200, "full": 1000}


def configure(context):
    return ["/bin/dash", inputs.write(context.scratch / "configure",
                                      inputs.configure_script(SCRIPT_PROCESSES[context.mode]))]


def workloads():
    return [
        Startup("true", "/bin/true: the loading of the library and a handful of blocks", "run",
                {"smoke": 50, "quick": 300, "full": 1500}, true, {"smoke": 1, "quick": 1, "full": 1}),
        Startup("configure", "a configure script in dash: a thousand short processes, in substitutions and pipes",
                "process", {"smoke": 2, "quick": 3, "full": 4}, configure, SCRIPT_PROCESSES, threaded=True),
    ]
