#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Fails where a call of the public headers is not in the library, or one of the library's own is in no header.

usage: exports.py ROOT LIBRARY
"""
import pathlib
import re
import subprocess
import sys

root, library = pathlib.Path(sys.argv[1]), sys.argv[2]
declared = set()
for header in sorted(root.glob("include/bslab/*.h")):
    text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
    for declaration in re.findall(r"^BSLAB_API\b(.*?);", text, re.M | re.S):
        declared.add(re.search(r"\b(bslab_\w+)\(", declaration)[1])
nm = subprocess.run(["nm", "--dynamic", "--defined-only", "--format=posix", library], check=True, capture_output=True, text=True)
exported = {line.split()[0].split("@")[0] for line in nm.stdout.splitlines()}
faults = [f"{name} is declared, and not in the library" for name in sorted(declared - exported)]
faults += [f"{name} is in the library, and in no header" for name in sorted(exported - declared) if name.startswith("bslab_")]
if not declared:
    faults.append("no declarations were found")
for fault in faults:
    print("FAIL", fault)
print(f"{len(declared)} declarations, {len(faults)} faults")
sys.exit(bool(faults))
