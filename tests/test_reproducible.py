"""The same numbers from the same seed, whatever is scored, logged or drawn beside the training, and from release to release."""

import pytest
import torch
from running import assert_equal_states, only_run, short_run, use_tiny_net, write_pictures

from utils.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.mark.parametrize(
    "name, parts, harmless",
    [
        ("train_derived", ("gan",), ["", "--val_freq 9 --sample_freq 9", "--val_freq 3 --score_start", "--print_freq 1", "--print_freq 100"]),
        ("search", ("gan", "controller", "beam"), ["", "--val_freq 1", "--val_freq 9 --print_freq 100"]),
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
    assert not torch.equal(other["gan"]["generator"]["linear.weight"], first["gan"]["generator"]["linear.weight"])
