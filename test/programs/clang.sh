#!/usr/bin/env bash
# Models: LLVM, a compiler in C++ that frees as it goes: bump arenas, hash tables, millions of small operator new
# Packages: clang libstdc++-12-dev binutils mawk
. "$(dirname "$0")/lib.sh"

loads clang clang++ ld

awk -v functions=600 -f "$here/input/big.awk" >"$T/big.c"

c() {
	under "$who" clang -O2 -g -ffile-prefix-map="$PWD=." -c "$T/big.c" -o big.o
	under "$who" clang big.o -o big
	./big
}

cxx() {
	under "$who" clang++ -O2 -std=c++17 -DDEPTH=60 -DCOMBINATIONS=12 "$here/input/big.cc" -o big-cc
	./big-cc
}

compare c c
same big.o big
compare cxx cxx
same big-cc
