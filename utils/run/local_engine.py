"""Does tasks in processes of this machine: a pool of one process for each place, see utils.run.crew.

Each place has a pool of its own, because a pool whose process is killed is lost with all its tasks.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch

from utils import console
from utils.cli import Ending
from utils.progress import use_lines
from utils.run.crew import WorkerDied
from utils.run.save_point import StopRequested


class LocalEngine:
    """One process at a time for each of `devices`; processes start when there is a task for them."""

    def __init__(self, devices):
        self._context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
        with _starting():
            # Without a lock, which a killed process would hold for ever.
            self._stop = self._context.Value("i", 0, lock=False)
        # On a CPU results depend on the number of threads.
        cores = len(os.sched_getaffinity(0))
        threads = [1 if device.type == "cpu" else max(1, cores // len(devices)) for device in devices]
        self._places = [Place(self._context, *each, self._stop) for each in zip(devices, threads)]
        self._taken, self._begun = {}, []  # {future: Place}

    def begin(self, work, task):
        """See utils.run.crew."""
        taken = self._taken.values()
        place = next(each for each in self._places if all(each is not other for other in taken))
        future = place.submit(work, task)
        self._taken[future] = place
        self._begun.append((future, place.name()))
        return future

    def begun(self):
        """See utils.run.crew."""
        begun, self._begun = self._begun, []
        return begun

    def wait(self, futures, seconds):
        """See utils.run.crew."""
        return list(wait(futures, seconds, FIRST_COMPLETED).done)

    def result(self, future):
        """See utils.run.crew."""
        place = self._taken.pop(future)
        try:
            result = future.result()
        except BrokenProcessPool:
            raise WorkerDied(place.cause_of_death()) from None
        if isinstance(result, Stopped) and not self._stop.value:
            place.close()
            raise WorkerDied(f"its process was asked to end by {signal.Signals(result.number).name}")
        return result

    def stop(self, number):
        """See utils.run.crew."""
        self._stop.value = number or signal.SIGTERM
        self.close()

    def close(self):
        """See utils.run.crew."""
        for place in self._places:
            place.close()


class Place:
    """A device, and the process that works on it, while there is one."""

    def __init__(self, context, device, threads, stop):
        self.device, self._threads = device, threads
        self._context, self._stop, self._pool, self._process = context, stop, None, None

    def name(self):
        """For the log."""
        return f"{self.device}, process {self._process.pid}"

    def submit(self, work, task):
        """The Future of a task."""
        if self._pool and not self._process.is_alive():  # it was killed while it had nothing to do
            self.close()
        try:
            return self._start(work, task) if self._pool is None else self._pool.submit(_do, work, task)
        except BrokenProcessPool:
            self.close()
            return self._start(work, task)

    def _start(self, work, task):
        before = set(multiprocessing.active_children())
        with _starting(), _environment(OMP_NUM_THREADS=str(self._threads)):
            arguments = (self._stop, str(self.device), self._threads)
            self._pool = ProcessPoolExecutor(1, self._context, _become_worker, arguments)
            future = self._pool.submit(_do, work, task)
        (self._process,) = set(multiprocessing.active_children()) - before
        return future

    def cause_of_death(self):
        """What ended the process."""
        self.close()
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"its process ended with exit code {code}"
        hint = ", perhaps because memory ran out" if code == -signal.SIGKILL else ""
        return f"its process was killed by {signal.Signals(-code).name}{hint}"

    def close(self):
        """Wait until the process has ended."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


@contextlib.contextmanager
def _starting():
    """Turn an OSError inside into one line: /dev/shm may be missing, full or read-only."""
    try:
        yield
    except OSError as error:
        raise Ending(f"no worker process can be started ({error.strerror}); use --workers 1") from None


@contextlib.contextmanager
def _environment(**variables):
    """Processes that are started inside have these environment variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


# In the worker process


@dataclass
class Stopped:
    """The result of a task that has saved its state and ended after a signal."""

    number: int


class SharedStop:
    """What a worker sees of the stop: the signal's `number`, or None. A SIGTERM of its own is one too."""

    def __init__(self, shared):
        self._shared, self._own = shared, None

    @property
    def number(self):
        return self._shared.value or self._own

    def receive(self, number, frame):
        """The handler of a signal."""
        self._own = number


def _become_worker(stop, device, threads):
    """Called once in each new worker process."""
    global _stop, _device
    _stop, _device = SharedStop(stop), torch.device(device)
    if _device.type == "cuda":
        torch.cuda.set_device(_device)
    torch.set_num_threads(threads)
    # Ctrl-C and a closing terminal reach every process. The first one tells the workers to stop.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop.receive)
    console.guard()
    console.go_on_without(lambda line: None)  # the first process has the log
    use_lines()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def _do(work, task):
    if _stop.number:
        return Stopped(_stop.number)
    try:
        return work(task, _device, _stop)
    except StopRequested:
        return Stopped(_stop.number)
