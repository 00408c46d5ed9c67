"""A search whose trainings take their time, or they would be over before anything can be killed.

python tests/slow_tasks.py search --method dggan ...: types the command. See engine_runs.py.
"""

import importlib
import sys
import time
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

import models_search.asha.search  # noqa: E402
import models_search.dggan.search  # noqa: E402
import running  # noqa: E402
from models_search.dggan.pair import train_node  # noqa: E402
from models_search.retraining.task import train_task  # noqa: E402
from utils.cli import run_script  # noqa: E402

SECONDS_PER_LOOK = 0.05


class SlowStop:
    """A stop that takes its time, so that tasks take some too."""

    def __init__(self, stop):
        self.stop = stop

    @property
    def number(self):
        time.sleep(SECONDS_PER_LOOK)
        return self.stop.number


def slowly(task, device, stop, *, work, **options):
    """A task of `work`, scored by TinyNet."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        running.use_tiny_net(monkeypatch)
        return work(task, device, SlowStop(stop), **options)


def train_node_slowly(*arguments, **options):
    """A node's training."""
    return slowly(*arguments, work=train_node, **options)


def train_task_slowly(*arguments):
    """A trial's training."""
    return slowly(*arguments, work=train_task)


def main(script, *words):
    """Type a command."""
    here = importlib.import_module("slow_tasks")  # not __main__, which other processes do not find
    running.use_tiny_net(pytest.MonkeyPatch())
    models_search.dggan.search.train_node = here.train_node_slowly
    models_search.asha.search.train_task = here.train_task_slowly
    sys.argv[1:] = words
    run_script(running.load_script(script).main)


if __name__ == "__main__":
    main(*sys.argv[1:])
