# shellcheck shell=bash
# What the scripts of this folder share; each sources it first, and from then on has:
#
#   $T            its own directory, removed at the end; $T/glibc and $T/bslab are where each side works
#   $log          where all output of both sides is kept; scanned for bslab's messages at the end
#   amount A B            prints A in the quick subset, else B
#   under WHO CMD         run a command under one allocator, WHO being "glibc" or "bslab"
#   capture WHO LABEL CMD the same, output kept as LABEL, a non-zero exit status being a failure
#   agree LABEL           the two captured outputs must be the same
#   compare LABEL CMD     both captures and agree; CMD may be a shell function, which calls `under "$who"`
#   no_deepbind           from here on libbslab-deepbind.so is preloaded, too
#   same FILE...          the two sides must have written the same bytes
#   start, mapped, stop   a server: its process id is $pid, and it is stopped whatever happens
#
# A script says in its head what it models and, for `run` and for the lines below, in these fields:
#   # Packages: Debian packages to install where missing
#   # Quick: yes            belongs to the quick subset
#   # Limit: SECONDS        to be ended after that long, which only a program that hangs takes (default 600)

set -euE -o pipefail
umask 022
ulimit -c 0

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
name=$(basename "$0" .sh)
conf=${PROGRAMS_CONF:-}

# One environment for both sides: Debian's own programs, even where others come first in the caller's PATH, and
# nothing of the caller's settings that could change what they print.
unset LD_PRELOAD BSLAB_CONF
while read -r variable; do unset "$variable"; done < <(compgen -e | grep -E '^(LC_|PERL|PYTHON|RUBY|LUA_|NODE_|GIT_|PG|JAVA|JDK_|MAGICK_|XDG_|TMUX|VIM)')
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TZ=UTC0 TERM=xterm-256color
export DEBIAN_FRONTEND=noninteractive

T='' log='' pid='' behind='' reason='' policy=''
pids=()

# Said on stderr as well, since in a subshell the variable is lost.
fail() {
	reason=$*
	echo "$reason" >&2
	exit 1
}

# How much of a thing to do: less in the quick subset.
amount() {
	if [ -n "${PROGRAMS_QUICK:-}" ]; then echo "$1"; else echo "$2"; fi
}

# Only for a package that cannot be had here: 77 is what `run` counts as skipped.
cannot() {
	reason=$*
	exit 77
}

# --- Packages ---

missing() {
	local p
	for p; do
		dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null | grep '^ii' >/dev/null || echo "$p"
	done
}

# A package of a server starts it when it is installed, unless policy-rc.d says no. Where the machine has one already it
# is left as it is. The lock, on a directory so that no lock file stays behind, is for a second run at the same time: it
# must not find our policy, think that the machine has one, and lose it half-way. By its mark one is known that was left
# behind by a run that was killed. Both are those of setup.
without_services() {
	local rc=0 mark='# of bslab, until its packages are installed'
	exec 9</usr/sbin
	flock 9
	if [ ! -e /usr/sbin/policy-rc.d ] || grep -qxF "$mark" /usr/sbin/policy-rc.d; then
		policy=/usr/sbin/policy-rc.d
		printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >$policy
		chmod 755 $policy
	fi
	"$@" 9<&- || rc=$?
	[ -z "$policy" ] || rm -f "$policy"
	policy=
	exec 9<&-
	return $rc
}

