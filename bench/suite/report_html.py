"""report.html: one page, nothing loaded, no scripts; light or dark as the reader's system is."""

from html import escape

from . import charts, limits, results
from . import report_tables as tables
from .results import MEMORY, TIME

# Colours that the common kinds of colour blindness leave apart (after Okabe and Ito), for a light and a dark page.
FIXED = {"bslab": 0, "glibc": 1, "jemalloc": 2, "mimalloc": 3, "tcmalloc": 4}
COLOURS = [("#c44e00", "#ff8a3d"), ("#0067a8", "#5ab4f0"), ("#00795a", "#2fc99b"), ("#b07c00", "#f0c541"),
           ("#a8447f", "#e79ac8"), ("#4b4bb5", "#a3a3ff"), ("#5c5c5c", "#bdbdbd"), ("#7a4a1e", "#d3a071")]

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --card: #f6f7f8; --ink: #1b1f23; --soft: #5b636b; --line: #d5d9dd;
  --good: #d9f0e4; --bad: #fbe2d3; LIGHT }
@media (prefers-color-scheme: dark) { :root { --page: #15181b; --card: #1e2226; --ink: #e8eaec; --soft: #a3abb2;
  --line: #3a4047; --good: #1d4030; --bad: #57301a; DARK } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1440px; padding: 1.2rem 1.6rem 3rem; background: var(--page); color: var(--ink);
  font: 15px/1.45 system-ui, "DejaVu Sans", sans-serif }
h1 { font-size: 1.5rem; margin: 0 0 .3rem } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; padding-top: .6rem;
  border-top: 1px solid var(--line) } h3 { font-size: 1rem; margin: 1.3rem 0 .5rem }
p { max-width: 60rem; margin: .4rem 0 } .soft, figcaption { color: var(--soft) } a { color: inherit }
nav a { margin-right: 1rem }
.grid { display: flex; flex-wrap: wrap; gap: 12px; align-items: flex-start }
.card { background: var(--card); border-radius: 6px; padding: 10px 12px }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; margin: .3rem 0 }
th, td { padding: 3px 10px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line) }
th { font-weight: 600; vertical-align: bottom } th:first-child, td:first-child { text-align: left }
td.text { text-align: left } td.best { background: var(--good); font-weight: 600 } td.worse { background: var(--bad) }
td.failed { color: var(--soft); font-style: italic }
details { margin: .6rem 0 } summary { cursor: pointer; font-weight: 600 }
ul { padding-left: 1.2rem } li { margin: .15rem 0 }
svg.chart { display: block; max-width: 100%; height: auto }
svg text { fill: var(--ink); font: 11.5px system-ui, "DejaVu Sans", sans-serif }
svg .title { font-weight: 600; font-size: 12.5px } svg .tick, svg .label { fill: var(--soft); font-size: 11px }
svg .value { font-variant-numeric: tabular-nums } svg .grid { stroke: var(--line); stroke-width: 1 }
svg .axis { stroke: var(--soft); stroke-width: 1 } svg .one { stroke: var(--soft); stroke-width: 1 }
svg .floor { stroke: var(--ink); stroke-width: 1.3; stroke-dasharray: 4 3; fill: none }
svg .whisker { stroke: var(--ink); stroke-width: 1.4 } svg .break { fill: var(--card) }
svg .line { fill: none; stroke-width: 1.8 } svg .leader { fill: none; stroke-width: .9 } svg .cross { stroke-width: 2 }
svg .muted { fill: var(--soft); stroke: var(--soft) } svg text.name { font-weight: 600 }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: .5rem 0 } .legend span { display: flex; gap: 6px;
  align-items: center }
