"""How far it is: one line rewritten on a terminal, a line now and then in a log."""

import shutil
import time

EVERY = 30  # seconds between lines in a log


def clock(seconds):
    seconds = max(int(seconds + 0.5), 0)
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


class Progress:
    def __init__(self, stream, now=time.monotonic):
        self.stream, self.now = stream, now
        self.terminal = stream.isatty()
        self.last, self.drawn = now() - EVERY / 2, False

    def update(self, text, left):
        """left: seconds, or None when nobody knows yet."""
        line = f"{text}, {'about ' + clock(left) + ' left' if left is not None else 'time left not known yet'}"
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write("\r\x1b[K" + line[:width])
            self.drawn = True
        elif self.now() - self.last >= EVERY:
            self.stream.write(line + "\n")
            self.last = self.now()
        self.stream.flush()

    def note(self, text):
        """A line that stays."""
        self.clear()
        self.stream.write(text + "\n")
        self.stream.flush()

    def clear(self):
        if self.drawn:
            self.stream.write("\r\x1b[K")
            self.drawn = False
