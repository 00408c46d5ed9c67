"""Searches in a shared GAN other than AutoGAN's own, and what all searches have in common: a budget in time, the
scores that are kept, periodic scores.
"""

import json

import pytest
import torch
from running import (
    assert_equal_states,
    only_run,
    read_metrics,
    scored_lines,
    short_run,
    stop_at,
    use_tiny_net,
    write_pictures,
)  # fmt: skip

import cfg
from option_groups.shared import CellOptions
from models.autogan.architecture import Architecture
from models.autogan.networks import Generator
from models_search.autogan.controller import Controller, first_beam, sample_architectures
from models_search.autogan.plan import make_plan
from models_search.autogan.search import iteration_line
from models_search.search_space import distinct_architectures
from models_search.sizes import generator_sizes
from utils.progress import Progress, progress_line
from utils.run.checkpoint import load_checkpoint, save_checkpoint
from utils.run.save_point import SavePoint, StopRequested


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def short(monkeypatch, pictures):
    """The command line of a short run, which is scored by TinyNet."""
    use_tiny_net(monkeypatch)
    return lambda name: short_run(name, pictures)


def figures(run, prefix):
    """The lines of metrics.jsonl of a kind, without the seconds."""
    return [line for line in read_metrics(run) if any(name.startswith(f"{prefix}/") for name in line)]


def log_of(run):
    return (run / "Log" / "log.txt").read_text()


def derived(run):
    return json.loads((run / "derived.json").read_text())["architectures"]


# Single-level search


def test_the_controller_of_the_single_level_search_has_the_heads_of_all_cells_in_the_vectors_order():
    controller = Controller(2, 8, first_cell=0)
    assert controller.heads == (2, 3, 3, 2) + (2, 3, 3, 2, 2) + (2, 3, 3, 2, 4)
    assert controller.encoder.num_embeddings == 36
    drawn = torch.Generator().manual_seed(0)
    architectures, rollout = sample_architectures(controller, first_beam(8), 200, drawn)
    assert [each.tokens for each in architectures] == [tuple(row) for row in rollout.actions.tolist()]
    assert all(Architecture.parse(str(each)) == each and each.levels == 3 for each in architectures)
    assert len(set(architectures)) > 190
    heads = Controller(3, 8, first_cell=0).heads
    assert heads[-5:] == (2, 3, 3, 2, 8)


def test_a_single_level_search_has_one_level_at_the_final_resolution():
    plan = make_plan(cfg.parse("search", "--method slas --img_size 64".split()))
    assert (plan.levels, plan.resolutions, plan.grow_steps) == (4, [64], ())
    assert {plan.level_at(iteration) for iteration in range(plan.iterations)} == {3}
    assert plan.describe()["scored_images"] == 90 * 30 * 5000 + 10 * 5000


def test_a_single_level_search_scores_and_keeps_whole_architectures_alone(type_command, tmp_path, short):
    type_command(short("slas"))
    run = only_run(tmp_path, "slas")
    lines = scored_lines(run)
    assert [line["purpose"] for line in lines] == ["reward"] * 12 + ["candidate"] * 3
    assert {line["level"] for line in lines} == {2}
    assert {Architecture.parse(line["architecture"]).levels for line in lines} == {2}
    best = sorted((line["is"] for line in lines[-3:]), reverse=True)[:2]
    assert [entry["reward"] for entry in derived(run)] == best


# Random search with weight sharing


def test_random_candidates_are_distinct_and_all_of_a_small_space_are_found():
    drawn = torch.Generator().manual_seed(0)
    assert len(set(distinct_architectures(1, 1000, drawn))) == 36
    found = distinct_architectures(3, 300, drawn)
    assert len(set(found)) == len(found) == 300 and {each.levels for each in found} == {3}


