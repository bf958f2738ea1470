#!/usr/bin/env bash
# turns.sh LIBRARY STRESS: two runs of one seed, in turns, make the same steps; another seed makes others.
set -u
fail() { echo "FAIL: $1"; exit 1; }
run() { # run SEED MODE: the last line
	LD_PRELOAD=$lib BSLAB_CONF=index=$2 "$stress" --turns --ops 10000 --seed "$1" | tail -n 1
	[ "${PIPESTATUS[0]}" = 0 ] || echo "ended by an error"
}
lib=$1 stress=$2
seed=$(date +%s)
first=$(run "$seed" mm_cid)
echo "seed $seed: $first"
case $first in *"by an error"*) fail "an error" ;; *" trace "*) ;; *) fail "no trace" ;; esac
for mode in mm_cid cpu_id thread; do
	again=$(run "$seed" $mode)
	[ "$again" = "$first" ] || fail "$mode: $again"
done
[ "$(run $((seed + 1)) mm_cid)" != "$first" ] || fail "another seed made the same steps"
