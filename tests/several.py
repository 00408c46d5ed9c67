"""Several processes on this machine, as torchrun starts them: this process is torchrun."""

import multiprocessing
import os
import sys
import time

import torch.distributed as dist
from running import load_script, use_tiny_net

import utils.training.loop
from utils import distributed
from utils.cli import run_script
from utils.run.together import together

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    ["torch", "torchvision", "scipy.linalg", "sklearn.datasets", "tensorboardX", "imageio.v3"]
)


def new_store():
    """What the processes of a group share; it lives here."""
    return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def start_together(count, work, *arguments):
    """Start `count` processes, each of which calls work(*arguments); returns them and the store they share."""
    store = new_store()
    started = [
        processes.Process(target=_begin, args=(number, count, store.port, work, arguments))
        for number in range(count)
    ]
    for process in started:
        process.start()
    return started, store


def _begin(number, count, port, work, arguments):
    import torch

    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True",
    }  # fmt: skip
    work(*arguments)


def run_together(count, work, *arguments, seconds=120):
    """The exit codes of `count` processes that call work(*arguments). TimeoutError if one does not end.

    As torchrun does, it sends SIGTERM to the others when one fails.
    """
    started, store = start_together(count, work, *arguments)
    until, is_failed = time.monotonic() + seconds, False
    try:
        while any(process.exitcode is None for process in started):
            if time.monotonic() > until:
                raise TimeoutError(f"processes do not end: {[process.exitcode for process in started]}")
            if not is_failed and any(process.exitcode for process in started):
                is_failed, until = True, time.monotonic() + 20
                for process in started:
                    process.terminate()
            time.sleep(0.05)
        return [process.exitcode for process in started]
    finally:
        for process in started:
            process.kill()


def in_group(work, *arguments):
    """Call work(*arguments) as one of the group."""
    distributed.begin()
    try:
        work(*arguments)
    finally:
        distributed.end()


def type_together(command, folder, signalled=None):
    """Type "script option option ..." in a folder, in one of several processes. They write to output.txt.

    signalled: (number of a process, n, signal): it gets the signal before its n-th step of a generator.
    """
    import pytest

    os.chdir(folder)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    for stream in (sys.stdout, sys.stderr):
        os.dup2(os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream.fileno())
    script_name, *sys.argv[1:] = command.split()
    use_tiny_net(pytest.MonkeyPatch())
    if signalled and signalled[0] == int(os.environ["RANK"]):
        _signal_at(*signalled[1:])
    run_script(together(load_script(script_name).main))


def _signal_at(call, number):
    step, calls = utils.training.loop.generator_step, []

    def counted(*arguments, **options):
        calls.append(None)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return step(*arguments, **options)

    utils.training.loop.generator_step = counted
