"""When a run is saved, and how a signal stops it: at the next save point, after saving."""

import contextlib
import math
import os
import signal
import time

from utils.cli import Ending, Killed
from utils.distributed import Lost, ask_all_to_stop, highest, is_first, size


class StopRequested(Ending):
    """A signal asked the run to end, and the run has been saved."""

    label = "stopped"

    def __init__(self, signal_number, message):
        super().__init__(f"by {signal.Signals(signal_number).name}; {message}")
        self.exit_code = 128 + signal_number


class OutOfTime(Exception):
    """The deadline of a save point has passed, and the state has been saved."""


class StopSignal:
    """Catches SIGINT, SIGTERM and SIGHUP inside a `with` block. A second signal ends the program at once.

    A terminal that closes sends SIGHUP; under nohup it stays ignored.

    `number` is None until a signal has come, then the signal's number. If an error follows a signal, the
    signal is reported as its cause: Ctrl-C reaches all processes of a terminal, so it may have ended a
    compiler at work. hint: what to type to go on. note(line): called with the line that reports the stop, for
    the log.
    """

    caught = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    number = None

    def __init__(self, hint, note=None):
        self.hint, self.note = hint, note

    def __enter__(self):
        numbers = set(self.caught)
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
            numbers.discard(signal.SIGHUP)
        self._process = os.getpid()
        self._previous = {number: signal.signal(number, self._receive) for number in numbers}
        return self

    def __exit__(self, kind, error, traceback):
        if size() == 1 or error is None:  # torchrun signals those that are left when one process ends
            for number, handler in self._previous.items():
                signal.signal(number, handler)
        is_known = isinstance(error, Ending) and not isinstance(error, Killed)
        if self.number and error and not is_known:
            cause = f"{kind.__name__}: {error}".splitlines()[0][:200]
            error = StopRequested(self.number, f"not saved ({cause}); if there is a checkpoint, {self.hint}")
        if isinstance(error, (StopRequested, Lost)):
            if self.note:
                self.note(f"{error.label} {error}")
            raise error from None

    def _receive(self, number, frame):
        if os.getpid() != self._process:  # a forked one that reads images: the first one ends it
            return
        if self.number and number == signal.SIGHUP:  # the shell and the system may both send it
            return
        if self.number and size() > 1:  # torchrun may send it again; it kills what does not end
            return
        if self.number:
            os._exit(128 + number)
        self.number = number
        ask_all_to_stop()
        if not is_first():
            return
        with contextlib.suppress(OSError):  # not print: the program may be in the middle of one
            os.write(2, b"\nstopping at the next save point; once more ends at once without saving\n")


class SavePoint:
    """Call `reached` wherever the run can be saved and stopped.

    save(): writes a checkpoint; None if there is nothing to save. stop: a StopSignal, or anything with its
    `number`. hint: what to type to go on.
    """

    def __init__(self, save, stop, hint, interval_seconds=600, deadline=None):
        self.save, self.stop, self.hint, self.interval_seconds = save, stop, hint, interval_seconds
        self.deadline, self._last_save = deadline, time.monotonic()

    def reached(self, due=False):
        """Save if `due`, or if the last save is long ago; raise StopRequested if a signal has come.

        Several processes call it together, and stop together.
        """
        number = highest(self.stop.number or 0)
        is_late = self.deadline is not None and time.time() > self.deadline
        is_old = time.monotonic() - self._last_save > self.interval_seconds
        is_due = due or is_late or number or is_old
        if self.save and is_due:
            self.save()
            self._last_save = time.monotonic()
        if number:
            highest(number)  # none ends before the first one has saved: torchrun would kill it
            raise StopRequested(number, self.hint)
        if is_late:
            raise OutOfTime

    def seconds_left(self):
        """Until the deadline; infinite without one."""
        return math.inf if self.deadline is None else self.deadline - time.time()

    def stop_if_asked(self):
        """Save and raise StopRequested if a signal has come. Cheap, so it can be called often.

        Several processes call it together, when one of them has been asked.
        """
        if self.stop.number or size() > 1:
            self.reached()
