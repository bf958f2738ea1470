#!/usr/bin/env bash
# Models: a server of four threads with malloc for its connections and a slab allocator of its own for its items
# Packages: memcached python3
# Quick: yes
. "$(dirname "$0")/lib.sh"

loads memcached

for who in glibc bslab; do
	port=$(free_port)
	start $who server memcached -u nobody -l 127.0.0.1 -p "$port" -U 0 -t 4 -m 64 -I 2m -c 512
	await listens "$port"
	mapped $who "$pid"
	capture $who load /usr/bin/python3 "$here/input/memcached.py" "$port" "$(amount 4000 25000)"
	stop TERM
done
agree load
