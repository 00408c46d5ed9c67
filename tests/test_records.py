"""What runs record of where they stand: steps, iterations, the time left, the best checkpoint."""

import json
from types import SimpleNamespace

import pytest
import torch
from running import read_metrics, short_run, stop_at, use_tiny_net
from test_training import CPU, SEARCH, NoSavePoint, digits, run_that_records, train  # noqa: F401

import cfg
import models_search.autogan.search
import models_search.dggan.pair
import models_search.retraining.training
import models_search.shared_gan.training
import utils.progress
from models.autogan.architecture import Architecture
from models_search.autogan.controller import BeamEntry
from models_search.autogan.plan import make_plan
from models_search.autogan.search import train_shared
from models_search.autogan.state import SearchState, new_policy
from models_search.retraining.training import Scorer, TrainingState
from utils.data.load import load_images
from utils.metrics.scores import Scores
from utils.progress import Progress


def steps_of(run, prefix):
    """(step, iteration) of the lines of a kind."""
    lines = [line for line in read_metrics(run) if any(name.startswith(f"{prefix}/") for name in line)]
    return [(line["step"], line["iteration"]) for line in lines]


def test_a_training_records_discriminator_steps_and_the_generator_iterations_before_them(short_runs):
    """16 steps, two an iteration and five an epoch, looked at every second step and at the end of an epoch."""
    run = short_runs / "logs" / "derive"
    looks = [2, 4, 5, 6, 8, 10, 12, 14, 15, 16]
    assert steps_of(run, "train") == [(step, step // 2) for step in looks]
    scorings = [(step, step // 2) for step in (5, 10, 15, 16)]
    scored = [(line["step"], line["iteration"]) for line in read_metrics(run) if "score/tiny_FID" in line]
    assert scored == scorings
    results = json.loads((run / "results.json").read_text())
    assert [entry["iteration"] for entry in results["history"]] == [step // 2 for step, _ in scorings]
    grids = [path.stem for path in sorted((run / "Samples").glob("iteration_*.png"))]
    assert grids == [f"iteration_{iteration:06d}" for iteration in (0, 2, 5, 7, 8)]


def test_a_search_records_the_steps_of_the_shared_gan_of_the_controller_and_of_resets(short_runs):
    """Four iterations of ten steps; the losses collapse at the seventh, when the generator's window is full."""
    run = short_runs / "logs" / "search"
    iterations = range(4)
    shared = [(10 * each + step, each + 1) for each in iterations for step in (2, 4, 6, 8)]
    assert steps_of(run, "shared_gan") == shared
    assert steps_of(run, "controller") == [
        (3 * each + step, each + 1) for each in iterations for step in range(3)
    ]
    assert steps_of(run, "reset") == [(each + 1, each + 1) for each in iterations]
    assert [line["reset/resets"] for line in read_metrics(run) if "reset/resets" in line] == [1, 2, 3, 4]
    levels = [line["controller/level"] for line in read_metrics(run) if "controller/level" in line]
    assert levels == [0] * 6 + [1] * 6


@pytest.mark.parametrize("iteration, level", [(0, 0), (1, 1)])
def test_both_shared_networks_run_at_the_level_that_is_searched(digits, monkeypatch, iteration, level):  # noqa: F811
    """A discriminator of more levels takes the images too, and would train weights that the level does not have."""
    command = f"{SEARCH} --grow_steps 1 --max_search_iter 2 --img_size 16 --dynamic_reset_threshold 0"
    plan = make_plan(cfg.parse("search", command.split()))
    state, images = SearchState.start(plan, CPU), load_images("digits").resized(plan.resolutions[level])
    if level:
        state.policy = new_policy(plan, level)
        parent = Architecture.parse("1 0 1 1")
        state.beam = [BeamEntry(parent, 1.0, (torch.zeros(8), torch.zeros(8)))]
    state.iteration, seen = iteration, {"generator": set(), "discriminator": set()}
    gan = state.shared.gan
    forwards = gan.generator.forward, gan.discriminator.forward

    def generate(noise, architecture=None, **options):
        seen["generator"].add(architecture.levels - 1)
        return forwards[0](noise, architecture, **options)

    def discriminate(images, level=None, **options):
        seen["discriminator"].add((level, images.shape[-1]))
        return forwards[1](images, level, **options)

    gan.generator.forward, gan.discriminator.forward = generate, discriminate
    train_shared(state, plan, images, run_that_records([]), NoSavePoint())
    assert seen == {"generator": {level}, "discriminator": {(level, 8 << level)}}


# The time left


def test_the_time_left_follows_from_the_steps_of_this_session_alone(monkeypatch):
    now = 100.0
    monkeypatch.setattr(utils.progress.time, "monotonic", lambda: now)
    progress = Progress(100, "training", first=40)
    now += 10
    progress.reach(60)
    assert progress.line() == "training: 60 of 100 steps: about 00:20 left"
    progress.update(20)
    assert progress.line() == "training: 80 of 100 steps: about 00:05 left"
    in_iterations = Progress(100, "training", "iteration", first=40, steps_per_unit=4)
    now += 10
    in_iterations.reach(63)
    assert in_iterations.line() == "training: 15 of 25 iterations: about 00:20 left"


def test_the_time_left_in_the_log_follows_from_the_steps_of_this_session_alone(digits, monkeypatch):  # noqa: F811
    stated = []
    monkeypatch.setattr(models_search.retraining.training, "SECONDS_PER_LINE", -1)
    monkeypatch.setattr(
        models_search.retraining.training, "progress_line", lambda *words, most: stated.append(words) or ""
    )
    train("--max_iter 4 --print_freq 2", digits, first=2)
    assert [(position, total, done, left) for position, total, _, _, done, left in stated] == [
        ("iteration 2", 4, 2, 4), ("iteration 3", 4, 4, 2), ("iteration 4", 4, 6, 0),
    ]  # fmt: skip
    assert all(seconds >= 0 for *_, seconds, _, _ in stated)


@pytest.mark.parametrize(
    "name, call, bars",
    [
        ("train_derived", 3, {"training": (16, 5)}),
        ("search", 2, {"GAN 8 px": (10, 4)}),
        ("search", 6, {"controller": (3, 2)}),
        ("dggan", 2, {"node_000, 8 px": (6, 4)}),
    ],
)
def test_what_goes_on_counts_on_from_where_it_stopped(
    type_command, tmp_path, monkeypatch, short_runs, name, call, bars
):
    use_tiny_net(monkeypatch)
    stops, heal = stop_at(call, monkeypatch)
    with pytest.raises(stops):
        type_command(short_run(name, short_runs / "pictures"))
    heal()
    begun = {}

    class Watched(Progress):
        def __init__(self, total, name, unit="step", first=0, *arguments, **options):
            begun.setdefault(name.strip(), (total, first))
            super().__init__(total, name, unit, first, *arguments, **options)

    for module in (
        models_search.retraining.training, models_search.shared_gan.training,
        models_search.autogan.search, models_search.dggan.pair,
    ):  # fmt: skip
        monkeypatch.setattr(module, "Progress", Watched)
    (run,) = (tmp_path / "logs").iterdir()
    type_command(f"{short_run(name, '').split()[0]} --load_path {run}")
    assert {bar: begun[bar] for bar in bars} == bars


# The best checkpoint


def test_the_best_checkpoint_is_that_of_the_lowest_fid_and_of_equal_ones_the_first(monkeypatch):
    fids, saved, recorded = iter([5.0, 3.0, 4.0, 3.0, 2.0, 6.0]), [], []

    def pretend(average, *arguments, **options):
        return Scores("inception", "torch", "none", 8, is_mean=1.0, is_std=0.5, fid=next(fids)), None

    monkeypatch.setattr(models_search.retraining.training, "score_generator", pretend)
    gan = SimpleNamespace(average=None, state_dict=dict)
    state = TrainingState("1 0 1 1", gan)
    scoring = SimpleNamespace(is_splits=1, eval_batch_size=4)
    plan = SimpleNamespace(
        classes=None,
        num_eval_imgs=8,
        scoring=scoring,
        run=SimpleNamespace(random_seed=0),
        training=SimpleNamespace(n_critic=5),
    )
    run = SimpleNamespace(
        log=lambda line: None,
        record=lambda *line: recorded.append(line),
        save=lambda content, step, best: saved.append(
            (step, best, content["best"]["fid"], content["scored_step"])
        ),
    )
    for step in range(10, 70, 10):
        state.step = step
        Scorer(plan, [], [], run).score(state, None)
    assert saved == [(10, True, 5.0, 10), (20, True, 3.0, 20), (50, True, 2.0, 50)]
    assert (state.best["iteration"], state.best["fid"]) == (10, 2.0)
    assert [entry["iteration"] for entry in state.history] == [2, 4, 6, 8, 10, 12]
    assert [(step, prefix, iteration) for step, _, prefix, iteration in recorded] == [
        (step, "score", step // 5) for step in range(10, 70, 10)
    ]
    assert recorded[1][1] == {"inception_IS": 1.0, "inception_IS_std": 0.5, "inception_FID": 3.0}
