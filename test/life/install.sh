#!/usr/bin/env bash
# install.sh BUILD CMAKE CC CXX VERSION: what cmake --install leaves is all that a program needs. One in C and one in C++ are
# built by pkg-config (shared, with the archive, static) and by find_package, and run; the manual's pages are there and
# render; bslab-run does what its page says.
# shellcheck disable=SC2016 # what shells under bslab-run expand
set -u
build=$1 cmake=$2 cc=$3 cxx=$4 version=$5
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d) || exit 1
manifest=$build/install_manifest.txt # whoever installed from this folder still wants his own
[ ! -e "$manifest" ] || cp -p "$manifest" "$work/manifest"
put_back() {
	if [ -e "$work/manifest" ]; then cp -p "$work/manifest" "$manifest"; else rm -f "$manifest"; fi
	rm -rf "$work"
}
trap put_back EXIT
trap 'exit 1' HUP INT TERM
unset LD_PRELOAD LD_LIBRARY_PATH BSLAB_CONF DESTDIR CFLAGS CXXFLAGS LDFLAGS PKG_CONFIG_SYSROOT_DIR
faults=0
fault() { echo "FAIL: $1"; faults=$((faults + 1)); }
indented() { sed -n '1,20s/^/    /p' "$@"; }

# --- cmake --install ---

prefix=$work/prefix
list() { (cd "$1" && find . -mindepth 1 | sort); }
"$cmake" --install "$build" --prefix "$prefix" >"$work/out" 2>&1 || { fault "cmake --install ended with $?"; indented "$work/out"; exit 1; }
# With DESTDIR the same, and nothing where the prefix says.
DESTDIR=$work/staged "$cmake" --install "$build" --prefix "$work/final" >"$work/out" 2>&1 || { fault "with DESTDIR cmake --install ended with $?"; indented "$work/out"; }
[ ! -e "$work/final" ] || fault "with DESTDIR something was installed beside it"
diff <(list "$prefix") <(list "$work/staged$work/final") >"$work/out" || { fault "with DESTDIR other files are installed"; indented "$work/out"; }
pc=$(find "$prefix" -name bslab.pc)
[ -n "$pc" ] || { fault "there is no bslab.pc"; exit 1; }
libdir=$(dirname "$(dirname "$pc")")
# Wherever it is moved to, it works: what it says of itself is relative.
for place in "$build" "$work"; do
	grep -rlF -e "$place" "$prefix/bin/bslab-run" "$libdir"/pkgconfig "$libdir"/cmake >"$work/out" &&
		{ fault "the path $place is in what was installed"; indented "$work/out"; }
