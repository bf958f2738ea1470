"""Charts as inline SVG: text in, text out. Colours are the page's (classes c0, c1, ...), so that it may be dark.

No chart relies on colour alone: bars carry the name, lines and points a mark of their own and a name beside them.
"""

import math
from html import escape

MARKS = "osdtxph"  # circle, square, diamond, triangle, cross, plus, hexagon
BAR_LIMIT = 3.0  # bars end here, with an arrow


def tag(name, text=None, **attributes):
    """One element; class_ and the like lose the underscore, other underscores become hyphens."""
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{shown(value)}"' for key, value in attributes.items())
    return f"<{name}{written}/>" if text is None else f"<{name}{written}>{text}</{name}>"


def shown(value):
    return f"{value:.1f}".rstrip("0").rstrip(".") if isinstance(value, float) else escape(str(value), quote=True)


def words(x, y, text, **attributes):
    return tag("text", escape(text), x=float(x), y=float(y), **attributes)


def svg(width, height, parts, title):
    return tag("svg", tag("title", escape(title)) + "".join(parts), viewBox=f"0 0 {width} {height}", width=width,
               height=height, role="img", class_="chart")


def mark(kind, x, y, size=4.0):
    """A point's shape."""
    if kind == "o":
        return tag("circle", cx=x, cy=y, r=size)
    if kind in "xp":
        lines = ((1, 1), (1, -1)) if kind == "x" else ((1, 0), (0, 1))
        path = "".join(f"M{x - a * size:.1f} {y - b * size:.1f}L{x + a * size:.1f} {y + b * size:.1f}"
                       for a, b in lines)
        return tag("path", d=path, class_="cross")
    corners = {"s": (4, 45), "d": (4, 0), "t": (3, -90), "h": (6, 0)}[kind]
    return tag("polygon", points=polygon(x, y, size * 1.2, *corners))


def polygon(x, y, radius, corners, turned):
    angles = [math.radians(turned + 360 * i / corners) for i in range(corners)]
    return " ".join(f"{x + radius * math.cos(a):.1f},{y + radius * math.sin(a):.1f}" for a in angles)


def mark_of(index):
    return MARKS[index % len(MARKS)]


def short(value):
    """At most three digits that matter."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return short(value / 1e6) + "M"
    if abs(value) >= 1e4:
        return short(value / 1e3) + "k"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def binary(value):
    """A size as it was meant: 32768 is 32K."""
    for unit in ("", "K", "M"):
        if value < 1024 or value % 1024:
            return f"{value:g}{unit}" if value < 1e5 else short(value) + unit
        value /= 1024
    return f"{value:g}G"


# Scales.


def nice_step(span, most):
    """1, 2 or 5 times a power of ten, so that at most so many fit."""
    raw = span / max(most, 1)
    power = 10 ** math.floor(math.log10(raw))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= raw * 0.999)


def linear_ticks(low, high, most=5):
    step = nice_step(max(high - low, 1e-12), most)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low, high, most=6):
    """Powers of ten, with 2 and 5 between them if there is room."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [digit * 10.0 ** power for power in powers for digit in digits]
        ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(ticks) <= most:
            return ticks
    return ticks[::math.ceil(len(ticks) / most)]


class Scale:
    """From values to a stretch of the chart."""

    def __init__(self, low, high, start, end, log=False):
        self.log, self.start, self.end = log, start, end
        self.low, self.high = low, high if high > low else low * 1.1 + 1e-9
        self.values, self.show = [], short  # ticks of its own, such as the sizes measured; and how they are written

    def __call__(self, value):
        if self.log:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self, most=5):
        return log_ticks(self.low, self.high, most) if self.log else linear_ticks(self.low, self.high, most)


