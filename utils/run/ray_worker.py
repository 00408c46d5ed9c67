"""A task in a process of Ray's, perhaps on another machine. See utils.run.ray_engine."""

import functools
import hashlib
import os
import pickle
import signal
import time
from pathlib import Path

import torch

from utils.cli import Ending
from utils.progress import use_lines
from utils.run.save_point import StopRequested

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def code_digest():
    """sha256 of the code that tasks run, and of the version of PyTorch."""
    digest = hashlib.sha256(torch.__version__.encode())
    for room in ("models", "models_search", "utils"):
        for file in sorted((ROOT / room).rglob("*.py")):
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


class BoardStop:
    """What a task sees of the stop: the signal's `number`, or None. Asks the board once a second."""

    def __init__(self, ray, board):
        self._ray, self._board = ray, board
        self._number, self._answer, self._asked = ray.get(board.asked.remote()), None, time.monotonic()

    @property
    def number(self):
        if not self._number and self._answer is None and time.monotonic() - self._asked > 1:
            self._answer, self._asked = self._board.asked.remote(), time.monotonic()
        if self._answer is not None and self._ray.wait([self._answer], timeout=0)[0]:
            try:
                self._number = self._ray.get(self._answer)
            except self._ray.exceptions.RayError:  # the first process has ended, and the board with it
                self._number = signal.SIGTERM
            self._answer = None
        return self._number or None


def do_here(payload, board, number, setting, host):
    """Do a task in this process of Ray's; returns (kind, host, content), see RayEngine.result."""
    if code_digest() != setting["code"]:
        return "other code", host, None
    import ray

    if setting["cache"]:
        os.environ["XDG_CACHE_HOME"] = setting["cache"]
    use_lines()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))  # Ray sets it to the cores it gave
    gpus = ray.get_gpu_ids()
    device = torch.device("cuda", 0) if gpus else torch.device("cpu")
    stop = BoardStop(ray, board)
    try:
        work, task = pickle.loads(payload)
        ray.get(board.begin.remote(number, f"{host}, {f'GPU {gpus[0]}' if gpus else 'CPU'}"))
        if stop.number:
            return "stopped", host, None
        return "result", host, work(task, device, stop)
    except StopRequested:
        return "stopped", host, None
    except (Ending, OSError) as error:
        return "raised", host, error
