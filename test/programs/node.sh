#!/usr/bin/env bash
# Models: a JavaScript engine in C++: compiler zones, buffers outside its heap, isolates that come and go on their threads
# Packages: nodejs
. "$(dirname "$0")/lib.sh"

loads node
sees_lib node -e 'process.stdout.write(require("fs").readFileSync("/proc/self/maps"))'

compare work node "$here/input/work.js" "$(amount 1 3)"
