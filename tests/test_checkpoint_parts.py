"""Everything in a checkpoint is needed: a run that goes on without one part of it does not end as the
unbroken one.
"""

import shutil

import pytest
from running import (
    SHORT_RUNS,
    assert_equal_states,
    only_run,
    read_metrics,
    short_run,
    stop_at,
    use_tiny_net,
    write_pictures,
)

from utils.cli import UserError
from utils.run.checkpoint import load_checkpoint, save_checkpoint
from utils.run.save_point import SavePoint

GAN = [
    ("gan", part) for part in ("generator", "discriminator", "generator_optimizer", "discriminator_optimizer")
]
POLICY = [("controller",), ("controller_optimizer",), ("baseline",), ("beam",)]
COUNTERS = [("counters", name) for name in ("iteration", "shared_steps", "controller_steps")]
THREE_ITERATIONS = "--max_search_iter 3 --grow_step1 1 --val_freq 9"

# A short run, what is typed besides, the checkpoint, the save point it is from (those of a search come after
# 2, 4 ... 10 training steps, 3 controller steps and at the end of an iteration), and its parts.
CASES = {
    "search": ("search", f"{THREE_ITERATIONS} --dynamic_reset_threshold 0", "checkpoint.pth", 15, GAN + POLICY + COUNTERS),
    "search before a collapse": ("search", THREE_ITERATIONS, "checkpoint.pth", 12, [("collapse",), ("counters", "resets")]),
    "search after a collapse": ("search", THREE_ITERATIONS, "checkpoint.pth", 15, [("counters", "collapsed")]),
    "train_derived": (
        "train_derived", "--max_iter 5 --sample_freq 9", "checkpoint.pth", 4,
        [*GAN, ("gan", "average"), ("position",), ("history",), ("metrics_bytes",)],
    ),
    "dggan": (
        "dggan", "--start_resolution 16 --growing_steps 0", "node_000_partial.pth", 2, [*GAN, ("gan", "average"), ("step",), ("losses",)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_goes_on_with_an_older_part_of_its_checkpoint_ends_otherwise(
    type_command, tmp_path, monkeypatch, case
):
    name, options, file, save_point, parts = CASES[case]
    use_tiny_net(monkeypatch)
    original = SavePoint.reached
    (tmp_path / "pictures").mkdir()
    command = f"{short_run(name, write_pictures(tmp_path / 'pictures'))} {options}"
    states = []
    for call in (1, save_point):
        monkeypatch.setattr(SavePoint, "reached", lambda self, due=False: original(self, due=True))
        stops, heal = stop_at(call, monkeypatch)
        with pytest.raises(stops):
            type_command(command)
        heal()
        run = only_run(tmp_path, name).rename(tmp_path / f"stopped at {call}")
        states.append(load_checkpoint(run / "Model" / file))
    monkeypatch.setattr(SavePoint, "reached", original)
    early, late = states

    def end_of(state):
        """What is left of the run in the end: checkpoint, figures, and DGGAN's scores."""
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        save_checkpoint(copy / "Model" / file, state)
        type_command(f"{SHORT_RUNS[name].split()[0]} --load_path {copy}")
        tree = copy / "growth_tree.json"
        written = read_metrics(copy), tree.read_text() if tree.exists() else None
        return load_checkpoint(copy / "Model" / "checkpoint.pth"), written

    end = end_of(late)

    def is_needed(part):
        try:
            assert_equal_states(end_of(with_part(late, early, part)), end)
        except (
            AssertionError,
            RuntimeError,
            ValueError,
            IndexError,
            UserError,
        ):  # another end, or none, as the parts do not fit one another
            return True

    assert [part for part in parts if is_needed(part)] == parts


def with_part(state, other, part):
    """The state with one part of the other's."""
    name, *rest = part
    return {**state, name: with_part(state[name], other[name], rest) if rest else other[name]}
