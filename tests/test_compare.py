"""Searches side by side: what a plan must hold, what is done again, and the table."""

import json
import sys
from types import SimpleNamespace

import pytest
from running import ROOT, load_script

from utils.cli import UserError

PLAN = {"both": "--dataset digits", "search": "", "training": "", "searches": {"AutoGAN": ""}, "seeds": [1]}


@pytest.fixture
def compare(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "exps"))
    return load_script("exps/compare_searches")


@pytest.mark.parametrize(
    "change",
    [{"seeds": []}, {"seeds": ["1"]}, {"searches": {}}, {"searches": {"a": 3}}, {"both": 1}, {"more": ""}],
)
def test_a_plan_that_is_none_is_refused(compare, tmp_path, change):
    (tmp_path / "plan.json").write_text(json.dumps(PLAN | change))
    with pytest.raises(UserError, match="PLAN.json: "):
        compare.read_plan(tmp_path / "plan.json")


def test_the_plans_of_the_project_are_plans(compare):
    plans = list((ROOT / "exps/comparisons").glob("*.json"))
    assert plans and all(len(compare.read_plan(path)["seeds"]) >= 3 for path in plans)


def test_a_run_that_has_ended_is_not_done_again_and_one_that_fails_ends_the_comparison(
    compare, tmp_path, monkeypatch
):
    commands = []
    monkeypatch.setattr(
        compare.subprocess, "run", lambda command: commands.append(command) or SimpleNamespace(returncode=3)
    )
    (tmp_path / "run").mkdir()
    (tmp_path / "file").write_text(f"{tmp_path}/run\n")
    with pytest.raises(UserError, match="search.py ended with exit code 3"):
        compare.finished_run("search.py", ["--topk", "2"], tmp_path / "file")
    named = ["--exp_name", "file", "--folder_file", str(tmp_path / "file")]
    assert commands == [[sys.executable, str(ROOT / "search.py"), "--topk", "2", *named]]
    (tmp_path / "run" / "results.json").write_text("{}")
    assert compare.finished_run("search.py", [], tmp_path / "file") == tmp_path / "run"
    assert len(commands) == 1


def test_differences_are_those_of_the_same_seed_with_students_interval(compare):
    def rows(*fids):
        made = enumerate(fids, 1)
        shared = {"is": 2.0, "hours": 0.1, "scored_images": 1000, "resets": None}
        return [{"seed": seed, "fid": fid, **shared} for seed, fid in made]

    lines = compare.comparison_table({"AutoGAN": rows(10, 20, 40), "other": rows(12, 24, 43)}).splitlines()
    # Mean difference 3, standard deviation 1: 3 +- 4.303 / sqrt(3).
    assert lines[3].split(" | ")[2:5] == ["26.3 +- 15.6", "2.0 +- 0.0", "+3.0 (+0.5 to +5.5)"]
    assert lines[2].split(" | ")[4] == ""
