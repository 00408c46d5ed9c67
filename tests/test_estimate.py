"""--estimate: what a run will take, from a few real steps."""

import json
from types import SimpleNamespace

import pytest
from running import SHORT_RUNS, only_run, read_metrics, short_run, use_tiny_net, write_pictures

import models_search.estimate
from models_search.estimate import Estimate, Work, amount, duration
from models_search.retraining.costs import TrainingCost

NAMES = list(SHORT_RUNS)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def command(monkeypatch, pictures):
    use_tiny_net(monkeypatch)
    monkeypatch.setattr(models_search.estimate, "SECONDS_TO_MEASURE", 0)
    return lambda name: short_run(name, pictures)


def estimate(type_command, capsys, command):
    capsys.readouterr()
    type_command(f"{command} --dry_run --estimate")
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", NAMES)
def test_an_estimate_leaves_nothing_behind_and_says_what_a_run_takes(
    type_command, tmp_path, capsys, command, name
):
    before = sorted(tmp_path.rglob("*"))
    found = estimate(type_command, capsys, command(name))["estimate"]
    assert sorted(tmp_path.rglob("*")) == before
    assert found["seconds"] > 0 and 0 < found["share_of_scoring"] < 1
    parts = found["seconds_per_phase"]
    assert sum(parts.values()) == pytest.approx(found["seconds"])
    assert sum(found["seconds_per_resolution"].values()) == pytest.approx(found["seconds"])
    wanted = {
        "search": {"training", "controller", "rewards", "candidates"},
        "slas": {"training", "controller", "rewards", "candidates"},
        "random_sharing": {"training", "candidates"},
    }.get(name, {"training", "statistics", "scores"})
    assert parts.keys() == wanted | {"reading images"}
    assert found["memory_bytes"] > 2**26
    type_command(f"{command(name)} --estimate")
    said = capsys.readouterr().out
    assert said.startswith("about ") and "for scoring" in said and "memory: " in said and "disk: " in said
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path / "logs").exists()


def units(monkeypatch, type_command, capsys, words):
    """{(phase, resolution): units} of an estimate in which each unit takes a second."""
    made = []
    original = Estimate.describe

    def noting(self):
        made.append(self)
        return original(self)

    monkeypatch.setattr(Estimate, "describe", noting)
    estimate(type_command, capsys, words)
    found = {}
    for work in made[0].works:
        found[work.phase, work.resolution] = found.get((work.phase, work.resolution), 0) + work.units
    return found


@pytest.mark.parametrize("name", ["search", "random_sharing", "train_derived", "dggan"])
def test_the_counted_work_is_that_of_the_run(type_command, tmp_path, monkeypatch, capsys, command, name):
    """Steps and scores that are reckoned beside those that a run does."""
    words = command(name)
    if name in ("search", "random_sharing"):
        words = words.replace("--dynamic_reset_threshold 1e6", "--dynamic_reset_threshold 0")
        words += " --score_freq 2 --score_imgs 6"
    found = units(monkeypatch, type_command, capsys, words)
    steps, original = [], models_search.estimate.StepInputs.batches

    def counted(self, first, last, rollbacks=0):
        steps.append((self.images.resolution, last - first))
        return original(self, first, last, rollbacks)

    monkeypatch.setattr("utils.training.inputs.StepInputs.batches", counted)
    type_command(words)
    done = {}
    for resolution, count in steps:
        done["training", resolution] = done.get(("training", resolution), 0) + count
    reckoned = {key: count for key, count in found.items() if key[0] == "training"}
    if name == "dggan":  # which nodes are kept, and so which are grown, is made up
        assert reckoned.keys() == done.keys() and reckoned["training", 8] >= 6
    else:
        assert reckoned == done
    if name == "search":
        assert found["rewards", 8] == found["rewards", 16] == 2 * 3
        assert found["candidates", 8] == 3 and found["scores", 8] == found["scores", 16] == 5
        assert found["statistics", 8] == 20
    if name == "train_derived":  # once for all trainings
        assert found["statistics", 16] == found["reading images", 16] == 1


@pytest.mark.parametrize("name", ["search", "train_derived"])
def test_the_checkpoints_take_the_disk_that_was_estimated(type_command, tmp_path, capsys, command, name):
    words = command(name).replace("f_dim 4", "f_dim 48").replace("threshold 1e6", "threshold 0")
    found = estimate(type_command, capsys, words)["estimate"]["disk_bytes"]
    type_command(words)
    files = sum(file.stat().st_size for file in (only_run(tmp_path, name) / "Model").iterdir())
    least = 0.5 if name == "search" else 0.9  # not all of a shared GAN has been trained
    assert least * found["checkpoints"] < files < 1.2 * found["checkpoints"]


