#!/usr/bin/env bash
# Models: pools that are made and freed with each request, in worker processes; TLS, compression, a proxy; reloads under load
# Packages: nginx apache2-utils curl openssl perl
. "$(dirname "$0")/lib.sh"

loads nginx ab curl

# Pages of many sizes: empty, small, just over a buffer, megabytes.
mkdir "$T/www"
perl -e 'for my $i (0 .. 39) { open my $f, ">", "$ARGV[0]/$i.html"; print $f map { "line $_ of page $i\n" } 1 .. $i ** 3 }' "$T/www"
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$T/key.pem" -out "$T/cert.pem" -days 2 -subj /CN=localhost 2>/dev/null

requests=$(amount 3000 20000)

fetch() {
	local where
	for where in "http://127.0.0.1:$port" "https://127.0.0.1:$tls" "http://127.0.0.1:$port/proxied"; do
		for i in {0..39}; do
			under "$who" curl -sSk --compressed "$where/$i.html" | sha256sum
		done
		under "$who" curl -sSk -o /dev/null -w '%{http_code}\n' "$where/none.html"
		under "$who" curl -sSk -r 100-5000 "$where/20.html" | sha256sum
	done
	under "$who" curl -sSk --http2 -H 'X-Long: '"$(printf 'h%.0s' {1..3000})" "https://127.0.0.1:$tls/1[0-9].html" | sha256sum
}

load() { # load ARGUMENT...: ab, of which the counts of what went wrong are the output
	under "$who" ab -q -n "$requests" "$@" >all
	cat all >&2
	grep -E '^(Complete requests|Failed requests|Write errors|Non-2xx)' all
}

loads_all() {
	load -c 40 -k "http://127.0.0.1:$port/7.html"
	load -c 40 -k -H 'Accept-Encoding: gzip' "http://127.0.0.1:$port/15.html"
	load -c 20 "http://127.0.0.1:$port/proxied/5.html"
	requests=$((requests / 10)) load -c 20 "https://127.0.0.1:$tls/9.html"
}

# The old workers end as their last connections do; the new ones answer at once.
reloads() {
	load -c 30 "http://127.0.0.1:$port/20.html" &
	local running=$! i
	for i in 1 2 3 4 5; do
		sleep 0.3
		kill -HUP "$pid"
	done
	wait $running
}

workers() { pgrep -P "$pid"; }

for who in glibc bslab; do
	port=$(free_port)
	tls=$(free_port)
	cat >"$T/$who/nginx.conf" <<-END
		daemon off;
		user root;
		worker_processes 2;
		pid $T/$who/nginx.pid;
		error_log $log/nginx.$who.log warn;
		events { worker_connections 1024; }
		http {
			access_log $T/$who/access.log;
			client_body_temp_path $T/$who/body;
			proxy_temp_path $T/$who/proxy;
			fastcgi_temp_path $T/$who/fastcgi;
			uwsgi_temp_path $T/$who/uwsgi;
			scgi_temp_path $T/$who/scgi;
			types { text/html html; }
			gzip on;
			gzip_proxied any;
			open_file_cache max=20;
			ssl_certificate $T/cert.pem;
			ssl_certificate_key $T/key.pem;
			ssl_session_cache shared:tls:1m;
			server {
				listen 127.0.0.1:$port;
				listen 127.0.0.1:$tls ssl http2;
				root $T/www;
				location /proxied/ { proxy_pass http://127.0.0.1:$port/; }
			}
		}
	END
	start $who server nginx -e "$log/nginx.$who.log" -c "$T/$who/nginx.conf"
	await listens "$port"
	await workers
	mapfile -t children < <(workers)
	mapped $who "$pid" "${children[@]}"
	capture $who fetch fetch
	capture $who load loads_all
	capture $who reloads reloads
	capture $who fetch-again fetch
	stop QUIT
	! grep -aE 'exited on signal|\[(alert|emerg|crit)\]' "$log/nginx.$who.log" >&2 || fail "nginx says that something went wrong under $who"
done
for what in fetch load reloads fetch-again; do agree $what; done
