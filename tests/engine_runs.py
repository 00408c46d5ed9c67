"""Searches whose workers, machines or first process are killed from outside end as the undisturbed one.

python tests/engine_runs.py [--engine local|ray] [--times 3]: several minutes, Ray's with two nodes on this machine.
"""

import argparse
import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

from running import assert_equal_states, short_run, write_pictures  # noqa: E402
from slow_tasks import SECONDS_PER_LOOK  # noqa: E402

LONGEST = 300  # seconds of a run


# The search, in a process of its own


def start(command, folder):
    """The process of a command, in a session of its own; what it says goes to output.txt."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder.parent / "cache"), "OMP_NUM_THREADS": "1"}
    with open(folder / "output.txt", "a") as output:
        return subprocess.Popen(
            [sys.executable, Path(__file__).with_name("slow_tasks.py"), *command.split()], cwd=folder, env=environment,
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip


# The machines


@contextlib.contextmanager
def ray_head():
    """The address of a Ray cluster of one machine with one core, that is ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    head = ray_node("--head", f"--port={port}", "--include-dashboard=false")
    try:
        yield f"{ray_address(port)}"
    finally:
        end_node(head, signal.SIGTERM)


def ray_address(port):
    import ray

    return f"{ray.util.get_node_ip_address()}:{port}"


def ray_node(*options):
    """The process of a Ray node with one core. It is up when the process says so."""
    command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1", *options]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    node = subprocess.Popen(
        [*command, "--disable-usage-stats"], env=environment, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    for line in node.stdout:
        if "Ray runtime started" in line:
            return node
    raise RuntimeError(f"no Ray node with {options}")


def end_node(node, number):
    """SIGTERM is what `ray stop` does to a node; SIGKILL to all its processes is what a power cut does."""
    children = subprocess.run(["ps", "-eo", "pid,sid"], capture_output=True, text=True).stdout
    session = [int(line.split()[0]) for line in children.splitlines()[1:] if int(line.split()[1]) == node.pid]
    for process in [node.pid] if number == signal.SIGTERM else session:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
    node.wait()


# Disturbances


def begun(folder):
    """The lines of the log that say that a task begins."""
    text = (folder / "output.txt").read_text()
    return re.findall(r"^(\w+) begins on (.*)$", text, re.MULTILINE)


def wait_for_task(process, folder, count):
    """Wait until so many tasks have begun, or the run is over."""
    end = time.monotonic() + LONGEST
    while len(begun(folder)) < count and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)


def disturb(kind, process, folder, node):
    """Do what `kind` says to a run at work."""
    if kind == "worker":
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(re.search(r"process (\d+)", begun(folder)[-1][1])[1]), signal.SIGKILL)
    elif kind == "first process":
        process.kill()
    elif kind == "signal":
        process.terminate()
    elif kind in ("ray stop", "power cut"):
        end_node(node, signal.SIGTERM if kind == "ray stop" else signal.SIGKILL)


KINDS = {"local": ("worker", "first process", "signal")}
KINDS["ray"] = ("nothing", "ray stop", "power cut", "first process", "signal")


def disturbed(kind, command, folder, chance, tasks, address=None):
    """Run, disturb at a random moment, go on; returns whether anything was disturbed."""
    folder.mkdir()
    node = ray_node(f"--address={address}") if address else None
    try:
        process = start(command, folder)
        wait_for_task(process, folder, chance.randint(1, tasks))
        time.sleep(chance.random() * 10 * SECONDS_PER_LOOK)
        is_running = process.poll() is None
        disturb(kind, process, folder, node)
        code = process.wait(LONGEST)
        if code:
            assert code in (-signal.SIGKILL, 128 + signal.SIGTERM), (folder / "output.txt").read_text()
            assert start(command, folder).wait(LONGEST) == 0, (folder / "output.txt").read_text()
        return is_running
    finally:
        if node and node.poll() is None:
            end_node(node, signal.SIGTERM)


def state_of(folder):
    """What a finished run of `folder` computed: {file: content}, without what belongs to the call."""
    from utils.run.checkpoint import load_checkpoint

    (run,) = (folder / "logs").iterdir()
    found = {}
    for path in sorted(run.rglob("*.pth")):
        if "previous" not in path.name:
            content = load_checkpoint(path)
            content.pop("options", None)
            found[str(path.relative_to(run))] = content
    for name in ("derived.json", "growth_tree.json"):
        if (run / name).exists():
            found[name] = json.loads((run / name).read_text())
    return found


def commands(pictures):
    """{search: (command, number of its tasks)}. ASHA has one rung: who is sent on depends on who ends first."""
    asha = short_run("asha", pictures).replace("--rungs 1 2 3", "--rungs 1")
    return {"dggan": short_run("dggan", pictures), "asha": asha}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=KINDS, default="local")
    parser.add_argument("--times", type=int, default=3, help="how often each kind, for each search")
    parser.add_argument("--kinds", nargs="*", help="only these")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, root = random.Random(options.seed), Path(tempfile.mkdtemp())
    (root / "pictures").mkdir()
    with ray_head() if options.engine == "ray" else contextlib.nullcontext() as address:
        engine = f"--workers 2 --engine {f'ray:{address}' if address else 'local'}"
        for name, command in commands(write_pictures(root / "pictures")).items():
            (root / name).mkdir()
            assert start(command, root / name).wait(LONGEST) == 0, (root / name / "output.txt").read_text()
            unbroken = state_of(root / name)
            tasks = 5 if name == "asha" else len(unbroken["growth_tree.json"])
            for kind in options.kinds or KINDS[options.engine]:
                hits = 0
                for attempt in range(options.times):
                    folder = root / f"{name}-{kind.replace(' ', '_')}-{attempt}"
                    hits += disturbed(kind, f"{command} {engine}", folder, chance, tasks, address)
                    assert_equal_states(unbroken, state_of(folder))
                print(
                    f"{name}, {options.engine}, {kind}: {options.times} of {options.times} equal, {hits} while at work",
                    flush=True,
                )


if __name__ == "__main__":
    main()
