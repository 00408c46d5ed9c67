"""Does tasks on all machines of a Ray cluster, see utils.run.crew. Ray is imported only here, when asked for.

All machines have the same Python, the code at the same place, and see the run's folder at the same path. Ray
hands out CPU cores and GPUs. That a process or machine is lost, is told to the Crew, which begins again.
"""

import contextlib
import importlib.util
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import torch

from utils.cli import Ending, UserError
from utils.run.crew import WorkerDied
from utils.run.ray_worker import ROOT, code_digest

SECONDS_TO_ANSWER = 9
SECONDS_TO_SEE = 10  # a shared folder may show a new file late

# Asks a cluster what it has, in a process of its own: Ray tries for more than a minute, and may end it.
QUESTION = """
import json, sys, ray
print("asking", flush=True)
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="critical", configure_logging=False)
print(json.dumps(ray.cluster_resources()), flush=True)
"""


# Before anything begins


def check_installed():
    """Raise UserError unless Ray is installed."""
    if importlib.util.find_spec("ray") is None:
        raise UserError("--engine: Ray is not installed; pip install -r requirements-ray.txt")


def find_cluster(choice, device_name):
    """Raise UserError unless the cluster of `choice.engine` answers in time, and has GPUs where asked for.

    Without an address it may also be that no cluster is running: then `connect` starts one here.
    """
    address = choice.engine.partition(":")[2]
    resources = _ask(address or "auto")
    if resources is None and address:
        cure = "start one there (ray start --head --port PORT), or see docs/SCALE.md about tokens"
        raise UserError(f"--engine: no Ray cluster answers at {address}; {cure}")
    if resources is None:
        resources = {"GPU": torch.cuda.device_count()}
    if (choice.gpus_per_task or device_name == "cuda") and not resources.get("GPU"):
        option = "--gpus_per_task" if choice.gpus_per_task else "--device"
        raise UserError(f"{option}: the Ray cluster has no GPU; leave it out to train on CPUs")


def _ask(address):
    """The resources {name: amount} of the cluster at an address; None if none answers."""
    host, _, port = address.rpartition(":")
    if host:
        try:
            socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER).close()
        except (OSError, UnicodeError):  # the second for a name that no host can have
            return None
    command = [sys.executable, "-c", QUESTION, address]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    # Without a buffer: it would take the answer with the first line, if both lie there, and lose it.
    with subprocess.Popen(command, env={**os.environ, **_settings()}, bufsize=0, **pipes) as process:
        process.stdout.readline()  # how long the import takes says nothing about the cluster
        try:
            answer, _ = process.communicate(timeout=SECONDS_TO_ANSWER)
        except subprocess.TimeoutExpired:
            process.kill()
            return None
    return json.loads(answer.splitlines()[-1]) if process.returncode == 0 and answer else None


def _settings():
    """Environment variables for Ray.

    Nothing is reported to its makers. A token that lies here is shown, as `ray start` does by itself.
    """
    settings = {"RAY_USAGE_STATS_ENABLED": "0"}
    if "RAY_AUTH_MODE" not in os.environ and (Path.home() / ".ray" / "auth_token").is_file():
        settings["RAY_AUTH_MODE"] = "token"
    return settings


def connect(choice, device_name, folder, hint):
    """The RayEngine on the cluster of `choice.engine`, or without an address on one of this machine.

    If none runs here, one is started. folder: of the run. hint: what to type if the cluster is lost.
    """
    import ray

    os.environ.update(_settings())
    address = choice.engine.partition(":")[2] or "auto"
    quiet = {"log_to_driver": False, "logging_level": "critical", "include_dashboard": None}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address=address, **quiet)
    except ConnectionError:
        if address != "auto":
            raise UserError(f"--engine: no Ray cluster answers at {address} any more") from None
        ray.init(address="local", **{**quiet, "include_dashboard": False})
    for number, handler in handlers.items():
        signal.signal(number, handler)  # Ray has put its own there
    gpus = choice.gpus_per_task
    if gpus is None:
        gpus = 1 if device_name != "cpu" and ray.cluster_resources().get("GPU") else 0
    return RayEngine(ray, gpus, folder, hint)


