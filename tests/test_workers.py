"""Tasks in several processes: their order, workers that are killed, and runs that do not depend on them."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
import torch
from sums import Sum, add
from running import assert_equal_states, only_run, short_run, use_tiny_net, write_pictures

import models_search.asha.search
import models_search.dggan.search
from models_search.dggan.pair import train_node
from models_search.retraining.task import train_task
from utils.cli import UserError
from utils.run.checkpoint import load_checkpoint
from utils.run.crew import Crew
from utils.run.save_point import SavePoint, StopRequested
from utils.run.local_engine import LocalEngine
from utils.run.workers import check_workers, one_thread_on_cpu, workers


def choice(count=2, engine="local", gpus=None):
    return SimpleNamespace(workers=count, engine=engine, gpus_per_task=gpus)


def context(count, lines, stop=None):
    """workers() with so many processes; its log goes into `lines`."""
    save_point = SavePoint(None, stop or SimpleNamespace(number=None), "go on with --load_path RUN")
    return workers(choice(count), "cpu", "", save_point, lines.append)


def test_tasks_follow_from_results_in_processes_with_the_one_thread_they_are_given():
    """The tasks 1 and 5 come first. Each result up to 3 becomes a task. There are more workers than tasks."""
    for count in (1, 4):
        waiting, results, lines = [Sum(1, seconds=0.3), Sum(5)], [], []
        with context(count, lines) as pool:
            for task, result in pool.as_they_end(add, lambda: waiting.pop(0) if waiting else None):
                results.append((task.number, result[0]))
                assert count == 1 or result[1:] == (1, "1")
                if result[0] <= 3:
                    waiting.append(Sum(result[0]))
        assert sorted(results) == [(1, 2), (2, 3), (3, 4), (5, 6)]
        assert results.index((1, 2)) < results.index((2, 3)) < results.index((3, 4))
    assert [sum(words in line for line in lines) for words in ("begins on cpu", "ended on cpu")] == [4, 4]


@pytest.mark.parametrize("device, threads", [("cpu", 1), ("cuda", 2)])
def test_a_task_on_the_cpu_has_one_thread_and_leaves_as_many_as_there_were(device, threads):
    torch.set_num_threads(2)
    try:
        with one_thread_on_cpu(torch.device(device)):
            assert torch.get_num_threads() == threads
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_the_first_result_is_not_kept_waiting_for_the_others():
    ended, started = Future(), time.monotonic()
    ended.set_result(1)
    assert LocalEngine([]).wait([Future(), ended], seconds=20) == [ended]
    assert time.monotonic() - started < 10


def test_a_dead_worker_costs_only_its_task_another_attempt_and_the_third_death_fails_it(tmp_path):
    dying = Sum(1, tmp_path, deaths=9, by=signal.SIGSEGV)
    tasks, lines = [Sum(2, tmp_path, deaths=1), Sum(3, tmp_path, seconds=0.3), dying, Sum(4)], []
    with context(2, lines) as pool:
        second, third, failure, fourth = pool.in_order(add, tasks)
    assert [second[0], third[0], fourth[0]] == [3, 4, 5]
    assert failure == "its process was killed by SIGSEGV, 3 times"
    assert [task.attempts for task in tasks[:3]] == [2, 1, 3]
    assert sum("sum 2 on cpu" in line and "killed by SIGKILL" in line for line in lines) == 1


def test_a_worker_that_is_asked_to_end_saves_and_an_idle_one_that_is_killed_is_replaced(tmp_path):
    lines = []
    with context(2, lines) as pool:
        asked = Sum(1, tmp_path, deaths=1, by=signal.SIGTERM, seconds=0.1)
        assert [result[0] for result in pool.in_order(add, [asked])] == [2]
        for child in multiprocessing.active_children():
            child.kill()
            child.join()
        assert [result[0] for result in pool.in_order(add, [Sum(1)])] == [2]
    assert sum("its process was asked to end by SIGTERM" in line for line in lines) == 1


def test_a_signal_reaches_the_tasks_at_work_and_no_other_begins(tmp_path):
    stop = SimpleNamespace(number=None)
    with pytest.raises(StopRequested, match="--load_path RUN"):
        with context(2, [], stop) as pool:
            for _ in pool.in_order(add, [Sum(1), *(Sum(n, tmp_path, seconds=60) for n in (2, 3, 4))]):
                stop.number = signal.SIGTERM
    assert not (tmp_path / "4.txt").exists()


class PretendEngine:
    """Does one task after the other, each in as many seconds as it says; see utils.run.crew."""

    def __init__(self, clock):
        self.clock, self.tasks, self.new = clock, [], []

    def begin(self, work, task):
        self.new.append((task, "a machine"))
        return task

    def begun(self):
        new, self.new = self.new, []
        return new

    def wait(self, handles, seconds):
        self.clock[0] += handles[0].seconds
        return handles[:1]

    def result(self, task):
        return task.number


def test_the_log_estimates_the_time_of_what_is_left_from_what_has_ended(monkeypatch):
    clock, lines, tasks = [0], [], [Sum(1, seconds=0.5, size=9), Sum(2, seconds=30, size=3), Sum(3, size=6)]
    monkeypatch.setattr("utils.run.crew.time.monotonic", lambda: clock[0])
    crew = Crew(PretendEngine(clock), 1, SavePoint(None, SimpleNamespace(number=None), ""), lines.append)
    assert list(crew.in_order(None, tasks)) == [1, 2, 3]
    ended = [line for line in lines if "ended" in line]
    assert "left" not in ended[0], "half a second tells nothing: it was done before"
    assert ended[1] == "sum 2 ended on a machine after 00:30, 0 at work, about 01:00 left for the rest"


# Whole runs


def tiny(work):
    """What a worker process does first."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_tiny_net(monkeypatch)
        return work()


