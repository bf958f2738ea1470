#!/usr/bin/env bash
# Models: CPython's own test suite with every object on malloc: threads, fork, signals, foreign functions
# Packages: python3.11 libpython3.11-testsuite
# Quick: yes
# Limit: 2400
. "$(dirname "$0")/lib.sh"

python=/usr/bin/python3.11
settings=(PYTHONMALLOC=malloc PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1)

loads $python
sees_lib "${settings[@]}" $python -c 'print(open("/proc/self/maps").read())'
[ "$(under bslab "${settings[@]}" $python -c 'import _testcapi; print(_testcapi.pymem_getallocatorsname())')" = malloc ] ||
	fail "Python does not use malloc for its objects"

quickly=(
	test_array test_bytes test_ctypes test_deque test_dict test_exceptions test_fork1 test_gc test_generators
	test_json test_list test_mmap test_pickle test_re test_set test_sort test_string test_sys test_thread
	test_threadedtempfile test_unicode test_zlib
)

# Not run, though they can: they wait on clocks and sockets for minutes, and test little that the others do not.
slow=(
	test_concurrent_futures test_multiprocessing_forkserver test_multiprocessing_spawn # test_multiprocessing_fork is kept
	test_imaplib test_xmlrpc test_ftplib test_poplib test_largefile test_regrtest
)
# Not run, since what they do depends on the machine: names looked up, interfaces, a download, a display.
outside=(
	test_socket test_urllib2net test_urllibnet test_smtpnet test_xmlrpc_net test_asyncore test_nntplib
	test_ensurepip test_venv test_cppext test_idle
)

suite() {
	local xml=$T/$who/$1.xml rc=0
	shift
	under "$who" "${settings[@]}" $python -m test -j2 --timeout 300 --junit-xml "$xml" "$@" || rc=$?
	[ $rc = 0 ] || [ $rc = 2 ] # 2: some test failed, which is for the comparison to judge
}

# One line for each test: its name and whether it passed.
results() {
	$python - "$T/$1/$2.xml" <<-'END' >"$T/$1/$2.results"
		import sys, xml.etree.ElementTree as tree
		bad = ('error', 'failure', 'skipped')
		for case in tree.parse(sys.argv[1]).getroot().iter('testcase'):
		    print(case.get('name'), *[e.tag for e in case if e.tag in bad] or ['passed'])
	END
	LC_ALL=C sort -o "$T/$1/$2.results" "$T/$1/$2.results"
	[ -s "$T/$1/$2.results" ] || fail "no test ran under $1"
}

run() { # run LABEL ARGUMENT...: the suite on both sides; `differing` is then the modules with tests that differ
	local who
	for who in glibc bslab; do
		capture $who "$1" suite "$@"
		results $who "$1"
		! grep -aE '^[0-9:]+ .* (crashed|timed out)' "$log/$1.$who.out" >&2 || fail "$1: a test crashed or hung under $who"
	done
	diff "$T/glibc/$1.results" "$T/bslab/$1.results" | grep '^[<>]' >"$log/$1.diff" || true
	! grep -vE '^[<>] (test\.)?[a-z0-9_]' "$log/$1.diff" >&2 || fail "$1: a test differs whose module is not known"
	mapfile -t differing < <(grep -oE '^[<>] (test\.)?[a-z0-9_]+' "$log/$1.diff" | grep -oE '[a-z0-9_]+$' | sort -u)
}

if [ -n "${PROGRAMS_QUICK:-}" ]; then
	run suite "${quickly[@]}"
else
	run suite -x "${slow[@]}" "${outside[@]}"
fi
echo "note: $(grep -c ' passed$' "$T/bslab/suite.results") of Python's tests pass on both sides"

# A test that measures time can fail once on a busy machine, on either side. Alone, it must do the same on both.
if [ ${#differing[@]} -gt 0 ]; then
	echo "note: run again alone: ${differing[*]}"
	run again "${differing[@]}"
	[ ! -s "$log/again.diff" ] || fail "not the same tests pass: $(sed -n 's/^> //p' "$log/again.diff" | head -n 5 | paste -s -d ,)"
fi
