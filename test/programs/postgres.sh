#!/usr/bin/env bash
# Models: a process for each connection, memory contexts over malloc, shared memory beside it, compiled queries (LLVM)
# Packages: postgresql-15 postgresql-client-15
. "$(dirname "$0")/lib.sh"

bin=/usr/lib/postgresql/15/bin
loads $bin/postgres $bin/initdb $bin/psql $bin/pgbench $bin/pg_dump

# The server refuses to be root. Its sockets and files are all in the temporary directory.
as=()
[ "$(id -u)" != 0 ] || as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
export PGUSER=bench PGDATABASE=bench PGTZ=UTC

create() {
	under "$who" "${as[@]}" $bin/initdb -D data -U bench -A trust -E UTF8 --locale=C --no-sync >&2
}
ready() { $bin/pg_isready -q -h "$T/$who" -d postgres; }

transactions=$(amount 100 600)
fill() {
	under "$who" $bin/createdb bench
	under "$who" $bin/pgbench -q -i -s "$(amount 1 4)" >&2 2>&1
	under "$who" $bin/psql -qAt -v ON_ERROR_STOP=1 -f "$here/input/postgres.sql"
}

# A number of transactions and not of seconds, with a fixed seed: the sums are the same on every machine.
bench() {
	under "$who" $bin/pgbench -n -c 8 -j 2 -t "$transactions" --random-seed=42 --max-tries=100 >&2
	under "$who" $bin/pgbench -n -S -M prepared -c 8 -j 2 -t $((transactions * 3)) --random-seed=43 >&2
	under "$who" $bin/pgbench -n -S -C -c 4 -t 50 --random-seed=44 >&2 # a new connection, and process, for each
	under "$who" $bin/psql -At <<-'END'
		SELECT count(*) FROM pgbench_history;
		SELECT sum(abalance) FROM pgbench_accounts;
		SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)
		   AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history)
		   AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(delta) FROM pgbench_history) AS consistent;
		SELECT aid, sum(delta), count(*) FROM pgbench_history GROUP BY aid ORDER BY aid LIMIT 20;
	END
}

# Through a file in its own compressed format, with two workers each way. The lines left out hold a random number.
dump() {
	under "$who" $bin/pg_dump -Fd -j 2 -f dumped bench
	under "$who" $bin/createdb copy
	under "$who" $bin/pg_restore -j 2 -d copy dumped
	under "$who" $bin/pg_dump -t item -t word --no-comments copy | grep -vE '^(--|\\(un)?restrict )' | sha256sum
	under "$who" $bin/psql -qAt -d copy -c 'VACUUM (FULL, ANALYZE)' -c 'REINDEX DATABASE copy' -c 'SELECT sum(abalance) FROM pgbench_accounts'
}

for who in glibc bslab; do
	[ ${#as[@]} = 0 ] || chown postgres "$T/$who"
	export PGHOST=$T/$who
	capture $who initdb create
	start $who server "${as[@]}" $bin/postgres -D "$T/$who/data" -k "$T/$who" -c listen_addresses= -c fsync=off \
		-c max_parallel_workers_per_gather=2 -c min_parallel_table_scan_size=0 -c parallel_setup_cost=0 -c work_mem=2MB \
		-c jit=on -c shared_buffers=64MB -c log_timezone=UTC
	await ready
	mapfile -t children < <(pgrep -P "$pid")
	mapped $who "$pid" "${children[@]}"
	capture $who fill fill
	capture $who bench bench
	capture $who dump dump
	stop INT
	! grep -aE 'terminated by signal|PANIC|FATAL|out of memory' "$log/server.$who.err" >&2 || fail "the server says that something went wrong under $who"
done
for what in fill bench dump; do agree $what; done
grep -qx t "$log/bench.bslab.out" || fail "the balances of pgbench do not add up"
