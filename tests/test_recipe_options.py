"""Switches of a recipe that do not go together: each ends in one line that names the option, before data are read."""

import pytest

TRAIN = "train_derived --gen_model sngan"
WRONG = [
    (f"{TRAIN} --ema_halflife 0", "--ema_halflife: must be at least 1"),
    (f"{TRAIN} --ema_halflife 9 --ema_decay 0.9", "--ema_decay: without effect beside --ema_halflife"),
    (f"{TRAIN} --ema_rampup 0.1", "--ema_rampup: without effect without --ema_halflife"),
    (f"{TRAIN} --ema_halflife 9 --ema_rampup 1.1", "--ema_rampup: must be at most 1"),
    ("search --ema_halflife 9", "--ema_halflife: without effect with autogan"),
    (f"{TRAIN} --lr_schedule linear --lr_decay", "--lr_decay: without effect beside --lr_schedule"),
    (f"{TRAIN} --lr_decay_start 9", "--lr_decay_start: without effect without --lr_schedule"),
    (f"{TRAIN} --lr_schedule step", "--lr_schedule: invalid choice"),
    (f"{TRAIN} --lr_schedule linear --lr_decay_start 9 --max_iter 9", "--lr_decay_start: the training ends after 9 iter"),
    (f"{TRAIN} --lr_warmup 9 --max_iter 9", "--lr_warmup: the training ends after 9 iterations; give fewer"),
    ("search --lr_warmup 9", "--lr_warmup: no such option"),
]  # fmt: skip


@pytest.mark.parametrize("command, words", WRONG, ids=lambda value: value[:60])
def test_a_mistake_is_one_line_before_anything_is_read(fail_command, command, words):
    assert words in fail_command(f"{command} --dry_run")
