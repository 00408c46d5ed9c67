"""What tests of the scripts share: running them, stopping them, comparing what they leave."""

import importlib.util
import json
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F

from option_groups.training import TrainingOptions
import models_search.dggan.costs
import models_search.dggan.pair
import models_search.dggan.search
import models_search.retraining.materials
import models_search.shared_gan.materials
import utils.metrics.generator
from utils.data.load import load_images
from utils.run.save_point import SavePoint, StopRequested

ROOT = Path(__file__).resolve().parent.parent

# Runs of a second or two with TinyNet, on the pictures of `write_pictures`. A level or a resolution grows in
# the second half.
SHORT_RUNS = {
    "search": "search --gf_dim 4 --df_dim 4 --bottom_width 4 --grow_step1 2 --max_search_iter 4 --shared_epoch 2 --ctrl_step 3 "
    "--num_candidate 3 --topk 2 --val_freq 2 --hid_size 8 --rl_num_eval_img 8 --dynamic_reset_window 4 --dynamic_reset_threshold 1e6 "
    "--n_critic 2 -gen_bs 4 -dis_bs 4",
    "random_sharing": "search --method random_sharing --gf_dim 4 --df_dim 4 --bottom_width 4 --max_search_iter 2 --shared_epoch 2 "
    "--random_candidates 5 --cheap_eval_imgs 4 --num_candidate 3 --topk 2 --val_freq 2 --rl_num_eval_img 8 --dynamic_reset_window 4 "
    "--dynamic_reset_threshold 1e6 --n_critic 2 -gen_bs 4 -dis_bs 4",
    "slas": "search --method slas --gf_dim 4 --df_dim 4 --bottom_width 4 --max_search_iter 2 --shared_epoch 2 --ctrl_step 3 "
    "--ctrl_sample_batch 2 --num_candidate 3 --topk 2 --val_freq 2 --hid_size 8 --rl_num_eval_img 8 --dynamic_reset_window 4 "
    "--dynamic_reset_threshold 1e6 --n_critic 2 -gen_bs 4 -dis_bs 4",
    "train_derived": "train_derived --arch 1 0 1 1 0 1 2 1 1 --gf_dim 4 --df_dim 4 --bottom_width 4 --max_iter 8 --n_critic 2 --val_freq 1 "
    "--sample_freq 1 --num_eval_imgs 8 -gen_bs 4 -dis_bs 4 --lr_decay",
    "asha": "search --method asha --gf_dim 4 --df_dim 4 --rungs 1 2 3 --eta 2 --max_trials 5 --topk 2 --ema_decay 0.9 "
    "--rl_num_eval_img 8 --n_critic 2 -gen_bs 4 -dis_bs 4",
    "dggan": "search --method dggan --growth_width 4 --growth_iterations 6 --growing_steps 2 --topk 2 --kernels 3 --filters 4 8 "
    "--action_probability 0.5 --rl_num_eval_img 8 --num_workers 0 -gen_bs 4 -dis_bs 4",
}
SHORT = "--feature_net efficientnet-lite0 --device cpu --img_size 16 --latent_dim 8 --is_splits 1 --print_freq 2 --random_seed 24"


def short_run(name, pictures):
    """The command line of one of SHORT_RUNS."""
    return f"{SHORT_RUNS[name]} {SHORT} --dataset folder --data_path {pictures} --exp_name {name}"


def write_pictures(folder):
    """20 digits of 16 px: their statistics take no time."""
    digits = load_images("digits")
    for index in range(20):
        digits.picture(index).resize((16, 16)).save(folder / f"{index:02d}.png")
    return folder


@contextmanager
def default_dtype(dtype):
    """Networks built and numbers drawn inside have this type.

    Cast to float64 afterwards they would still begin with the float32 rounding of one processor's instructions.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class TinyNet:
    """A feature network that costs nothing: the means of the four quarters of an image, the same on every processor."""

    name, backend, weights_sha256, feature_dim, num_classes, device = (
        "tiny",
        "torch",
        "none",
        12,
        5,
        torch.device("cpu"),
    )

    def __call__(self, images):
        features = (F.adaptive_avg_pool2d(images.double(), 2).flatten(1) / 255).float()
        return features, 20 * features[:, :5]


def use_tiny_net(monkeypatch):
    """Everything scores with TinyNet from here on."""
    for module in (models_search.shared_gan.materials, utils.metrics.generator):
        monkeypatch.setattr(module, "load_feature_net", lambda *arguments, **options: TinyNet())
    models_search.retraining.materials.materials_of_process.cache_clear()
    for module in (models_search.dggan.pair, models_search.dggan.search, models_search.dggan.costs):
        monkeypatch.setattr(module, "load_net", lambda *arguments: TinyNet())


def scored_lines(run):
    """scored.jsonl of a run as a list of dicts, without the seconds."""
    lines = map(json.loads, (run / "scored.jsonl").read_text().splitlines())
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def training_options(**changes):
    """The default training options, but for these."""
    return TrainingOptions(**changes)


def load_script(name):
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def only_run(tmp_path, name):
    (run,) = (tmp_path / "logs").glob(f"{name}_2*")
    return run


def stop_at(call, monkeypatch, by_signal=True):
    """Make the n-th save point find a SIGTERM waiting, or raise as a power cut would, saving nothing."""
    original, calls = SavePoint.reached, []

    class PowerCut(Exception):
        pass

    def counted(self, due=False):
        calls.append(due)
        if len(calls) == call:
            if not by_signal:
                raise PowerCut
            self.stop.number = signal.SIGTERM
        original(self, due)

    monkeypatch.setattr(SavePoint, "reached", counted)
    return (StopRequested, PowerCut), lambda: monkeypatch.setattr(SavePoint, "reached", original)


def read_metrics(run):
    """The lines of a run's metrics.jsonl, without the time they were written at."""
    lines = [json.loads(line) for line in (run / "Log" / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def assert_equal_states(first, second, path=""):
    assert type(first) is type(second), path
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), path
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), path
        # How long a run took is no part of what it computed, nor the lengths of the logs that hold the time.
        for key in first.keys() - {"seconds", "metrics_bytes", "scored_bytes"}:
            assert_equal_states(first[key], second[key], f"{path}/{key}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), path
        for index, pair in enumerate(zip(first, second)):
            assert_equal_states(*pair, f"{path}/{index}")
    else:
        assert first == second, (path, first, second)
