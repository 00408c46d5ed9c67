"""Short runs are killed at named moments and go on: they must end as the run that was never killed.

The test suite kills at some of the moments, `python tests/kill_runs.py` at all of them, three times and more
(10 minutes).
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

from promises import table  # noqa: E402
from running import (  # noqa: E402
    SHORT_RUNS,
    assert_equal_states,
    load_script,
    read_metrics,
    scored_lines,
    short_run,
    use_tiny_net,
    write_pictures,
)

from utils.run.checkpoint import load_checkpoint  # noqa: E402
from utils.cli import run_script  # noqa: E402


def every_call(*arguments, **options):
    return True


# What is about to be called at a moment: a module ("" is the script itself), a function of it, and which of
# its calls count.
WRITING = {
    "checkpoint write": ("torch", "save", every_call),
    "checkpoint flushed": ("os", "fsync", every_call),
    "checkpoint renamed": ("os", "replace", every_call),
}
MOMENTS = {
    "search": {
        "shared-GAN step": ("utils.training.loop", "generator_step", every_call),
        "controller step": ("models_search.autogan.search", "reinforce", every_call),
        "top-k scoring": ("models_search.autogan.search", "BeamEntry", every_call),
        "dynamic reset": ("models_search.autogan.search", "reset", every_call),
        "growing a level": ("models_search.autogan.search", "new_policy", every_call),
        **WRITING,
    },
    "slas": {
        "shared-GAN step": ("utils.training.loop", "generator_step", every_call),
        "controller step": ("models_search.autogan.search", "reinforce", every_call),
        "top-k scoring": ("models_search.autogan.search", "BeamEntry", every_call),
        **WRITING,
    },
    "random_sharing": {
        "shared-GAN step": ("utils.training.loop", "generator_step", every_call),
        "dynamic reset": ("models_search.random_sharing.search", "reset", every_call),
        "a score is kept": ("models_search.random_sharing.search", "keep_scores", every_call),
        **WRITING,
    },
    "train_derived": {
        "training step": ("utils.training.loop", "generator_step", every_call),
        "average": ("utils.training.adversarial", "update_average", every_call),
        "scoring": ("models_search.retraining.training", "score_generator", every_call),
        "sample grid": ("models_search.retraining.training", "sample_grid", every_call),
        **WRITING,
    },
    "asha": {
        "trial step": ("utils.training.loop", "generator_step", every_call),
        "scoring a trial": ("models_search.retraining.training", "score_generator", every_call),
        "keeping a result": ("models_search.asha.search", "reward_of", every_call),
        **WRITING,
    },
    "dggan": {
        "mid-child": ("utils.training.loop", "generator_step", every_call),
        "scoring a child": ("models_search.dggan.pair", "score_generator", every_call),
        "between growing and pruning": ("models_search.dggan.search", "pruned", every_call),
        "saving the tree": ("models_search.dggan.search", "save_growth_picture", every_call),
        **WRITING,
    },
}

RESUMABLE = (
    "checkpoint.pth",
    "checkpoint_previous.pth",
)  # a run that was killed before the first is started anew
processes = multiprocessing.get_context(
    "forkserver"
)  # each run in a process of its own, without importing torch in each
processes.set_forkserver_preload(
    ["torch", "torchvision", "scipy.linalg", "sklearn.datasets", "tensorboardX", "imageio.v3"]
)


def run(name, command, folder, moment=None, call=0, signals=(signal.SIGKILL,), save_always=False):
    """Type a command in `folder`; its process gets `signals` before the n-th call of the moment. Returns the
    exit code.
    """
    process = processes.Process(target=_run, args=(name, command, folder, moment, call, signals, save_always))
    process.start()
    process.join()
    return process.exitcode


def _run(name, command, folder, moment, call, signals, save_always):
    """The process: counts the calls of every moment in counts.json, and the discriminator's steps in the
    length of `steps`.
    """
    import pytest
    import torch

    import utils.training.loop
    from utils.run.save_point import SavePoint

    os.chdir(folder)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    for stream in (sys.stdout, sys.stderr):
        os.dup2(os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream.fileno())
    torch.set_num_threads(1)
    script_name, *sys.argv[1:] = command.split()
    monkeypatch = pytest.MonkeyPatch()
    use_tiny_net(monkeypatch)
    script, counts = load_script(script_name), dict.fromkeys(MOMENTS[name], 0)

    def watch(owner, function, before):
        original = getattr(owner, function)

        def watched(*arguments, **options):
            before(*arguments, **options)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, function, watched)

    def counted(each, counts_here):
        def before(*arguments, **options):
            if counts_here(*arguments, **options):
                counts[each] += 1
                if each == moment and counts[each] == call:
                    for number in signals:
                        os.kill(os.getpid(), number)

        return before

    steps = os.open("steps", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    watch(utils.training.loop, "discriminator_step", lambda *arguments, **options: os.write(steps, b"."))
    for each, (module, function, counts_here) in MOMENTS[name].items():
        watch(sys.modules[module] if module else script, function, counted(each, counts_here))
    if save_always:
        save_point = SavePoint.reached
        monkeypatch.setattr(SavePoint, "reached", lambda self, due=False: save_point(self, due=True))
    run_script(script.main)
    Path("counts.json").write_text(json.dumps(counts))


def reference(name, pictures, folder):
    """Run once without a kill; returns {moment: calls}."""
    folder.mkdir()
    assert run(name, short_run(name, pictures), folder) == 0, (folder / "output.txt").read_text()
    return json.loads((folder / "counts.json").read_text())


def killed_run_ends_as(
    finished, name, pictures, folder, moment, call, signals=(signal.SIGKILL,), save_always=False
):
    """Run, kill, go on until done, and compare with the finished run's folder. Returns the exit code of the
    run that was killed.
    """
    folder.mkdir()
    exit_code = run(name, short_run(name, pictures), folder, moment, call, signals, save_always)
    for path in (folder / "logs").glob("*/Log/metrics.jsonl"):
        check_log(path)
    resumable = [
        path
        for path in (folder / "logs").glob("*")
        if any((path / "Model" / file).exists() for file in RESUMABLE)
    ]
    again = (
        f"{SHORT_RUNS[name].split()[0]} --load_path {resumable[0]}"
        if resumable
        else short_run(name, pictures)
    )
    assert run(name, again, folder) == 0, (folder / "output.txt").read_text()
    ended, (unbroken,) = max((folder / "logs").iterdir()), (finished / "logs").iterdir()
    assert read_metrics(ended) == read_metrics(unbroken)
    for file in ("derived.json", "growth_tree.json"):
        if (unbroken / file).exists():
            assert (ended / file).read_text() == (unbroken / file).read_text(), file
    if (unbroken / "scored.jsonl").exists():
        assert scored_lines(ended) == scored_lines(unbroken)
    names = {path.name for path in (unbroken / "Model").iterdir()}
    assert {path.name for path in (ended / "Model").iterdir() if path.suffix == ".pth"} == names
    for file in names - {"checkpoint_previous.pth"}:
        assert_equal_states(*(load_checkpoint(each / "Model" / file) for each in (ended, unbroken)))
    for path in unbroken.glob("trials/*/Model/checkpoint.pth"):
        trial = path.relative_to(unbroken)
        first, second = (load_checkpoint(each / trial) for each in (ended, unbroken))
        assert_equal_states(first, second)
    if resumable and name == "dggan":
        trained_again = (folder / "steps").stat().st_size - (finished / "steps").stat().st_size
        assert trained_again <= 6, "more than the one network that was in training"
    return exit_code


def check_log(path):
    """Every complete line parses, and the steps of each kind of line rise."""
    last = {}
    for line in path.read_text().split("\n")[:-1]:
        figures = json.loads(line)
        kind, step = next(reversed(figures)).split("/")[0], figures["step"]
        assert step > last.get(kind, -1), line
        last[kind] = step


def kill_at_every_moment(name, pictures, root, counts, per_moment, chance):
    """Kill runs at random calls of every moment; returns how many. AssertionError where one ends otherwise."""
    kills = 0
    for moment, calls in counts.items():
        for _ in range(per_moment):
            call, save_always = chance.randint(1, calls), chance.random() < 0.5
            folder = root / f"{name}-{kills}"
            code = killed_run_ends_as(
                root / name, name, pictures, folder, moment, call, save_always=save_always
            )
            assert code == -signal.SIGKILL
            kills += 1
            print(f"{name}: killed at {moment} {call} of {calls}, went on, equal", flush=True)
    return kills


def stop_by_signals(name, pictures, root, counts, chance, attempts=10):
    """Send SIGTERM and SIGINT at random calls of the moments; returns how many."""
    for number in (signal.SIGTERM, signal.SIGINT):
        for attempt in range(attempts):
            moment = chance.choice([moment for moment, calls in counts.items() if calls])
            call, folder = chance.randint(1, counts[moment]), root / f"{name}-{number}-{attempt}"
            code = killed_run_ends_as(root / name, name, pictures, folder, moment, call, signals=(number,))
            assert code in (0, -number, 128 + number), code  # it kills before the training and after it
    return 2 * attempts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--per_moment", type=int, default=3, help="kills at each moment")
    parser.add_argument("--runs", nargs="*", help="only these, such as asha")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, root = random.Random(options.seed), Path(tempfile.mkdtemp())
    (root / "pictures").mkdir()
    pictures, passed = write_pictures(root / "pictures"), Counter()
    for promise, name in (("R1", "search"), ("R1", "asha"), ("R2", "train_derived"), ("R3", "dggan")):
        if options.runs and name not in options.runs:
            continue
        counts = reference(name, pictures, root / name)
        kills = kill_at_every_moment(name, pictures, root, counts, options.per_moment, chance)
        passed[promise] += kills
        passed["R17"] += kills
        passed["R4"] += stop_by_signals(name, pictures, root, counts, chance)
        print(f"{name}: every run ended as the unbroken one", flush=True)
    print("\n".join(line for line in table(passed, Counter()) if not line.split()[1] == "0"))


if __name__ == "__main__":
    main()
