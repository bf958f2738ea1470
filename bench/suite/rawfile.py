"""Every sample as one line of JSON, written at once: what was measured is never lost, and never measured twice."""

import fcntl
import json
import os
from pathlib import Path

NAME = "raw.jsonl"


class RawFile:
    """Appends; when the disk is full it keeps the lines and tries again with the next one."""

    def __init__(self, path, tell, write=os.write):
        self.path, self.tell, self.write = Path(path), tell, write
        self.pending, self.in_trouble, self.synced = bytearray(), False, True
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: another run writes there
        if self.ends_within_a_line():
            self.pending += b"\n"

    def ends_within_a_line(self):
        size = os.fstat(self.fd).st_size
        return size > 0 and os.pread(self.fd, 1, size - 1) != b"\n"

    def append(self, record):
        self.pending += json.dumps(record, allow_nan=False).encode() + b"\n"
        self.flush()

    def flush(self):
        """True when all is on disk. A write may take a part of a line: the rest follows later."""
        try:
            while self.pending:
                del self.pending[:self.write(self.fd, bytes(self.pending))]
                self.synced = False
            if not self.synced:
                os.fdatasync(self.fd)
                self.synced = True
        except OSError as error:
            if not self.in_trouble:
                self.tell(f"cannot write {self.path}: {error.strerror}; the samples are kept in memory until it goes")
            self.in_trouble = True
            return False
        self.in_trouble = False
        return True

    def close(self):
        """False if something could not be kept."""
        kept = self.flush()
        os.close(self.fd)
        return kept


def read(path):
    """The records of a raw file; a line cut short by a kill is left out, wherever it is."""
    records = []
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "kind" in record:
            records.append(record)
    return records
