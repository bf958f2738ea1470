"""The machine shared with other jobs, by a lock."""

import fcntl
import time

TURN, HANDOVER = 300, 0.05  # seconds for which --lock is held, and in which who waits for it can take it


class Turns:
    """--lock: while others hold it nothing is measured; between two rounds they have the machine, now and then."""

    def __init__(self, path):
        self.path, self.file, self.since, self.waited = path, None, 0.0, 0.0

    def take(self):
        if not self.path:
            return
        if self.file and time.monotonic() - self.since > TURN:
            self.drop()
            time.sleep(HANDOVER)
        if not self.file:
            began = time.monotonic()
            self.file = open(self.path, "ab")
            fcntl.flock(self.file, fcntl.LOCK_EX)
            self.since = time.monotonic()
            self.waited += self.since - began

    def drop(self):
        if self.file:
            self.file.close()
            self.file = None
