"""exps/: the report of finished runs, and the scripts that take a search."""

import json
import os
import subprocess
import sys

import pytest
from running import ROOT


def score(iteration, is_mean, fid, feature_net="tiny"):
    return dict(iteration=iteration, is_mean=is_mean, is_std=0.5, fid=fid, feature_net=feature_net)


def write_training(folder, history, architecture="1 0 1 1"):
    """The results of a run of train_derived.py."""
    write_results(
        folder, architecture=architecture, resolution=8, generator_parameters=12345, generator_macs=6789,
        final=history[-1], best=history[-1], history=history, seconds=9.5,
    )  # fmt: skip
    return folder


def write_growing_search(folder, method, networks, feature_net="tiny", reward="fid"):
    """The results of a run of search.py that grows networks; networks: {resolution: (node, actions, images,
    FID)}.
    """
    best = {
        str(resolution): dict(
            node=node, actions=actions, architecture=f"{resolution}: ...", training_images=images, fid=fid
        )
        for resolution, (node, actions, images, fid) in networks.items()
    }
    write_results(folder, method=method, feature_net=feature_net, reward=reward, resolutions=best)
    return folder


def write_results(folder, **results):
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(results))


def report(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "exps" / "report.py", *map(str, arguments)], capture_output=True, text=True
    )


def refusal(*arguments):
    """What the report refuses these arguments with: one line and exit code 2."""
    ended = report(*arguments)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    return ended.stderr


def test_one_training_is_summarised_before_and_after(tmp_path):
    run = write_training(tmp_path / "t", [score(0, 1.5, 2000), score(5, 3, 100), score(10, 4.25, 50.04)])
    ended = report(run, "--seconds", 90)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "",
        "architecture     1 0 1 1",
        "parameters       12,345",
        "MACs             6,789",
        "IS (tiny)        1.50 untrained, 4.25 trained",
        "FID (tiny)       2000.0 untrained, 50.0 trained",
        f"samples          {run}/Samples/iteration_000010.png",
        f"training as GIF  {run}/Samples/training.gif",
        "",
        "time  1.5 min",
    ]


def test_a_training_without_a_score_at_the_start_is_summarised_by_its_last(tmp_path):
    run = write_training(tmp_path / "t", [score(5, 3, 100), score(10, 4.25, 50)])
    assert "IS (tiny)        4.25 trained\n" in report(run).stdout
    assert "time" not in report(run).stdout


def test_several_trainings_are_ranked_by_their_last_inception_score(tmp_path):
    runs = [
        write_training(tmp_path / name, [score(0, first, 9), score(10, last, 9)])
        for name, first, last in (("a", 9, 3), ("b", 0, 10.5), ("c", 0, 4))
    ]
    header, *lines = report(*runs).stdout.splitlines()[1:]
    assert header == "IS and FID (tiny) of the trained generators, the highest IS first"
    assert [line.split()[-1] for line in lines] == [str(runs[1]), str(runs[2]), str(runs[0])]
    assert lines[0].startswith("  IS  10.50 +- 0.50   FID     9.00   1 0 1 1   ")


def test_growing_searches_are_compared_at_each_resolution(tmp_path):
    proggan = write_growing_search(
        tmp_path / "p", "proggan", {8: (0, [], 1600, 90), 16: (1, ["double"], 3200, 80)}
    )
    dggan = write_growing_search(
        tmp_path / "d", "dggan", {16: (7, ["G 3x8", "double"], 4800, 70.126)}, reward="swd"
    )
    lines = report(proggan, dggan, "--minutes", 4.6).stdout.splitlines()
    assert "(tiny) of the best networks by FID or SWD" in lines[1]
    assert [line.split() for line in lines[2:5]] == [
        ["resolution", "proggan", "dggan"],
        ["8", "px", "90.00", "(1,600)", "-"],
        ["16", "px", "80.00", "(3,200)", "70.13", "(4,800)"],
    ]
    assert "dggan: G 3x8, double" in lines and f"  samples       {dggan}/Samples/node_007.png" in lines
    assert lines[-1] == "time  4.6 min"


def test_a_folder_of_no_such_run_is_refused(tmp_path):
    (tmp_path / "unfinished").mkdir()
    write_results(tmp_path / "autogan_search", architectures=["1 0 1 1"], rewards=[2.5], resets=0, hours=1)
    write_results(tmp_path / "scored", architecture="1 0 1 1", scores=score(0, 1, 1))
    write_results(
        tmp_path / "nothing_grown", method="dggan", feature_net="tiny", reward="fid", resolutions={}
    )
    for name in ("nowhere", "unfinished", "autogan_search", "scored", "nothing_grown"):
        words = f"error: {tmp_path / name} is not the folder of a finished run of "
        assert refusal(tmp_path / name).startswith(words)
    (tmp_path / "unfinished" / "results.json").write_text("[1, 2")
    assert "is not the folder of a finished run" in refusal(tmp_path / "unfinished")


def test_runs_that_do_not_compare_are_refused(tmp_path):
    trained = write_training(tmp_path / "t", [score(10, 4, 50)])
    other = write_training(tmp_path / "o", [score(10, 4, 50, "inception")])
    grown = write_growing_search(tmp_path / "g", "dggan", {8: (0, [], 16, 90)})
    other_grown = write_growing_search(
        tmp_path / "og", "dggan", {8: (0, [], 16, 90)}, feature_net="inception"
    )
    assert "different networks (inception, tiny), whose scores do not compare" in refusal(trained, other)
    assert "different networks (inception, tiny), whose FIDs do not compare" in refusal(grown, other_grown)
    assert "train_derived.py and of search.py do not compare" in refusal(trained, grown)


@pytest.mark.parametrize(
    "arguments", [[], ["--minutes", "1", "--seconds", "1"], ["RUN", "--minutes", "soon"]]
)
def test_a_wrong_command_line_of_the_report_is_one_line(arguments):
    assert refusal(*arguments).startswith("error: ")


FAKE_PYTHON = """#!/usr/bin/env bash
printf '%s\\n' "$@"
"""


@pytest.mark.parametrize(
    "script, argument, command",
    [
        ("retrain_topk.sh", "found/derived.json", ["train_derived.py", "--derive"]),
        ("proxy_correlation.sh", "found", ["exps/proxy_correlation.py"]),
    ],
)
def test_a_script_that_takes_a_search_hands_it_and_the_options_on(tmp_path, script, argument, command):
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "derived.json").touch()
    (tmp_path / "python").write_text(FAKE_PYTHON)
    (tmp_path / "python").chmod(0o755)
    environment = dict(os.environ, VIRTUAL_ENV="active", PATH=f"{tmp_path}:{os.environ['PATH']}")

    def run(*words):
        words = ["bash", ROOT / "exps" / script, *words]
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)

    ended = run(argument, "--exp_name", "two words")
    assert ended.returncode == 0
    assert ended.stdout.splitlines() == [*command, str(tmp_path / argument), "--exp_name", "two words"]
    for words in ([], ["nowhere"]):
        refused = run(*words)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
        assert refused.stderr.startswith("error: give ")


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "exps").glob("*.sh")))
def test_every_script_of_exps_is_valid_bash(script):
    subprocess.run(["bash", "-n", ROOT / "exps" / script], check=True)
