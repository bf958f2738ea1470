"""report.md."""

from lib import figures
from . import report_tables as tables
from .results import MEMORY, TIME


def cell(value):
    text = value.text.replace("|", "\\|")
    return f"**{text}**" if value.kind == "best" else text


def table(one, level=3):
    """Nothing for an empty table without a note."""
    if not one.rows and not one.note:
        return []
    parts = [f"{'#' * level} {one.title}", ""]
    if one.rows:
        parts += [figures.markdown(one.header, [[cell(value) for value in row] for row in one.rows]), ""]
    return parts + ([one.note, ""] if one.note else [])


def group_part(found, group):
    models = list(dict.fromkeys(f"- {row.name}: {row.about['models']}" for row in tables.rows_of(found, group)))
    parts = [f"## {group}", ""]
    for one in (tables.comparison_table(found, group, TIME), tables.comparison_table(found, group, MEMORY),
                tables.figures_table(found, group), tables.kernel_table(found, group)):
        parts += table(one) if one.rows else []
    return parts + ["<details><summary>what the workloads model</summary>", ""] + models + ["", "</details>", ""]


def setting(found):
    lines = [f"- {name}: {value}" for name, value in found.start.get("machine", {}).items()]
    if found.start.get("pin") is not None:
        lines.append(f"- pinned: workloads with one thread to CPU {found.start['pin']}")
    return lines


def render(found):
    start = found.start
    parts = [f"# Allocators compared: {start.get('mode', '?')}, {start.get('when', '?')}", "",
             tables.rounds_line(found), "", tables.HOW_TO_READ, "", tables.reading_note(found), ""]
    for one in (tables.goal_table(found), tables.peer_table(found, TIME), tables.peer_table(found, MEMORY)):
        parts += table(one, 2) if one.rows else []
    parts += table(tables.miss_table(found), 2)
    parts += table(tables.means_table(found, TIME), 2) + table(tables.means_table(found, MEMORY), 2)
    parts += table(tables.loss_table(found), 2)
    for group in found.groups():
        parts += group_part(found, group)
    for one in (tables.floor_table(found), tables.live_table(found), tables.fault_table(found),
                tables.lost_table(found)):
        parts += table(one, 2) if one.rows else []
    wrong = tables.problems(found)
    if wrong:
        parts += ["## What went wrong", ""] + [f"- {line}" for line in wrong] + [""]
    parts += table(tables.allocator_table(found), 2) + ["## Setting", ""] + setting(found)
    return "\n".join(parts) + "\n"