def spread_out(places, gap, low, high):
    """Moves labels apart that would overlap, as little as may be; the order stays."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved, floor = list(places), low
    for i in order:
        moved[i] = max(moved[i], floor)
        floor = moved[i] + gap
    ceiling = high
    for i in reversed(order):
        moved[i] = min(moved[i], ceiling)
        ceiling = moved[i] - gap
    return moved


# Bars: one card for each workload.


def bar_card(title, bars, floor=None, note=""):
    """bars: (name, colour index, ratio or None, spread or None, value as text). floor: a ratio, drawn as a line."""
    width, left, right, top, step = 334, 66, 106, 22, 15
    height = top + step * len(bars) + 4
    scale = Scale(0, BAR_LIMIT, left, width - right)
    parts = [words(0, 12, title, class_="title"),
             tag("line", x1=scale(1), x2=scale(1), y1=top - 3, y2=height - 4, class_="one")]
    for i, bar in enumerate(bars):
        parts += one_bar(bar, top + i * step, scale, width)
    if floor is not None and floor < BAR_LIMIT:
        parts.append(tag("line", x1=scale(floor), x2=scale(floor), y1=top - 3, y2=height - 4, class_="floor"))
    return svg(width, height, parts, f"{title} {note}".strip())


def one_bar(bar, y, scale, width):
    name, colour, ratio, spread, text = bar
    parts = [words(scale.start - 5, y + 9, name, text_anchor="end")]
    if ratio is not None:
        end = scale(min(ratio, BAR_LIMIT))
        parts.append(tag("rect", x=scale.start, y=y, width=max(end - scale.start, 0.5), height=11,
                         class_=f"c{colour} fill"))
        if ratio > BAR_LIMIT:  # it goes on
            parts.append(tag("path", d=f"M{end - 9:.1f} {y - 1}l4 6.5l-4 6.5h4l4-6.5l-4-6.5z", class_="break"))
        elif spread:
            low, high = scale(ratio * (1 - spread)), scale(min(ratio * (1 + spread), BAR_LIMIT))
            parts.append(tag("line", x1=low, x2=high, y1=y + 5.5, y2=y + 5.5, class_="whisker"))
        parts.append(words(width - 64, y + 9, short(ratio) if ratio >= 10 else f"{ratio:.2f}", text_anchor="end",
                           class_="value"))
    parts.append(words(width, y + 9, text, text_anchor="end", class_="value"))
    return parts


# Lines: curves by size, threads, live bytes; or over time.


def grid(x_scale, y_scale, labels, box):
    """Ticks and their numbers, and what the axes are."""
    left, top, right, bottom = box
    parts = []
    for value in y_scale.ticks():
        y = y_scale(value)
        parts += [tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid"),
                  words(left - 5, y + 4, short(value), text_anchor="end", class_="tick")]
    for value in x_ticks(x_scale):
        x = x_scale(value)
        parts += [tag("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="axis"),
                  words(x, bottom + 16, x_scale.show(value), text_anchor="middle", class_="tick")]
    parts.append(tag("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis"))
    parts.append(words((left + right) / 2, bottom + 32, labels[0], text_anchor="middle", class_="label"))
    parts.append(words(left, top - 8, labels[1], class_="label"))
    return parts


def x_ticks(scale):
    """On a scale with values of its own, such as sizes, those that have room; else round numbers."""
    if not scale.values:
        return scale.ticks(6)
    kept = []
    for value in scale.values:
        if not kept or scale(value) - scale(kept[-1]) >= 34:
            kept.append(value)
    return kept


def is_wide(values, factor):
    positive = [value for value in values if value > 0]
    return len(positive) == len(values) and bool(values) and max(values) / min(values) >= factor


def axes(series, box, at_values):
    """A curve by size has a logarithmic x, and so has y when it spans much; else, and over time, y begins at 0."""
    left, top, right, bottom = box
    xs = sorted({x for points in series for x, _ in points})
    ys = [y for points in series for _, y in points]
    log_x = at_values and is_wide(xs, 8)
    log_y = at_values and is_wide(ys, 20)
    x_scale = Scale(xs[0], xs[-1], left, right, log_x)
    low, high = (min(ys) / 1.15, max(ys) * 1.15) if log_y else (0, max(ys) * 1.08)
    if at_values:
        x_scale.values = xs
    return x_scale, Scale(low, high or 1, bottom, top, log_y)


def line_chart(title, labels, series, floor=None, at_values=True, floor_name="floor"):
    """series: (name, colour index, [(x, y), ...]). at_values: the x are few, and each is measured there."""
    width, height, box = 450, 280, (46, 46, 372, 236)
    drawn = [(name, colour, points) for name, colour, points in series if points]
    if not drawn:
        return ""
    everything = [points for _, _, points in drawn] + ([floor] if floor else [])
    x_scale, y_scale = axes(everything, box, at_values)
    if "bytes" in labels[0]:
        x_scale.show = binary
    parts = [words(0, 14, title, class_="title")] + grid(x_scale, y_scale, labels, box)
    if floor:
        parts.append(tag("path", d=path_of(floor, x_scale, y_scale), class_="floor"))
    for name, colour, points in drawn:
        parts += one_line(colour, points, x_scale, y_scale, at_values)
    ends = [(name, f"c{colour}", y_scale(points[-1][1])) for name, colour, points in drawn]
    if floor:
        ends.append((floor_name, "muted", y_scale(floor[-1][1])))
    return svg(width, height, parts + end_labels(ends, box), title)


def path_of(points, x_scale, y_scale):
    return "M" + "L".join(f"{x_scale(x):.1f} {y_scale(y):.1f}" for x, y in points)


def one_line(colour, points, x_scale, y_scale, at_values):
    path = tag("path", d=path_of(points, x_scale, y_scale), class_="line")
    marked = points if at_values else points[-1:]
    marks = "".join(mark(mark_of(colour), x_scale(x), y_scale(y), 3.2) for x, y in marked)
    return [tag("g", path + marks, class_=f"c{colour}")]


def end_labels(ends, box):
    """Names at the right edge, with a thin line to the end of the curve where they had to move."""
    _, top, right, bottom = box
    places = spread_out([y for _, _, y in ends], 13, top, bottom)
    parts = []
    for (name, colour, y), place in zip(ends, places):
        parts += [tag("path", d=f"M{right + 4} {y:.1f}L{right + 14} {place:.1f}", class_=f"{colour} leader"),
                  words(right + 17, place + 4, name, class_=f"{colour} name")]
    return parts


# Time against memory.


def scatter(title, labels, points):
    """points: (name, colour index, x, y), all ratios of at least 1; the corner at the lower left is the best."""
    width, height, box = 450, 330, (46, 46, 372, 286)
    if not points:
        return ""
    left, top, right, bottom = box
    highest_x, highest_y = max(x for _, _, x, _ in points), max(y for *_, y in points)
    x_scale = Scale(0.98, max(highest_x * 1.04, 1.2), left, right, highest_x > 4)
    y_scale = Scale(0.98, max(highest_y * 1.04, 1.2), bottom, top, highest_y > 4)
    parts = [words(0, 14, title, class_="title")] + grid(x_scale, y_scale, labels, box)
    for value, scale, axis in ((1, x_scale, "x"), (1, y_scale, "y")):
        ends = ({"x1": scale(value), "x2": scale(value), "y1": top, "y2": bottom} if axis == "x"
                else {"x1": left, "x2": right, "y1": scale(value), "y2": scale(value)})
        parts.append(tag("line", **ends, class_="floor"))
    places = label_places(points, x_scale, y_scale, top, bottom)
    for (name, colour, x, y), place in zip(points, places):
        parts.append(one_point(name, colour, x_scale(x), y_scale(y), place))
    return svg(width, height, parts, title)


def label_places(points, x_scale, y_scale, top, bottom):
    """Beside the points, off the axis; moved apart among those near each other in x."""
    places = [y_scale(y) for *_, y in points]
    for i, (_, _, x, _) in enumerate(points):
        near = [j for j, (_, _, other, _) in enumerate(points) if abs(x_scale(other) - x_scale(x)) < 80]
        moved = spread_out([places[j] for j in near], 14, top + 4, bottom - 10)
        for j, place in zip(near, moved):
            places[j] = place
    return places


def one_point(name, colour, x, y, place):
    parts = [mark(mark_of(colour), x, y, 5.5),
             tag("path", d=f"M{x + 7:.1f} {y:.1f}L{x + 12:.1f} {place:.1f}", class_="leader"),
             words(x + 14, place + 4, name, class_="name")]
    return tag("g", "".join(parts), class_=f"c{colour}")
