"""The benchmarks' command lines are sound, and one that runs writes what it measured."""

import importlib.util
import json
import sys

import pytest
from running import ROOT

SCRIPTS = [path.stem for path in sorted((ROOT / "bench").glob("*.py")) if "def main():" in path.read_text()]


@pytest.fixture
def run_benchmark(monkeypatch):
    """Run "script option option ..." of bench/ in this process."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))

    def run(command):
        script, *arguments = command.split()
        spec = importlib.util.spec_from_file_location(f"bench_{script}", ROOT / "bench" / f"{script}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
        module.main()

    return run


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_benchmark_tells_its_options(run_benchmark, capsys, script):
    with pytest.raises(SystemExit) as ending:
        run_benchmark(f"{script} --help")
    assert not ending.value.code
    assert "--json FILE" in capsys.readouterr().out


@pytest.mark.parametrize("script, levels", [("search_step", [1, 2, 3]), ("train_step", [3])])
def test_a_benchmark_times_both_ways_of_the_same_work(run_benchmark, tmp_path, script, levels):
    run_benchmark(
        f"{script} --gf_dim 4 --steps 1 --repeats 1 --precisions float32 --device cpu --json {tmp_path / 'found.json'}"
    )
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [(row["level"], row["width"], row["precision"]) for row in rows] == [
        (level, 4, "float32") for level in levels
    ]
    assert all(row["ratio"] == pytest.approx(row["plain_ms"] / row["fast_ms"]) for row in rows)