def train_trial(task, device, stop):
    """A training, whose process is killed once in the second trial."""
    return tiny(lambda: train_task(task, device, KillsOnce(task.folder, "trial_0001", stop)))


def train_child(node, device, stop, *, plan):
    """A node's training, whose process is killed once in the second node."""
    return tiny(lambda: train_node(node, device, KillsOnce(node.file, "node_001.pth", stop), plan=plan))


class KillsOnce:
    """A stop that kills the process when a task of this name looks for the second time, once."""

    def __init__(self, file, name, stop):
        self.mark = file.with_name("killed")
        self.stop, self.looks, self.is_due = stop, 0, file.name == name and not self.mark.exists()

    @property
    def number(self):
        self.looks += 1
        if self.looks == 2 and self.is_due:
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.stop.number


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


def models(run):
    """{file: content} of all checkpoints of a run and its trainings, as far as they tell what was computed."""
    files = sorted(file for file in run.rglob("*.pth") if "previous" not in file.name)
    return {str(file.relative_to(run)): without_call(load_checkpoint(file)) for file in files}


def without_call(state):
    """A checkpoint without what may differ between calls."""
    if isinstance(state, dict) and "options" in state:
        state["options"] = {**state["options"], "workers": 1, "exp_name": "", "engine": "local"}
    return state


def test_a_growth_with_two_workers_of_which_one_is_killed_equals_that_of_one_process(
    type_command, tmp_path, monkeypatch, pictures
):
    use_tiny_net(monkeypatch)
    type_command(short_run("dggan", pictures))
    one = only_run(tmp_path, "dggan")
    monkeypatch.setattr(models_search.dggan.search, "train_node", train_child)
    type_command(f"{short_run('dggan', pictures)} --workers 2 --exp_name two")
    two = only_run(tmp_path, "two")
    assert (two / "Model" / "killed").exists()
    assert (two / "growth_tree.json").read_text() == (one / "growth_tree.json").read_text()
    assert_equal_states(models(one), models(two))


def test_a_search_of_trials_with_two_workers_of_which_one_is_killed_scores_each_alike(
    type_command, tmp_path, monkeypatch, pictures
):
    """Who is sent on may depend on the order of the ends; all end at the first rung here."""
    use_tiny_net(monkeypatch)
    command = (
        short_run("asha", pictures)
        .replace("--rungs 1 2 3", "--rungs 1")
        .replace("--max_trials 5", "--max_trials 3")
    )
    type_command(command)
    one = only_run(tmp_path, "asha")
    monkeypatch.setattr(models_search.asha.search, "train_task", train_trial)
    type_command(f"{command} --workers 2 --exp_name two")
    two = only_run(tmp_path, "two")
    assert (two / "trials" / "killed").exists()
    assert (two / "derived.json").read_text() == (one / "derived.json").read_text()
    assert_equal_states(models(one), models(two))


# Mistakes


@pytest.fixture
def three_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)


@pytest.mark.parametrize(
    "device, count, gpus, words",
    [
        (
            "cuda",
            7,
            0.5,
            "--workers: 7 trainings at once, each with 0.5 of a GPU, do not fit 3; give 6 or less",
        ),
        ("cuda:1", 2, 1.0, "do not fit 1; give 1 or less"),
        ("cpu", 2, 0.5, "--gpus_per_task: the trainings run on the CPU"),
    ],
)
def test_more_workers_than_the_gpus_have_room_for_are_refused(three_gpus, device, count, gpus, words):
    with pytest.raises(UserError, match=words):
        check_workers(choice(count, gpus=gpus), device)
    check_workers(choice(count), device)


@pytest.mark.parametrize(
    "options, words",
    [
        ("--engine slurm", "--engine: 'slurm' is none; give local, ray or ray:HOST:PORT"),
        ("--engine ray:", "--engine"),
        ("--engine ray:somewhere", "--engine"),
        ("--engine ray:host:99999", "--engine"),
        ("--gpus_per_task 0", "--gpus_per_task: must be more than 0"),
        ("--gpus_per_task 2", "--gpus_per_task: must be at most 1"),
        ("--gpus_per_task 0.5", "--gpus_per_task: the trainings run on the CPU"),
        ("--gpus_per_task nan", "--gpus_per_task"),
    ],
)
@pytest.mark.parametrize("method", ["asha", "dggan"])
def test_a_mistake_about_engines_gets_one_line(fail_command, method, options, words):
    assert words in fail_command(f"search --method {method} --device cpu {options}")


@pytest.mark.parametrize("option", ["--engine ray", "--gpus_per_task 0.5"])
def test_engines_are_of_trainings_that_do_not_depend_on_each_other(fail_command, option):
    name = option.split()[0]
    assert f"{name}: without effect with autogan" in fail_command(f"search {option}")
    assert f"{name}: without effect without --derive" in fail_command(
        f"train_derived --gen_model sngan {option}"
    )


def test_without_ray_its_engine_is_refused_in_one_line(fail_command, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    line = fail_command("search --method dggan --device cpu --engine ray")
    assert "--engine: Ray is not installed; pip install -r requirements-ray.txt" in line
