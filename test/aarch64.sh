#!/usr/bin/env bash
# aarch64.sh [--build DIR] [--seconds N]: cross-compiles the library, with and without assertions, counts the fast paths'
# instructions, and runs the programs of stress, life and abort under qemu-user. That registers no rseq: mode `thread`.
# Not run: what measures or limits the process, which is qemu (threads, limits, vmas, seccomp). Skipped without these:
#
#   apt-get install gcc-aarch64-linux-gnu g++-aarch64-linux-gnu qemu-user-static cmake python3
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build-tests seconds=3
while [ $# -gt 1 ]; do
	case $1 in
	--build) build=$2 ;;
	--seconds) seconds=$2 ;;
	*) break ;;
	esac
	shift 2
done
[ $# = 0 ] || { sed -n '2,4s/^# //p' "$0" >&2 && exit 2; }

cross=aarch64-linux-gnu
for tool in $cross-gcc $cross-g++ qemu-aarch64-static cmake python3; do
	command -v $tool >/dev/null || { echo "skip: no $tool" && exit 77; }
done
# No SVE: its stores fault where mremap(MREMAP_DONTUNMAP) left zero pages, which qemu 7.2 takes for unmapped.
qemu=(qemu-aarch64-static -cpu cortex-a72 -L /usr/$cross)
flags=(-I"$root/include" -D_GNU_SOURCE -g -O1 -Wall -Wextra -Werror -fno-builtin -pthread)
failed=0
run() { # run NAME COMMAND...
	local name=$1 out status
	shift
	out=$(timeout 600 "$@" 2>&1)
	status=$?
	[ $status = 0 ] && echo "ok   $name" && return
	printf 'FAIL %s: status %s\n%s\n' "$name" $status "$(tail -n 20 <<<"$out")"
	failed=1
}
compile() { # compile OUTPUT SOURCE OPTION...
	local out=$1 source=$root/test/$2 compiler=($cross-gcc)
	shift 2
	case $source in *.cc) compiler=($cross-g++ -std=c++17 -fsized-deallocation) ;; esac
	"${compiler[@]}" "${flags[@]}" "$source" -o "$out" "$@" || exit 1
}

for type in Release Debug; do
	dir=$build/aarch64-$type lib=$build/aarch64-$type/libbslab
	mkdir -p "$dir"
	cmake -S "$root" -B "$dir" -DCMAKE_BUILD_TYPE=$type -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
		-DCMAKE_C_COMPILER=$cross-gcc >"$dir.log" 2>&1 && cmake --build "$dir" >>"$dir.log" 2>&1 ||
		{ tail -n 40 "$dir.log"; exit 1; }
	[ $type = Debug ] || run "$type fastpath" env OBJDUMP=$cross-objdump "$root/test/fastpath.sh" $lib.so
	for program in stress/stress.c life/order.c life/operators.cc life/fork.c life/spawn.c life/moved.c; do
		name=$(basename "${program%.*}") args=()
		compile "$dir/$name" $program
		[ $name != stress ] || args=(--seconds "$seconds")
		run "$type $name" "${qemu[@]}" -E LD_PRELOAD=$lib.so "$dir/$name" "${args[@]}"
		[ $name != stress ] || run "$type stress in a storm" "${qemu[@]}" -E LD_PRELOAD=$lib.so "$dir/$name" --seconds "$seconds" --storm
		[ $name != stress ] || run "$type stress in turns" "${qemu[@]}" -E LD_PRELOAD=$lib.so "$dir/$name" --turns --ops 50000
	done
	# The stress test on a library that is disturbed between the instructions of its sequences.
	mapfile -t sources < <(find "$root/src" "$root/preload" -name '*.c' ! -path '*/insight/*')
	$cross-gcc -std=gnu17 -O2 -g -fPIC -fvisibility=hidden -fno-builtin-malloc -fexceptions -DBSLAB_VERSION='"test"' -shared \
		-I"$root/test/rseq/inject" -I"$root/src" -I"$root/include" "${sources[@]}" "$root/test/rseq/fire.c" -o "$dir/libfire.so" \
		-nostartfiles -Wl,-z,now,-Bsymbolic-functions,--version-script="$root/preload/exports.map" || exit 1
	run "$type stress under fire" "${qemu[@]}" -E LD_PRELOAD="$dir/libfire.so" "$dir/stress" --seconds "$seconds"
	compile "$dir/static" life/static.c -static $lib.a
	compile "$dir/static-pie" life/static.c -fPIE -static-pie $lib.a
	compile "$dir/static-operators" life/operators.cc -DSTATIC_PROGRAM -static $lib.a
	compile "$dir/dlopen" life/dlopen.c
	compile "$dir/misuse.aarch64" abort/misuse.c $lib.so -Wl,-rpath,"$dir"
	for name in static static-pie static-operators; do
		run "$type $name" "${qemu[@]}" "$dir/$name"
	done
	run "$type dlopen" "${qemu[@]}" "$dir/dlopen" $lib.so
	printf '#!/bin/bash\nexec %s %q "$@" 2> >(grep -v "^qemu: uncaught" >&2)\n' "${qemu[*]}" "$dir/misuse.aarch64" >"$dir/misuse"
	chmod +x "$dir/misuse"
	run "$type abort" python3 "$root/test/abort/misuse.py" "$dir/misuse"
done
exit $failed
