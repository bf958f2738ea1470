#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""exports.py libbslab.so HEADER...: whether each call that the headers declare is there to be linked with."""
import re
import subprocess
import sys

lib, headers = sys.argv[1], sys.argv[2:]
declared = set()
for path in headers:
    text = re.sub(r"/\*.*?\*/|^\s*#.*?$", "", open(path).read(), flags=re.S | re.M)
    for declaration in re.findall(r"\bBSLAB_API\b([^;]*);", text):
        declared.add(re.search(r"\b(bslab_\w+)\s*\(", declaration).group(1))
nm = subprocess.run(["nm", "-D", "--defined-only", lib], stdout=subprocess.PIPE, text=True, check=True).stdout
exported = {line.split()[-1].split("@")[0] for line in nm.splitlines()}
missing = sorted(declared - exported)
for name in missing:
    print(f"exports.py: {lib} lacks {name}")
if len(declared) < 90:
    sys.exit(f"exports.py: only {len(declared)} declarations found: the headers are read wrongly")
sys.exit(bool(missing))
