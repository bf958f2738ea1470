"""Medians, spreads, and the Markdown they are shown in."""

import statistics


def spread(values):
    """Half the interquartile range over the median: 0.02 is plus-minus 2%.

    Quartiles, because what disturbs a shared machine comes in rare large
    pieces, which a standard deviation would report and nothing else.
    """
    if len(values) < 3:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / middle if middle else 0.0


def rotated(items, turn):
    turn %= max(len(items), 1)
    order = items[turn:] + items[:turn]
    return order


def show_ratio(ratio, around):
    return f"{ratio:.2f} ±{around * 100:.0f}%"


def show_time(nanoseconds):
    for limit, divisor, unit in ((1e3, 1, "ns"), (1e6, 1e3, "us"),
                                 (1e9, 1e6, "ms")):
        if nanoseconds < limit:
            return f"{nanoseconds / divisor:.3g} {unit}"
    return f"{nanoseconds / 1e9:.3g} s"


def verdict(ratio, goal):
    """Compared as shown, with two decimals."""
    return f"{goal:.2f} {'met' if round(ratio, 2) <= goal else 'MISSED'}"


def markdown(header, rows):
    """The first column is left-aligned, the others right."""
    widths = [max(len(row[i]) for row in [header] + rows)
              for i in range(len(header))]

    def line(cells):
        padded = [cells[0].ljust(widths[0])]
        padded += [c.rjust(w) for c, w in zip(cells[1:], widths[1:])]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * widths[0]] + ["-" * (w - 1) + ":" for w in widths[1:]]
    return "\n".join([line(header), line(rule)] + [line(r) for r in rows])
