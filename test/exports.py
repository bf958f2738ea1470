#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Fails where the libraries have other names for a program than malloc's family, C++'s operators and what the public headers declare.

usage: exports.py ROOT LIBRARY ARCHIVE
"""
import pathlib
import re
import subprocess
import sys

LIBC = set("""
    malloc free cfree calloc realloc reallocarray memalign aligned_alloc posix_memalign valloc pvalloc
    malloc_usable_size free_sized free_aligned_sized malloc_trim malloc_stats malloc_info mallinfo mallinfo2 mallopt
""".split())
# new and new[], plain and nothrow; delete and delete[], these and sized, which have no nothrow. With and without an alignment.
ALIGNMENTS, NOTHROW = ("", "St11align_val_t"), "RKSt9nothrow_t"
NEW = {f"_Zn{of}m{alignment}{nothrow}" for of in "wa" for alignment in ALIGNMENTS for nothrow in ("", NOTHROW)}
DELETE = {f"_Zd{of}Pv{how[0]}{alignment}{how[1]}" for of in "la" for alignment in ALIGNMENTS
          for how in (("", ""), ("m", ""), ("", NOTHROW))}
# Each file's that has probes; the linker keeps one for all.
PROBES = "_.stapsdt.base"


def declared_in(root):
    names = set()
    for header in sorted(root.glob("include/bslab/*.h")):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
        for declaration in re.findall(r"^BSLAB_API\b(.*?);", text, re.M | re.S):
            names.add(re.search(r"\b(bslab_\w+)\(", declaration)[1])
    return names


def defined_in(path, *options):
    nm = subprocess.run(["nm", *options, "--defined-only", "--format=posix", path], check=True, capture_output=True, text=True)
    lines = [line.split() for line in nm.stdout.splitlines()]
    return {words[0].split("@")[0] for words in lines if len(words) > 1}  # an archive's members have a line each


def faults_of(what, found, expected):
    for name in sorted(expected - found):
        yield f"{name} is not in the {what}"
    for name in sorted(found - expected):
        yield f"{name} is in the {what}, and in no header" if name.startswith("bslab_") else f"{name} is in the {what}"


def main():
    root, library, archive = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    declared = declared_in(root)
    expected = LIBC | NEW | DELETE | declared
    faults = [] if declared else ["no declarations were found"]
    faults += faults_of("library", defined_in(library, "--dynamic"), expected)
    faults += faults_of("archive", defined_in(archive, "--extern-only") - {PROBES}, expected)
    for fault in faults:
        print("FAIL", fault)
    print(f"{len(LIBC)} names of libc, {len(NEW | DELETE)} operators, {len(declared)} declarations, {len(faults)} faults")
    return bool(faults)


sys.exit(main())
