"""Searches and trainings side by side: what a plan must hold, what is done again, and the table."""

import json
import os
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from running import ROOT, load_script, short_run, use_tiny_net, write_pictures

from utils.cli import UserError, run_script

PLAN = {"both": "--dataset digits", "search": "", "training": "", "searches": {"AutoGAN": ""}, "seeds": [1]}


@pytest.fixture
def load(monkeypatch):
    """Loads a script of exps/ by its name."""
    monkeypatch.syspath_prepend(str(ROOT / "exps"))
    return lambda name: load_script(f"exps/{name}")


@pytest.fixture
def comparison(load):
    load("compare_searches")
    return sys.modules["reporting.comparison"]


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
def test_a_plan_that_is_none_is_refused(load, comparison, tmp_path, change):
    (tmp_path / "plan.json").write_text(json.dumps(PLAN | change))
    with pytest.raises(UserError, match="PLAN.json: "):
        comparison.read_plan(tmp_path / "plan.json", *load("compare_searches").PARTS)


@pytest.mark.parametrize("content", ["{", "[" * 100000, None])
def test_a_file_that_holds_no_json_or_is_a_pipe_is_refused(load, comparison, tmp_path, content):
    path = tmp_path / "plan.json"
    os.mkfifo(path) if content is None else path.write_text(content)
    with pytest.raises(UserError, match="PLAN.json: .* see exps/comparisons"):
        comparison.read_plan(path, *load("compare_searches").PARTS)


@pytest.fixture
def fail_comparison(load, tmp_path, monkeypatch, capsys):
    """Type a comparison of a changed PLAN, which must end with one line and leave nothing; returns the line."""
    monkeypatch.chdir(tmp_path)

    def run(change, *words, script="compare_searches", plan=PLAN):
        (tmp_path / "plan.json").write_text(json.dumps(plan | change))
        before = sorted(tmp_path.rglob("*"))
        monkeypatch.setattr(sys, "argv", [f"{script}.py", "plan.json", *words])
        with pytest.raises(SystemExit) as ending:
            run_script(load(script).main)
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
        ({"training": "--arch 1 0 1 1"}, (), "--arch: without effect in a comparison"),
        ({"training": "--gen_model sngan"}, (), "--gen_model: without effect in a comparison"),
    ],
)
def test_an_option_that_a_script_refuses_ends_a_comparison_before_it_begins(
    fail_comparison, monkeypatch, change, words, wanted
):
    monkeypatch.setattr("subprocess.run", None)  # nothing is started
    assert wanted in fail_comparison(change, *words)


@pytest.mark.parametrize(
    "change, words, wanted",
    [
        ({"trainings": {"a": "", "b": "--loss none"}}, (), "--loss: invalid choice: 'none'"),
        ({"training": "--max_search_iter 2"}, (), "--max_search_iter: no such option"),
        ({"trainings": {"a": "--random_seed 3"}}, (), "--random_seed: the plan's seeds set it"),
        ({}, ("--estimate",), "--estimate: without effect in a comparison"),
        ({"training": "--derive derived.json"}, (), "--derive: "),
    ],
)
def test_so_does_one_of_a_comparison_of_trainings(fail_comparison, monkeypatch, change, words, wanted):
    monkeypatch.setattr("subprocess.run", None)
    plan = {"training": "--dataset digits --arch 1 0 1 1", "trainings": {"a": ""}, "seeds": [1]}
    assert wanted in fail_comparison(change, *words, script="compare_trainings", plan=plan)


def test_what_a_script_refuses_later_leaves_its_own_line_alone_and_no_folder(fail_comparison, monkeypatch):
    def refuse(command):
        print("error: --img_size: 7 px; set 8", file=sys.stderr)
        return SimpleNamespace(returncode=2)

    monkeypatch.setattr("subprocess.run", refuse)
    assert fail_comparison({}) == "error: --img_size: 7 px; set 8\n"


def test_a_comparison_that_cannot_be_written_is_refused(fail_comparison, tmp_path):
    (tmp_path / "logs").touch()
    assert "PLAN.json: cannot write logs/compare_plan (Not a directory)" in fail_comparison({})


def test_the_plans_of_the_project_are_plans_whose_options_the_scripts_read(load, comparison, type_command):
    """With --dry_run, which reads no data."""
    plans = sorted((ROOT / "exps/comparisons").glob("*.json"))
    kinds = [json.loads(path.read_text()).keys() for path in plans]
    assert any("searches" in names for names in kinds) and any("trainings" in names for names in kinds)
    for path, names in zip(plans, kinds):
        of_trainings = "trainings" in names
        parts = load("compare_trainings" if of_trainings else "compare_searches").PARTS
        plan = comparison.read_plan(path, *parts)
        assert len(plan["seeds"]) >= 3
        if not of_trainings:
            load("compare_searches").check(plan, [])
        script, shared = ("train_derived", "training") if of_trainings else ("search", "both")
        common = shlex.split(plan[shared]) + shlex.split("" if of_trainings else plan["search"])
        for options in plan[parts[1]].values():
            type_command([script, *common, *shlex.split(options), "--dry_run"])


