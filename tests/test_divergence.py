"""NaN and infinity: seen at the step they come from, and what --on_nan makes of them."""

import dataclasses
import math

import pytest
import torch
from running import (
    SHORT_RUNS,
    assert_equal_states,
    only_run,
    read_metrics,
    short_run,
    stop_at,
    training_options,
    use_tiny_net,
    write_pictures,
)

import models_search.autogan.search
import models_search.shared_gan.reward
import utils.metrics.evaluate
import utils.training.loop
from models.autogan.architecture import Architecture
from models.autogan.networks import Discriminator, Generator
from utils.training.adversarial import StepFunctions
from utils.run.checkpoint import load_checkpoint
from utils.cli import run_script
from utils.training.gan import new_gan
from utils.training.inputs import Batch
from utils.training.loop import Diverged, train_or_roll_back, train_steps
from utils.training.losses import hinge
from utils.metrics.evaluate import NonFiniteImages
from utils.randomness import global_seed


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def short(monkeypatch, pictures):
    """The command line of a short run."""
    use_tiny_net(monkeypatch)
    return lambda name: short_run(name, pictures)


# Steps 0, 2, 4 ... train the generator too.
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("network", ["discriminator", "generator"])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_or_a_gradient_that_is_not_finite_is_named_with_its_step(network, where, value):
    for bad_step in (0, 2, 4, 6, 8):
        with global_seed(0):
            networks = (
                Generator.of(Architecture.parse("1 0 1 1"), latent_dim=4, gf_dim=4),
                Discriminator(1, 8),
            )
            real, noise = torch.randn(10, 2, 3, 8, 8), torch.randn(10, 2, 2, 4)
        options = training_options(g_lr=1e-3, d_lr=1e-3)
        gan = new_gan(*networks, torch.device("cpu"), options)

        def functions_at(step):
            if step != bad_step:
                return StepFunctions(gan.generator, gan.discriminator)

            def spoiled(*arguments):
                loss = getattr(hinge, network)(*arguments)
                if where == "gradient":
                    loss.register_hook(lambda gradient: gradient * value)
                return loss * value if where == "loss" else loss

            return StepFunctions(gan.generator, gan.discriminator, hinge._replace(**{network: spoiled}))

        batches = (
            Batch(step, real[step], noise[step, 0], noise[step, 1] if step % 2 == 0 else None)
            for step in range(10)
        )
        words = {
            "loss": f"the loss of the {network} is (nan|-?inf)",
            "gradient": f"the norm of the {network}'s gradient is (nan|inf)",
        }
        with pytest.raises(Diverged, match=f"{words[where]} at step {bad_step}$"):
            train_steps(gan, batches, functions_at, options)


def spoil(monkeypatch, module, name, call, identity, spoiled):
    """Replace module.name: what the n-th call is given, as `identity` names it, gives NaN then and whenever
    it comes again.
    """
    original, calls, bad = getattr(module, name), [], set()

    def wrapper(*arguments, **options):
        calls.append(identity(*arguments))
        if len(calls) == call:
            bad.add(calls[-1])
        return (spoiled if calls[-1] in bad else original)(*arguments, **options)

    monkeypatch.setattr(module, name, wrapper)
    return original


def spoil_noise(monkeypatch, call):
    """Some noise makes the discriminator's loss NaN."""

    def with_nan(gan, functions, *arguments, **options):
        loss = functions.loss._replace(
            discriminator=lambda *them: functions.loss.discriminator(*them) * math.nan
        )
        return original(gan, functions._replace(loss=loss), *arguments, **options)

    def noise_sum(gan, functions, real, noise, *random):
        return noise.sum().item()

    original = spoil(monkeypatch, utils.training.loop, "discriminator_step", call, noise_sum, with_nan)


def spoil_rollout(monkeypatch, call):
    """Some rollout gets rewards that are NaN."""

    def with_nan(optimizer, rollout, rewards, *more):
        return original(optimizer, rollout, rewards * math.nan, *more)

    def tokens_of(optimizer, rollout, *more):
        return rollout.log_probs.sum().item()

    original = spoil(monkeypatch, models_search.autogan.search, "reinforce", call, tokens_of, with_nan)


DIVERGING = [("search", spoil_noise, 19), ("search", spoil_rollout, 5), ("train_derived", spoil_noise, 8)]


def going_on(run, *options):
    return " ".join([SHORT_RUNS[run.name.split("_20")[0]].split()[0], f"--load_path {run}", *options])


def assert_same_end(run, other):
    """But for the option itself, which may be given when a run goes on."""
    first, second = (load_checkpoint(folder / "Model" / "checkpoint.pth") for folder in (run, other))
    for state in (first, second):
        state["options"] = {**state["options"], "on_nan": None}
    assert_equal_states(first, second)
    assert read_metrics(run) == read_metrics(other)


