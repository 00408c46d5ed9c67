"""The defaults of every script and method are those of the papers and of the authors' scripts."""

import inspect
import re
import shlex

import pytest
from running import ROOT

import cfg
from models.autogan.networks import Discriminator, Generator
from models.growing.architecture import proggan_architecture
from models.growing.layers import minibatch_deviation
from models.growing.networks import growing_networks
from models.layers.init import initialise, prepare
from models_search.autogan.controller import Controller, UniformController, first_beam, reinforce
from models_search.dggan.actions import every_action, progressive_actions
from models_search.shared_gan.dynamic_reset import CollapseDetector
from models_search.shared_gan.network import shared_generator
from utils.metrics.distances import inception_score, kernel_inception_distance, precision_recall
from utils.metrics.evaluate import evaluate
from utils.metrics.generator import score_generator
from utils.run.checkpoint import load_checkpoint, load_latest, load_networks, read_authors_weights
from utils.run.config import read_config
from utils.run.derived import derived_file, read_architecture, read_derived
from utils.metrics.real_statistics import real_statistics
from utils.training.adversarial import discriminator_step, generator_step
from utils.training.gan import update_average
from utils.training.loop import train, train_steps
from utils.training.losses import wasserstein_gradient_penalty

EVERYWHERE = {
    "dataset": "cifar10", "data_path": "./data", "img_size": 32, "num_workers": 8, "channels": 3,
    "gen_model": "shared_gan", "dis_model": "shared_gan", "latent_dim": 128, "bottom_width": 4,
    "g_spectral_norm": False, "d_spectral_norm": True, "init_type": "xavier_uniform", "precision": "float32",
    "print_freq": 100, "feature_net": "inception", "inception_path": None, "inception_backend": "torch",
    "tf_python": None, "feature_precision": "float32", "eval_batch_size": 100, "is_splits": 10,
    "fid_stat": None, "num_eval_imgs": 50000, "random_seed": 12345, "device": "auto", "fast": "on",
    "compile": False,
}  # fmt: skip
SEARCH_WIDTHS, RETRAINING_WIDTHS = {"gf_dim": 128, "df_dim": 64}, {"gf_dim": 256, "df_dim": 128}
AUTOGAN_TRAINING = {
    "gen_batch_size": 128, "dis_batch_size": 64, "g_lr": 2e-4, "d_lr": 2e-4, "beta1": 0.0, "beta2": 0.9,
    "n_critic": 5, "loss": "hinge", "max_grad_norm": 0.0, "on_nan": "stop",
}  # fmt: skip
PROGGAN_TRAINING = {
    "gen_batch_size": 16, "dis_batch_size": 16, "g_lr": 1e-3, "d_lr": 1e-3, "beta1": 0.0, "beta2": 0.99,
    "n_critic": 1, "loss": "wgan-gp", "max_grad_norm": 0.0, "on_nan": "stop", "latent_dim": 512,
}  # fmt: skip
SEARCH = {
    "method": "autogan", "reward": "is", "rl_num_eval_img": 5000, "topk": 5, "controller": "controller",
    "shared_epoch": 15, "max_search_iter": 90, "grow_step1": 25, "grow_step2": 55, "grow_steps": None,
    "ctrl_step": 30, "ctrl_sample_batch": 1, "ctrl_lr": 3.5e-4, "hid_size": 100, "entropy_coeff": 1e-4,
    "baseline_decay": 0.9, "num_candidate": 10, "dynamic_reset_threshold": 1e-3, "dynamic_reset_window": 500,
    "val_freq": 20, "start_resolution": 8, "growing_steps": 8, "growth_iterations": 100000, "fade_share": 0.5,
    "action_probability": 0.2, "kernels": (3, 7), "filters": (32, 64, 128, 256, 512, 1024), "actions": None,
    "growth_width": 512, "ema_decay": 0.999, "workers": 1, "engine": "local", "gpus_per_task": None, "budget_hours": None,
    "score_freq": 0,    "score_imgs": 5000, "random_candidates": 1000, "cheap_eval_imgs": 500, "rungs": (5, 20, 80, 320), "eta": 4,
    "max_trials": None, "only": None, "max_params": None, "max_macs": None, "cap_gf_dim": None,
    "reuse_rewards": False,
}  # fmt: skip
GROWTH = {**PROGGAN_TRAINING, "reward": "fid", "rl_num_eval_img": 10000, "topk": 20}
DERIVE = {
    "arch": None, "init_from": None, "arch_file": None, "rank": 1, "max_iter": 50000, "max_epoch": None,
    "lr_decay": False, "sample_freq": 5, "score_start": False, "ema_decay": 0.999, "val_freq": 20,
    "derive": None, "topk": None, "seeds": 1, "rank_by": "is", "workers": 1, "extend": None,
    "engine": "local", "gpus_per_task": None,
}  # fmt: skip
# What came later changes nothing by default.
LABELS = {"conditional": False, "labels": None, "semi_supervised": False, "rotation_loss": False}
AVERAGE = {"ema_halflife": None, "ema_rampup": 0.05, "ema_start": 0}
RECIPE = {
    "r1_gamma": None, "r1_interval": 1, "augment": None, "ada_target": None, "ada_kimg": 500, "ada_interval": 4,
    "ada_pipe": "blit,geometric,color", "bcr": 0.0, "zcr": 0.0, "zcr_generator": 0.5, "zcr_radius": 0.05,
    "generator_topk": 1.0, "generator_topk_decay": 0.99, "accumulate": 1,
}  # fmt: skip
RATES = {"lr_schedule": "constant", "lr_decay_start": 0, "lr_warmup": 0}
DEPTH = {"df_depth": 0, "df_halvings": 2}
LATER = {
    "search": {"space": "authors", "attention_size": None, **LABELS, **RECIPE, **AVERAGE, **DEPTH}, 
    "train_derived": {**LABELS, **RECIPE, **AVERAGE, **RATES, **DEPTH}, "test": DEPTH,
}  # fmt: skip
TEST = {
    "arch": None, "metrics": (), "protocol": "autogan", "split": "train", "exp_name": "test",
    "checkpoint": "best", "save_images": None, "num_images": 64, "interpolate": False,
    "class_name": None, "intra_fid_imgs": 5000, "labels": None,
    "export": None, "half": False,
}  # fmt: skip
GROWING = ("4:", "G", "3x4", "D", "3x4")

