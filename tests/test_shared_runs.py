"""Scripts that torchrun starts as several processes: one speaks and writes, all end together, and go on."""

import itertools
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from running import (
    assert_equal_states,
    load_script,
    only_run,
    read_metrics,
    scored_lines,
    short_run,
    write_pictures,
)
from several import new_store, run_together, start_together, type_together

import utils.distributed
import utils.metrics.generator
import utils.run.follower
import utils.run.together
from utils.cli import process_count, run_script
from utils.run.checkpoint import load_checkpoint
from utils.run.folder import Run
from utils.run.follower import Follower
from utils.run.together import end_where_stuck, together


@pytest.mark.parametrize("name, text", [("WORLD_SIZE", "two"), ("WORLD_SIZE", "-2"), ("WORLD_SIZE", "0"),
    ("RANK", "2"), ("RANK", ""), ("MASTER_PORT", "x"), ("MASTER_PORT", "99999")])  # fmt: skip
def test_an_environment_that_torchrun_has_not_made_is_refused(monkeypatch, capsys, name, text):
    made = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for each, value in (made | {name: text}).items():
        monkeypatch.setenv(each, value)
    with pytest.raises(SystemExit) as ending:
        process_count()
    assert ending.value.code == 2
    assert f"error: torchrun: {name} in the environment is '{text}', not one of" in capsys.readouterr().err
    monkeypatch.setenv(name, made[name])
    assert process_count() == 2


def test_the_line_of_a_process_that_lost_another_has_reason_and_cure():
    with pytest.raises(utils.distributed.Lost) as lost, utils.distributed._losses_reported():
        raise RuntimeError("connection closed\nby peer")
    assert str(lost.value) == (
        "another of the 1 processes has ended or is out of reach; type the command again to go on "
        "(connection closed)"
    )


def test_a_process_that_follows_ends_when_the_first_one_does(monkeypatch):
    asked = []
    monkeypatch.setattr(utils.run.follower, "highest", lambda value: asked.append(value) or True)
    follower = Follower("logs/run", {})
    assert not follower.is_past(float("inf")) and not asked
    assert follower.is_past(1e9) is True and asked == [False]  # its own time does not count


def test_a_process_that_follows_names_the_files_of_the_first_one(tmp_path):
    run = Run.create(tmp_path, "run", {})
    follower = Follower(run.folder, {})
    images = torch.zeros(10, 3, 8, 8)
    assert follower.grid("a", images, 1) == run.grid("a", images, 1) and follower.samples == run.samples


def test_a_process_is_stuck_only_where_its_main_thread_stays(monkeypatch):
    ended, places = [], [SimpleNamespace(f_lasti=5), SimpleNamespace(f_lasti=5)]
    shown = itertools.cycle(places)
    main_thread = threading.main_thread().ident
    monkeypatch.setattr(utils.run.together, "STUCK", 0.2)
    monkeypatch.setattr(sys, "_current_frames", lambda: {main_thread: next(shown)})
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(signal, "set_wakeup_fd", lambda writing, **options: os.write(writing, b"!"))
    end_where_stuck(lambda line, code: (line, code))
    time.sleep(0.6)
    assert not ended  # in two frames in turn, at the same instruction of each
    shown = itertools.repeat(places[0])
    for _ in range(100):
        time.sleep(0.05)
        if ended:
            break
    ((line, code),) = ended
    assert "another of the processes hangs" in line and code == 1


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pictures):
    """folder_of(name, count): that of a run which `count` processes did without a stop."""
    made = {}

    def folder_of(name, count):
        if (name, count) not in made:
            folder = made[name, count] = tmp_path_factory.mktemp(f"{name}-{count}")
            codes = run_together(count, type_together, command(name, pictures), folder)
            assert codes == [0] * count, (folder / "output.txt").read_text()
        return made[name, count]

    return folder_of


def command(name, pictures):
    return f"{short_run(name, pictures)} --eval_batch_size 4"


def assert_equal_runs(first, second):
    assert read_metrics(first) == read_metrics(second)
    for file in ("derived.json", "scored.jsonl"):
        assert (first / file).exists() == (second / file).exists()
    if (first / "scored.jsonl").exists():
        assert scored_lines(first) == scored_lines(second)
    assert_equal_states(*(load_checkpoint(run / "Model" / "checkpoint.pth") for run in (first, second)))


@pytest.mark.parametrize("name", ["search", "train_derived", "random_sharing"])
def test_a_run_of_two_processes_is_that_of_one_up_to_rounding(finished, name):
    one, two = (only_run(finished(name, count), name) for count in (1, 2))
    assert {path.relative_to(one) for path in one.rglob("*.*")} >= {
        path.relative_to(two) for path in two.rglob("*.*") if "events" not in path.name
    }
    for mine, theirs in zip(read_metrics(one), read_metrics(two), strict=True):
        assert theirs == pytest.approx(mine, rel=0.02, abs=1e-3)
    log = (finished(name, 2) / "output.txt").read_text()
    assert log.count("writing to") == 1 and "2 processes share every batch and every score" in log
    assert not list((two / "Model").glob(".*"))