"""


def style():
    """Each colour is a class: cN for lines, marks and names, cN fill for bars."""
    light, dark = (" ".join(f"--c{i}: {pair[which]};" for i, pair in enumerate(COLOURS)) for which in (0, 1))
    rules = "".join(f"svg .c{i}, svg text.c{i} {{ stroke: var(--c{i}); fill: var(--c{i}) }} "
                    f"svg .c{i} text {{ fill: var(--c{i}) }} svg .c{i}.fill {{ stroke: none }}\n"
                    for i in range(len(COLOURS)))
    # A name has a rim of the background, so that lines do not cross it; a line has no area.
    rules += ("svg text.name { stroke: var(--card); stroke-width: 4px; paint-order: stroke; stroke-linejoin: round } "
              "svg .line, svg .leader, svg .cross { fill: none }\n")
    return STYLE.replace("LIGHT", light).replace("DARK", dark) + rules


def colours(names):
    """Those known keep theirs, however many are compared; the others get what is left, in turn."""
    chosen = {name: FIXED[name] for name in names if name in FIXED}
    spare = [i for i in range(len(COLOURS)) if i >= len(FIXED)]
    for i, name in enumerate(name for name in names if name not in FIXED):
        chosen[name] = spare[i % len(spare)]
    return chosen


LIVE = "live"  # the series of what the program holds


# Tables.


def table(one):
    if not one.rows and not one.note:
        return ""
    head = "".join(f"<th>{escape(text)}</th>" for text in one.header)
    rows = "".join("<tr>" + "".join(cell(value) for value in row) + "</tr>" for row in one.rows)
    body = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    note = f'<p class="soft">{escape(one.note)}</p>' if one.note else ""
    return (body if one.rows else "") + note


def cell(value):
    kind = f' class="{value.kind}"' if value.kind else ""
    return f"<td{kind}>{escape(value.text)}</td>"


def folded(title, inner):
    return f"<details><summary>{escape(title)}</summary>{inner}</details>" if inner else ""


def card(inner):
    return f'<div class="card">{inner}</div>' if inner else ""


def cards(each):
    inner = "".join(card(one) for one in each if one)
    return f'<div class="grid">{inner}</div>' if inner else ""


# Charts of the results.


class Page:
    def __init__(self, found):
        self.found = found
        self.names = found.allocators()
        self.colours = colours(self.names)

    def legend(self):
        each = "".join(f"<span>{charts.svg(14, 14, [self.sample(name)], name)}{escape(name)}</span>"
                       for name in self.names)
        return f'<div class="legend">{each}</div>'

    def sample(self, name):
        index = self.colours[name]
        return charts.tag("g", charts.mark(charts.mark_of(index), 7, 7, 5), class_=f"c{index}")

    # Bars.

    def bars(self, group, key):
        rows = [row for row in tables.rows_of(self.found, group)
                if results.compares(row, key) and any(row.values(name, key) for name in self.names)]
        return [self.bar_card(row, key) for row in rows]

    def bar_card(self, row, key):
        each = results.cells(row, self.names, key)
        bars = [(name, self.colours[name], c.ratio, c.spread, bar_text(c, key)) for name, c in each.items()]
        lowest = results.best(row, self.names, key)
        floor = self.floor_of(row, lowest, key)
        return charts.bar_card(row.name + tables.marks(row, self.found), bars, floor, row.about["models"])

    def floor_of(self, row, lowest, key):
        """The floor as a ratio to the best: a pair's, or that of the page faults; or the live bytes."""
        if key == TIME:
            return results.cell(row, limits.FLOOR, lowest, TIME).ratio or tables.page_floor(self.found, row, lowest)
        live = results.live_kib(row, self.names)
        return live / results.median(row.values(lowest, MEMORY).values()) if live else None

    # Curves.

    def curves(self, group):
        labels = {}
        for row in tables.rows_of(self.found, group):
            if row.about.get("curve"):
                labels.setdefault(row.about["curve"][0], []).append(row)
        drawn = []
        for label, rows in labels.items():
            if len(rows) > 1:
                drawn += [self.curve(label, rows, TIME), self.curve(label, rows, MEMORY)]
        return drawn

    def curve(self, label, rows, key):
        if not any(results.compares(row, key) for row in rows):
            return ""
        unit, divisor = y_unit([v for row in rows for n in self.names for v in row.values(n, key).values()], key)
        series = [(name, self.colours[name], self.points(rows, name, key, divisor)) for name in self.names]
        what = f"time per {rows[0].about.get('unit', 'op')}, {unit}" if key == TIME else f"peak RSS, {unit}"
        floor = self.points(rows, limits.FLOOR, key, divisor) if key == TIME else self.live_points(rows, divisor)
        return charts.line_chart(label, (axis_of(label), what), series, floor if len(floor) > 1 else None)

    def points(self, rows, name, key, divisor):
        found = [(row.about["curve"][1], results.median(row.values(name, key).values())) for row in rows]
        return sorted((x, y / divisor) for x, y in found if y is not None)

    def live_points(self, rows, divisor):
        found = [(row.about["curve"][1], results.live_kib(row, self.names)) for row in rows]
        return sorted((x, y / divisor) for x, y in found if y)

    # Over time.

    def over_time(self, group):
        return [self.series_chart(row, kind) for row in tables.rows_of(self.found, group)
                for kind in kinds_of(row) if kind != LIVE]

    def series_chart(self, row, kind):
        """The live bytes are the same for all but for the pace, so one allocator's stand for them."""
        memory = kind == "rss"
        series = [(name, self.colours[name], self.over(row, name, kind, memory)) for name in self.names]
        live = self.over(row, self.names[0], LIVE, True) if memory else None
        return charts.line_chart(f"{row.name}: {'RSS' if memory else kind} over time",
                                 ("seconds", "MB" if memory else kind), series, live, at_values=False,
                                 floor_name="live")

    def over(self, row, name, kind, memory):
        points = results.representative(row, name, kind) or []
        return [(x, y / 1024 if memory else y) for x, y in points]

    # Time against memory.

    def scatter(self, title, time, memory):
        points = [(name, self.colours[name], time[name], memory[name]) for name in self.names
                  if time.get(name) and memory.get(name)]
        return charts.scatter(title, ("time over the best", "peak RSS over the lowest"), points)

    def scatters(self):
        found = self.found
        both = [results.overall(found, self.names, key, rows=results.rows_with_both)[0] for key in (TIME, MEMORY)]
        each = [self.scatter("over all", *both)]
        for group in found.groups():
            rows = results.rows_with_both(found, group)
            each.append(self.scatter(group, results.means(rows, self.names, TIME)[0],
                                     results.means(rows, self.names, MEMORY)[0]))
        return each

    # The parts of the page.

    def summary(self):
        means = [f"<div><h3>{escape(one.title)}</h3>{table(one)}</div>"
                 for one in (tables.means_table(self.found, TIME), tables.means_table(self.found, MEMORY)) if one.rows]
        scatters = [one for one in self.scatters() if one]
        return ('<h2 id="summary">Summary</h2>' + f'<div class="grid">{"".join(means)}</div>'
                + ("<h3>Time against memory: geometric means of the rows that have both; the lower left is the best</h3>" + self.legend()
                   + cards(scatters) if scatters else ""))

    def goals(self):
        shown = [one for one in (tables.goal_table(self.found), tables.peer_table(self.found, TIME),
                                 tables.peer_table(self.found, MEMORY)) if one.rows]
        missed = tables.miss_table(self.found)
        if missed.rows or missed.note:
            shown.append(missed)
        inner = "".join(f"<h3>{escape(one.title)}</h3>{table(one)}" for one in shown[1:])
        return f'<h2 id="goals">{escape(shown[0].title)}</h2>{table(shown[0])}{inner}' if shown else ""

    def losses(self):
        one = tables.loss_table(self.found)
        return f'<h2 id="losses">{escape(one.title)}</h2>{table(one)}'

    def group(self, group):
        parts = [f'<h2 id="{group}">{escape(group)}</h2>', self.models(group), self.legend()]
        for title, each in (("Curves", self.curves(group)), ("Over time", self.over_time(group))):
            inner = cards(each)
            parts.append(f"<h3>{title}</h3>{inner}" if inner else "")
        for title, key in (("Time over the best", TIME), ("Peak RSS over the lowest", MEMORY)):
            inner = cards(self.bars(group, key))
            parts.append(f"<h3>{title}</h3>{inner}" if inner else "")
        for one in (tables.comparison_table(self.found, group, TIME),
                    tables.comparison_table(self.found, group, MEMORY), tables.figures_table(self.found, group),
                    tables.kernel_table(self.found, group)):
            parts.append(folded("Table: " + one.title, table(one) if one.rows else ""))
        return "".join(parts)

    def models(self, group):
        rows = tables.rows_of(self.found, group)
        each = "".join(f"<li>{escape(row.name)}: {escape(row.about['models'])}</li>" for row in rows)
        return folded("What the workloads model", f"<ul>{each}</ul>")

    def limits(self):
        shown = [one for one in (tables.floor_table(self.found), tables.live_table(self.found),
                                 tables.fault_table(self.found), tables.lost_table(self.found)) if one.rows]
        inner = "".join(f"<h3>{escape(one.title)}</h3>{table(one)}" for one in shown)
        return f'<h2 id="limits-of">Limits</h2>{inner}' if inner else ""

    def problems(self):
        lines = "".join(f"<li>{escape(line)}</li>" for line in tables.problems(self.found))
        return f'<h2 id="problems">What went wrong</h2><ul>{lines}</ul>' if lines else ""

    def setting(self):
        facts = dict(self.found.start.get("machine", {}))
        if self.found.start.get("pin") is not None:
            facts["pinned"] = f"workloads with one thread to CPU {self.found.start['pin']}"
        each = "".join(f"<li>{escape(name)}: {escape(str(value))}</li>" for name, value in facts.items())
        return f'<h2 id="setting">Setting</h2>{table(tables.allocator_table(self.found))}<ul>{each}</ul>'

    def reading(self):
        return (f"<p>{escape(tables.HOW_TO_READ)}</p>"
                f"<p class='soft'>{escape(tables.reading_note(self.found))} Bars end at {charts.BAR_LIMIT:g} times the "
                "best; a dashed line is what is possible: the floor of a pair of calls, else "
                "the kernel's part of the fewest page faults, or the live bytes (over time: "
                "those of the first allocator).</p>")


