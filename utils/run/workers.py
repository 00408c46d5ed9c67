"""Independent tasks in several processes: results in the order of the tasks, an orderly stop, no process left behind."""

import contextlib
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import torch

from utils.cli import Ending
from utils.run.folder import StopRequested


@contextlib.contextmanager
def worker_processes(devices, safe_point):
    """Gives in_order(work, tasks), which yields work(task, device, stop_signal) of every task, in their order.

    A process for each of `devices` does the work; this one if there is only one. `work` and the tasks are pickled, as is what comes
    back. `safe_point()` is called after every result and, while workers are waited for, every second; where it ends the run,
    `stop_signal()` is the signal's number in all workers, and they are waited for.
    """
    if len(devices) == 1:
        yield _in_this_process(devices[0], safe_point)
        return
    context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
    stop, free_devices = context.Value("i", 0), context.SimpleQueue()
    for device in devices:
        free_devices.put(str(device))
    with ProcessPoolExecutor(len(devices), context, _become_worker, (stop, free_devices)) as pool:
        try:
            yield _in_processes(pool, safe_point)
        except BaseException:
            stop.value = safe_point.signal_number or signal.SIGTERM
            pool.shutdown(cancel_futures=True)
            raise


def _in_this_process(device, safe_point):
    def in_order(work, tasks):
        for task in tasks:
            result = work(task, device, lambda: safe_point.signal_number)
            safe_point()
            yield result

    return in_order


def _in_processes(pool, safe_point):
    def in_order(work, tasks):
        try:
            for future in [pool.submit(_work, work, task) for task in tasks]:
                while not future.done():
                    wait([future], timeout=1)
                    safe_point()
                result = future.result()
                safe_point()
                yield result
        except BrokenProcessPool:
            safe_point()  # a signal to the whole process group ends workers too
            raise Ending(
                f"a worker process was killed, perhaps for want of memory; {safe_point.resume_hint}"
            ) from None

    return in_order


def _become_worker(stop, free_devices):
    """Runs once in a new worker process."""
    global _stop, _device
    _stop, _device = stop, torch.device(free_devices.get())
    if _device.type == "cuda":
        torch.cuda.set_device(_device)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches every process: the first one tells the workers to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def _work(work, task):
    try:
        return None if _stop.value else work(task, _device, lambda: _stop.value or None)
    except StopRequested:
        return None  # nobody waits for it any more