@pytest.mark.parametrize("name, spoil_at, call", DIVERGING)
def test_a_run_that_rolls_back_goes_on_with_other_noise_and_can_be_stopped_anywhere(
    type_command, tmp_path, monkeypatch, short, capsys, name, spoil_at, call
):
    """Three runs meet the same NaN: one goes back and on, one is stopped on the way, one ends with exit code
    3 and then goes on.
    """
    spoil_at(monkeypatch, call)
    ends = {}
    for way in ("through", "stopped", "ended"):
        (tmp_path / way).mkdir()
        command = short(name) + ("" if way == "ended" else " --on_nan rollback")
        if way == "stopped":
            stops, heal = stop_at(10, monkeypatch)
            with pytest.raises(stops):
                type_command(command)
            heal()
        elif way == "ended":
            with pytest.raises(SystemExit) as ending:
                run_script(lambda command=command: type_command(command))
            line = capsys.readouterr().err
            assert ending.value.code == 3 and "is nan at step" in line and line.count("\n") == 1
        else:
            type_command(command)
        run = only_run(tmp_path, name)
        ends[way] = run.rename(tmp_path / way / run.name)
    type_command(going_on(ends["stopped"]))
    type_command(going_on(ends["ended"], "--on_nan rollback"))
    assert (
        "going back and on with other noise, for the first time"
        in (ends["through"] / "Log" / "log.txt").read_text()
    )
    for way in ("stopped", "ended"):
        assert_same_end(ends[way], ends["through"])


class Counter:
    """Something to train."""

    value = 0

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


@pytest.mark.parametrize(
    "on_nan, before, attempts",
    [("rollback", 0, [0, 1, 2, 3]), ("rollback", 2, [2, 3]), ("rollback", 3, [3]), ("stop", 0, [0])],
)
def test_a_run_rolls_back_three_times_at_most(on_nan, before, attempts):
    part, tried, messages = Counter(), [], []

    def train(rollbacks):
        tried.append(rollbacks)
        assert part.value == 0
        part.value = 1
        raise Diverged("the loss is nan")

    with pytest.raises(Diverged):
        train_or_roll_back(part, train, before, on_nan, messages.append)
    assert tried == attempts
    times = ("first", "second", "third")[before : before + len(attempts) - 1]
    assert messages == [
        f"the loss is nan: going back and on with other noise, for the {each} time" for each in times
    ]


def test_a_network_of_dggan_rolls_back_before_it_counts_as_failed(type_command, tmp_path, monkeypatch, short):
    """The root diverges: without --on_nan rollback that is the end."""
    spoil_noise(monkeypatch, call=4)
    command, runs = short("dggan"), []
    with pytest.raises(
        Diverged,
        match="no network of growing step 0 could be trained: the loss of the discriminator is nan at step 3",
    ):
        type_command(command)
    only_run(tmp_path, "dggan").rename(tmp_path / "failed")
    for stopped_at in (None, 2):
        if stopped_at:
            stops, heal = stop_at(stopped_at, monkeypatch)
            with pytest.raises(stops):
                type_command(f"{command} --on_nan rollback")
            heal()
            type_command(going_on(only_run(tmp_path, "dggan")))
        else:
            type_command(f"{command} --on_nan rollback")
        runs.append(only_run(tmp_path, "dggan").rename(tmp_path / f"run {stopped_at}"))
    assert (
        "node 0: the loss of the discriminator is nan at step 3: going back"
        in (runs[0] / "Log" / "log.txt").read_text()
    )
    first, second = ((run / "growth_tree.json").read_text() for run in runs)
    assert first == second and '"failure": ""' in first


def evaluate_at_call(monkeypatch, call, instead):
    """The n-th scoring of an architecture ends in instead(scores)."""
    original, calls = models_search.shared_gan.reward.evaluate, []

    def wrapper(*arguments, **options):
        calls.append(call)
        scores = original(*arguments, **options)
        return instead(scores) if len(calls) == call else scores

    monkeypatch.setattr(models_search.shared_gan.reward, "evaluate", wrapper)


def test_a_candidate_whose_images_are_not_finite_gets_the_lowest_reward_and_a_reason(
    type_command, tmp_path, monkeypatch, short
):
    def refuse(scores):
        raise NonFiniteImages("NaN")

    evaluate_at_call(
        monkeypatch, 8, refuse
    )  # two iterations of three rewards, then the first level's three candidates
    type_command(f"{short('search')} --topk 3")
    log = (only_run(tmp_path, "search") / "Log" / "log.txt").read_text()
    assert log.count("makes images that are not finite: it gets the lowest reward") == 1
    assert log.split("3. ")[1].splitlines()[0].endswith("reward 1 (tiny IS)")


@pytest.mark.parametrize("call, where", [(2, "reward 0 1"), (8, "candidate 1")])
def test_a_reward_that_is_not_finite_ends_the_search(type_command, monkeypatch, short, capsys, call, where):
    evaluate_at_call(monkeypatch, call, lambda scores: dataclasses.replace(scores, is_mean=math.inf))
    with pytest.raises(SystemExit) as ending:
        run_script(lambda: type_command(short("search")))
    assert ending.value.code == 3 and f"is inf at {where}\n" in capsys.readouterr().err


def test_a_training_whose_images_are_not_finite_ends_with_exit_code_3(
    type_command, monkeypatch, short, capsys
):
    monkeypatch.setattr(utils.metrics.evaluate, "all_finite", lambda images: torch.tensor(False))
    with pytest.raises(SystemExit) as ending:
        run_script(lambda: type_command(short("train_derived")))
    line = capsys.readouterr().err
    assert ending.value.code == 3 and "NaN or infinity" in line and line.count("\n") == 1
