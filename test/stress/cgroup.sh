#!/usr/bin/env bash
# cgroup.sh MIB COMMAND...: runs the command in a memory cgroup of its own, below that of the caller, whose limit goes down to so
# much and up again several times a second. The command may use less than that, and keep more, if nobody tells it: it is an
# error if the kernel kills for want of memory.
# (The command must not fork: a child that writes doubles what is used at once.)
set -u
skip() { echo "skipped: $1"; exit 77; }
low=$(($1 << 20)) high=$((2 << 30))
shift

if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
	parent=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
	limit=memory.high events=memory.events # memory.max would kill at once what uses more by now
else
	parent=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
	limit=memory.limit_in_bytes events=memory.oom_control
fi
group=$parent/bslab-stress-$$
for old in "$parent"/bslab-stress-*; do # of a run that was killed
	[ -e "/proc/${old##*-}" ] || rmdir "$old" 2>/dev/null
done
mkdir "$group" 2>/dev/null || skip "no cgroup can be made here"
runner=
cleanup() {
	for _ in {1..50}; do
		[ -z "$runner" ] || xargs -r kill -KILL <"$group/cgroup.procs" 2>/dev/null
		rmdir "$group" 2>/dev/null && break
		sleep 0.1
	done
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
[ -w "$group/$limit" ] && echo "$low" >"$group/$limit" || skip "no limit can be set here"
(echo "$BASHPID" >"$group/cgroup.procs") 2>/dev/null || skip "no process can be moved here"

(echo "$BASHPID" >"$group/cgroup.procs" && exec "$@") &
runner=$!
changes=0
while kill -0 $runner 2>/dev/null; do
	next=$low
	[ $((changes % 4)) != 3 ] || next=$high
	echo "$next" 2>/dev/null >"$group/$limit" # version 1 refuses where more is used by now
	changes=$((changes + 1))
	sleep 0.1
done
wait $runner
status=$?
runner=
kills=$(sed -n 's/^oom_kill //p' "$group/$events")
echo "cgroup: $changes limits, ${kills:-no} killed for want of memory"
[ "$status" = 0 ] && [ "${kills:-0}" = 0 ] && [ $changes -gt 2 ]
