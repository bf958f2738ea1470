#!/usr/bin/env bash
# fastpath.sh LIBRARY: counts the instructions of malloc and free when nothing goes wrong, from the entry to the first ret,
# sentinel tests and the restartable sequence included. Fails when there are more than allowed, or when the path calls or
# jumps: what falls through is then not the fast path.
set -u
lib=${1?"usage: fastpath.sh LIBRARY"}
objdump=${OBJDUMP:-objdump} # another machine's library needs its own

disassembly() { # disassembly SYMBOL: its instructions, one a line
	local start
	start=$(nm -D --defined-only "$lib" | awk -v s="$1" '{ sub(/@.*/, "", $3) } $3 == s { print "0x" $1; exit }')
	[ -n "$start" ] || { echo "$lib has no $1" >&2; return 1; }
	"$objdump" -d --no-show-raw-insn --start-address="$start" --stop-address=$((start + 1024)) "$lib" |
		awk '/^ +[0-9a-f]+:/ { sub(/^ +[0-9a-f]+:\t/, ""); print }'
}

failed=0
check() { # check SYMBOL LIMIT
	local text count
	text=$(disassembly "$1") || { failed=1; return; }
	count=$(awk '
		/^(nop|xchg +%ax,%ax|data16|cs nop|endbr64|bti|paciasp)/ { next }
		{ n++ }
		/^(notrack |bnd )?(jmp|call|(b|bl|br|blr)[ \t])/ { print "jumps: " $0; exit }
		/^(repz |bnd )?ret/ { print n; exit }' <<<"$text")
	if ! [[ $count =~ ^[0-9]+$ ]]; then
		echo "FAIL $1: ${count:-no ret}"
	elif [ "$count" -gt "$2" ]; then
		echo "FAIL $1: $count instructions, at most $2"
	else
		echo "ok   $1: $count instructions, at most $2"
		return
	fi
	sed -n '1,40s/^/    /p' <<<"$text"
	failed=1
}

case $("$objdump" -f "$lib") in # operator new keeps the size for the new-handler
*aarch64*) malloc=27 new=31 free=34 sized=44 cache_alloc=25 cache_free=38 ;;
*) malloc=20 new=22 free=26 sized=34 cache_alloc=15 cache_free=30 ;;
esac
check malloc $malloc
check bslab_malloc $malloc
check _Znwm $new
check free $free
check bslab_free $free
check cfree $free
check _ZdlPv $free
check _ZdlPvm $sized
check bslab_cache_alloc $cache_alloc
check bslab_cache_free $cache_free
exit $failed
