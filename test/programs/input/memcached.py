"""A load for memcached that knows what every answer must be: `memcached.py PORT OPERATIONS`."""

import random
import socket
import sys
import threading

PORT, OPERATIONS = int(sys.argv[1]), int(sys.argv[2])
THREADS = 4


class Client:
    def __init__(self):
        self.connect()

    def connect(self):
        self.socket = socket.create_connection(("127.0.0.1", PORT))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rwb")

    def close(self):
        self.file.close()
        self.socket.close()

    def line(self, *words):
        self.file.write(b" ".join(words) + b"\r\n")
        self.file.flush()
        return self.file.readline().rstrip()

    def store(self, verb, key, value):
        return self.line(verb, key, b"0 0 %d\r\n%s" % (len(value), value))

    def get(self, keys):
        found, line = {}, self.line(b"get", *keys)
        while line != b"END":
            _, key, _, size = line.split()
            found[key] = self.file.read(int(size))
            assert self.file.read(2) == b"\r\n"
            line = self.file.readline().rstrip()
        return found


def load(number, tally):
    """One thread, with keys of its own, and a dictionary of what the server must hold."""
    client, rng, held = Client(), random.Random(number), {}
    key = lambda: b"t%d:%d%s" % (number, rng.randrange(600), b"k" * 40)
    for i in range(OPERATIONS):
        what, k = rng.random(), key()
        if what < 0.30:
            value = b"%d." % i * rng.choice((1, 7, 30, 300, 900))
            assert client.store(b"set", k, value) == b"STORED"
            held[k] = value
        elif what < 0.35:
            expected = b"STORED" if k in held else b"NOT_STORED"
            assert client.store(b"append", k, b"+more") == expected
            if k in held:
                held[k] += b"+more"
        elif what < 0.40:
            assert client.line(b"delete", k) == (b"DELETED" if held.pop(k, None) is not None else b"NOT_FOUND")
        elif what < 0.43:
            n = b"t%d:counter" % number
            client.store(b"add", n, b"0")
            tally[number] += int(client.line(b"incr", n, b"3")) % 1000
        elif what < 0.435:
            client.close()
            client.connect()
        else:
            keys = list({key() for _ in range(rng.randrange(1, 40))})
            assert client.get(keys) == {x: held[x] for x in keys if x in held}
    for k, value in held.items():
        assert client.get([k]) == {k: value}
    tally[number] += len(held) * 1000000 + sum(map(len, held.values()))
    client.close()


def evictions():
    """More than the server may hold, in items up to a megabyte: whatever it still has must be what was stored."""
    client, wrong = Client(), 0
    for i in range(600):
        assert client.store(b"set", b"big%d" % i, b"%08d" % i * (500 + i * 211 % 120000)) == b"STORED"
    for i in range(600):
        for value in client.get([b"big%d" % i]).values():
            wrong += value != b"%08d" % i * (500 + i * 211 % 120000)
    client.close()
    return wrong


def idle():
    """Three hundred connections open at once, each with a request half sent."""
    clients = [Client() for _ in range(300)]
    for i, c in enumerate(clients):
        c.file.write(b"set idle%d 0 0 1000\r\nhalf" % i)
        c.file.flush()
    for i, c in enumerate(clients):
        c.file.write(b"x" * 996 + b"\r\n")
        c.file.flush()
    answers = {c.file.readline() for c in clients}
    for c in clients:
        c.close()
    return answers


def main():
    failed = []

    def guarded(number):
        try:
            load(number, tally)
        except BaseException as e:
            failed.append(repr(e))
            raise

    tally = [0] * THREADS
    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(THREADS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        sys.exit(f"wrong answers: {failed}")
    print(tally, idle(), evictions(), "wrong after evictions")


main()
