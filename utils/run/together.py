"""Scripts that torchrun starts as several processes: they begin together, one speaks, and all end alike."""

import contextlib
import datetime
import hashlib
import os
import platform
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import torch

from utils import distributed
from utils.cli import process_count, report_by

ROOT = Path(__file__).resolve().parents[2]
CODE = ("library", "models", "models_search", "option_groups", "utils")  # what scripts import
STUCK = 12  # seconds in one place
PATIENCE = 3  # seconds that the first process to end waits for the others: torchrun kills those that are left


def together(main):
    """`main`, for `run_script`. Of several processes that torchrun has started, only the first one prints."""
    return partial(_run, main) if process_count() > 1 else main


def _run(main):
    store = distributed.begin()
    reporter = Reporter(store, distributed.size(), sys.stderr)
    report_by(reporter)
    end_where_stuck(reporter)
    if not distributed.is_first():
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")
    try:
        refuse_other_calls()
        main()
    except distributed.Lost:  # whoever has gone may still say why
        raise
    except BaseException:
        reporter.claim()
        raise
    finally:
        distributed.end()


class Reporter:
    """Prints the line that a process ends with: of all processes, the first one that has a line.

    All end with its exit code, and none before the others had time to: torchrun kills those that are left.
    """

    def __init__(self, store, size, stream):
        self.store, self.size, self.stream = store, size, stream
        self.is_speaker = None  # not known yet

    def claim(self):
        """Make this process the one that prints, unless another one has come first."""
        if self.is_speaker is None:
            with contextlib.suppress(RuntimeError):  # torchrun has ended, and the store with it
                self.is_speaker = self.store.add("reported", 1) == 1

    def __call__(self, line, code):
        self.claim()
        try:
            if self.is_speaker is not False:
                print(line, file=self.stream, flush=True)
                self.store.set("exit code", str(code))
            self.store.wait(["exit code"], datetime.timedelta(seconds=PATIENCE))
            code = int(self.store.get("exit code"))
            until = time.monotonic() + PATIENCE
            while self.store.add("reported", 0) < self.size and time.monotonic() < until:
                time.sleep(0.05)
        except RuntimeError:
            pass
        return code


def end_where_stuck(reporter):
    """End this process if a signal comes and its main thread then stays where it is.

    It waits for a process that hangs or has died without its connection being closed, and would not hear of
    the signal: Python's handlers run between two of its instructions.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    main_thread = threading.main_thread().ident

    def watch():
        os.read(reading, 1)
        place, since = None, time.monotonic()
        while time.monotonic() - since < STUCK:
            time.sleep(STUCK / 10)
            frame = sys._current_frames().get(main_thread)
            now = frame and (id(frame), frame.f_lasti)
            place, since = now, since if now == place else time.monotonic()
        os._exit(reporter("error: another of the processes hangs; type the command again to go on", 1))

    threading.Thread(target=watch, daemon=True).start()


def refuse_other_calls():
    """Raise UserError unless all processes run the same code with the same arguments."""

    def other_arguments(number, words, first):
        pairs = zip([*words, "nothing"], [*first, "nothing"])
        word, wanted = next(((word, wanted) for word, wanted in pairs if word != wanted), (words, first))
        found = f"process {number} was called with {word}, process 0 with {wanted}"
        return f"torchrun: {found}; give all of them the same command"

    def other_code(number, files, first):
        name = min(name for name in files.keys() | first.keys() if files.get(name) != first.get(name))
        found = f"process {number} has another {name} than process 0"
        return f"torchrun: {found}; run the same code everywhere"

    distributed.refuse_differences(sys.argv[1:], other_arguments)
    distributed.refuse_differences(code_digests(), other_code)


def refuse_other_options(values):
    """Raise UserError unless all processes have the same {option: value}, as resolved from files, too."""

    def other_option(number, found, first):
        name = next(name for name in first if found.get(name) != first[name])
        problem = f"process {number} has {found.get(name)}, process 0 {first[name]}"
        return f"--{name}: {problem}; give all of them the same files"

    distributed.refuse_differences(values, other_option)


def code_digests(root=ROOT):
    """{file: sha256} of the code, and the versions of Python and torch."""
    paths = [*root.glob("*.py"), *(path for folder in CODE for path in (root / folder).rglob("*.py"))]
    digests = {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    versions = {"Python": platform.python_version(), "torch": torch.__version__}
    return digests | versions | {"GPU": torch.cuda.is_available()}
