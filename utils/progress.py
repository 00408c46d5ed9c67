"""How far work has come: a bar in a terminal, a line now and then in a pipe or a file."""

import math
import sys
import time

from tqdm import tqdm

FIRST_PAUSE, LATER_PAUSE, LATER = (
    10,
    60,
    600,
)  # seconds between lines; seconds after which they come less often
SHORT = 5  # seconds; work that takes no longer says nothing


class Progress:
    """Counts units of work: tqdm's bar in a terminal, elsewhere a line whenever nothing was said for long.

    Use it as a context manager. Lines go to stderr, so that stdout keeps results.
    """

    def __init__(
        self, total, name, unit="step", first=0, steps_per_unit=1, stays=False, seconds_left=math.inf
    ):  # fmt: skip
        """total, first: steps in all and steps done before. stays: whether the bar is left at the end.
        seconds_left: when the work ends at the latest.
        """
        self.name, self.unit, self.steps_per_unit = name.strip(), unit, steps_per_unit
        self.total, self.first, self.done = (step // steps_per_unit for step in (total, first, first))
        self.figures, self._started, self._seconds_left = {}, time.monotonic(), seconds_left
        self._bar = tqdm(
            total=self.total, desc=name, unit=unit, initial=self.first, leave=stays,
            delay=0 if stays else 1,  # seconds; short work needs no bar
            disable=None if _Words.bars else True,  # None: shown in a terminal only
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._bar.close()

    def update(self, count=1):
        """Count some more units."""
        self._move_to(self.done + count)

    def reach(self, step):
        """Say how many steps are done now, the first ones included."""
        self._move_to(step // self.steps_per_unit)

    def _move_to(self, done):
        self._bar.update(done - self.done)
        self.done = done
        is_long = time.monotonic() - self._started > SHORT
        if self._bar.disable and is_long and is_silent():
            say(self.line())

    def show(self, figures):
        """Show {name: number or None} beside the position from now on."""
        self.figures = figures
        shown = {name: f"{value:.4g}" for name, value in figures.items() if value is not None}
        self._bar.set_postfix(shown, refresh=False)

    def line(self):
        """The position as text: "GAN 8 px: 300 of 11,730 steps: d_loss 1.21, about 03:20 left"."""
        seconds, done, left = time.monotonic() - self._started, self.done - self.first, self.total - self.done
        position, total = f"{self.name}: {self.done:,}", f"{self.total:,} {self.unit}s"
        most = self._seconds_left - seconds
        return progress_line(position, total, self.figures, seconds, done, left, most=most)


class _Words:
    """When this process has last printed something, and whether it may draw bars."""

    started = last = time.monotonic()
    bars = True


def use_lines():
    """Print lines in a terminal, too, from now on: several processes would overwrite each other's bars."""
    _Words.bars = False


def spoken():
    """Note that something was just printed: no line of progress is due for a while."""
    _Words.last = time.monotonic()


def is_silent():
    """Whether nothing was printed for so long that a line of progress is due."""
    now = time.monotonic()
    pause = FIRST_PAUSE if now - _Words.started < LATER else LATER_PAUSE
    return now - _Words.last > pause


def say(message):
    """Print a line on stderr, above any bar."""
    tqdm.write(message, file=sys.stderr)
    sys.stderr.flush()
    spoken()


def progress_line(position, total, figures, seconds, done, left, place="", most=math.inf):
    """A line such as "iteration 3 of 90: d_loss 1.21, g_loss 0.33, about 1:02:40 left".

    figures: {name: number, or None for an unknown one}. The time left is that of `left` units of work where
    `done` units took so many seconds; None: not stated. place: what the time is for, if not for the whole
    run, such as " at 8 px". most: seconds after which the work ends at the latest.
    """
    parts = [f"{name} {value:.4g}" for name, value in figures.items() if value is not None]
    if left is not None and done:
        seconds_left = max(0, min(seconds / done * left, most))
        parts.append(f"about {tqdm.format_interval(seconds_left)} left{place}")
    return f"{position} of {total}" + (f": {', '.join(parts)}" if parts else "")
