"""Switches of a recipe that do not go together: each ends in one line that names the option, before data are read."""

import dataclasses
import re
import shlex

import pytest
from running import ROOT, use_tiny_net

import cfg
from option_groups.recipe import AverageOptions, RateOptions, RecipeOptions
from utils.training.compiled import compiles_discriminator
from utils.training.losses import LOSSES

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
    (f"{TRAIN} --loss r3gan", "--loss: r3gan compares images in pairs, batches of (128, 64); set --gen_batch_size 64"),
    ("search --loss r3gan", "--loss: r3gan compares images in pairs"),
    ("search --method asha --loss r3gan", "--loss: r3gan compares images in pairs"),
    (f"{TRAIN} --loss mmd -gen_bs 1", "--loss: mmd compares the images of a batch, which is one of 1"),
    (f"{TRAIN} --loss relativistic-hinge -dis_bs 1", "--loss: relativistic-hinge compares the images of a batch"),
    ("search --method dggan --loss mmd", "--loss: mmd takes a discriminator of 16 outputs, a growing one has one"),
    ("train_derived --arch 4: G 3x4 D 3x4 --img_size 4 --loss mmd", "--loss: mmd takes a discriminator of 16 outputs"),
    (f"{TRAIN} --loss lsgan", "--loss: invalid choice"),
    (f"{TRAIN} --r1_gamma -1", "--r1_gamma: must be at least 0"),
    (f"{TRAIN} --r1_interval 16", "--r1_interval: without effect without --r1_gamma"),
    ("search --r1_gamma 0 --r1_interval 16", "--r1_interval: without effect without --r1_gamma"),
    (f"{TRAIN} --loss r3gan -gen_bs 64 --ada_target 0.6", "--ada_target: the sign of r3gan's logits does not tell"),
    (f"{TRAIN} --loss wgan-gp --ada_target 0.6", "--ada_target: the sign of wgan-gp's logits does not tell"),
    ("search --method dggan --ada_target 0.6", "--ada_target: the sign of wgan-gp's logits"),
    (f"{TRAIN} --ada_target 0.6 --augment color", "--ada_target: without effect beside --augment"),
    (f"{TRAIN} --ada_target 1.5", "--ada_target: must be at most 1"),
    (f"{TRAIN} --ada_kimg 9", "--ada_kimg: without effect without --ada_target"),
    ("search --ada_pipe blit", "--ada_pipe: without effect without --ada_target"),
    (f"{TRAIN} --ada_target 0.6 --ada_pipe noise", "--ada_pipe: invalid choice"),
    (f"{TRAIN} --augment colour", "--augment: invalid choice"),
    (f"{TRAIN} --augment color,color", "--augment: invalid choice"),
    (f"{TRAIN} --bcr -1", "--bcr: must be at least 0"),
    (f"{TRAIN} --zcr_radius 0.1", "--zcr_radius: without effect without --zcr"),
    (f"{TRAIN} --zcr 0 --zcr_generator 0.1", "--zcr_generator: without effect without --zcr"),
    (f"{TRAIN} --zcr 1 --zcr_radius 0", "--zcr_radius: must be more than 0"),
    (f"{TRAIN} --generator_topk 0", "--generator_topk: must be more than 0"),
    (f"{TRAIN} --generator_topk_decay 0.9", "--generator_topk_decay: without effect without --generator_topk"),
    (f"{TRAIN} --generator_topk 0.5 --loss mmd", "--generator_topk: mmd has no loss of each image"),
    ("search --generator_topk 0.5 --loss relativistic-hinge", "--generator_topk: relativistic-hinge has no loss of each"),
    (f"{TRAIN} --accumulate 0", "--accumulate: must be at least 1"),
    (f"{TRAIN} --accumulate 65", "--accumulate: 65 parts of a batch of 64"),
    ("search --method asha --accumulate 65", "--accumulate: 65 parts of a batch of 64"),
    ("search --method proggan --accumulate 17", "--accumulate: 17 parts of a batch of 16"),
    (f"{TRAIN} --accumulate 2 --loss mmd", "--accumulate: mmd compares all images of a batch"),
    (f"{TRAIN} --accumulate 2 --generator_topk 0.5", "--accumulate: the best images of a part are not those"),
    (f"{TRAIN} --df_depth -1", "--df_depth: must be at least 0"),
    ("search --method dggan --df_depth 1", "--df_depth: without effect with dggan"),
    (f"{TRAIN} --df_dim 1024 --df_depth 100 -dis_bs 4000", "--dis_batch_size: the run takes"),
    ("search --lr_warmup 9", "--lr_warmup: no such option"),
]  # fmt: skip


