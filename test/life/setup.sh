#!/usr/bin/env bash
# setup.sh SETUP: what SETUP asks apt-get for, with stand-ins for the package tools: no package is touched.
set -u
setup=$1
[ "$(id -u)" = 0 ] && [ -w /usr/sbin ] || { echo "skipped: only root installs packages"; exit 77; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

tool() { # tool NAME: a stand-in, its text from standard input
	{ echo '#!/usr/bin/env bash' && cat; } >"$dir/$1"
	chmod 755 "$dir/$1"
}
# A line each, as apt-cache writes them: who reads no further than the line that matters must not take the rest for a fault.
tool apt-cache <<'END'
candidate=1.0
[ "$2" != unknown ] || candidate='(none)'
printf '%s:\n  Installed: (none)\n' "$2"
printf '  Candidate: %s\n' "$candidate"
sleep 0.2
printf '  Version table:\n' || exit 1
END
tool dpkg-query <<'END'
case ${!#} in there) echo 'ii ' ;; gone) echo 'rc ' ;; *) exit 1 ;; esac
END
tool apt-get <<END
for arg; do
	case \$arg in update | install) found=1 ;; esac
	[ -z "\${found-}" ] || printf '%s ' "\$arg" >>"$dir/asked"
done
echo >>"$dir/asked"
END

failed=0
asks() { # asks STATUS LINES PACKAGE...
	local status=$1 lines=$2 got
	shift 2
	: >"$dir/asked"
	PATH=$dir:$PATH "$setup" "$@" >"$dir/out" 2>&1
	got=$?
	[ $got = "$status" ] && [ "$(sed 's/ $//' "$dir/asked")" = "$lines" ] && return
	echo "FAIL $*: exit status $got, not $status; asked for:"
	cat "$dir/asked" "$dir/out"
	failed=1
}
asks 0 "" there
asks 0 $'update\ninstall --no-install-recommends one gone two' one there gone two
asks 1 $'update\ninstall --no-install-recommends one two' one unknown two
asks 1 update unknown

# No server is started meanwhile, and the policy for it goes, be it one that a run left behind that was killed; the machine's
# own stays.
tool apt-get <<END
case " \$* " in *' install '*) cp "$dir/policy" "$dir/seen" ;; esac
END
export SETUP_POLICY=$dir/policy
installs() { # installs WHAT: under a policy that says no
	rm -f "$dir/seen"
	PATH=$dir:$PATH "$setup" one >"$dir/out" 2>&1
	sh "$dir/seen"
	[ $? = 101 ] && return
	echo "FAIL $1: no policy"
	failed=1
}
installs "without one"
[ ! -e "$SETUP_POLICY" ] || { echo "FAIL the policy is still there"; failed=1; }
cp "$dir/seen" "$SETUP_POLICY"
installs "with one that is left"
[ ! -e "$SETUP_POLICY" ] || { echo "FAIL the policy that was left is still there"; failed=1; }
printf '#!/bin/sh\n# of bslab\nexit 101\n' >"$SETUP_POLICY"
installs "with the machine's"
[ -e "$SETUP_POLICY" ] || { echo "FAIL the machine's policy is gone"; failed=1; }
exit $failed
