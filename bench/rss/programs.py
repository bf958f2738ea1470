"""The programs whose peak RSS is read, and the work each is given."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Optional

WORK = Path(__file__).resolve().parent / "work"

# Fixed, so that what a run allocates does not depend on who starts it.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PYTHONHASHSEED": "0"}


@dataclass(frozen=True)
class Job:
    arguments: List[str]
    stdin: Optional[str] = None
    environment: Dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    name: str
    executable: str
    prepare: Callable[[Path], Job]  # given a scratch directory
    has_goal: bool = True


def python(_scratch):
    return Job(["-I", "-B", str(WORK / "work.py")])


def python_malloc(_scratch):
    """Python's own small-object allocator off: every object is malloc's."""
    return Job(["-B", str(WORK / "work.py")],
               environment={"PYTHONMALLOC": "malloc"})


def sqlite_memory(_scratch):
    return Job(["-batch", ":memory:"], stdin=str(WORK / "work.sql"))


def sqlite_file(scratch):
    """On disk the page cache is bounded: 2 MB, sqlite's default."""
    database = scratch / "work.db"
    return Job(["-batch", str(database)], stdin=str(WORK / "work.sql"))


def gcc(scratch):
    source = scratch / "work.c"
    source.write_text(c_source(), encoding="ascii")
    return Job(["-O2", "-c", "-o", str(scratch / "work.o"), str(source)])


def lua(_scratch):
    return Job([str(WORK / "work.lua")])


def c_source(functions=100):
    """An interpreter's worth of C: structures, switches, loops, strings."""
    template = (WORK / "function.c.in").read_text(encoding="ascii")
    parts = ["#include <stdio.h>\n#include <string.h>\n"]
    for i in range(functions):
        cases = "".join(f"    case {k}: total += text[{k % 7}] * {k + i}; "
                        "break;\n" for k in range(12 + i % 9))
        parts.append(template.replace("@N@", str(i)).replace("@CASES@", cases))
    return "".join(parts)


# python3 is Debian's by path, not a version manager's wrapper on the PATH.
ALL = [
    Program("python3", "/usr/bin/python3", python),
    Program("sqlite3", "sqlite3", sqlite_memory),
    Program("gcc", "gcc", gcc),
    Program("lua", "lua5.4", lua),
    Program("python3-malloc", "/usr/bin/python3", python_malloc,
            has_goal=False),
    Program("sqlite3-file", "sqlite3", sqlite_file, has_goal=False),
]