def test_the_best_cheap_scores_are_scored_in_full_and_the_best_of_these_win(type_command, tmp_path, short):
    type_command(short("random_sharing"))
    run = only_run(tmp_path, "random_sharing")
    lines = scored_lines(run)
    cheap = [line for line in lines if line["purpose"] == "cheap"]
    in_full = [line for line in lines if line["purpose"] == "candidate"]
    assert ([line["images"] for line in cheap], [line["images"] for line in in_full]) == ([4] * 5, [8] * 3)
    best = sorted(cheap, key=lambda line: -line["is"])[:3]
    assert [line["architecture"] for line in in_full] == [line["architecture"] for line in best]
    winners = sorted(in_full, key=lambda line: -line["is"])[:2]
    assert [entry["architecture"] for entry in derived(run)] == [line["architecture"] for line in winners]
    assert {line["iteration"] for line in lines} == {2}


# Stop and go on


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pictures):
    """A function: the folder of the unbroken run of a name, with periodic scores."""
    folders = {}

    def folder_of(name, type_command, tmp_path):
        if name not in folders:
            type_command(f"{short_run(name, pictures)} --score_freq 1 --score_imgs 6")
            folders[name] = tmp_path_factory.mktemp("finished") / name
            only_run(tmp_path, name).rename(folders[name])
        return folders[name]

    return folder_of


def assert_equal_searches(run, other):
    assert (run / "derived.json").read_text() == (other / "derived.json").read_text()
    assert scored_lines(run) == scored_lines(other)
    for kind in ("shared_gan", "controller", "score"):
        assert figures(run, kind) == figures(other, kind)
    assert_equal_states(*(load_checkpoint(each / "Model" / "checkpoint.pth") for each in (run, other)))


@pytest.mark.parametrize("name, calls", [("slas", (8, 4)), ("random_sharing", (6, 17))])
@pytest.mark.parametrize("by_signal", [True, False])
def test_a_search_that_stops_and_goes_on_equals_the_uninterrupted_one(
    type_command, tmp_path, monkeypatch, short, finished, name, calls, by_signal
):
    unbroken = finished(name, type_command, tmp_path)
    stops, heal = stop_at(calls[by_signal], monkeypatch, by_signal)
    with pytest.raises(stops):
        type_command(f"{short(name)} --score_freq 1 --score_imgs 6")
    heal()
    run = only_run(tmp_path, name)
    if (run / "Model" / "checkpoint.pth").is_file():
        with open(run / "scored.jsonl", "a") as file:
            file.write('{"architecture": "1 0')  # what a power cut leaves of a line
        type_command(f"search --load_path {run}")
        assert_equal_searches(run, unbroken)
    else:
        assert not by_signal


@pytest.mark.parametrize("name", ["slas", "random_sharing", "search"])
def test_a_stop_while_images_are_scored_neither_doubles_nor_loses_a_score(
    type_command, tmp_path, monkeypatch, short, finished, name
):
    unbroken = finished(name, type_command, tmp_path)
    original, calls = SavePoint.stop_if_asked, []

    def asked(self):
        calls.append(self)
        if len(calls) in (2, 7, 13, 16):
            self.stop.number = 15
        original(self)

    monkeypatch.setattr(SavePoint, "stop_if_asked", asked)
    command, stops = f"{short(name)} --score_freq 1 --score_imgs 6", 0
    while True:
        try:
            type_command(command)
            break
        except StopRequested:
            stops += 1
            command = f"search --load_path {only_run(tmp_path, name)}"
    assert stops == 4
    assert_equal_searches(only_run(tmp_path, name), unbroken)


# Periodic scores


