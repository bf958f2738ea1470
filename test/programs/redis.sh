#!/usr/bin/env bash
# Models: a server on an allocator of its own (jemalloc, in Debian's package), so that two live in one process; fork to save
# Packages: redis-server redis-tools perl
. "$(dirname "$0")/lib.sh"

loads redis-server redis-cli redis-benchmark

keys=$(amount 20000 100000)
# In Redis's own protocol, as redis-cli --pipe takes it: values whose growth, shrinking and removal are all determined.
perl -e '
	sub command { print "*", scalar @_, "\r\n", map { "\$" . length($_) . "\r\n$_\r\n" } @_ }
	for my $i (1 .. shift) {
		my $k = $i * 7919 % 5003;
		command("set", "s:$k", "value $i " x ($i % 90 + 1));
		command("append", "s:" . $i * 31 % 5003, "+" x ($i % 700));
		command("hset", "h:" . $k % 200, "f$i", $i * $i, "g" . $k % 60, "x" x ($k % 300));
		command("rpush", "l:" . $k % 100, "item $i", "y" x ($i % 120));
		command("lpop", "l:" . $i % 100) if $i % 3 == 0;
		command("zadd", "z:" . $k % 50, $k, "m" . $i % 3000);
		command("sadd", "t:" . $k % 80, $i % 2500);
		command("del", "s:" . $i * 17 % 5003) if $i % 5 == 0;
		command("xadd", "x:" . $k % 10, "$i-1", "field", "v$i");
	}' "$keys" >"$T/commands"

cli=(redis-cli -h 127.0.0.1)
ready() { [ "$("${cli[@]}" ping)" = PONG ]; }

# The digest is over all keys and values, whatever order a hash keeps them in; it must be the same before and after the data went through a file.
content() {
	under "$who" "${cli[@]}" dbsize
	under "$who" "${cli[@]}" debug digest
	under "$who" "${cli[@]}" hgetall h:7 | LC_ALL=C sort
	under "$who" "${cli[@]}" zrange z:11 0 -1 withscores
	under "$who" "${cli[@]}" xlen x:3
	under "$who" "${cli[@]}" eval 'local n = 0; for _, k in ipairs(redis.call("keys", "l:*")) do n = n + redis.call("llen", k) end; return n' 0
	under "$who" "${cli[@]}" sort t:9 limit 0 40 desc
}

# An error of any of the commands is counted by redis-cli, and must be none.
fill() { under "$who" "${cli[@]}" --pipe <"$T/commands" | tail -n 1; }

# in_background COMMAND END GOOD: one that forks, and how the server's log says that the child has ended, and well.
in_background() {
	ended() { grep -qE "$1" "$log/again.$who.out"; }
	under "$who" "${cli[@]}" "$1" >&2
	await ended "$2"
	ended "$3" || fail "$1: $(grep -E "$2" "$log/again.$who.out" | head -n 1)"
}

# Under load it also saves from a forked child and rewrites its log.
bench() {
	under "$who" redis-benchmark -h 127.0.0.1 -p "$port" -n "$(amount 10000 30000)" -c 50 -P 16 -d 200 -r 20000 -q \
		-t set,get,incr,lpush,rpush,lpop,sadd,hset,spop,zadd,lrange_100,mset >&2 &
	local load=$!
	in_background bgsave 'Background saving (terminated|error)' 'Background saving terminated with success'
	in_background bgrewriteaof 'Background AOF rewrite (finished|terminated (by|with error))' 'Background AOF rewrite finished successfully'
	wait $load
}

for who in glibc bslab; do
	port=$(free_port)
	cli=(redis-cli -h 127.0.0.1 -p "$port")
	server=(redis-server --port "$port" --bind 127.0.0.1 --dir "$T/$who" --save '' --appendonly yes --io-threads 2
		--enable-debug-command local --daemonize no)
	start $who server "${server[@]}"
	await ready
	mapped $who "$pid"
	capture $who fill fill
	capture $who content content
	stop TERM

	start $who again "${server[@]}"
	await ready
	mapped $who "$pid"
	capture $who reloaded content
	capture $who bench bench
	capture $who flushed "${cli[@]}" flushall
	stop TERM
	cmp "$log/content.$who.out" "$log/reloaded.$who.out" >&2 || fail "the data changed over a restart under $who"
done
for what in fill content reloaded flushed; do agree $what; done
