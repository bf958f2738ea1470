"""The inputs that programs are given: generated, the same in each run, of any size."""

import random
from pathlib import Path

from rss import programs as small

WORK = Path(__file__).resolve().parent / "work"
SMALL_WORK = small.WORK


def write(path, text):
    path.write_text(text, encoding="ascii")
    return str(path)


def c_source(functions):
    return small.c_source(functions)


def postscript(pages):
    return (WORK / "pages.ps").read_text(encoding="ascii").replace("@PAGES@", str(pages))


def sql(customers):
    """The shop of bench/rss with so many customers, and ten times as many purchases."""
    text = (SMALL_WORK / "work.sql").read_text(encoding="ascii")
    text = text.replace("LIMIT 200000", f"LIMIT {10 * customers}").replace("LIMIT 20000)", f"LIMIT {customers})")
    return text.replace("% 20000 ", f"% {customers} ")


def smt(holes, jobs, machines, bound):
    """Two problems: one of pure logic, which is all search, and one over numbers, which has an answer."""
    return "\n".join(pigeons(holes) + ["(check-sat)", "(reset)"] + schedule(jobs, machines, bound)
                     + ["(check-sat)", "(exit)", ""])


def pigeons(holes):
    """One pigeon more than there are holes: no answer, and an exponential search for one."""
    birds = range(holes + 1)
    lines = [f"(declare-const p{b}_{h} Bool)" for b in birds for h in range(holes)]
    lines += [f"(assert (or {' '.join(f'p{b}_{h}' for h in range(holes))}))" for b in birds]
    lines += [f"(assert (or (not p{b}_{h}) (not p{a}_{h})))" for h in range(holes) for b in birds for a in range(b)]
    return lines


def schedule(jobs, machines, bound):
    """A job shop: each job's steps in their order, a machine has one at a time, and all is done in time."""
    rng = random.Random(42)
    lines, on_machine = [], {}
    for job in range(jobs):
        order = rng.sample(range(machines), machines)
        steps = [(f"s{job}_{k}", rng.randrange(1, 10)) for k in range(machines)]
        lines += [f"(declare-const {name} Int)\n(assert (>= {name} 0))" for name, _ in steps]
        lines += [f"(assert (>= {after} (+ {before} {took})))"
                  for (before, took), (after, _) in zip(steps, steps[1:])]
        lines.append(f"(assert (<= (+ {steps[-1][0]} {steps[-1][1]}) {bound}))")
        for machine, step in zip(order, steps):
            on_machine.setdefault(machine, []).append(step)
    for steps in on_machine.values():
        lines += [f"(assert (or (>= {a} (+ {b} {took_b})) (>= {b} (+ {a} {took_a}))))"
                  for i, (a, took_a) in enumerate(steps) for b, took_b in steps[:i]]
    return lines


def configure_script(processes):
    """What a configure script does: short-lived processes, in substitutions, in pipes and alone.

    Each line starts two that are programs, besides the copies of the shell that substitutions and pipes need.
    """
    kinds = [
        "x{i}=$(expr {i} \\* 7 + 1)\ntest \"$(uname -s)\" = Linux || exit 1",
        "x{i}=$(echo checking for function{i} | sed 's/[^a-z0-9]/_/g')\n/bin/true",
        "name=$(basename /usr/include/header{i}.h .h)\nd=$(dirname /usr/include/sys/header{i}.h)",
        "echo '#define HAVE_{i} 1' | grep HAVE_{i} | cut -d ' ' -f 2 >/dev/null",
        "case $(printenv PATH) in *nothing{i}*) exit 1 ;; esac\nx=$(echo a b c | tr a-c A-C)",
    ]
    lines = ["set -e"]
    for i in range(processes // 2):
        lines.append(kinds[i % len(kinds)].format(i=i))
    return "\n".join(lines) + "\n"