install_packages() {
	local -a wanted get
	mapfile -t wanted < <(missing "$@")
	[ ${#wanted[@]} -gt 0 ] || return 0
	command -v apt-get >/dev/null || cannot "needs ${wanted[*]}, and this is no Debian"
	[ "$(id -u)" = 0 ] || cannot "needs ${wanted[*]}, which only root can install"
	get=(apt-get -o DPkg::Lock::Timeout=300 -q -y)
	echo "installing ${wanted[*]}"
	# A list of packages that is missing or old is the common reason for a first attempt to fail.
	without_services "${get[@]}" install --no-install-recommends "${wanted[@]}" >"$log/apt" 2>&1 ||
		{ "${get[@]}" update && without_services "${get[@]}" install --no-install-recommends "${wanted[@]}"; } >"$log/apt" 2>&1 ||
		cannot "cannot install ${wanted[*]}: $(grep -a '^E: ' "$log/apt" | tail -n 1)"
}

# --- Running a program under either allocator ---

# env execs the program, so that in the background its process id is the program's.
prefix_of() {
	case $1 in
	glibc) prefix=(env) ;;
	bslab) prefix=(env ${conf:+"BSLAB_CONF=$conf"} "LD_PRELOAD=$lib${behind:+:$behind}") ;;
	*) fail "no allocator named $1" ;;
	esac
}

no_deepbind() {
	local from
	from=$(dirname "$(readlink -f "${PROGRAMS_LIB:-$here/../../build/libbslab.so}")")/libbslab-deepbind.so
	[ -f "$from" ] || fail "there is no $from"
	behind=$T/libbslab-deepbind.so
	cp "$from" "$behind"
}

under() {
	local -a prefix
	prefix_of "$1"
	shift
	"${prefix[@]}" "$@"
}

describe() {
	if [ "$1" -gt 128 ]; then echo "killed by SIG$(kill -l $(($1 - 128)))"; else echo "exit status $1"; fi
}

# $input is what CMD reads; without it there is nothing to read.
capture() {
	local who=$1 label=$2 rc
	shift 2
	mkdir -p "$T/$who"
	set +e # and not `|| rc=$?`: that would disable errexit inside the subshell too
	(
		set -e
		cd "$T/$who"
		if [ "$(type -t "$1")" = function ]; then "$@"; else under "$who" "$@"; fi
	) >"$log/$label.$who.out" 2>"$log/$label.$who.err" <"${input:-/dev/null}"
	rc=$?
	set -e
	[ $rc = 0 ] || fail "$label: $(describe $rc) under $who"
}

agree() {
	local a=$log/$1.glibc.out b=$log/$1.bslab.out
	cmp -s "$a" "$b" && return
	diff -aU0 "$a" "$b" | head -n 12 >"$log/$1.diff" || fail "$1: the output differs from glibc's"
}

compare() {
	capture glibc "$@"
	capture bslab "$@"
	agree "$1"
}

same() {
	local f
	for f; do
		cmp -s "$T/glibc/$f" "$T/bslab/$f" || fail "$f: the file differs from glibc's"
	done
}

# --- That it really ran under bslab ---

# The dynamic loader's own answer for these binaries, without running them: the library is among what they load.
loads() {
	local p
	for p; do
		p=$(command -v "$p") || fail "no program $p"
		under bslab LD_TRACE_LOADED_OBJECTS=1 "$p" 2>&1 | grep -F "$lib" >/dev/null || fail "$p does not load $lib"
	done
}

# The same from the inside, for an interpreter: CMD prints its own /proc/self/maps.
sees_lib() {
	under bslab "$@" >"$log/maps" 2>&1 || fail "cannot print its maps: $*"
	grep -qF "$lib" "$log/maps" || fail "$1 ran without $lib"
	rm "$log/maps"
}

# Once per script: the loader gives libc's own calls of malloc to the library, and not only a place in memory.
check_preload() {
	under bslab cat /dev/null 2>"$log/preload" || fail "not even cat runs with this library"
	under bslab LD_DEBUG=bindings cat /dev/null 2>&1 | grep -F "to $lib " | grep malloc >/dev/null ||
		fail "LD_PRELOAD=$lib does not take: malloc is not bound to it"
}

# --- Servers ---

free_port() {
	perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport'
}

start() {
	local who=$1 label=$2
	local -a prefix
	shift 2
	prefix_of "$who"
	mkdir -p "$T/$who"
	"${prefix[@]}" "$@" >"$log/$label.$who.out" 2>"$log/$label.$who.err" </dev/null &
	pid=$!
	pids+=("$pid")
}