def test_an_estimate_does_not_change_what_a_later_run_trains(
    type_command, tmp_path, monkeypatch, capsys, command
):
    words = command("search")
    type_command(words)
    first = only_run(tmp_path, "search").rename(tmp_path / "first")
    type_command(f"{words} --estimate")
    type_command(words)
    second = only_run(tmp_path, "search")
    assert (first / "derived.json").read_text() == (second / "derived.json").read_text()
    assert read_metrics(first) == read_metrics(second)


def test_the_trials_of_an_asha_search_are_reckoned_by_its_rule(monkeypatch, type_command, capsys, command):
    words = command("asha").replace("--max_trials 5", "--max_trials 9")
    found = units(monkeypatch, type_command, capsys, words)
    # 5 steps a pass, in whole iterations of 2; of 9 trials 4 go on to the second of three rungs, 2 to the third.
    assert found["training", 16] == 9 * 6 + 4 * (10 - 6) + 2 * (16 - 10)
    assert found["scores", 16] == 9 + 4 + 2
    assert found["statistics", 16] == found["reading images", 16] == 1


def test_the_trials_of_an_asha_search_are_as_many_as_its_budget_allows(
    monkeypatch, type_command, capsys, command
):
    cost = TrainingCost(read=0, statistics=0, step=1.0, score=2.0, checkpoint_bytes=10)
    monkeypatch.setattr("models_search.asha.costs.measure_training", lambda *arguments: cost)
    words = command("asha").replace("--max_trials 5", "--budget_hours 0.1")
    found = units(monkeypatch, type_command, capsys, words)
    # 6 steps and a score, for one in two 4 more, for one in four 6 more: 13 seconds. 360 seconds are 28 trials.
    assert found["training", 16] == 28 * 6 + 14 * 4 + 7 * 6
    assert found["scores", 16] == 28 + 14 + 7


def test_statistics_take_as_long_as_all_images_for_each_feature_network(
    monkeypatch, type_command, capsys, command
):
    cost = SimpleNamespace(real_image=2.0, of=lambda *arguments: 7.0)
    monkeypatch.setattr("models_search.retraining.costs.scoring_cost", lambda *arguments: cost)
    phases = estimate(type_command, capsys, command("train_derived"))["estimate"]["seconds_per_phase"]
    assert phases["statistics"] == 20 * 2.0 and phases["scores"] % 7 == 0


def test_an_estimate_goes_on_with_no_interrupted_run(type_command, tmp_path, capsys, command):
    words = command("search")
    type_command(words)
    (only_run(tmp_path, "search") / "results.json").unlink()
    type_command(f"{words} --estimate")
    assert "going on with" not in capsys.readouterr().err


def test_trainings_of_a_derivation_are_reckoned_together(type_command, tmp_path, capsys, command):
    texts = ["1 0 1 1 0 1 2 1 1", "0 0 0 0 0 0 0 0 0"]
    content = {"architectures": [{"architecture": text, "reward": 1.0} for text in texts]}
    (tmp_path / "derived.json").write_text(json.dumps(content))
    words = command("train_derived").replace("--arch 1 0 1 1 0 1 2 1 1", "--derive derived.json --seeds 2")
    found = estimate(type_command, capsys, words)
    assert len(found["trainings"]) == 4 and found["estimate"]["seconds"] > 0
    assert not (tmp_path / "logs").exists()


def test_a_budget_that_ends_the_run_before_is_said(type_command, capsys, command):
    found = estimate(type_command, capsys, f"{command('search')} --budget_hours 1e-6")["estimate"]
    assert found["budget_ends_it_at"] == pytest.approx(3.6e-3)
    type_command(f"{command('search')} --budget_hours 1e-6 --estimate")
    assert "--budget_hours ends it after 0.0 s" in capsys.readouterr().out
    found = estimate(type_command, capsys, f"{command('search')} --budget_hours 100")["estimate"]
    assert found["budget_ends_it_at"] is None


def test_time_is_shared_by_workers_and_split_by_phase():
    works = [Work("training", 8, 10, 2.0), Work("rewards", 16, 4, 5.0)]
    found = Estimate(works, 1, 2, 3, workers=2).describe()
    assert found["seconds"] == 20 and found["seconds_per_phase"] == {"training": 10, "rewards": 10}
    assert found["seconds_per_resolution"] == {"8": 10, "16": 10} and found["share_of_scoring"] == 0.5


@pytest.mark.parametrize("seconds, text", [(3.21, "3.2 s"), (150, "2.5 min"), (43 * 3600, "43.0 h")])
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize("count, text", [(2048, "2.0 KiB"), (3 << 20, "3.0 MiB"), (5 << 29, "2.5 GiB")])
def test_amounts_are_short(count, text):
    assert amount(count) == text


def test_mistakes_come_before_the_estimate(fail_command):
    assert "--max_params: no architecture" in fail_command("search --estimate --max_params 9")
    assert "--estimate" in fail_command("test --estimate")