DEFAULTS = {
    "search": {**SEARCH_WIDTHS, **AUTOGAN_TRAINING, **SEARCH, "exp_name": "search"},
    **{
        f"search --method {method}": {
            **SEARCH_WIDTHS, **AUTOGAN_TRAINING, **SEARCH, "method": method, "exp_name": method,
        }
        for method in ("slas", "random_sharing")
    },
    "search --method dggan": {**SEARCH_WIDTHS, **SEARCH, **GROWTH, "method": "dggan", "exp_name": "dggan"},
    "search --method asha": {
        **SEARCH_WIDTHS, **AUTOGAN_TRAINING, **SEARCH, "method": "asha", "exp_name": "asha",
    },
    "search --method proggan": {
        **SEARCH_WIDTHS, **SEARCH, **GROWTH, "method": "proggan", "exp_name": "proggan",
    },
    "train_derived": {**RETRAINING_WIDTHS, **AUTOGAN_TRAINING, **DERIVE, "exp_name": "derive"},
    f"train_derived --arch {' '.join(GROWING)}": {
        **RETRAINING_WIDTHS, **PROGGAN_TRAINING, **DERIVE,
        "arch": GROWING, "max_iter": 100000, "exp_name": "derive",
    },
    "test": {**RETRAINING_WIDTHS, **TEST},
    f"test --arch {' '.join(GROWING)}": {**RETRAINING_WIDTHS, **TEST, "arch": GROWING, "latent_dim": 512},
    "test --protocol sngan": {
        **RETRAINING_WIDTHS, **TEST, "protocol": "sngan", "num_eval_imgs": 5000, "split": "test",
    },
}  # fmt: skip


@pytest.mark.parametrize("command", DEFAULTS)
def test_every_default_is_the_published_one(command):
    script, *arguments = command.split()
    assert cfg.parse(script, arguments).flat() == {**EVERYWHERE, **LATER[script], **DEFAULTS[command]}


@pytest.mark.parametrize("command", DEFAULTS)
def test_a_script_typed_alone_begins_anew_and_runs(command):
    script, *arguments = command.split()
    options = cfg.parse(script, arguments)
    assert options.run.load_path is options.run.config is options.run.folder_file is None
    assert options.run.dry_run is False
    assert options.resuming is None if script == "test" else options.resuming.resume == "auto"


