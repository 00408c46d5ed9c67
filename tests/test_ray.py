"""Trainings on a Ray cluster. What needs Ray is skipped without it; bash exps/test_suite.sh --full kills more."""

import importlib.util
import os
import pickle
import random
import socket
import sys
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import pytest
import torch
from engine_runs import commands, disturbed, ray_head, start, state_of
from running import assert_equal_states, write_pictures
from sums import Sum, add

from utils.cli import UserError
from utils.run import ray_engine, ray_worker
from utils.run.ray_worker import code_digest

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture
def pretended_ray(monkeypatch):
    """Ray counts as installed."""
    monkeypatch.setattr(ray_engine.importlib.util, "find_spec", lambda name: ModuleSpec(name, None))


def test_an_address_where_nothing_listens_is_refused_in_one_line(fail_command, pretended_ray):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # but does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = fail_command(f"search --method dggan --device cpu --engine ray:{address}")
    assert f"--engine: no Ray cluster answers at {address}" in line


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
def test_a_host_that_cannot_be_is_refused_in_one_line(fail_command, pretended_ray, host):
    line = fail_command(f"search --method dggan --device cpu --engine ray:{host}:6379")
    assert f"--engine: no Ray cluster answers at {host}:6379" in line


@pytest.mark.parametrize(
    "options, words",
    [
        ("--device cpu --gpus_per_task 0.5", "--gpus_per_task: without effect with --device cpu"),
        ("--device cuda:0", "--device: "),
    ],
)
def test_ray_hands_out_gpus_itself(fail_command, pretended_ray, monkeypatch, options, words):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert words in fail_command(f"search --method dggan --engine ray {options}")


@pytest.mark.parametrize(
    "options, words",
    [("cpu 0.5", "--gpus_per_task: the Ray cluster has no GPU"), ("cuda", "--device: the Ray")],
)
def test_a_cluster_without_gpus_is_refused_where_they_are_asked_for(monkeypatch, options, words):
    monkeypatch.setattr(ray_engine, "_ask", lambda address: {"CPU": 4})
    device, share = [*options.split(), None][:2]
    choice = SimpleNamespace(engine="ray", workers=2, gpus_per_task=share and float(share))
    with pytest.raises(UserError, match=words):
        ray_engine.find_cluster(choice, device)


class Board:
    """What the function needs of Ray's board, here."""

    begin = asked = SimpleNamespace(remote=lambda *arguments: None)


def setting_for(here, **changes):
    (here / "config.json").write_text("{}")
    setting = {"folder": str(here), "paths": [], "witness": str(here / "config.json"), "content": b"{}"}
    return {**setting, "code": code_digest(), "cache": None, "seconds": 0, **changes}


def answer(monkeypatch, tmp_path, **changes):
    """What a task answers on a machine that differs in `changes`."""
    monkeypatch.chdir(tmp_path)
    payload = pickle.dumps((add, Sum(1)))
    return ray_engine._remote_function()(payload, Board, 1, setting_for(tmp_path, **changes))


def test_a_machine_that_does_not_see_the_runs_folder_says_so(monkeypatch, tmp_path):
    for changes in ({"content": b"another"}, {"witness": str(tmp_path / "else" / "config.json")}):
        kind, host, folder = answer(monkeypatch, tmp_path, **changes)
        assert (kind, host) == ("unseen", socket.gethostname())
    assert folder == str(tmp_path / "else")
    assert answer(monkeypatch, tmp_path, folder=str(tmp_path / "nowhere"))[0] == "unseen"


def test_a_machine_with_other_code_says_so(monkeypatch, tmp_path):
    assert answer(monkeypatch, tmp_path, code="another")[:2] == ("other code", socket.gethostname())


@pytest.mark.parametrize(
    "kind, content, words",
    [
        ("unseen", "/runs", "--engine: the machine far does not see /runs; Ray needs a folder"),
        ("other code", None, "--engine: the machine far has other code"),
    ],
)
def test_what_a_machine_lacks_ends_the_run_in_one_line(kind, content, words):
    engine = ray_engine.RayEngine.__new__(ray_engine.RayEngine)
    errors = SimpleNamespace(RayTaskError=KeyError, RayError=OSError)
    engine._ray = SimpleNamespace(get=lambda reference: (kind, "far", content), exceptions=errors)
    engine._numbers = {"task": 1}
    with pytest.raises(UserError, match=words):
        engine.result("task")


@pytest.mark.parametrize(
    "answer, found",
    [("print('{\"CPU\": 4}')", {"CPU": 4}), ("sys.exit(1)", None), ("print('{}'); sys.exit(1)", None)],
)
def test_what_a_cluster_has_is_asked_in_a_process_of_its_own(monkeypatch, answer, found):
    """Also if the answer comes at once with the line before it, or is read late."""
    monkeypatch.setattr(ray_engine, "QUESTION", f"import sys; print('asking'); {answer}")
    assert ray_engine._ask("auto") == found


