"""Tasks that cost nothing, for worker processes: in a module that imports nothing slow."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from utils.run.save_point import SavePoint


@dataclass(frozen=True)
class Sum:
    """A task that adds 1 to a number. Its process is killed so many times before, which it counts in a file."""

    number: int
    folder: Path = None
    deaths: int = 0
    by: int = signal.SIGKILL
    seconds: float = 0
    size: float = 1

    @property
    def name(self):
        return f"sum {self.number}"

    def failed(self, reason):
        return reason

    @property
    def attempts(self):
        """How often it has begun."""
        file = self.folder / f"{self.number}.txt"
        return len(file.read_text()) if file.exists() else 0


def add(task, device, stop):
    """(number + 1, the process's threads, and those of libraries)."""
    if task.folder:
        with open(task.folder / f"{task.number}.txt", "a") as file:
            file.write(".")
        if task.attempts <= task.deaths:
            os.kill(os.getpid(), task.by)
    end = time.monotonic() + task.seconds
    while time.monotonic() < end:
        SavePoint(None, stop, "").reached()
        time.sleep(0.01)
    return task.number + 1, torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
