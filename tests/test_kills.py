"""Runs that are killed, or asked to stop, by the operating system, at a few of the moments of kill_runs.py."""

import signal

import pytest
from kill_runs import killed_run_ends_as, reference
from running import write_pictures


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pictures):
    """Folders of unbroken runs, each made when first asked for."""
    folder, made = tmp_path_factory.mktemp("finished"), set()

    def folder_of(name):
        if name not in made:
            reference(name, pictures, folder / name)
            made.add(name)
        return folder / name

    return folder_of


def dies_and_ends_as(finished, name, pictures, folder, moment, call, save_always):
    """Whether the run was killed where it should be; it must end as the unbroken one."""
    code = killed_run_ends_as(finished(name), name, pictures, folder, moment, call, save_always=save_always)
    return code == -signal.SIGKILL


@pytest.mark.parametrize(
    "moment, call, save_always",
    [("shared-GAN step", 9, True), ("top-k scoring", 5, False), ("dynamic reset", 2, True)],
)
def test_a_search_that_is_killed_and_goes_on_ends_as_the_unbroken_one(
    tmp_path, pictures, finished, moment, call, save_always
):
    assert dies_and_ends_as(finished, "search", pictures, tmp_path / "run", moment, call, save_always)


def test_a_training_that_is_killed_and_goes_on_ends_as_the_unbroken_one(tmp_path, pictures, finished):
    moment = "checkpoint renamed", 10, True
    assert dies_and_ends_as(finished, "train_derived", pictures, tmp_path / "run", *moment)


def test_a_random_search_that_is_killed_and_goes_on_ends_as_the_unbroken_one(tmp_path, pictures, finished):
    moment = "a score is kept", 4, True
    assert dies_and_ends_as(finished, "random_sharing", pictures, tmp_path / "run", *moment)


@pytest.mark.parametrize(
    "moment, call, save_always",
    [("mid-child", 14, True), ("between growing and pruning", 1, False), ("saving the tree", 4, False)],
)
def test_a_growth_that_is_killed_and_goes_on_ends_as_the_unbroken_one(
    tmp_path, pictures, finished, moment, call, save_always
):
    assert dies_and_ends_as(finished, "dggan", pictures, tmp_path / "run", moment, call, save_always)


def test_a_search_of_trials_that_is_killed_and_goes_on_ends_as_the_unbroken_one(tmp_path, pictures, finished):
    moment = "keeping a result", 6, False
    assert dies_and_ends_as(finished, "asha", pictures, tmp_path / "run", *moment)


@pytest.mark.parametrize("name, number", [("search", signal.SIGTERM), ("train_derived", signal.SIGINT)])
def test_a_signal_ends_a_run_with_its_exit_code_and_a_checkpoint_to_go_on_from(
    tmp_path, pictures, finished, name, number
):
    moment = {"search": "controller step", "train_derived": "training step"}[name]
    folder = tmp_path / name
    assert (
        killed_run_ends_as(finished(name), name, pictures, folder, moment, 2, signals=(number,))
        == 128 + number
    )
    assert f"stopped: by {number.name}; go on with --load_path" in (folder / "output.txt").read_text()


def test_a_second_signal_ends_a_run_at_once(tmp_path, pictures, finished):
    name, signals = "train_derived", (signal.SIGINT, signal.SIGTERM)
    assert (
        killed_run_ends_as(finished(name), name, pictures, tmp_path / name, "training step", 1, signals)
        == 128 + signal.SIGTERM
    )
    assert "stopped" not in (tmp_path / name / "output.txt").read_text()
