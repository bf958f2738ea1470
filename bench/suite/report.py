"""Writes report.md and report.html beside the raw file, and the few lines that bench/run ends with."""

from lib import allocators, figures
from . import rawfile, report_html, report_markdown, results
from . import report_tables as tables
from .results import MEMORY, TIME


def write(found, directory):
    """The names of what could be written; a report is there whole or not at all."""
    written = []
    for name, render in (("report.md", report_markdown.render), ("report.html", report_html.render)):
        unfinished = directory / f"{name}.new"
        try:
            unfinished.write_text(render(found), encoding="utf-8")
            unfinished.replace(directory / name)
            written.append(name)
        except OSError as error:
            allocators.warn(f"cannot write {directory / name}: {error.strerror}")
            unfinished.unlink(missing_ok=True)
    return written


def text_table(one):
    return f"{one.title}\n{figures.markdown(one.header, [[cell.text for cell in row] for row in one.rows])}\n"


def summary(found):
    """The goals, the means and the losses."""
    shown = [tables.goal_table(found), tables.peer_table(found, TIME), tables.peer_table(found, MEMORY),
             tables.miss_table(found), tables.means_table(found, TIME), tables.means_table(found, MEMORY),
             tables.loss_table(found)]
    parts = [text_table(one) for one in shown if one.rows]
    failed = [f"{row.name} under {name} failed: {reason}" for row in found.rows.values()
              for name, reason in row.failed.items()]
    return "\n".join(parts + failed + [tables.rounds_line(found)])


def main(directory):
    path = directory / rawfile.NAME
    if not path.exists():
        allocators.fail(f"no {path}")
    found = results.load(path)
    if not found.start:
        allocators.fail(f"{path} does not say how it was started")
    written = write(found, directory)
    for name in written:
        print(directory / name)
    return 0 if len(written) == 2 else 1
