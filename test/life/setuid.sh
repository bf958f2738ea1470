#!/usr/bin/env bash
# setuid.sh PROGRAM: a set-uid program, linked with the library, ignores BSLAB_CONF; the same one without the bit does not.
set -u
skip() { echo "skipped: $1"; exit 77; }
fail() { echo "FAIL: $1"; exit 1; }

[ "$(id -u)" = 0 ] || skip "only root can make a set-uid program for another user"
command -v setpriv >/dev/null || skip "no setpriv"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cp "$1" "$work/program"
as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)

chmod 755 "$work/program"
out=$(BSLAB_CONF=no_such_option=1 "${as_nobody[@]}" "$work/program" setuid 2>&1) && fail "plain: a bad option is accepted: $out"
case $out in *"BSLAB_CONF: unknown option 'no_such_option'"*) ;; *) fail "plain: says '$out'" ;; esac

chmod 4755 "$work/program"
out=$(BSLAB_CONF=no_such_option=1 "${as_nobody[@]}" "$work/program" setuid 2>&1) || fail "set-uid: ended with $?: $out"
case $out in
"uid 65534, effective 0") ;;
"uid 65534, effective 65534") skip "set-uid programs are not honoured here" ;;
*) fail "set-uid: says '$out'" ;;
esac
