#!/usr/bin/env bash
# Models: allocators' worst: random sizes, calls and alignments, from processes and threads, every block's content verified
# Packages: stress-ng
# Quick: yes
. "$(dirname "$0")/lib.sh"

loads stress-ng

# A count of operations and not of seconds, so that a slow machine does the same; the time is only a bound, and reaching it
# shows in the count; a bound on the live blocks, so that the worst case is a gigabyte. The output compared is each stressor and how many operations it did.
stress() {
	under "$who" stress-ng --verify --timeout 200 --metrics-brief --no-rand-seed --oom-avoid --temp-path . "$@" >all 2>&1 || { cat all; return 1; }
	cat all >&2
	grep -q 'successful run completed' all
	awk '$2 == "metrc:" && $5 ~ /^[0-9]+$/ { print $4, $5 }' all
}

n=$(amount 1 5)
compare malloc stress --malloc 2 --malloc-max 10000 --malloc-ops $((n * 150000))
compare large stress --malloc 1 --malloc-bytes 2m --malloc-max 500 --malloc-ops $((n * 30000))
compare threads stress --malloc 1 --malloc-pthreads 4 --malloc-max 2000 --malloc-ops $((n * 60000))
compare touched stress --malloc 1 --malloc-touch --malloc-zerofree --malloc-max 2000 --malloc-ops $((n * 40000))
compare mallopt stress --malloc 1 --malloc-thresh 16k --malloc-max 10000 --malloc-ops $((n * 50000))
# Others that allocate: trees and lists of malloc'd nodes, sorts and searches of malloc'd arrays, forks of a process with a heap.
compare structures stress --tree 1 --tree-size 50000 --tree-ops $((n * 2)) --list 1 --list-ops $((n * 50)) --skiplist 1 --skiplist-ops $((n * 200))
compare others stress --hsearch 1 --hsearch-ops $((n * 500)) --qsort 1 --qsort-ops $((n * 4)) --fork 1 --fork-ops $((n * 1000))
