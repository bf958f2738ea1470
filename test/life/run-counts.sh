#!/usr/bin/env bash
# run-counts.sh RUN: whatever way a test ends that does not pass, test/run says so, and how, and fails; with programs that
# stand for cmake, which builds nothing here, and for dpkg-query, which has all that is asked for.
set -u
run=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "run-counts: $1" >&2; cat "$work/out" >&2; exit 1; }

mkdir "$work/bin" "$work/b"
printf '#!/bin/sh\nexit 0\n' >"$work/bin/cmake"
printf '#!/bin/sh\necho "ii "\n' >"$work/bin/dpkg-query"
chmod 755 "$work"/bin/*
export PATH=$work/bin:$PATH
cd "$work" || exit 1 # for cores, where the limit is hard

tests=$work/b/release/CTestTestfile.cmake
# expect STATUS PASSED FAILED: of a run, whose tests are on standard input.
expect() {
	mkdir -p "$work/b/release"
	cat >"$tests"
	"$run" --build "$work/b" --jobs 1 release >"$work/out" 2>&1 </dev/null
	local status=$?
	[ $status = "$1" ] || fail "status $status instead of $1"
	[ "$(tail -n 1 "$work/out")" = "$2 passed, $3 failed" ] || fail "not $2 passed, $3 failed"
}
expect 0 1 0 <<'END'
add_test(good true)
add_test(absent sh -c "exit 77")
set_tests_properties(absent PROPERTIES SKIP_RETURN_CODE 77)
END
grep -q '^skip  absent' "$work/out" || fail "a test that was skipped is not named"

expect 1 1 1 <<'END'
add_test(good true)
add_test(bad false)
END
grep -q '^FAIL release: bad (Failed)$' "$work/out" || fail "a test that failed is not named"

signals=(KILL TERM INT SYS TRAP ALRM PIPE ABRT SEGV FPE BUS ILL XCPU USR1)
expect 1 0 ${#signals[@]} < <(for signal in "${signals[@]}"; do echo "add_test(by-$signal sh -c \"kill -$signal \$\$\")"; done)
for signal in "${signals[@]}"; do
	grep -qE "^FAIL release: by-$signal \([^()]+\)$" "$work/out" || fail "a test that ended by SIG$signal is not named"
done

expect 1 0 1 <<'END'
add_test(gone /nonexistent)
END
expect 1 0 1 </dev/null # no test at all
expect 1 0 1 <<'END'
what is no file of tests
END

# One that is told to end, with all that it started, as timeout does: what had failed by then is said.
cat >"$tests" <<'END'
add_test(bad false)
add_test(hangs sleep 600)
set_tests_properties(hangs PROPERTIES DEPENDS bad)
END
rm -f "$work/b/release.ctest.log"
setsid "$run" --build "$work/b" --jobs 1 release >"$work/out" 2>&1 </dev/null &
job=$!
for _ in {1..600}; do
	! grep -q 'Start.*hangs' "$work/b/release.ctest.log" 2>/dev/null || break
	sleep 0.1
done
kill -TERM -- "-$job"
wait "$job"
status=$?
[ $status = 143 ] || fail "told to end, it did so with $status"
grep -q 'bad .*\*\*\*Failed' "$work/out" && grep -q '^ended before its end' "$work/out" || fail "what had failed is not said"
