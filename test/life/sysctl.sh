#!/usr/bin/env bash
# sysctl.sh NAME=VALUE COMMAND...: runs the command with a setting of the machine changed, and puts it back whatever happens.
# Others may be at work on this machine: overcommit_memory=2 comes with a ratio that leaves room for all of them.
set -u
skip() { echo "skipped: $1"; exit 77; }

name=${1%%=*} value=${1#*=}
shift
[ -w "/proc/sys/${name//.//}" ] || skip "$name cannot be changed here"

declare -A old
change() { # change NAME VALUE
	local file=/proc/sys/${1//.//}
	old[$file]=$(cat "$file")
	echo "$2" 2>/dev/null >"$file" || skip "$1 cannot be changed here"
}
restore() {
	local file
	# In this order: the strict mode goes before the ratio that makes it bearable.
	for file in /proc/sys/vm/overcommit_memory /proc/sys/vm/overcommit_ratio "${!old[@]}"; do
		[ -z "${old[$file]+set}" ] || echo "${old[$file]}" >"$file"
	done
}
exec 9>"${TMPDIR:-/tmp}/bslab-sysctl.lock"
flock 9 # the tests of several index modes may run at once
trap restore EXIT
trap 'exit 130' INT TERM HUP

[ "$name" != vm.overcommit_memory ] || change vm.overcommit_ratio 1000
change "$name" "$value"
"$@" 9>&-