STOPS = [
    ("search", 0, 9, signal.SIGTERM),
    ("search", 1, 5, signal.SIGTERM),
    ("train_derived", 1, 6, signal.SIGINT),
]


@pytest.mark.parametrize("name, number, call, stop", STOPS)
def test_a_signal_to_one_process_stops_all_at_one_step_and_they_go_on(
    tmp_path, pictures, finished, name, number, call, stop
):
    codes = run_together(2, type_together, command(name, pictures), tmp_path, (number, call, stop))
    output = (tmp_path / "output.txt").read_text()
    assert codes == [128 + stop] * 2, output
    assert output.count(f"stopped: by {stop.name}; go on with --load_path") == 1 and "Traceback" not in output
    assert run_together(2, type_together, command(name, pictures), tmp_path) == [0, 0]
    assert_equal_runs(only_run(tmp_path, name), only_run(finished(name, 2), name))


@pytest.mark.parametrize("name, number, call", [("search", 0, 7), ("search", 1, 8), ("train_derived", 1, 5)])
def test_when_a_process_is_killed_the_others_end_with_one_line_and_they_go_on(
    tmp_path, pictures, finished, name, number, call
):
    started = time.monotonic()
    codes = run_together(2, type_together, command(name, pictures), tmp_path, (number, call, signal.SIGKILL))
    output = (tmp_path / "output.txt").read_text()
    assert codes[number] == -signal.SIGKILL and codes[1 - number] == 1, output
    assert output.count("error: another of the 2 processes has ended") == 1 and "Traceback" not in output
    assert time.monotonic() - started < 60
    assert run_together(2, type_together, command(name, pictures), tmp_path) == [0, 0]
    ended = max((tmp_path / "logs").iterdir())
    assert_equal_runs(ended, only_run(finished(name, 2), name))


def test_a_run_of_two_processes_goes_on_with_one_or_three(tmp_path, pictures, finished):
    name, more = "train_derived", "-gen_bs 6 -dis_bs 12"
    text = f"{command(name, pictures)} {more}"
    assert run_together(2, type_together, text, tmp_path, (0, 5, signal.SIGTERM)) == [143, 143]
    run = only_run(tmp_path, name)
    assert run_together(3, type_together, f"train_derived --load_path {run}", tmp_path) == [0] * 3
    assert json.loads((run / "results.json").read_text())["final"]["iteration"] == 8
    assert "3 processes share" in (run / "Log" / "log.txt").read_text()


def stop_and_hang(command, folder):
    utils.run.together.STUCK = 2
    type_together(command, folder, (1, 4, signal.SIGSTOP))


def test_a_process_that_waits_for_one_that_hangs_ends_after_a_signal(tmp_path, pictures):
    started, store = start_together(2, stop_and_hang, command("search", pictures), tmp_path)
    try:
        waiting, hanging = started
        until = time.monotonic() + 60
        while Path(f"/proc/{hanging.pid}/stat").read_text().split()[2] != "T" and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(0.5)
        waiting.terminate()
        waiting.join(20)
        assert waiting.exitcode == 1
        assert "error: another of the processes hangs" in (tmp_path / "output.txt").read_text()
    finally:
        for process in started:
            process.kill()


def stop_in_a_score(command, folder):
    """As `type_together`; the second process is asked to stop in the middle of a score."""
    sampled = utils.metrics.generator._NoiseSampler.__call__
    calls = []

    def counted(self, count):
        calls.append(count)
        if len(calls) == 2 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        return sampled(self, count)

    utils.metrics.generator._NoiseSampler.__call__ = counted
    utils.distributed.SECONDS_PER_POLL = 0
    type_together(command, folder)


@pytest.mark.parametrize("name", ["search", "train_derived"])
def test_all_leave_a_score_when_one_is_asked_to_stop_and_it_is_scored_again(tmp_path, pictures, name):
    for folder in ("unbroken", "stopped"):
        (tmp_path / folder).mkdir()
    text = f"{command(name, pictures)} --eval_batch_size 2"  # two batches of each process
    assert run_together(2, type_together, text, tmp_path / "unbroken") == [0, 0]
    assert run_together(2, stop_in_a_score, text, tmp_path / "stopped") == [143, 143]
    assert run_together(2, type_together, text, tmp_path / "stopped") == [0, 0]
    assert_equal_runs(only_run(tmp_path / "stopped", name), only_run(tmp_path / "unbroken", name))