done
rm -rf "$work/staged"
for file in "$libdir"/{libbslab.a,libbslab.so,libbslab.so.0,"libbslab.so.$version",libbslab-deepbind.so} "$prefix"/bin/{bslab-run,bslab-stat} \
	"$prefix"/share/doc/*/{LICENSE,README.md,docs/options.md}; do
	[ -s "$file" ] || fault "$file is missing"
done
[ "$(find "$prefix" -type f -perm /022 -o -type d -perm /022 | wc -l)" = 0 ] || fault "others may write to what was installed"

# --- programs ---

# expect_kind PROGRAM shared|archive|static: the library as its own, or in the program, or all of it.
expect_kind() {
	local kind=archive
	readelf -d "$1" | grep -q 'NEEDED.*libbslab\.so\.0' && kind=shared
	readelf -lW "$1" | grep -q INTERP || kind=static
	[ "$kind" = "$2" ] || fault "$1 is $kind, not $2"
}
# runs PROGRAM KIND: as it is, bslab is its malloc; so it says.
runs() {
	local out status
	expect_kind "$1" "$2"
	out=$("$1" 2>&1) && [ "$out" = "bslab is the malloc" ] && return
	status=$?
	fault "$1 ended with $status: $out"
}
# compiled NAME KIND LANGUAGE OPTION...: and run.
compiled() {
	local name=$1 kind=$2 compiler=$cc source=$here/installed.c
	[ "$3" = c ] || { compiler=$cxx source=$work/installed.cc; }
	shift 3
	# The library stands behind the program, as in the README's commands.
	"$compiler" -Wall -Wextra -Werror -O1 -fno-builtin "$source" "$@" -o "$work/$name" >"$work/out" 2>&1 ||
		{ fault "$name does not compile: $*"; indented "$work/out"; return; }
	runs "$work/$name" "$kind"
}
cp "$here/installed.c" "$work/installed.cc"
# One whose libraries alone allocate must not lose it, though it names nothing of ours.
echo 'int main(void) { return 0; }' >"$work/silent.c"
# has_malloc PROGRAM shared|archive
has_malloc() {
	expect_kind "$1" "$2"
	[ "$2" = shared ] || nm "$1" | grep -q ' T malloc$' || fault "$1 went without the archive's malloc"
}
export PKG_CONFIG_PATH=$libdir/pkgconfig
[ "$(pkg-config --modversion bslab)" = "$version" ] || fault "pkg-config's version is '$(pkg-config --modversion bslab 2>&1)'"
read -ra shared <<<"$(pkg-config --cflags --libs bslab)"
read -ra archive <<<"$(pkg-config --cflags bslab) $(pkg-config --variable=static_libs bslab)"
for language in c cxx; do
	compiled "shared-$language" shared $language "${shared[@]}" -Wl,-rpath,"$libdir"
	# As distributions link; and found at run time by the other of the two ways.
	LD_LIBRARY_PATH=$libdir compiled "as-needed-$language" shared $language -Wl,--as-needed "${shared[@]}"
	compiled "archive-$language" archive $language "${archive[@]}"
	compiled "static-$language" static $language -static "${archive[@]}"
done
for kind in shared archive; do
	declare -n flags=$kind
	"$cc" "$work/silent.c" -Wl,--as-needed "${flags[@]}" -o "$work/silent-$kind" >"$work/out" 2>&1 || { fault "silent-$kind"; indented "$work/out"; }
	has_malloc "$work/silent-$kind" $kind
done

mkdir "$work/package"
cat >"$work/package/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.18)
project(package C CXX)
find_package(bslab ${version%.*} REQUIRED)
foreach(source installed.c installed.cc)
  string(REPLACE "installed." "" language \${source})
  add_executable(package-shared-\${language} \${source})
  target_link_libraries(package-shared-\${language} bslab::bslab)
  add_executable(package-archive-\${language} \${source})
  target_link_libraries(package-archive-\${language} bslab::static)
  add_executable(package-static-\${language} \${source})
  target_link_libraries(package-static-\${language} bslab::static -static)
endforeach()
add_executable(silent-shared silent.c)
add_executable(silent-archive silent.c)
target_link_libraries(silent-shared bslab::bslab)
target_link_libraries(silent-archive bslab::static)
END
cp "$here/installed.c" "$work/installed.cc" "$work/silent.c" "$work/package"
if "$cmake" -S "$work/package" -B "$work/package/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" \
	-DCMAKE_C_FLAGS="-fno-builtin" -DCMAKE_CXX_FLAGS="-fno-builtin" -DCMAKE_EXE_LINKER_FLAGS=-Wl,--as-needed >"$work/out" 2>&1 &&
	"$cmake" --build "$work/package/build" >"$work/out" 2>&1; then
	for language in c cc; do
		for kind in shared archive static; do
			runs "$work/package/build/package-$kind-$language" $kind
		done
	done
	for kind in shared archive; do
		has_malloc "$work/package/build/silent-$kind" $kind
	done
else
	fault "find_package"
	indented "$work/out"
fi

# --- the manual ---

pages=("$prefix"/share/man/man?/*)
for program in "$prefix"/bin/*; do
	[ -s "$prefix/share/man/man1/${program##*/}.1" ] || fault "${program##*/} has no page"
done
[ -s "$prefix/share/man/man3/bslab.3" ] || fault "bslab(3) is missing"
if command -v groff >/dev/null; then
	for page in "${pages[@]}"; do
		groff -man -Tutf8 -ww -z "$page" >"$work/out" 2>&1
		[ ! -s "$work/out" ] || { fault "${page##*/} does not render without warnings"; indented "$work/out"; }
	done
else
	echo "no groff: the pages are not rendered"
fi

# --- bslab-run ---

run=$prefix/bin/bslab-run
library=$(readlink -f "$libdir/libbslab.so")
both=$library:${library%/*}/libbslab-deepbind.so
# says STATUS TEXT ARGUMENT...: bslab-run ends so, with the text on stdout and nothing on stderr.
says() {
	local status=$1 text=$2 got out
	shift 2
	out=$("$run" "$@" 2>"$work/err")
	got=$?
	[ "$got" = "$status" ] || fault "bslab-run $*: status $got, not $status"
	[ "$out" = "$text" ] || fault "bslab-run $*: says '$out', not '$text'"
	[ ! -s "$work/err" ] || { fault "bslab-run $*: on stderr"; indented "$work/err"; }
}
# refuses STATUS TEXT ARGUMENT...: it fails itself, with one line on stderr.
refuses() {
	local status=$1 text=$2 got
	shift 2
	"$run" "$@" >"$work/out" 2>"$work/err"
	got=$?
	[ "$got" = "$status" ] || fault "bslab-run $*: status $got, not $status"
	[ "$(cat "$work/err")" = "bslab-run: $text" ] || { fault "bslab-run $*: not 'bslab-run: $text' on stderr, but"; indented "$work/err"; }
	[ ! -s "$work/out" ] || fault "bslab-run $*: on stdout"
}
says 0 "$both" sh -c 'echo "$LD_PRELOAD"'
says 0 "$library" --deepbind sh -c 'echo "$LD_PRELOAD"'
says 0 "a  b|c" printf '%s|%s' 'a  b' c
for status in 0 1 7 125 126 127; do
	says $status "" sh -c "exit $status"
done
says 143 "" sh -c 'kill -TERM $$'
LD_PRELOAD=libm.so.6 says 0 "$both:libm.so.6" sh -c 'echo "$LD_PRELOAD"'
BSLAB_CONF=region=32M says 0 "region=32M,check=yes,on_error=warn" --conf check=yes --conf=on_error=warn sh -c 'echo "$BSLAB_CONF"'
says 0 "check=yes" --conf check=yes -- sh -c 'echo "$BSLAB_CONF"'
cp "$library" "$work/other.so"
says 0 "$work/other.so" --lib "$work/other.so" sh -c 'echo "$LD_PRELOAD"'
says 0 "$work/other.so" --lib="$work/other.so" sh -c 'echo "$LD_PRELOAD"'
for option in --version -V; do
	says 0 "bslab-run $version" $option
done
for option in --help -h; do
	"$run" $option >"$work/out" 2>"$work/err" || fault "bslab-run $option: status $?"
	[[ $(head -n 1 "$work/out") = "usage: bslab-run "* && ! -s $work/err ]] || fault "bslab-run $option: no usage on stdout"
	for each in --conf --stats --lib --deepbind --help --version; do
		grep -q -e "^ *$each " "$work/out" || fault "bslab-run $option: nothing of $each"
	done
done
# The library begins with the first call; and GNU ls, among others, has closed stderr by then.
"$run" --stats bash -c : 2>"$work/err" || fault "bslab-run --stats: status $?"
grep -q '^bslab: caches by ' "$work/err" || fault "bslab-run --stats: no statistics"
{ (exec "$run" --conf no_such_option=1 bash -c :); } >/dev/null 2>&1
[ $? = 134 ] || fault "a bad option of the library does not end the program by SIGABRT"

refuses 125 "no program named; try --help"
refuses 125 "no program named; try --help" --stats --
refuses 125 "unknown option --no-such; try --help" --no-such true
refuses 125 "--conf needs a value" --conf
refuses 125 "--lib needs a value" --lib
refuses 125 "no library at $work/none.so; build or install it first, or name it with --lib" --lib "$work/none.so" true
cp "$library" "$work/with space.so"
refuses 125 "LD_PRELOAD cannot hold a path with a colon or a space: $work/with space.so" --lib "$work/with space.so" true
refuses 127 "no-such-program: not found" no-such-program
refuses 127 "-x: not found" -- -x
refuses 127 "$work/none: not found" "$work/none"
touch "$work/plain"
refuses 126 "$work/plain: not an executable file" "$work/plain"
refuses 126 "$work: not an executable file" "$work"

# By a link from elsewhere; where the link that only linkers need is not installed; and beside the library it was built with.
ln -s "$run" "$work/link"
run=$work/link
says 0 "$both" sh -c 'echo "$LD_PRELOAD"'
rm "$libdir/libbslab.so"
run=$prefix/bin/bslab-run
says 0 "$both" sh -c 'echo "$LD_PRELOAD"'
run=$build/bslab-run
build=$(readlink -f "$build")
says 0 "$(readlink -f "$build/libbslab.so"):$build/libbslab-deepbind.so" sh -c 'echo "$LD_PRELOAD"'

echo "$faults faults"
[ "$faults" = 0 ]