# Functions that are called without options, in the library and in tests: the same published values.
FUNCTIONS = [
    (Generator, {"latent_dim": 128, "gf_dim": 256, "bottom_width": 4}),
    (Discriminator, {"levels": 3, "df_dim": 128}),
    (shared_generator, {"levels": 3}),
    (Controller, {"hidden_size": 100}), (UniformController, {"hidden_size": 100}),
    (first_beam, {"hidden_size": 100}),
    (reinforce, {"entropy_coeff": 1e-4, "baseline_decay": 0.9}),
    (CollapseDetector, {"window": 500, "threshold": 1e-3}),
    (initialise, {"init_type": "xavier_uniform"}), (prepare, {"init_type": "xavier_uniform"}),
    (update_average, {"decay": 0.999}), (generator_step, {"ema_decay": 0.999, "max_grad_norm": 0.0}),
    (train_steps, {"ema_decay": 0.999}), (train, {"ema_decay": 0.999, "first": 0, "rollbacks": 0}),
    (discriminator_step, {"max_grad_norm": 0.0}),
    (wasserstein_gradient_penalty, {"penalty": 10.0, "drift": 0.001}),
    (evaluate, {"batch_size": 100, "splits": 10, "metrics": ("is", "fid")}),
    (score_generator, {"batch_size": 100, "splits": 10, "metrics": ("is", "fid")}),
    (real_statistics, {"batch_size": 100, "sample_size": 0, "cache_dir": None}),
    (inception_score, {"splits": 10}), (precision_recall, {"neighbours": 3}),
    (kernel_inception_distance, {"subsets": 100, "subset_size": 1000}),
    (growing_networks, {"latent_dim": 512}), (proggan_architecture, {"width": 512}),
    (minibatch_deviation, {"group": 4}),
    (every_action, {"kernels": (3, 7), "filters": (32, 64, 128, 256, 512, 1024)}),
    (progressive_actions, {"start_resolution": 8, "final_resolution": 32}),
    (read_config, {"option": "--config"}),
    *((read, {"option": "--arch_file"}) for read in (derived_file, read_derived, read_architecture)),
    *((read, {"option": "--load_path"}) for read in (load_checkpoint, load_networks, load_latest, read_authors_weights)),
]  # fmt: skip


@pytest.mark.parametrize("function, values", FUNCTIONS)
def test_the_defaults_of_functions_are_the_published_ones(function, values):
    parameters = inspect.signature(function).parameters
    assert {name: parameters[name].default for name in values} == values


# The authors' command lines in full, and the like for DGGAN. exps/ has only what differs from the defaults.

AUTHORS_TRAINING = (
    "-gen_bs 128 -dis_bs 64 --img_size {img_size} --bottom_width {bottom_width} --latent_dim 128 "
    "--g_spectral_norm False --d_spectral_norm True --g_lr 0.0002 --d_lr 0.0002 --beta1 0.0 --beta2 0.9 "
    "--init_type xavier_uniform --n_critic 5"
)
CIFAR10 = "--dataset cifar10 " + AUTHORS_TRAINING.format(img_size=32, bottom_width=4)
STL10 = "--dataset stl10 " + AUTHORS_TRAINING.format(img_size=48, bottom_width=6)
RETRAINING = "--gf_dim 256 --df_dim 128 --max_iter 50000"
GROWING_TRAINING = (
    "--dataset cifar10 --img_size 32 --start_resolution 8 --growth_iterations 100000 -gen_bs 16 -dis_bs 16 "
    "--growth_width 512 --latent_dim 512 --loss wgan-gp --g_lr 0.001 --d_lr 0.001 --beta1 0.0 --beta2 0.99"
)
FULL_LINES = {
    **{
        f"autogan_cifar10_{name}": f"train_derived {CIFAR10} {RETRAINING} --gen_model autogan_cifar10_{name} "
        f"--dis_model autogan_cifar10_{name} --val_freq 20 --exp_name autogan_cifar10_{name}"
        for name in "abc"
    },
    "autogan_cifar10_a2stl10": f"train_derived {STL10} {RETRAINING} --gen_model autogan_cifar10_a "
    "--dis_model autogan_cifar10_a --val_freq 10 --exp_name autogan_cifar10_a2stl10",
    "derive": f"train_derived {CIFAR10} {RETRAINING} --gen_model shared_gan --dis_model shared_gan "
    "--arch 1 0 1 1 1 0 0 1 1 1 0 1 0 3 --val_freq 20 --exp_name derive",
    "autogan_search": f"search {CIFAR10} --gen_model shared_gan --dis_model shared_gan "
    "--controller controller --gf_dim 128 --df_dim 64 --val_freq 20 "
    "--ctrl_sample_batch 1 --num_candidate 10 --topk 5 "
    "--shared_epoch 15 --grow_step1 15 --grow_step2 35 --max_search_iter 65 --ctrl_step 30 "
    "--exp_name autogan_search",
    "dggan_cifar10": f"search --method dggan {GROWING_TRAINING} --topk 20 --action_probability 0.2 "
    "--growing_steps 8 --kernels 3 7 --filters 32 64 128 256 512 1024 --reward fid --exp_name dggan_cifar10",
    "proggan_cifar10": f"search --method proggan {GROWING_TRAINING} --exp_name proggan_cifar10",
}


@pytest.mark.parametrize("name", FULL_LINES)
def test_an_experiments_line_resolves_to_what_the_full_line_does(name):
    text = (ROOT / "exps" / f"{name}.sh").read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^python (.+)$", text, re.MULTILINE)
    script, *arguments = shlex.split(line.replace('"$@"', ""))
    full_script, *full_arguments = FULL_LINES[name].split()
    assert script == f"{full_script}.py"
    options, full = (cfg.parse(full_script, words) for words in (arguments, full_arguments))
    unread = options.unread.keys()  # --dis_model has no effect
    read, full_read = (
        {option: value for option, value in each.flat().items() if option not in unread}
        for each in (options, full)
    )
    assert read == full_read
