"""Runs independent tasks in several processes and yields their results in the order of the tasks.

A signal stops all processes, and none is left behind.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import torch

from utils import console
from utils.cli import Ending
from utils.progress import use_lines
from utils.run.save_point import StopRequested


@contextlib.contextmanager
def workers(devices, save_point):
    """A context with an object whose `in_order(work, tasks)` yields the result of each task, in order.

    A result is work(task, device, stop). One process for each of `devices` does the work; if there is only
    one, this process does. `work`, tasks and results are pickled. `save_point.reached` is called after every
    result, and every second while waiting for workers. If it ends the run, all workers see the signal in
    `stop.number`, and this process waits for them.
    """
    if len(devices) == 1:
        yield ThisProcess(devices[0], save_point)
        return
    context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
    try:
        stop, free_devices = context.Value("i", 0), context.SimpleQueue()
        pool = ProcessPoolExecutor(len(devices), context, _become_worker, (stop, free_devices))
    except OSError as error:  # /dev/shm is missing, full or read-only
        raise Ending(f"no worker process can be started ({error.strerror}); use --workers 1") from None
    for device in devices:
        free_devices.put(str(device))
    with pool:
        try:
            yield Processes(pool, save_point)
        except BaseException:
            stop.value = save_point.stop.number or signal.SIGTERM
            pool.shutdown(cancel_futures=True)
            raise


class ThisProcess:
    """Does all tasks itself."""

    def __init__(self, device, save_point):
        self.device, self.save_point = device, save_point

    def in_order(self, work, tasks):
        """See `workers`."""
        for task in tasks:
            result = work(task, self.device, self.save_point.stop)
            self.save_point.reached()
            yield result


class Processes:
    """Hands the tasks to a pool of processes."""

    def __init__(self, pool, save_point):
        self.pool, self.save_point = pool, save_point

    def in_order(self, work, tasks):
        """See `workers`."""
        try:
            for future in [self.pool.submit(_work, work, task) for task in tasks]:
                while not future.done():
                    wait([future], timeout=1)
                    self.save_point.reached()
                result = future.result()
                self.save_point.reached()
                yield result
        except BrokenProcessPool:
            self.save_point.reached()  # a signal to the whole process group ends workers too
            hint = self.save_point.hint
            raise Ending(f"a worker process was killed, perhaps because memory ran out; {hint}") from None


class SharedStop:
    """What a worker sees of the stop: the signal's `number`, or None."""

    def __init__(self, value):
        self._value = value

    @property
    def number(self):
        return self._value.value or None


def _become_worker(stop, free_devices):
    """Called once in each new worker process."""
    global _stop, _device
    _stop, _device = SharedStop(stop), torch.device(free_devices.get())
    if _device.type == "cuda":
        torch.cuda.set_device(_device)
    # Ctrl-C and a closing terminal reach every process. The first one tells the workers to stop.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    console.guard()
    console.go_on_without(lambda line: None)  # the first process has the log
    use_lines()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def _work(work, task):
    try:
        return None if _stop.number else work(task, _device, _stop)
    except StopRequested:
        return None  # nobody waits for it any more
