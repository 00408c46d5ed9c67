"""Typing the command of an interrupted run again goes on with it."""

import json
import shutil

import pytest
from running import (
    assert_equal_states,
    only_run,
    read_metrics,
    short_run,
    stop_at,
    use_tiny_net,
    write_pictures,
)

from utils.run.checkpoint import load_checkpoint
from utils.run.folder import Run
from utils.run.resume import find_interrupted


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.mark.parametrize("name, call", [("train_derived", 2), ("search", 7), ("dggan", 5)])
def test_a_command_typed_again_ends_as_the_run_that_was_not_interrupted(
    type_command, tmp_path, monkeypatch, capsys, pictures, name, call
):
    use_tiny_net(monkeypatch)
    command = short_run(name, pictures)
    type_command(command)
    through = only_run(tmp_path, name).rename(tmp_path / "through")
    stops, heal = stop_at(call, monkeypatch)
    with pytest.raises(stops):
        type_command(command)
    heal()
    capsys.readouterr()
    interrupted = only_run(tmp_path, name)
    type_command(command)
    assert only_run(tmp_path, name) == interrupted
    line = f"going on with logs/{interrupted.name}, which was interrupted; --resume never starts anew"
    assert capsys.readouterr().err.splitlines()[0] == line
    assert read_metrics(interrupted) == read_metrics(through)
    first, second = (load_checkpoint(run / "Model" / "checkpoint.pth") for run in (interrupted, through))
    assert_equal_states(first, second)


@pytest.fixture
def interrupted(type_command, tmp_path, monkeypatch, pictures):
    """(command, folder) of a training that was interrupted."""
    use_tiny_net(monkeypatch)
    stops, heal = stop_at(2, monkeypatch)
    command = short_run("train_derived", pictures)
    with pytest.raises(stops):
        type_command(command)
    heal()
    return command, only_run(tmp_path, "train_derived")


def count_runs(tmp_path):
    return len(list((tmp_path / "logs").iterdir()))


@pytest.mark.parametrize("more", ["--resume never", "--random_seed 5", "--max_iter 9", "--g_lr 0.1"])
def test_other_options_start_a_run_of_their_own(type_command, tmp_path, interrupted, more):
    command, _ = interrupted
    type_command(f"{command} {more}")
    assert count_runs(tmp_path) == 2


def test_a_finished_run_is_started_anew(type_command, tmp_path, interrupted):
    command, _ = interrupted
    for runs in (1, 2):
        type_command(command)
        assert count_runs(tmp_path) == runs


def test_a_run_that_another_process_writes_to_is_not_taken(type_command, tmp_path, interrupted):
    """The lock of this process would not stop it, so the run is made to look locked by taking its lock away."""
    command, run = interrupted
    (run / ".lock").unlink()
    (run / ".lock").mkdir()
    type_command(command)
    assert count_runs(tmp_path) == 2


def test_where_things_are_may_differ(type_command, tmp_path, pictures, interrupted):
    command, run = interrupted
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(pictures, elsewhere)
    type_command(f"{command} --data_path {elsewhere} --print_freq 1")
    assert count_runs(tmp_path) == 1 and (run / "results.json").is_file()


def test_a_folder_can_be_named(type_command, tmp_path, interrupted):
    _, run = interrupted
    moved = run.rename(tmp_path / "moved")
    type_command(f"train_derived --resume {moved}")
    assert (moved / "results.json").is_file()


def test_a_dry_run_goes_on_with_nothing(type_command, interrupted, capsys):
    command, run = interrupted
    type_command(f"{command} --dry_run")
    assert "going on" not in capsys.readouterr().err and not (run / "results.json").exists()


def test_a_run_whose_configuration_cannot_be_read_is_passed_over(type_command, tmp_path, interrupted):
    command, run = interrupted
    (run / "config.json").write_text("[]")
    type_command(command)
    assert count_runs(tmp_path) == 2


def test_the_newest_of_several_interrupted_runs_is_taken_whichever_checkpoint_it_has(tmp_path):
    options = {"g_lr": 1.0, "betas": (0.0, 0.9), "device": "cpu"}
    for stamp, name in (("2026_01_03", "checkpoint_previous.pth"), ("2026_01_01", "checkpoint.pth")):
        folder = tmp_path / f"run_{stamp}"
        (folder / "Model").mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"options": options}))
        (folder / "Model" / name).touch()
    newest, oldest = (str(tmp_path / f"run_2026_01_0{day}") for day in (3, 1))
    assert find_interrupted(tmp_path, "run", options, {"device"}) == newest
    assert find_interrupted(tmp_path, "run", options | {"device": "cuda"}, {"device"}) == newest
    assert find_interrupted(tmp_path, "run", options | {"g_lr": 2.0}, {"device"}) is None
    assert find_interrupted(tmp_path, "other", options, {"device"}) is None
    (tmp_path / "run_2026_01_03" / "results.json").touch()
    assert find_interrupted(tmp_path, "run", options, {"device"}) == oldest
    (tmp_path / "run_2026_01_01" / "Model" / "checkpoint.pth").unlink()
    assert find_interrupted(tmp_path, "run", options, {"device"}) is None


def test_runs_of_names_with_brackets_are_found(tmp_path):
    run = Run.create(tmp_path, "a[1]", {"g_lr": 1.0})
    run.save({}, 1)
    run._lock.close()
    assert find_interrupted(tmp_path, "a[1]", {"g_lr": 1.0}, set()) == str(run.folder)