@pytest.mark.parametrize("command, words", WRONG, ids=lambda value: value[:60])
def test_a_mistake_is_one_line_before_anything_is_read(fail_command, command, words):
    assert words in fail_command(f"{command} --dry_run")


# What is said about the switches


def test_docs_name_every_loss_and_every_switch():
    text = (ROOT / "docs" / "RECIPES.md").read_text()
    groups = (RecipeOptions, AverageOptions, RateOptions)
    switches = [field.name for group in groups for field in dataclasses.fields(group)]
    assert [name for name in [*switches, "df_depth"] if f"--{name}" not in text] == []
    assert [name for name in LOSSES if f"| `{name}` |" not in text] == []


def test_the_best_recipe_has_the_switches_whose_sources_it_names():
    text = (ROOT / "exps" / "autogan_cifar10_a_best.sh").read_text()
    (line,) = re.findall(r"^python (.+)$", text.replace("\\\n", " "), re.MULTILINE)
    script, *arguments = shlex.split(line.replace('"$@"', ""))
    values = cfg.parse(script.removesuffix(".py"), arguments).flat()
    named = dict(re.findall(r"^#   --(\w+) (\S+) ", text, re.MULTILINE))
    assert {name: str(values[name]) for name in named} == named and len(named) == 5
    assert "Nobody has published this combination" in text and "not measured" in text


@pytest.mark.parametrize(
    "switches, compiles",
    [("", True), ("--loss mmd", True), ("--loss wgan-gp", False), ("--r1_gamma 1", False), ("--r1_gamma 0", True),
     ("--loss r3gan", False), ("--loss r3gan --r1_gamma 0", True), ("--fast off", False)],
)  # fmt: skip
def test_a_discriminator_is_compiled_unless_its_gradients_are_differentiated(switches, compiles):
    options = cfg.parse("train_derived", f"--gen_model sngan --compile {switches}".split())
    assert compiles_discriminator(options.run, options.training, options.recipe) == compiles


def test_a_search_hands_its_recipe_on(tmp_path):
    options = cfg.parse("search", "--augment color --bcr 10 --loss non-saturating --df_depth 2".split())
    command = cfg.command("train_derived", options, arch="1 0 1 1")
    for words in ("--augment color", "--bcr 10", "--loss non-saturating", "--df_depth 2"):
        assert words in command


def test_a_training_whose_rates_fall_is_not_made_longer():
    options = cfg.parse("train_derived", "--load_path RUN --max_iter 99999".split())
    constant = cfg.parse("train_derived", ["--lr_warmup", "9"]).flat()
    assert cfg.resumed(options, constant).derive.max_iter == 99999
    with pytest.raises(cfg.UserError, match="^--max_iter: the run was started with 50000, not 99999"):
        cfg.resumed(options, constant | {"lr_schedule": "cosine"})


def test_a_warm_up_longer_than_the_passes_is_refused_once_the_images_are_counted(fail_command, monkeypatch):
    use_tiny_net(monkeypatch)
    command = "train_derived --arch 1 0 1 1 --img_size 8 --gf_dim 4 --df_dim 4 --dataset digits --max_epoch 1"
    line = fail_command(f"{command} --lr_warmup 29")
    assert line.startswith("error: --lr_warmup: the training ends after 29 iterations; give fewer")
