#!/usr/bin/env bash
# Models: few, very large blocks (the dictionaries of a compressor's threads) beside a file walker's many small ones
# Packages: tar xz-utils
# Quick: yes
. "$(dirname "$0")/lib.sh"

loads tar xz

# What every Debian has: its tools and, in the full set, their libraries; several blocks for each of the threads of xz.
files=(/usr/bin)
[ -n "${PROGRAMS_QUICK:-}" ] || files+=("/usr/lib/$(uname -m)-linux-gnu")
find "${files[@]}" -maxdepth 1 -type f -size -8M | LC_ALL=C sort | sed -n "1,$(amount 130 400)p" | sed 's|^/||' >"$T/list"

pack() {
	under "$who" tar --create --file=all.tar --directory=/ --files-from="$T/list" --sort=name --mtime=@0 --owner=0 --group=0
	under "$who" xz -T2 -k --block-size=8MiB -"$(amount 2 5)" all.tar
	under "$who" xz -T1 -k -c -1 --format=lzma all.tar >all.tar.lzma
	under "$who" xz -l --robot all.tar.xz
	rm all.tar
}

# tar with its own children: it starts xz, under the same allocator.
unpack() {
	mkdir unpacked
	under "$who" xz -t all.tar.xz all.tar.lzma
	under "$who" tar --extract --file=all.tar.xz --directory=unpacked
	under "$who" tar --list --verbose --file=all.tar.lzma
	(cd unpacked && find . -type f | LC_ALL=C sort | xargs sha256sum)
	rm -r unpacked
}

compare pack pack
same all.tar.xz all.tar.lzma
compare unpack unpack