# Until CMD succeeds, as long as the server last started lives.
await() {
	local i
	for ((i = 0; i < 600; i++)); do
		! "$@" >/dev/null 2>&1 || return 0
		kill -0 "$pid" 2>/dev/null || fail "the server ended before it was ready"
		sleep 0.1
	done
	fail "the server was not ready after a minute"
}

listens() {
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

mapped() {
	local who=$1 p
	shift
	for p; do
		if grep -qF "$lib" "/proc/$p/maps"; then
			[ "$who" = bslab ] || fail "process $p has the library, but was to run under glibc"
		else
			[ "$who" = glibc ] || fail "process $p does not have $lib in its maps"
		fi
	done
}

# stop SIGNAL: ends the server last started, the only one at a time, and insists that it ends well.
stop() {
	local i rc=0
	kill -s "$1" "$pid" || fail "the server had ended before it was stopped"
	for ((i = 0; i < 600; i++)); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	! kill -KILL "$pid" 2>/dev/null || fail "the server did not stop"
	wait "$pid" || rc=$?
	pids=()
	[ $rc = 0 ] || fail "the server ended with $(describe $rc)"
}

# --- The end, on every way out ---

# Any message of bslab's, or of the loader about the preload, on whatever any program wrote.
messages() {
	grep -aErh -m 3 '(^|[^[:alnum:]/_.-])bslab:|ERROR: ld\.so' "$log"
}

# Replaced by a script that has something of its own to end.
at_end() { :; }

finish() {
	local rc=$? p f
	trap - EXIT ERR
	set +e
	at_end
	# TERM first: a server that is killed cannot end its children.
	for p in "${pids[@]}"; do
		kill -TERM "$p" 2>/dev/null || continue
		timeout 5 tail -f /dev/null --pid="$p"
		kill -KILL "$p"
		wait "$p"
	done 2>/dev/null
	[ -z "$policy" ] || rm -f "$policy"
	if [ $rc != 77 ] && f=$(messages); then
		rc=1
		reason="${reason:+$reason; }a message of the library: $(head -n 1 <<<"$f")"
	fi
	case $rc in
	0) ;;
	77) echo "SKIP: $reason" ;;
	*)
		while read -r f; do
			printf -- '--- the end of %s\n' "${f#"$log/"}"
			tail -n 12 "$f" | cut -c 1-300
		done < <(find "$log" -type f -size +0 -printf '%T@ %p\n' | sort -n | tail -n 4 | cut -d ' ' -f 2-)
		echo "FAIL: ${reason:-$(describe $rc)}"
		;;
	esac
	if [ -n "${PROGRAMS_KEEP:-}" ]; then echo "kept: $T"; else rm -rf "$T"; fi
	exit $rc
}

T=$(mktemp -d "${TMPDIR:-/tmp}/bslab-$name.XXXXXX")
chmod 755 "$T"
log=$T/log
mkdir "$log" "$T/home" "$T/glibc" "$T/bslab"
export HOME=$T/home TMPDIR=$T
trap 'exit 130' INT
trap 'exit 143' TERM
trap finish EXIT
# Says where a script ended that did not say why; of the layers of this file it says nothing.
trap '[ "${BASH_SOURCE[0]}" -ef "$here/lib.sh" ] || echo "${0##*/}:$LINENO: status $?: $BASH_COMMAND" >&2' ERR

# A copy: servers that give up root must be able to read it wherever the repository stands, and a rebuild in the middle
# must not change what is being tested. Its path is one that no other process can have in its maps.
lib=$T/libbslab.so
cp -L "${PROGRAMS_LIB:-$here/../../build/libbslab.so}" "$lib" || fail "no library to test"
chmod 755 "$lib"

mapfile -t packages < <(sed -n 's/^# Packages: *//p' "$0" | tr ' ' '\n' | grep .)
install_packages "${packages[@]}"
check_preload