@pytest.mark.parametrize(
    "has_token, mode, wanted", [(True, None, "token"), (True, "x", None), (False, None, None)]
)
def test_a_token_that_lies_here_is_shown_and_nothing_is_reported(
    monkeypatch, tmp_path, has_token, mode, wanted
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", mode) if mode else monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if has_token:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").touch()
    settings = ray_engine._settings()
    assert settings.get("RAY_AUTH_MODE") == wanted and settings["RAY_USAGE_STATS_ENABLED"] == "0"


class PretendedRay:
    """What is used of Ray, without a cluster: a call of `remote` runs here."""

    exceptions = SimpleNamespace(RayError=ZeroDivisionError)
    util = SimpleNamespace(
        scheduling_strategies=SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: (node, soft))
    )

    def __init__(self, gpus=0, is_there=True):
        self.gpus, self.is_there, self.addresses, self.options = gpus, is_there, [], []

    def init(self, address, **options):
        self.addresses.append(address)
        if address != "local" and not self.is_there:
            raise ConnectionError

    def cluster_resources(self):
        return {"CPU": 2, "GPU": self.gpus}

    def get_runtime_context(self):
        return SimpleNamespace(get_node_id=lambda: "node")

    def get_gpu_ids(self):
        return []

    def get(self, value):
        return value

    def remote(self, *function, **options):
        if options:
            self.options.append(options)
            return lambda function: SimpleNamespace(remote=function)
        return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=function[0]))


@pytest.mark.parametrize("name, is_there, addresses", [
    ("ray", True, ["auto"]), ("ray", False, ["auto", "local"]), ("ray:head:6379", True, ["head:6379"]),
])  # fmt: skip
@pytest.mark.parametrize("gpus, share, each", [(0, None, 0), (2, None, 1), (2, 0.5, 0.5)])
def test_the_cluster_is_the_one_that_is_named_and_a_task_gets_its_share(
    monkeypatch, tmp_path, name, is_there, addresses, gpus, share, each
):
    ray = PretendedRay(gpus, is_there)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setenv("XDG_CACHE_HOME", "/a/cache")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "")  # so that it is restored
    (tmp_path / "config.json").write_text("{}")
    choice = SimpleNamespace(engine=name, gpus_per_task=share)
    engine = ray_engine.connect(choice, "auto", tmp_path, "go on")
    assert ray.addresses == addresses
    assert ray.options == [{"num_cpus": 1, "num_gpus": each, "max_retries": 0}]
    setting = engine._setting
    assert (setting["folder"], setting["cache"]) == (os.getcwd(), "/a/cache")
    assert (setting["witness"], setting["content"]) == (str(tmp_path / "config.json"), b"{}")
    assert setting["code"] == code_digest()


def test_a_named_cluster_that_has_gone_is_not_replaced_by_one_here(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", PretendedRay(is_there=False))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "")
    choice = SimpleNamespace(engine="ray:head:6379", gpus_per_task=None)
    with pytest.raises(UserError, match="--engine: no Ray cluster answers at head:6379 any more"):
        ray_engine.connect(choice, "auto", tmp_path, "go on")


def test_a_task_has_the_threads_and_the_cache_that_it_is_given(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", PretendedRay())
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("XDG_CACHE_HOME", "another")
    try:
        found = answer(monkeypatch, tmp_path, cache=str(tmp_path))
    finally:
        torch.set_num_threads(1)
    assert found == ("result", socket.gethostname(), (2, 2, "2"))  # the sum, the threads, OMP_NUM_THREADS
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path)


def test_the_digest_of_the_code_is_of_all_its_files_and_their_names(monkeypatch, tmp_path):
    monkeypatch.setattr(ray_worker, "ROOT", tmp_path)
    (tmp_path / "utils" / "run").mkdir(parents=True)
    file, digests = tmp_path / "utils" / "run" / "a.py", set()
    for content in ("x = 1\n", "x = 2\n"):
        file.write_text(content)
        digests.add(code_digest.__wrapped__())
    file.rename(file.with_name("b.py"))
    digests.add(code_digest.__wrapped__())
    monkeypatch.setattr(torch, "__version__", "0.1")
    digests.add(code_digest.__wrapped__())
    assert len(digests) == 4
    (tmp_path / "utils" / "notes.txt").touch()
    assert code_digest.__wrapped__() in digests


@needs_ray
def test_an_address_where_something_else_answers_is_refused_in_ten_seconds(fail_command):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        line = fail_command(f"search --method dggan --device cpu --engine ray:{address}")
    assert f"--engine: no Ray cluster answers at {address}" in line


@needs_ray
def test_a_growth_on_two_ray_machines_of_which_one_is_lost_ends_as_that_of_one_process(tmp_path):
    (tmp_path / "pictures").mkdir()
    command = commands(write_pictures(tmp_path / "pictures"))["dggan"]
    (tmp_path / "one").mkdir()
    assert start(command, tmp_path / "one").wait() == 0
    unbroken = state_of(tmp_path / "one")
    tasks = len(unbroken["growth_tree.json"])
    with ray_head() as address:
        again = f"{command} --workers 2 --engine ray:{address}"
        disturbed("power cut", again, tmp_path / "two", random.Random(0), tasks, address)
    assert_equal_states(unbroken, state_of(tmp_path / "two"))
