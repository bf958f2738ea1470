#!/usr/bin/env bash
# Models: a compiler, an assembler and a linker: large arenas, deep trees, little freed before the end, many processes
# Packages: gcc g++ binutils mawk
# Quick: yes
. "$(dirname "$0")/lib.sh"

loads gcc g++ "$(gcc -print-prog-name=cc1)" "$(g++ -print-prog-name=cc1plus)" "$(gcc -print-prog-name=lto1)" as ld

awk -v functions="$(amount 120 700)" -f "$here/input/big.awk" >"$T/big.c"
echo '#include <bits/stdc++.h>' >"$T/all.cc"

# The same bytes wherever it stands: no path of the directory, and no random number in a symbol's name.
flags=(-O2 -frandom-seed=1)

c() {
	under "$who" gcc "${flags[@]}" -g -ffile-prefix-map="$PWD=." -c "$T/big.c" -o big.o
	under "$who" gcc big.o -o big
	./big
}

cxx() {
	under "$who" g++ "${flags[@]}" -std=c++17 -pipe -DDEPTH=100 -DCOMBINATIONS="$(amount 4 16)" "$here/input/big.cc" -o big-cc
	./big-cc
}

# As a precompiled header the compiler's heap is itself the output, and is mapped again where it was.
precompiled() {
	under "$who" g++ -x c++-header "$T/all.cc" -o all.cc.gch
	under "$who" g++ -std=gnu++17 -include all.cc -x c++ - -o counted <<<'int main() { std::map<int, int> m{{1, 2}}; std::cout << m.size(); }'
	./counted
}

# Whole-program optimisation, in processes that the linker starts by a plugin.
lto() {
	under "$who" gcc "${flags[@]}" -flto=2 "$T/big.c" -o big-lto
	./big-lto
}

compare c c
same big.o big
compare cxx cxx
same big-cc
[ -n "${PROGRAMS_QUICK:-}" ] || compare precompiled precompiled
[ -n "${PROGRAMS_QUICK:-}" ] || compare lto lto
