#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Fails where a floor looks up: at an #include, or at a symbol that an object wants from a floor above its own.

usage: floors.py ROOT [OBJECT ...]    the project's root; the objects of the library, as CMake names them (.../src/map/map.c.o)
"""
import pathlib
import re
import subprocess
import sys

FLOORS = ["base", "arch", "os", "boot", "map", "region", "page", "large", "slab", "handle", "heap", "report", "profile", "guarded", "malloc", "preload",
          "insight"]
# In C17's own words and in the order above; the public headers belong to the floor that implements them.
PUBLIC = ("bslab/bslab.h", "bslab/contig.h", "bslab/handle.h", "bslab/highmem.h", "bslab/heap.h", "bslab/insight.h", "bslab/kmalloc.h", "bslab/kmem.h", "bslab/page.h", "bslab/profile.h", "bslab/shrinker.h")


def floor_of(path):
    """The floor of a source file or of an object made from it."""
    parts = pathlib.PurePath(path).parts
    for part in reversed(parts[:-1]):
        if part in FLOORS:
            return part
    return None


def included_floor(name):
    if name in PUBLIC:
        return "malloc"
    first = name.split("/")[0]
    return first if first in FLOORS else None


def check_includes(root):
    faults, files = [], 0
    for path in sorted([*root.glob("src/**/*.[ch]"), *root.glob("preload/*.[ch]")]):
        floor = floor_of(path.relative_to(root))
        if floor is None:
            faults.append(f"{path.relative_to(root)}: stands on no floor")
            continue
        files += 1
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match:
                continue
            above = included_floor(match[1])
            if above is None:
                faults.append(f"{path.relative_to(root)}:{number}: {match[1]} stands on no floor")
            elif FLOORS.index(above) > FLOORS.index(floor):
                faults.append(f"{path.relative_to(root)}:{number}: {floor} includes {match[1]}")
    return faults, files


def symbols(path, kind):
    out = subprocess.run(["nm", kind, path], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1] for line in out.splitlines() if line and not line.endswith(":")}


def check_objects(objects):
    objects = [o for o in objects if floor_of(o)]
    defined = {}
    for path in objects:
        for name in symbols(path, "--defined-only"):
            defined.setdefault(name, floor_of(path))
    faults = []
    for path in objects:
        floor = floor_of(path)
        for name in symbols(path, "--undefined-only"):
            above = defined.get(name)
            if above and FLOORS.index(above) > FLOORS.index(floor):
                faults.append(f"{pathlib.PurePath(path).name} ({floor}) needs {name} ({above})")
    return faults, len(objects)


def main():
    root = pathlib.Path(sys.argv[1])
    faults, files = check_includes(root)
    more, objects = check_objects(sys.argv[2:])
    for fault in faults + more:
        print("FAIL", fault)
    if not files or (len(sys.argv) > 2 and not objects):
        print("FAIL nothing to look at")
        return 1
    print(f"{files} files and {objects} objects, {len(faults + more)} look up")
    return bool(faults or more)


sys.exit(main())
