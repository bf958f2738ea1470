# SPDX-License-Identifier: MIT
"""bslab in gdb:  source bslab-gdb.py

    bslab ptr EXPRESSION    what stands at an address: cache, slab, object, state, neighbours; or pages, or a large block;
                            of a block that the profile sampled, who allocated it
    bslab slabinfo          the caches; likewise each other report of bslab-stat: meminfo, vmstat, ...
    bslab pages             free pages by type and order, and the map of pageblocks
    bslab                   the summary

bslab-stat does the work, on the process or on the core file that gdb has before it. Where it may not read the process
(ptrace_scope), or the process is on another machine, gdb writes a core of it into a temporary folder first.
"""
import os
import re
import shutil
import subprocess
import tempfile

import gdb

HERE = os.path.dirname(os.path.abspath(__file__))


def program():
    """bslab-stat: as BSLAB_STAT says; as installed beside this script; in a build tree; on the path."""
    named = os.environ.get("BSLAB_STAT")
    if named:
        return named
    for place in ("../../bin", "../../build", "../.."):
        path = os.path.normpath(os.path.join(HERE, place, "bslab-stat"))
        if os.access(path, os.X_OK):
            return path
    path = shutil.which("bslab-stat")
    if not path:
        raise gdb.GdbError("bslab-stat is not found: put it on the path, or name it in BSLAB_STAT")
    return path


def run(arguments):
    done = subprocess.run([program(), *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


def files():
    """The program and the library, which hold what a core lacks."""
    names = [gdb.current_progspace().filename] + [o.filename for o in gdb.objfiles()]
    names = [n for n in dict.fromkeys(names) if n and os.path.isfile(n)]
    names = names[:1] + [n for n in names[1:] if "bslab" in os.path.basename(n)]
    return [word for n in names[:16] for word in ("--lib", n)]


def core_file():
    """The core file that gdb has before it, if that is what it has."""
    text = gdb.execute("info files", to_string=True)
    match = re.search(r"core dump file:\s+[`'](.*)', file type", text)
    return match[1] if match else None


def is_local():
    """gdb before 11 does not say; a core of the process is right wherever it is."""
    connection = getattr(gdb.selected_inferior(), "connection", None)
    return connection is not None and connection.type == "native"


def run_on_new_core(arguments):
    with tempfile.TemporaryDirectory(prefix="bslab-gdb-") as folder:
        path = os.path.join(folder, "core")
        gdb.execute(f"generate-core-file {path}", to_string=True)
        return run(["--core", path, *files(), *arguments])


def with_names(out):
    """The frames of a sample get the names that gdb knows."""
    def name(match):
        known = gdb.execute(f"info symbol {match[2]}", to_string=True)
        return match[0] + ("" if known.startswith("No symbol") else "  " + known.split(" in section")[0].strip())

    return re.sub(r"^(by  |    ) {8}(0x[0-9a-f]+)$", name, out, flags=re.M)


def look(*arguments):
    core = core_file()
    pid = gdb.selected_inferior().pid
    if core:
        status, out, err = run(["--core", core, *files(), *arguments])
    elif not pid:
        raise gdb.GdbError("bslab: no process and no core file")
    elif not is_local():
        status, out, err = run_on_new_core(arguments)
    else:
        status, out, err = run([str(pid), *arguments])
        if status == 1 and "cannot read process" in err:
            status, out, err = run_on_new_core(arguments)
    if status:
        raise gdb.GdbError(err.strip())
    gdb.write(with_names(out))
    if err:
        gdb.write(err, gdb.STDERR)


class Bslab(gdb.Command):
    __doc__ = __doc__

    def __init__(self):
        super().__init__("bslab", gdb.COMMAND_DATA)  # a completer class here would stand before complete()

    def invoke(self, argument, from_tty):
        verb, _, rest = argument.strip().partition(" ")
        if verb == "ptr":
            if not rest.strip():
                raise gdb.GdbError("bslab ptr: which address?")
            look("--ptr", hex(int(gdb.parse_and_eval(rest)) & (1 << 64) - 1))
        elif verb == "pages":
            look("pagetypeinfo")
            look("--blocks")
        else:
            look(*argument.split())

    def complete(self, text, word):
        words = ["ptr", "pages", "slabinfo", "buddyinfo", "pagetypeinfo", "zoneinfo", "vmstat", "vmallocinfo", "meminfo", "all"]
        return [w for w in words if w.startswith(word)]


Bslab()
