"""The same numbers from the same seed, whatever is scored, logged or drawn beside the training, and from
release to release.
"""

import json

import pytest
import torch
from running import ROOT, TinyNet, assert_equal_states, only_run, short_run, use_tiny_net, write_pictures
from test_fast import losses_of

from models_search.search_space import random_architecture
from utils.run.checkpoint import load_checkpoint
from utils.metrics.evaluate import evaluate


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.mark.parametrize(
    "name, parts, harmless",
    [
        (
            "train_derived",
            ("gan",),
            [
                "",
                "--val_freq 9 --sample_freq 9",
                "--val_freq 3 --score_start",
                "--print_freq 1",
                "--print_freq 100",
            ],
        ),
        (
            "search",
            ("gan", "controller", "beam"),
            ["", "--val_freq 1", "--val_freq 9 --print_freq 100", "--score_freq 1 --score_imgs 6"],
        ),
        ("random_sharing", ("gan", "cheap", "in_full"), ["", "--score_freq 1 --score_imgs 6"]),
    ],
)
def test_what_is_trained_depends_on_the_seed_and_not_on_scoring_or_logging(
    type_command, tmp_path, monkeypatch, pictures, name, parts, harmless
):
    use_tiny_net(monkeypatch)

    def trained(options):
        type_command(f"{short_run(name, pictures)} {options}")
        run = only_run(tmp_path, name)
        state = load_checkpoint(run / "Model" / "checkpoint.pth")
        run.rename(tmp_path / f"run {options}")
        return {part: state[part] for part in parts}

    first = trained("--val_freq 5")
    for options in harmless:
        assert_equal_states(trained(options), first)
    torch.manual_seed(5)  # the global random state takes no part
    other = trained("--random_seed 25")
    assert not torch.equal(
        other["gan"]["generator"]["linear.weight"], first["gan"]["generator"]["linear.weight"]
    )


def golden_run():
    """Losses of 100 steps of a shared GAN and rewards of five architectures in it, all in float64.

    There 100 steps magnify the rounding of a processor's instructions to 1e-11. What is drawn in float32 begins
    with 1e-7.
    """
    drawn = torch.Generator().manual_seed(0)
    architectures = [random_architecture(1, drawn) for _ in range(100)]
    (d_losses, g_losses), gan = losses_of(fast=True, architectures=architectures, dtype=torch.float64)
    generator, noise, rewards = (
        gan.generator.eval(),
        torch.randn(50, 8, generator=drawn, dtype=torch.float64),
        [],
    )
    for architecture in architectures[:5]:
        scores = evaluate(
            lambda count: generator(noise[:count], architecture),
            50,
            TinyNet(),
            metrics=("is",),
            batch_size=50,
            splits=1,
        )  # noqa: B023
        rewards.append(scores.is_mean)
    return {
        "d_losses": d_losses,
        "g_losses": [loss for loss in g_losses if loss is not None],
        "rewards": rewards,
    }


def test_the_golden_run_gives_the_stored_losses_and_rewards():
    stored = json.loads((ROOT / "tests" / "data" / "golden_run.json").read_text())
    for name, values in golden_run().items():
        assert values == pytest.approx(stored[name], rel=0, abs=1e-8), name
