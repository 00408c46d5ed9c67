"""Independent tasks in several processes: results in the order of the tasks, an orderly stop, no process left
behind.
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
from utils.run.save_point import StopRequested


@contextlib.contextmanager
def workers(devices, save_point):
    """Gives an object whose `in_order(work, tasks)` yields work(task, device, stop) of every task, in the
    order of the tasks.

    One process for each of `devices` does the work; if there is only one, this process does. `work`, tasks
    and results are pickled. `save_point` is reached after every result, and every second while workers are
    awaited. Where it ends the run, `stop.number` is the signal's number in all workers, and they are awaited.
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
            self.save_point.reached()  # a signal to the whole process group ends workers, too
            hint = self.save_point.hint
            raise Ending(f"a worker process was killed, perhaps for want of memory; {hint}") from None


class SharedStop:
    """In a worker: the `number` of the signal that the first process received, or None."""

    def __init__(self, value):
        self._value = value

    @property
    def number(self):
        return self._value.value or None


def _become_worker(stop, free_devices):
    """Runs once in a new worker process."""
    global _stop, _device
    _stop, _device = SharedStop(stop), torch.device(free_devices.get())
    if _device.type == "cuda":
        torch.cuda.set_device(_device)
    # Ctrl-C and a closing terminal reach every process: the first one tells the workers to stop.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    console.guard()
    console.go_on_without(lambda line: None)  # the first process has the log
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def _work(work, task):
    try:
        return None if _stop.number else work(task, _device, _stop)
    except StopRequested:
        return None  # nobody waits for it any more
