"""The table bench/compare prints.

Ratios are taken within a round and their median shown, rather than the ratio
of two medians: what slows a shared machine lasts longer than a round of one
benchmark, so it falls on both sides of such a ratio and cancels.
"""

import re
import statistics

from . import allocators, figures, micro

PEERS = tuple(allocators.PEERS)

# What the project promises against the best of PEERS.
GOALS = [
    (r"^pair/(\d{1,4}|16384|32768)$", 1.00),  # what is larger is the kernel's, or kept
    (r"^(lifo|fifo)/\d+$", 1.00),
    (r"^churn/1000$", 0.80),
    (r"^churn/100000$", 0.90),
]


def goal_of(benchmark):
    for pattern, goal in GOALS:
        if re.search(pattern, benchmark):
            return goal
    return None


def times_of(args, benchmark, runs):
    metric = args.metric
    if metric == "auto":
        metric = "real" if micro.is_threaded(benchmark) else "cpu"
    return {name: [entry[f"{metric}_time"] for entry in entries]
            for name, entries in runs.items()}


def ratios(times, name, base):
    return [a / b for a, b in zip(times[name], times[base])]


def best_of(times, names):
    """The one nearest to the fastest of its round, in the median."""
    present = [name for name in names if name in times]
    if not present:
        return None
    fastest = [min(round_) for round_ in zip(*(times[n] for n in present))]

    def distance(name):
        return statistics.median(
            t / f for t, f in zip(times[name], fastest))

    return min(present, key=distance)


def bslab_cells(times, benchmark):
    """bslab against the best of PEERS: the ratio, its quartiles, the goal."""
    best = best_of(times, PEERS)
    if "bslab" not in times or not best:
        return ["-", "-"], 0.0
    each = ratios(times, "bslab", best)
    low, ratio, high = statistics.quantiles(each, n=4, method="inclusive")
    goal = goal_of(benchmark)
    return ([f"{ratio:.2f} [{low:.2f} {high:.2f}] {best}",
             figures.verdict(ratio, goal) if goal else "-"],
            figures.spread(each))


def row(args, benchmark, runs, names):
    times = times_of(args, benchmark, runs)
    best = best_of(times, [name for name in names if name != "bslab"])
    base = best or "bslab"
    cells, spreads = [], []
    for name in names:
        if name not in times:
            cells.append("failed")
            continue
        each = ratios(times, name, base)
        cells.append(figures.show_ratio(statistics.median(each),
                                        figures.spread(each)))
        spreads.append(figures.spread(each) if name in PEERS else 0)
    last, doubt = bslab_cells(times, benchmark)
    noise = doubt if "bslab" in times else max(spreads, default=0)
    mark = " ~" if noise * 100 > args.noise else ""
    shown = figures.show_time(statistics.median(times[base]))
    return [benchmark + mark, f"{base} {shown}"] + cells + last


def render(args, results, chosen):
    names = [allocator.name for allocator in chosen]
    header = (["benchmark", "best peer"] + names
              + ["bslab / best of three", "goal"])
    rows = [row(args, benchmark, runs, names)
            for benchmark, runs in results.runs.items() if runs]
    return (f"{figures.markdown(header, rows)}\n\n"
            f"Medians of {args.rounds} rounds: the best peer's time, and the "
            "ratio of each to it within a round, ± half the\ninterquartile "
            "range. The best peer is any but bslab; the last column takes the "
            f"best of\n{', '.join(PEERS)}, and shows [the quartiles]. "
            f"~: a spread above {args.noise:g}%.")
