"""Searches side by side: what a plan must hold, what is done again, and the table."""

import json
import os
import sys
from types import SimpleNamespace

import pytest
from running import ROOT, load_script

from utils.cli import UserError, run_script

PLAN = {"both": "--dataset digits", "search": "", "training": "", "searches": {"AutoGAN": ""}, "seeds": [1]}


@pytest.fixture
def compare(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "exps"))
    return load_script("exps/compare_searches")


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": []},
        {"seeds": ["1"]},
        {"seeds": [1, 1]},
        {"searches": {}},
        {"searches": {"a": 3}},
        {"both": 1},
        {"more": ""},
        {"both": "--exp_name 'a"},
        {"searches": {"a": '--exp_name "'}},
    ],
)
def test_a_plan_that_is_none_is_refused(compare, tmp_path, change):
    (tmp_path / "plan.json").write_text(json.dumps(PLAN | change))
    with pytest.raises(UserError, match="PLAN.json: "):
        compare.read_plan(tmp_path / "plan.json")


@pytest.mark.parametrize("content", ["{", "[" * 100000, None])
def test_a_file_that_holds_no_json_or_is_a_pipe_is_refused(compare, tmp_path, content):
    path = tmp_path / "plan.json"
    os.mkfifo(path) if content is None else path.write_text(content)
    with pytest.raises(UserError, match="PLAN.json: .* see exps/comparisons"):
        compare.read_plan(path)


@pytest.fixture
def fail_comparison(compare, tmp_path, monkeypatch, capsys):
    """Type a comparison of a changed PLAN, which must end with one line and leave nothing; returns the line."""
    monkeypatch.chdir(tmp_path)

    def run(change, *words):
        (tmp_path / "plan.json").write_text(json.dumps(PLAN | change))
        before = sorted(tmp_path.rglob("*"))
        monkeypatch.setattr(sys, "argv", ["compare_searches.py", "plan.json", *words])
        with pytest.raises(SystemExit) as ending:
            run_script(compare.main)
        line = capsys.readouterr().err
        assert ending.value.code == 2 and line.startswith("error: ") and line.count("\n") == 1, line
        assert sorted(tmp_path.rglob("*")) == before
        return line

    return run


@pytest.mark.parametrize(
    "change, words, wanted",
    [
        ({"both": "--bogus 3"}, (), "--bogus: no such option"),
        ({"searches": {"a": "", "b": "--method none"}}, (), "--method: invalid choice: 'none'"),
        ({"training": "--max_iter -1"}, (), "--max_iter: must be at least 1"),
        ({"training": "--max_search_iter 2"}, (), "--max_search_iter: no such option"),
        ({"seeds": [1, -5]}, (), "--random_seed: must be at least 0, not -5"),
        ({"search": "--random_seed 3"}, (), "--random_seed: the plan's seeds set it"),
        ({}, ("--dry_run",), "--dry_run: without effect in a comparison"),
        ({}, ("--resume", "never"), "--resume: without effect in a comparison"),
        ({"training": "--arch 1 0 1 1"}, (), "--arch: "),
    ],
)
def test_an_option_that_a_script_refuses_ends_a_comparison_before_it_begins(
    fail_comparison, monkeypatch, change, words, wanted
):
    monkeypatch.setattr("subprocess.run", None)  # nothing is started
    assert wanted in fail_comparison(change, *words)


def test_what_a_script_refuses_later_leaves_its_own_line_alone_and_no_folder(fail_comparison, monkeypatch):
    def refuse(command):
        print("error: --img_size: 7 px; set 8", file=sys.stderr)
        return SimpleNamespace(returncode=2)

    monkeypatch.setattr("subprocess.run", refuse)
    assert fail_comparison({}) == "error: --img_size: 7 px; set 8\n"


def test_a_comparison_that_cannot_be_written_is_refused(fail_comparison, tmp_path):
    (tmp_path / "logs").touch()
    assert "PLAN.json: cannot write logs/compare_plan (Not a directory)" in fail_comparison({})


def test_the_plans_of_the_project_are_plans(compare):
    plans = [compare.read_plan(path) for path in (ROOT / "exps/comparisons").glob("*.json")]
    assert plans and all(len(plan["seeds"]) >= 3 for plan in plans)
    for plan in plans:
        compare.check_options(plan, [])


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