# Mistakes


MISTAKES = {  # {options: what the line says}
    "search --bogus": "--bogus: no such option",
    "search -dis_bs 5": "--dis_batch_size: 2 processes cannot share 5 evenly",
    "search -gen_bs 3": "--gen_batch_size: 2 processes cannot share 3 evenly",
    "search -dis_bs 19 -dis_bs 20 --data_path odd": "--dis_batch_size: the last of an epoch has 1 of 21 images",
    "dggan": "--method: torchrun's 2 processes share one network, dggan trains many",
    "asha": "--method: torchrun's 2 processes share one network, asha trains many",
    "train_derived --compile": "--compile: the generator's batch norm needs all 2 processes",
    "train_derived --generator_topk 0.5": "--generator_topk: 2 processes that share a batch do not have it",
    "search --accumulate 2": "--accumulate: 2 processes that share a batch do not have it",
    "search --loss mmd": "--loss: mmd compares images of a batch, which 2 processes share",
    "search --conditional --semi_supervised": "--semi_supervised: 2 processes that share a batch do not have it",
    "train_derived --rotation_loss": "--rotation_loss: 2 processes that share a batch do not have it",
    "search --estimate": "--estimate: one process measures",
    "derive": "--derive: torchrun's 2 processes share one training",
    "search --device cuda:0": "--device: there is no cuda:0 here",
    "search --random_seed RANK": "torchrun: process 1 was called with 1, process 0 with 0",
    "search --data_path differs": "--data_path: process 1 reads other images than process 0",
    "search --code": "torchrun: process 1 has another cfg.py than process 0",
    "search --data_path missing_in_1": "--data_path: no folder or zip file missing_in_1",
    "test --load_path nothing --save_images pictures_of": "--save_images: one process draws, torchrun started 2",
}


def make_mistakes(pictures, folder, ports):
    """Each mistake in a group of its own, as after a restart by torchrun; keeps what the processes end with.

    ports: of the stores of these groups.
    """
    number = int(os.environ["RANK"])
    endings = {}
    for attempt, mistake in enumerate(MISTAKES):
        os.environ["MASTER_PORT"] = str(ports[attempt])
        where = folder / f"process_{number}"
        os.chdir(where)
        os.dup2(os.open(folder / f"output_{attempt}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        name, *options = mistake.replace("RANK", str(number)).split()
        digests = utils.run.together.code_digests
        if options == ["--code"]:
            options = []
            utils.run.together.code_digests = lambda: digests() | {"cfg.py": number}
        others = {"test": "test", "derive": "train_derived --derive derived.json --img_size 16"}
        given = others.get(name) or short_run(name, pictures)
        script, *sys.argv[1:] = [*given.split(), *options]
        try:
            run_script(together(load_script(script).main))
            endings[mistake] = 0
        except SystemExit as ending:
            endings[mistake] = ending.code
        utils.run.together.code_digests = digests
    (folder / f"endings_{number}.json").write_text(json.dumps(endings))


def test_a_mistake_is_one_line_of_one_process_and_all_end_with_2(tmp_path, pictures):
    for number in range(2):
        for name in ("odd", "differs"):
            (tmp_path / f"process_{number}" / name).mkdir(parents=True)
        odd = write_pictures(tmp_path / f"process_{number}" / "odd")
        (odd / "20.png").write_bytes((odd / "00.png").read_bytes())
        differs = write_pictures(tmp_path / f"process_{number}" / "differs")
        entry = {"architecture": "1 0 1 1 0 1 2 1 1"}
        (tmp_path / f"process_{number}" / "derived.json").write_text(json.dumps({"architectures": [entry]}))
    (differs / "00.png").write_bytes((differs / "01.png").read_bytes())
    (tmp_path / "process_0" / "missing_in_1").mkdir()
    write_pictures(tmp_path / "process_0" / "missing_in_1")
    stores = [new_store() for _ in MISTAKES]
    ports = [store.port for store in stores]
    assert run_together(2, make_mistakes, pictures, tmp_path, ports) == [0, 0]
    for attempt, (mistake, line) in enumerate(MISTAKES.items()):
        output = (tmp_path / f"output_{attempt}").read_text()
        assert output.startswith(f"error: {line}") and output.count("\n") == 1, (mistake, output)
        for number in range(2):
            endings = json.loads((tmp_path / f"endings_{number}.json").read_text())
            assert endings[mistake] == 2, (mistake, number)
    assert not list(tmp_path.glob("process_*/logs*"))


def test_a_dry_run_shows_the_number_of_processes(tmp_path, pictures):
    assert run_together(2, type_together, f"{command('search', pictures)} --dry_run", tmp_path) == [0, 0]
    assert json.loads((tmp_path / "output.txt").read_text())["processes"] == 2
