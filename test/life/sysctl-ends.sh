#!/usr/bin/env bash
# A command that hangs under sysctl.sh is ended, and the setting is as it was.
set -u
file=/proc/sys/vm/stat_interval
[ -w "$file" ] || { echo "skipped: $file cannot be changed here"; exit 77; }
fail() { echo "sysctl-ends: $1" >&2; exit 1; }

old=$(cat "$file")
SYSCTL_MAX_RUN=1 "$(dirname "$0")/sysctl.sh" vm.stat_interval=$((old + 1)) bash -c "[ \$(cat $file) = $((old + 1)) ] && sleep 60"
status=$?
[ $status != 77 ] || exit 77
[ $status = 124 ] || fail "the command ended with $status"
[ "$(cat "$file")" = "$old" ] || fail "$file has changed"

# So is one whose script is told to end.
"$(dirname "$0")/sysctl.sh" vm.stat_interval=$((old + 1)) sleep 60 &
script=$!
for _ in {1..100}; do
	[ "$(cat "$file")" = "$old" ] || break
	sleep 0.1
done
sleep 0.2 # until the command runs
start=$SECONDS
kill "$script"
wait "$script"
status=$?
[ $status != 77 ] || exit 77
[ $status = 130 ] || fail "the script that was told to end did so with $status"
[ $((SECONDS - start)) -lt 20 ] || fail "it waited for its command"
[ "$(cat "$file")" = "$old" ] || fail "$file has changed by a script that was told to end"
