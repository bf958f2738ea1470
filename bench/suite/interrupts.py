"""The end that a signal asks for."""

import contextlib
import signal


class Interrupts:
    """Ctrl-C, SIGTERM and SIGHUP end the run as KeyboardInterrupt, but not in the middle of a line of results.

    The first does: another one would only cut short what ends the processes and writes the reports. One that is ignored
    already stays so, as nohup wants it.
    """

    def __init__(self):
        self.held, self.came, self.asked = False, False, False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self.handle)

    def handle(self, _number, _frame):
        if self.asked:
            return
        self.asked = True
        if self.held:
            self.came = True
        else:
            raise KeyboardInterrupt

    def check(self):
        """Where another exception is handled, which may have come up while the interrupt was, and hide it; and before
        each round, for there is no second one."""
        if self.asked:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def hold(self):
        self.held = True
        try:
            yield
        finally:
            self.held = False
        if self.came:
            self.came = False
            raise KeyboardInterrupt
