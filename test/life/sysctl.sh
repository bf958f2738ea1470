#!/usr/bin/env bash
# sysctl.sh NAME=VALUE COMMAND...: runs the command with a setting of the machine changed, and puts it back whatever happens. It
# ends by itself before ctest would end it: by SIGKILL, after which nobody puts anything back.
# Others may be at work on this machine: overcommit_memory=2 comes with a ratio, or kbytes, that leave room for all of them.
set -u
MAX_WAIT=${SYSCTL_MAX_WAIT:-120} MAX_RUN=${SYSCTL_MAX_RUN:-150} # seconds: together less than the 300 of the tests
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
	local status=$? file is
	trap '' INT TERM HUP
	# In this order: the strict mode goes before the ratio, or the kbytes, that make it bearable.
	for file in /proc/sys/vm/overcommit_memory "${!old[@]}"; do
		[ -n "${old[$file]+set}" ] || continue
		echo "${old[$file]}" >"$file"
		is=$(cat "$file")
		[ "$is" = "${old[$file]}" ] || { echo "sysctl.sh: $file was ${old[$file]}, and is $is" >&2; status=1; }
	done
	exit $status
}
exec 9</proc/sys/vm # a folder, so that no lock file stays behind
flock -w "$MAX_WAIT" 9 || skip "somebody else has changed a setting for $MAX_WAIT seconds"
trap restore EXIT
trap 'exit 130' INT TERM HUP

# Pages of a pool that is given away may not all come back.
[ "$name" != vm.nr_hugepages ] || [ "$(cat /proc/sys/vm/nr_hugepages)" = 0 ] || skip "this machine has a pool of huge pages, for others"
if [ "$name" = vm.overcommit_memory ]; then
	# Of the ratio and the kbytes one is in force, and writing it makes the other 0.
	kbytes=$(cat /proc/sys/vm/overcommit_kbytes)
	if [ "$kbytes" = 0 ]; then
		change vm.overcommit_ratio 1000
	else
		change vm.overcommit_kbytes $((1 << 40))
	fi
fi
change "$name" "$value"
# Not waited for in the foreground: a signal is seen to at once, and ends the command too.
timeout --kill-after=5 "$MAX_RUN" "$@" 9>&- &
command=$!
trap 'kill "$command"; wait "$command"; exit 130' INT TERM HUP
wait "$command"
