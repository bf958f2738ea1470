#!/usr/bin/env bash
# static-profile.sh PROGRAM: the profile of a whole static program, which has frame pointers, names its own functions and not bslab's.
set -u
file=$(mktemp --suffix=.folded) || exit 1
trap 'rm -f "$file"' EXIT
BSLAB_CONF=profile=1,profile_to=$file "$1" >/dev/null || exit 1
# main() calls hold(), which calls malloc().
awk -v want=135168 '$2 == want && split($1, frames, ";") >= 2 { found = 1 } END { exit !found }' "$file" && exit
echo "no stack of two frames or more has 33 pages:" && cat "$file"
exit 1
