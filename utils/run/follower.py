"""A run as the processes see it that write nothing: the first one writes for all."""

import contextlib
import os
import time
from pathlib import Path

from utils.distributed import highest


class Follower:
    """Takes the place of a Run (utils.run.folder) in all processes but the first: nothing is written.

    The files of its folder may not even be on this machine.
    """

    def __init__(self, folder, options):
        self.folder, self.options = Path(folder), options
        self.samples = self.folder / "Samples"
        self.metrics = self.scored = Path(os.devnull)
        self._started = time.monotonic()

    def removed_if_refused(self):
        return contextlib.nullcontext()

    def seconds(self):
        """Of this start only, since nothing depends on it."""
        return time.monotonic() - self._started

    def is_past(self, deadline):
        """What the first process says."""
        return deadline < float("inf") and bool(highest(False))

    def grid(self, name, images, step, labels=()):
        return self.samples / f"{name}.png"

    def _write_nothing(self, *arguments, **options):
        """The first process writes it."""

    log = note = record = keep_score = save = finish = close = _write_nothing