def test_periodic_scores_are_those_of_five_architectures_of_the_policy(
    type_command, tmp_path, short, finished
):
    run = finished("slas", type_command, tmp_path)
    scored = [line for line in scored_lines(run) if line["purpose"] == "score"]
    assert len(scored) == 2 * 5 and all(line["is"] and line["fid"] and line["images"] == 6 for line in scored)
    recorded = figures(run, "score")
    assert [(line["step"], line["iteration"]) for line in recorded] == [(1, 1), (2, 2)]
    for iteration, line in enumerate(recorded, 1):
        own = [each for each in scored if each["iteration"] == iteration]
        for name in ("is", "fid"):
            assert line[f"score/{name}"] == pytest.approx(sum(each[name] for each in own) / 5)


# A budget in time


def test_a_budget_is_shared_by_the_levels_and_what_one_leaves_is_the_next_ones():
    plan = make_plan(cfg.parse("search", "--budget_hours 1".split()))
    costs = [25, 30 * 3, 35 * 9]
    deadlines = [3600 * sum(costs[: level + 1]) / sum(costs) for level in range(3)]
    assert [plan.deadline(level) for level in range(3)] == pytest.approx(deadlines)
    assert [plan.next_iteration(iteration, True) for iteration in (0, 24, 25, 60)] == [25, 25, 55, 90]
    assert plan.next_iteration(24) == 25
    assert make_plan(cfg.parse("search", [])).deadline(0) == float("inf")


@pytest.mark.parametrize("name", ["search", "slas", "random_sharing", "dggan"])
def test_a_spent_budget_ends_a_search_in_order_with_whole_architectures(type_command, tmp_path, short, name):
    type_command(f"{short(name)} --budget_hours 1e-9")
    run = only_run(tmp_path, name)
    best = derived(run)[0]["architecture"]
    assert (best.count("|") == 1) or best.split(" | ")[-1].startswith("16:")
    assert (run / "results.json").is_file()
    if name != "dggan":
        assert "--budget_hours" in log_of(run)
        assert len(figures(run, "shared_gan")) == (2 if name == "search" else 1)  # one look a level


def test_a_spent_budget_leaves_out_children_but_the_first_and_goes_on_with_doublings_alone(
    type_command, tmp_path, short
):
    type_command(f"{short('dggan')} --budget_hours 1e-9 --growing_steps 3 --action_probability 1")
    run = only_run(tmp_path, "dggan")
    tree = json.loads((run / "growth_tree.json").read_text())
    assert [node["action"] for node in tree] == [None, "double"]


@pytest.mark.parametrize("name", ["search", "random_sharing"])
def test_a_search_that_has_ended_takes_no_further_budget(
    type_command, fail_command, tmp_path, short, name, capsys
):
    type_command(f"{short(name)} --budget_hours 1e-9")
    run = only_run(tmp_path, name)
    capsys.readouterr()
    line = fail_command(f"search --load_path {run} --budget_hours 9")
    assert f"--budget_hours: the search of {run} has ended" in line and "start a new run" in line
    type_command(f"search --load_path {run}")  # says again what it found


def test_a_search_by_growth_that_a_budget_has_ended_goes_on_with_a_larger_one(type_command, tmp_path, short):
    type_command(f"{short('dggan')} --growing_steps 3 --action_probability 1 --budget_hours 1e-9")
    run = only_run(tmp_path, "dggan")
    scored = len(scored_lines(run))
    type_command(f"search --load_path {run} --budget_hours 9")
    assert len(scored_lines(run)) > scored and derived(run)


def test_an_asha_search_that_has_ended_may_be_given_more_time(type_command, tmp_path, short):
    type_command(short("asha").replace("--max_trials 5", "--max_trials 2 --budget_hours 9"))
    run = only_run(tmp_path, "asha")
    type_command(f"search --load_path {run} --budget_hours 10")
    assert derived(run)


