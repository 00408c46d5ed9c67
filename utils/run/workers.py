"""Does independent tasks, several at once, and yields their results: on this machine, or on all of a cluster.

A task is data. Its result depends on nothing else, and stays in files: so it may be done anywhere, and again.
It has a `name` for the log, a `size` (how much work it is, compared with other tasks), and `failed(reason)`,
its result if it cannot be done.
"""

import contextlib

import torch

from utils.cli import UserError
from utils.run import ray_engine
from utils.run.crew import Crew
from utils.run.local_engine import LocalEngine
from utils.run.machine import device_memory, pick_device, worker_devices


def check_workers(choice, device_name):
    """Raise UserError unless the workers that `choice` describes can be had here. Nothing is started.

    choice: an option group with `workers`, `engine` and `gpus_per_task`. device_name: --device.
    """
    device = pick_device(device_name)
    if choice.engine != "local":
        ray_engine.check_installed()
        if device.index is not None:
            cure = "give cuda, cpu or auto"
            raise UserError(f"--device: --engine {choice.engine} hands out GPUs itself; {cure}")
        if choice.gpus_per_task and device_name == "cpu":
            raise UserError("--gpus_per_task: without effect with --device cpu; leave one of them out")
    elif choice.gpus_per_task:
        if device.type == "cpu":
            raise UserError("--gpus_per_task: the trainings run on the CPU; leave it out, or see --device")
        gpus = torch.cuda.device_count() if device.index is None else 1
        room = gpus * int(1 / choice.gpus_per_task)
        if choice.workers > room:
            taken = f"{choice.workers} trainings at once, each with {choice.gpus_per_task} of a GPU"
            raise UserError(f"--workers: {taken}, do not fit {gpus}; give {room} or less")


def find_workers(choice, device_name):
    """As `check_workers`, and the cluster that --engine names must answer: in 10 seconds."""
    check_workers(choice, device_name)
    if choice.engine != "local":
        ray_engine.find_cluster(choice, device_name)


def first_device(device_name):
    """The torch.device for what this process computes itself."""
    return worker_devices(pick_device(device_name), 1)[0]


def memory_of_task(choice, device_name):
    """Bytes of memory that each of several tasks at work has. Of other machines it is not known here."""
    count = choice.workers if choice.engine == "local" else 1
    devices = worker_devices(pick_device(device_name), count)
    return device_memory(devices[0]) // devices.count(devices[0])


@contextlib.contextmanager
def workers(choice, device_name, folder, save_point, log):
    """A context with an object that does tasks.

    Its `in_order(work, tasks)` yields the result of each task, in order. Its `as_they_end(work, next_task,
    left)` yields (task, result) whenever a task ends. That calls next_task() as soon as there is room, and
    ends when it returns None and no task is at work: tasks may follow from results. left() is the size of all
    that is not done yet, for an estimate of the time; None if that is not known.

    A result is work(task, device, stop). `choice.workers` tasks are at work at once; if it is one and the
    engine is local, this process does it. `work`, tasks and results are pickled. A task whose process is
    killed, or whose machine is lost, is done again; after three deaths its result is task.failed(reason).

    `save_point.reached` is called after every result, and every second while waiting. If it ends the run, all
    tasks see the signal in `stop.number`, and this process waits for them. folder: of the run, which all
    machines must see. log(line): told what begins where, what has ended, and how long the rest will take.
    """
    if choice.engine == "local" and choice.workers == 1:
        yield ThisProcess(first_device(device_name), save_point)
        return
    if choice.engine == "local":
        engine = LocalEngine(worker_devices(pick_device(device_name), choice.workers))
    else:
        engine = ray_engine.connect(choice, device_name, folder, save_point.hint)
        log(f"{engine.describe()}; {choice.workers} trainings at once (--workers)")
    try:
        yield Crew(engine, choice.workers, save_point, log)
    except BaseException:
        engine.stop(save_point.stop.number)
        raise
    finally:
        engine.close()


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

    def as_they_end(self, work, next_task, left=None):
        """See `workers`."""
        while (task := next_task()) is not None:
            result = work(task, self.device, self.save_point.stop)
            yield task, result
            self.save_point.reached()


@contextlib.contextmanager
def one_thread_on_cpu(device):
    """Use one thread on the CPU.

    Sums there depend on the number of threads, and several tasks may be at work at once.
    """
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