class RayEngine:
    """Gives every task a core and `gpus` GPUs (a fraction for several tasks on one)."""

    def __init__(self, ray, gpus, folder, hint):
        self._ray, self._gpus, self._hint = ray, gpus, hint
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self._board = _board_class(ray).options(num_cpus=0, scheduling_strategy=here).remote()
        resources = {"num_cpus": 1, "num_gpus": gpus, "max_retries": 0}
        self._function = ray.remote(**resources)(_remote_function())
        witness = Path(folder).resolve() / "config.json"
        self._setting = {
            "folder": os.getcwd(), "paths": [str(ROOT), *filter(None, sys.path)], "witness": str(witness),
            "content": witness.read_bytes(), "code": code_digest(),
            "cache": os.environ.get("XDG_CACHE_HOME"), "seconds": SECONDS_TO_SEE,
        }  # fmt: skip
        self._numbers, self._count = {}, 0  # {reference of a task: its number on the board}

    def describe(self):
        """What there is, for the log."""
        machines = sum(node["Alive"] for node in self._ray.nodes())
        resources = self._ray.cluster_resources()
        cores, gpus = (resources.get(name, 0) for name in ("CPU", "GPU"))
        each = f"{self._gpus:g} of a GPU" if self._gpus else "one core"
        return f"Ray cluster of {machines} machines, {cores:g} cores, {gpus:g} GPUs, {each} for a training"

    def begin(self, work, task):
        """See utils.run.crew."""
        self._count += 1
        reference = self._function.remote(pickle.dumps((work, task)), self._board, self._count, self._setting)
        self._numbers[reference] = self._count
        return reference

    def begun(self):
        """See utils.run.crew."""
        try:
            news = dict(self._ray.get(self._board.news.remote()))
        except self._ray.exceptions.RayError:
            self._end_if_lost()
            return []
        return [(reference, news[n]) for reference, n in self._numbers.items() if n in news]

    def wait(self, references, seconds):
        """See utils.run.crew."""
        return self._ray.wait(references, num_returns=1, timeout=seconds)[0]

    def result(self, reference):
        """See utils.run.crew."""
        del self._numbers[reference]
        try:
            kind, host, content = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            self._end_if_lost()
            raise WorkerDied(_cause_of_death(error)) from None
        if kind == "unseen":
            cure = "Ray needs a folder that all machines share, such as NFS"
            raise UserError(f"--engine: the machine {host} does not see {content}; {cure}")
        if kind == "other code":
            cure = "let all machines read the same files, with the same versions"
            raise UserError(
                f"--engine: the machine {host} has other code or another PyTorch at {ROOT}; {cure}"
            )
        if kind == "raised":
            raise content
        if kind == "stopped":
            raise WorkerDied(f"its process on {host} was asked to end")
        return content

    def _end_if_lost(self):
        """Raise Ending if the cluster has gone, not only a worker."""
        with contextlib.suppress(Exception):
            if any(node["Alive"] for node in self._ray.nodes()):
                return
        raise Ending(f"the Ray cluster is gone; {self._hint}") from None

    def stop(self, number):
        """See utils.run.crew."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.get(self._board.stop.remote(number or signal.SIGTERM))
            references = list(self._numbers)
            # Tasks that wait for room begin when others end, and then see the stop.
            self._ray.wait(references, num_returns=len(references)) if references else None

    def close(self):
        """See utils.run.crew."""
        self._ray.shutdown()


def _cause_of_death(error):
    """What ended a task, from Ray's exception."""
    causes = {
        "WorkerCrashedError": "its process was killed", "NodeDiedError": "its machine was lost",
        "OutOfMemoryError": "Ray ended its process because the machine's memory ran out",
    }  # fmt: skip
    return causes.get(type(error).__name__) or f"Ray lost it ({type(error).__name__})"


# What Ray takes along to other machines. It lies inside functions so that it is sent as a whole: a machine
# that does not see the code could not import it.


def _board_class(ray):
    class Board:
        """Where tasks look whether to stop, and say that they have begun."""

        def __init__(self):
            self._stop, self._news = 0, []

        def stop(self, number):
            self._stop = int(number)

        def asked(self):
            return self._stop

        def begin(self, number, where):
            self._news.append((number, where))

        def news(self):
            news, self._news = self._news, []
            return news

    return ray.remote(Board)


def _remote_function():
    def do(payload, board, number, setting):
        import os
        import socket
        import sys
        from pathlib import Path

        host, deadline = socket.gethostname(), time.monotonic() + setting["seconds"]
        while True:
            try:
                os.chdir(setting["folder"])
                if Path(setting["witness"]).read_bytes() == setting["content"]:
                    break
            except OSError:
                pass
            if time.monotonic() > deadline:
                return "unseen", host, str(Path(setting["witness"]).parent)
            time.sleep(1)
        sys.path += [path for path in setting["paths"] if path not in sys.path]
        try:
            from utils.run.ray_worker import do_here
        except ImportError:
            return "other code", host, None
        return do_here(payload, board, number, setting, host)

    return do