def bar_text(cell, key):
    if cell.failed:
        return "failed"
    if cell.ratio is None:
        return "-"
    return tables.shown_value(key, cell.value)


def y_unit(values, key):
    """The unit in which the largest value has at most three digits or so."""
    if key == MEMORY:
        return "MB", 1024
    largest = max(values, default=0)
    for limit, divisor, unit in ((2e4, 1, "ns"), (2e7, 1e3, "us"), (2e10, 1e6, "ms")):
        if largest < limit:
            return unit, divisor
    return "s", 1e9


def axis_of(label):
    return label.partition(" by ")[2] or label


def kinds_of(row):
    return list(dict.fromkeys(kind for name in row.participants() for sample in row.kept(name).values()
                              for kind in sample.get("series", {})))


def render(found):
    page, start = Page(found), found.start
    title = f"Allocators compared: {start.get('mode', '?')}, {start.get('when', '?')}"
    groups = found.groups()
    sections = [("goals", "goals"), ("summary", "summary"), ("losses", "losses")] + [(g, g) for g in groups] + [
        ("limits-of", "limits"), ("problems", "problems"), ("setting", "setting")]
    body = [page.goals(), page.summary(), page.losses()] + [page.group(g) for g in groups] + [
        page.limits(), page.problems(), page.setting()]
    links = "".join(f'<a href="#{anchor}">{escape(text)}</a>' for (anchor, text), part in zip(sections, body) if part)
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
            f"<style>{style()}</style></head><body><h1>{escape(title)}</h1><p>{escape(tables.rounds_line(found))}</p>"
            f"{page.reading()}<nav>{links}</nav>{''.join(body)}</body></html>\n")
