"""The benchmarks' command lines work, they build the scripts' networks, and both ways do the same work."""

import importlib
import json
import sys

import pytest
import torch
from running import ROOT, assert_equal_states, load_script

import cfg

SCRIPTS = [path.stem for path in sorted((ROOT / "bench").glob("*.py")) if "def main():" in path.read_text()]
CPU = torch.device("cpu")


@pytest.fixture
def load_benchmark(monkeypatch):
    """Import a file of bench/ by its name."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module


@pytest.fixture
def run_benchmark(load_benchmark, monkeypatch):
    """Run "script option option ..." of bench/ in this process."""

    def run(command):
        script, *arguments = command.split()
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
        load_benchmark(script).main()

    return run


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_benchmark_tells_its_options(run_benchmark, capsys, script):
    with pytest.raises(SystemExit) as ending:
        run_benchmark(f"{script} --help")
    assert not ending.value.code
    assert "--json FILE" in capsys.readouterr().out


@pytest.mark.parametrize("script, levels", [("search_step", [1, 2, 3]), ("train_step", [3])])
def test_a_benchmark_times_both_ways_of_the_same_work(run_benchmark, tmp_path, script, levels):
    found = tmp_path / "found.json"
    sizes = "--gf_dim 4 --steps 1 --repeats 1 --precisions float32 --device cpu"
    run_benchmark(f"{script} {sizes} --json {found}")
    rows = json.loads(found.read_text())["rows"]
    measured = [(row["level"], row["width"], row["precision"]) for row in rows]
    assert measured == [(level, 4, "float32") for level in levels]
    assert all(row["ratio"] == pytest.approx(row["plain_ms"] / row["fast_ms"]) for row in rows)


def test_both_ways_train_the_same_weights_on_the_same_architectures(load_benchmark, monkeypatch):
    networks, steps = map(load_benchmark, ("networks", "steps"))
    plain, fast = (
        steps.Workload.search(networks.search_plan(4, fast=is_fast, batch=2), CPU, level=1, steps=6)
        for is_fast in (False, True)
    )
    assert_equal_states(plain.gan.generator.state_dict(), fast.gan.generator.state_dict())
    assert_equal_states(plain.gan.discriminator.state_dict(), fast.gan.discriminator.state_dict())
    trained, original = [], steps.Workload.functions
    monkeypatch.setattr(
        steps.Workload, "functions", lambda self, each: trained.append(each) or original(self, each)
    )
    losses = steps.plain_steps(plain, seed=3), steps.fast_steps(fast, seed=3)
    assert list(map(len, losses)) == [6, 6]
    assert trained[:6] == trained[6:] and len(set(trained)) > 1


def test_retraining_is_measured_on_the_networks_of_train_derived(load_benchmark):
    networks = load_benchmark("networks")
    options = networks.retraining_options(4)
    state = load_script("train_derived").new_state(options, cfg.generator_architecture(options), CPU)
    assert_equal_states(networks.derived_gan(options, CPU).state_dict(), state.gan.state_dict())


def test_the_arithmetic_of_a_step_grows_with_its_batch(run_benchmark, capsys):
    gflop = []
    for batch in (4, 8):
        setting = json.dumps({"width": 4, "resolution": 8, "batch": batch, "beam": 1}, separators=(",", ":"))
        run_benchmark(f"growth --one {setting} --device cpu --precisions float32 --repeats 1 --steps 5")
        gflop.append(json.loads(capsys.readouterr().out)["gflop"])
    assert 1.5 < gflop[1] / gflop[0] <= 2


def test_the_fast_way_takes_fewer_operations(load_benchmark):
    count_operations = load_benchmark("operations").count_operations
    plain, fast = count_operations(0, fast=False), count_operations(0, fast=True)
    assert all(2 * few < many for few, many in zip(fast, plain))
