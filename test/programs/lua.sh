#!/usr/bin/env bash
# Models: a small interpreter whose every table and string is a malloc, and every growth a realloc
# Packages: lua5.4
# Quick: yes
. "$(dirname "$0")/lib.sh"

loads lua5.4
sees_lib lua5.4 -e 'io.write(io.open("/proc/self/maps"):read("a"))'

compare work lua5.4 "$here/input/work.lua" "$(amount 1 4)"