def test_the_time_left_is_at_most_what_the_budget_leaves():
    line = progress_line("iteration 1", 9, {}, 10, 1, 8, most=30)
    assert line == "iteration 1 of 9: about 00:30 left"
    assert progress_line("iteration 1", 9, {}, 10, 1, 8) == "iteration 1 of 9: about 01:20 left"
    assert progress_line("iteration 1", 9, {}, 10, 1, 8, most=-3) == "iteration 1 of 9: about 00:00 left"
    with Progress(1000, "GAN", seconds_left=0) as progress:
        progress.update(1)
        assert progress.line().endswith("about 00:00 left")
    plan = make_plan(cfg.parse("search", []))
    assert "about 00:07 left at 8 px" in iteration_line(plan, 0, {}, 60, seconds_left=7)
    assert "about 24:00 left at 8 px" in iteration_line(plan, 0, {}, 60)


def test_the_budget_counts_the_time_of_all_sessions(type_command, tmp_path, monkeypatch, short):
    stops, heal = stop_at(2, monkeypatch)
    with pytest.raises(stops):
        type_command(f"{short('slas')} --budget_hours 9")
    heal()
    run = only_run(tmp_path, "slas")
    file = run / "Model" / "checkpoint.pth"
    save_checkpoint(file, {**load_checkpoint(file), "seconds": 3600 * 9.0})
    type_command(f"search --load_path {run} --budget_hours 8")  # another one may be given
    assert "iteration 1: its share of --budget_hours is spent, so the search ends" in log_of(run)
    assert json.loads((run / "results.json").read_text())["hours"] > 9


# What is kept and said


def test_the_sizes_in_scored_jsonl_are_those_of_the_derived_generator():
    text, cells = "1 0 1 1 | 1 0 0 1 1 | 1 0 1 0 3", CellOptions()
    assert generator_sizes(text, 128, cells) == (4_405_251, 1_765_015_552)
    small = Generator.of(Architecture.parse("1 0 1 1"), latent_dim=8, gf_dim=4, bottom_width=4)
    parameters, _ = generator_sizes("1 0 1 1", 8, CellOptions(gf_dim=4))
    assert parameters == sum(each.numel() for each in small.parameters())


def test_the_log_ends_with_resets_and_cost(type_command, tmp_path, short):
    type_command(short("slas"))
    run = only_run(tmp_path, "slas")
    results = json.loads((run / "results.json").read_text())
    assert results["scored_images"] == 8 * (12 + 3) and results["resets"] == 2
    assert "hours and scored 120 images; dynamic reset happened 2 times\n" in log_of(run)


def test_images_that_are_not_finite_leave_no_score(type_command, tmp_path, monkeypatch, short):
    def spoiled(self, noise, architecture=None):
        return original(self, noise, architecture) * float("nan" if not self.training else "1")

    original = Generator.forward
    monkeypatch.setattr(Generator, "forward", spoiled)
    type_command(short("random_sharing"))
    lines = scored_lines(only_run(tmp_path, "random_sharing"))
    assert {line["purpose"] for line in lines} == {"cheap", "candidate"}
    assert all(line["is"] is None and line["fid"] is None for line in lines)


@pytest.mark.parametrize(
    "command, words",
    [
        ("--budget_hours 0", "--budget_hours: must be more than 0, not 0.0"),
        ("--method dggan --budget_hours -1", "--budget_hours: must be more than 0, not -1.0"),
        ("--method slas --budget_hours nan", "--budget_hours"),
        ("--method slas --img_size 24", "--img_size: 3 cells on --bottom_width 4 make 32 px images, not 24"),
        ("--method slas --reward swd", "--reward: swd is a reward of --method dggan and proggan"),
        ("--method random_sharing --topk 11", "--topk: cannot keep 11 of --num_candidate 10"),
        ("--method random_sharing --random_candidates 5", "--num_candidate: cannot score 10 of"),
        ("--score_freq -1", "--score_freq: must be at least 0"),
        ("--score_freq 5 --score_imgs 4", "--score_imgs: 4 images have no --is_splits 10 parts"),
    ],
)
def test_a_mistake_gets_one_line_that_names_the_option(fail_command, command, words):
    assert words in fail_command(f"search {command}")