def test_a_run_that_has_ended_is_not_done_again_and_one_that_fails_ends_the_comparison(
    comparison, tmp_path, monkeypatch
):
    commands = []
    monkeypatch.setattr(
        comparison.subprocess,
        "run",
        lambda command: commands.append(command) or SimpleNamespace(returncode=3),
    )
    (tmp_path / "run").mkdir()
    (tmp_path / "file").write_text(f"{tmp_path}/run\n")
    with pytest.raises(UserError, match="search.py ended with exit code 3"):
        comparison.finished_run("search.py", ["--topk", "2"], tmp_path / "file")
    named = ["--exp_name", "file", "--folder_file", str(tmp_path / "file")]
    assert commands == [[sys.executable, str(ROOT / "search.py"), "--topk", "2", *named]]
    (tmp_path / "run" / "results.json").write_text("{}")
    (tmp_path / "run" / "config.json").write_text('{"options": {"topk": 2, "exp_name": "file"}}')
    assert comparison.finished_run("search.py", ["--topk", "2"], tmp_path / "file") == tmp_path / "run"
    assert len(commands) == 1


@pytest.mark.parametrize("words, problem", [(["--topk", "3"], "topk 2, not 3"), ([], "topk 2, not 5")])
def test_a_run_that_has_ended_with_other_options_is_not_taken_for_this_one(
    comparison, tmp_path, words, problem
):
    (tmp_path / "file").write_text(f"{tmp_path}\n")
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "config.json").write_text('{"options": {"topk": 2}}')
    with pytest.raises(UserError, match=f"PLAN.json: .* has ended with --{problem}; give the file another"):
        comparison.finished_run("search.py", words, tmp_path / "file")


def test_differences_are_those_of_the_same_seed_with_students_interval(load):
    def rows(*fids):
        made = enumerate(fids, 1)
        shared = {"is": 2.0, "hours": 0.1, "scored_images": 1000, "resets": None}
        return [{"seed": seed, "fid": fid, **shared} for seed, fid in made]

    lines = (
        load("compare_searches")
        .comparison_table({"AutoGAN": rows(10, 20, 40), "other": rows(12, 24, 43)})
        .splitlines()
    )
    # Mean difference 3, standard deviation 1: 3 +- 4.303 / sqrt(3).
    assert lines[3].split(" | ")[2:5] == ["26.3 +- 15.6", "2.0 +- 0.0", "+3.0 (+0.5 to +5.5)"]
    assert lines[2].split(" | ")[4] == ""


def test_trainings_are_done_one_after_the_other_and_make_a_table(
    load, comparison, type_command, tmp_path, monkeypatch, capsys
):
    use_tiny_net(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    training = short_run("train_derived", write_pictures(tmp_path / "pictures"))
    training = training.removeprefix("train_derived ").replace("--exp_name train_derived", "")
    plan = {"training": training, "trainings": {"plain": "", "wide": "--gf_dim 8"}, "seeds": [1, 2]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))

    def run(command):
        name, *words = command[1:]
        type_command([Path(name).stem, *words])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(comparison, "subprocess", SimpleNamespace(run=run))
    type_command(["exps/compare_trainings", "plan.json"])
    monkeypatch.setattr(comparison, "subprocess", None)  # all are there: none runs again
    type_command(["exps/compare_trainings", "plan.json"])
    rows = json.loads((tmp_path / "logs/compare_plan/comparison.json").read_text())["rows"]
    assert [row["seed"] for row in rows["wide"]] == [1, 2]
    assert rows["wide"][0]["parameters"] > rows["plain"][0]["parameters"] and rows["wide"][0]["seconds"] > 0
    table = (tmp_path / "logs/compare_plan/comparison.md").read_text()
    assert table in capsys.readouterr().out and table.count("| 2 |") == 2


def test_a_variant_that_equals_the_baseline_differs_by_nothing(comparison):
    rows = {name: [{"seed": seed, "fid": 9.0, "is": 2.0} for seed in (1, 2)] for name in ("a", "b")}
    cells = comparison.score_cells(rows | {"c": []})
    assert [cells[name][3] for name in "abc"] == ["", "+0.0", ""]
