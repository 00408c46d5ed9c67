"""Every option of every script, once: argparse groups that become frozen dataclasses. No torch.

A script lists its groups in `SCRIPTS`; `parse(script)` gives an object with one attribute a group, resolved and checked.
Defaults are the paper's, those of the authors' scripts where the paper is silent (docs in README, "Differences from the paper").
"""

import argparse
import dataclasses
import json
import math
import shlex
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from models import architectures
from models.autogan.architecture import PUBLISHED, Architecture, ArchitectureError
from utils.cli import Parser, UserError

PRECISIONS = ("float32", "tf32", "bfloat16")  # those of utils.precision, which needs torch
TRAINING_SCRIPTS, SCORING_SCRIPTS = ("search", "train_derived"), ("train_derived", "test")


def option(
    default, help, *, kind=None, flags=(), choices=None, nargs=None, at_least=None, above=None, at_most=None,
    scripts=None, methods=None, tolerated=False, instead_of=(),
):  # fmt: skip
    """A field that is also a command-line option, with its allowed range.

    scripts, methods: those that read it, if not all do (a method is a key of METHOD_DEFAULTS or autogan). Others refuse it; a script
    accepts it all the same if `tolerated`, because the authors' command lines have it. instead_of: options that it leaves without effect.
    """
    details = dict(help=help, kind=kind or type(default), flags=flags, choices=choices, nargs=nargs)
    details.update(at_least=at_least, above=above, at_most=at_most)
    details.update(scripts=scripts, methods=methods, tolerated=tolerated, instead_of=instead_of)
    return dataclasses.field(default=default, metadata=details)


of_autogan, of_dggan = partial(option, methods=("autogan",)), partial(option, methods=("dggan",))
of_growing = partial(option, methods=("dggan", "proggan"))


def true_or_false(text):
    """The authors' booleans: --d_spectral_norm True."""
    if text.lower() in ("true", "t", "yes", "y", "1"):
        return True
    if text.lower() in ("false", "f", "no", "n", "0"):
        return False
    raise ValueError(text)


true_or_false.__name__ = "True or False"


@dataclass(frozen=True)
class DataOptions:
    dataset: str = option(
        "cifar10",
        "images to learn",
        choices=("cifar10", "stl10", "mnist", "fashion_mnist", "digits", "folder"),
    )
    data_path: str = option(
        "./data", "where data sets are kept or downloaded to; for `folder` the folder or zip of images"
    )
    channels: int = option(3, "channels of the images", choices=(3,), scripts=(), tolerated=True)
    img_size: int = option(32, "resolution of the images: bottom_width doubled once per cell", at_least=2)
    num_workers: int = option(8, "processes that read images, at most one a core", at_least=0)


@dataclass(frozen=True)
class NetworkOptions:
    gen_model: str = option(
        "shared_gan", "generator: shared_gan (see --arch) or a published architecture", choices=("shared_gan", *PUBLISHED),
        scripts=("train_derived", "test"), tolerated=True,
    )  # fmt: skip
    dis_model: str = option(
        "shared_gan",
        "discriminator: the same for every generator",
        choices=("shared_gan", *PUBLISHED),
        scripts=(),
        tolerated=True,
    )
    latent_dim: int = option(128, "dimension of the noise", at_least=1)
    gf_dim: int = of_autogan(256, "base width of the generator", at_least=1)
    df_dim: int = of_autogan(128, "base width of the discriminator", at_least=1)
    bottom_width: int = of_autogan(4, "resolution before the first cell", at_least=1)
    g_spectral_norm: bool = of_autogan(
        False, "spectral norm in the generator", kind=true_or_false, scripts=TRAINING_SCRIPTS, tolerated=True
    )
    d_spectral_norm: bool = of_autogan(
        True, "spectral norm in the discriminator", kind=true_or_false, scripts=TRAINING_SCRIPTS
    )
    init_type: str = of_autogan(
        "xavier_uniform",
        "initial weights of convolutions",
        choices=("normal", "orth", "xavier_uniform", "false"),
        scripts=TRAINING_SCRIPTS,
    )


@dataclass(frozen=True)
class TrainingOptions:
    gen_batch_size: int = option(128, "noise vectors in a generator step", flags=("-gen_bs",), at_least=1)
    dis_batch_size: int = option(64, "real images in a discriminator step", flags=("-dis_bs",), at_least=1)
    g_lr: float = option(2e-4, "learning rate of the generator", above=0)
    d_lr: float = option(2e-4, "learning rate of the discriminator", above=0)
    beta1: float = option(0.0, "Adam's first decay rate", at_least=0, at_most=0.999999)
    beta2: float = option(0.9, "Adam's second decay rate", at_least=0, at_most=0.999999)
    n_critic: int = option(5, "discriminator steps per generator step", at_least=1)
    loss: str = option("hinge", "adversarial loss", choices=("hinge", "wgan-gp"))
    max_grad_norm: float = option(
        0.0,
        "clip the gradients' norm; 0: never (50 is a known cure where STL-10 training collapses)",
        at_least=0,
    )
    on_nan: str = option(
        "stop", "at NaN or infinity: stop, or roll back to the last look at the losses and go on with other noise, 3 times at most",
        choices=("stop", "rollback"),
    )  # fmt: skip


@dataclass(frozen=True)
class ScoringOptions:
    feature_net: str = option(
        "inception", "network behind IS and FID", choices=("inception", "efficientnet-lite0")
    )
    inception_path: str = option(
        None, "Inception's weights: classify_image_graph_def.pb, its .tgz, or torch-fidelity's .pth", kind=str
    )
    inception_backend: str = option(
        "torch", "what executes the Inception graph", choices=("torch", "tf", "both")
    )
    tf_python: str = option(None, "a Python that has TensorFlow, for --inception_backend tf", kind=str)
    feature_precision: str = option(
        "float32", "of the feature network; the others are faster and move scores (docs/METRICS.md)", choices=PRECISIONS
    )  # fmt: skip
    fid_stat: str = option(
        None,
        "statistics of the real images (.npz with mu and sigma) instead of computing them",
        kind=str,
        scripts=SCORING_SCRIPTS,
    )
    eval_batch_size: int = option(100, "images generated at once for scoring", at_least=1)
    num_eval_imgs: int = option(50000, "images to score", at_least=2, scripts=SCORING_SCRIPTS)
    is_splits: int = option(10, "parts of the Inception score", at_least=1)

    def network(self):
        """The arguments of utils.inception.feature_net.load_feature_net, but for how and where it is computed."""
        return dict(
            name=self.feature_net, inception_path=self.inception_path, backend=self.inception_backend, tf_python=self.tf_python,
            precision=self.feature_precision,
        )  # fmt: skip


@dataclass(frozen=True)
class RunOptions:
    exp_name: str = option(
        "run", "name of the run's folder: logs/EXP_NAME_TIME, of test.py logs_eval/EXP_NAME_TIME"
    )
    load_path: str = option(
        None,
        "a run's folder, to go on with it; in test.py what to score: a run's folder or a .pth file",
        kind=str,
    )
    random_seed: int = option(12345, "seed of everything random", at_least=0)
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    fast: str = option(
        "on",
        "off: the plain way of computing, for comparison; the results are the same to rounding",
        choices=("on", "off"),
    )
    precision: str = option(
        "float32", "of multiplications in training; the others are faster and move results; tf32 is a GPU's", choices=PRECISIONS,
        scripts=TRAINING_SCRIPTS,
    )  # fmt: skip
    compile: bool = option(
        False,
        "compile the feature network, the discriminator and, in train_derived, the generator; the same to rounding",
    )
    print_freq: int = option(
        100,
        "steps between looks at the losses: metrics.jsonl, bar, dynamic reset",
        at_least=1,
        scripts=TRAINING_SCRIPTS,
    )
    dry_run: bool = option(False, "print the resolved run as JSON and stop")


@dataclass(frozen=True)
class SearchOptions:
    method: str = option(
        "autogan", "autogan: cells by a controller; dggan: grow both networks while they train; proggan: a fixed list of growths",
        choices=("autogan", "dggan", "proggan"),
    )  # fmt: skip
    controller: str = of_autogan(
        "controller", "who draws architectures: the LSTM, or random search", choices=("controller", "random")
    )
    shared_epoch: int = of_autogan(15, "epochs of shared-GAN training per search iteration", at_least=1)
    max_search_iter: int = of_autogan(90, "search iterations", at_least=1)
    grow_step1: int = of_autogan(25, "iteration at which the second cell is added", at_least=1)
    grow_step2: int = of_autogan(55, "iteration at which the third cell is added", at_least=1)
    grow_steps: tuple = of_autogan(
        None,
        "iterations at which a cell is added, for any number of cells",
        kind=int,
        nargs="*",
        instead_of=("grow_step1", "grow_step2"),
    )
    ctrl_step: int = of_autogan(30, "controller updates per search iteration", at_least=0)
    ctrl_sample_batch: int = of_autogan(1, "architectures per controller update", at_least=1)
    ctrl_lr: float = of_autogan(3.5e-4, "learning rate of the controller", above=0)
    hid_size: int = of_autogan(100, "hidden size of the controller", at_least=1)
    entropy_coeff: float = of_autogan(1e-4, "weight of the entropy in the reward", at_least=0)
    baseline_decay: float = of_autogan(0.9, "decay of the reward's moving average", at_least=0, at_most=1)
    reward: str = option(
        "is", "reward of an architecture: Inception score, FID, or (dggan) sliced Wasserstein distance; the lower distance is better",
        choices=("is", "fid", "swd"),
    )  # fmt: skip
    rl_num_eval_img: int = option(5000, "images scored for a reward", at_least=2)
    num_candidate: int = of_autogan(10, "architectures drawn at the end of a level (M)", at_least=1)
    topk: int = option(
        5,
        "architectures kept at the end of a level or growing step (K)",
        at_least=1,
        methods=("autogan", "dggan"),
    )
    dynamic_reset_threshold: float = of_autogan(
        1e-3, "variance of the losses that means collapse; 0: never reset", at_least=0
    )
    dynamic_reset_window: int = of_autogan(500, "losses the variance is taken over", at_least=2)
    val_freq: int = of_autogan(20, "search iterations between sample grids", at_least=1)


@dataclass(frozen=True)
class GrowthOptions:
    start_resolution: int = of_growing(
        8, "resolution of the root, the network pair that everything grows from", at_least=4
    )
    growing_steps: int = of_dggan(
        8, "growing steps; where only enough are left for doublings, only doublings are tried", at_least=0
    )
    growth_iterations: int = of_growing(
        100000, "training steps of the root and after each growth", at_least=1
    )
    fade_share: float = of_growing(
        0.5, "share of these steps over which a growth fades in", at_least=0, at_most=1
    )
    action_probability: float = of_dggan(
        0.2, "probability that dggan tries an action on a network (p)", above=0, at_most=1
    )
    kernels: tuple = of_dggan((3, 7), "kernels of the convolutions that dggan may add", kind=int, nargs="+")
    filters: tuple = of_dggan((32, 64, 128, 256, 512, 1024), "their filters", kind=int, nargs="+")
    actions: tuple = of_growing(
        None, "dggan's actions to choose from, or proggan's list of growths in order, such as 'G 3x64' 'D 7x32' double",
        kind=str, nargs="+", instead_of=("kernels", "filters"),
    )  # fmt: skip
    growth_width: int = of_growing(
        512, "filters of the first 4x4 convolutions; higher resolutions follow by ProgGAN's rule", at_least=1
    )
    ema_decay: float = of_growing(
        0.999, "decay of the average generator per generator step", at_least=0, at_most=1
    )
    workers: int = of_growing(
        1, "processes that train the children of a growing step, each GPU in turn; same result", at_least=1
    )


@dataclass(frozen=True)
class DeriveOptions:
    arch: str = option(
        None, "architecture: flat vector, cells separated by |, a published name, or a growing one such as '4: G 3x512 D 3x512'",
        kind=str, nargs="+",
    )  # fmt: skip
    init_from: str = option(
        None,
        "checkpoint of the same architecture whose weights to start with, such as RUN/Model/node_007.pth",
        kind=str,
    )
    arch_file: str = option(None, "derived.json of a search", kind=str)
    rank: int = option(1, "which architecture of --arch_file: 1 is the best", at_least=1)
    max_iter: int = option(50000, "generator iterations", at_least=1)
    max_epoch: int = option(
        None,
        "passes over the data; as in the authors' code times n_critic",
        kind=int,
        at_least=1,
        instead_of=("max_iter",),
    )
    lr_decay: bool = option(False, "let the learning rates fall linearly to 0")
    sample_freq: int = option(5, "passes over the data between sample grids", at_least=1)
    score_start: bool = option(False, "score the untrained generator too")
    ema_decay: float = option(
        0.999, "decay of the average generator per generator step", at_least=0, at_most=1
    )
    val_freq: int = option(20, "passes over the data between scorings", at_least=1)


@dataclass(frozen=True)
class TestOptions:
    arch: str = option(
        None, "architecture, if neither the checkpoint nor --gen_model tells it", kind=str, nargs="+"
    )
    metrics: tuple = option(
        (), "scores besides is and fid", kind=str, nargs="*", choices=("kid", "precision_recall", "swd")
    )
    protocol: str = option(
        "autogan",
        "autogan: 50,000 images against the train split; sngan: 5,000 against the test split",
        choices=("autogan", "sngan"),
    )
    split: str = option(
        "train", "real images to compare with, if not the protocol's", choices=("train", "test")
    )


SCRIPTS = {
    "search": (
        "Search a generator: cell by cell (AutoGAN, Algorithm 1), or by growing both networks (DGGAN, ProgGAN).",
        ("data", "network", "training", "scoring", "run", "search", "growth"),
    ),
    "train_derived": (
        "Train one architecture from scratch.",
        ("data", "network", "training", "scoring", "run", "derive"),
    ),
    "test": ("Score a checkpoint and draw its samples.", ("data", "network", "scoring", "run", "test")),
}
GROUPS = dict(
    data=DataOptions, network=NetworkOptions, training=TrainingOptions, scoring=ScoringOptions,
    run=RunOptions, search=SearchOptions, growth=GrowthOptions, derive=DeriveOptions, test=TestOptions,
)  # fmt: skip
# The authors search with half the width they retrain with.
SCRIPT_DEFAULTS = {
    "search": {"gf_dim": 128, "df_dim": 64, "exp_name": "search"},
    "train_derived": {"exp_name": "derive"},
    "test": {"exp_name": "test"},
}
# What is searched is no published architecture, and a reward is one score, by one backend.
SCRIPT_CHOICES = {"search": {"inception_backend": ("torch", "tf"), "gen_model": ("shared_gan",)}}
# ProgGAN's training, wherever the networks are growing ones. 800,000 images to fade and 800,000 more are 100,000 steps of 16.
GROWING_DEFAULTS = {
    "latent_dim": 512, "dis_batch_size": 16, "gen_batch_size": 16, "g_lr": 1e-3, "d_lr": 1e-3, "beta2": 0.99, "n_critic": 1,
    "loss": "wgan-gp", "max_iter": 100000, "reward": "fid", "rl_num_eval_img": 10000, "topk": 20,
}  # fmt: skip
METHOD_DEFAULTS = {
    "dggan": {**GROWING_DEFAULTS, "exp_name": "dggan"},
    "proggan": {**GROWING_DEFAULTS, "exp_name": "proggan"},
    "growing": GROWING_DEFAULTS,  # training an architecture that was grown
}
PROTOCOL_DEFAULTS = {"autogan": {}, "sngan": {"num_eval_imgs": 5000, "split": "test"}}
# What may differ when a run goes on: where and how it is computed, not what.
FREE_ON_RESUME = {
    "device", "num_workers", "data_path", "print_freq", "exp_name", "inception_path", "tf_python", "workers", "compile", "on_nan",
}  # fmt: skip
THIS_CALL_ONLY = {"load_path", "dry_run"}


def parse(script, arguments=None):
    """Options of `script` from the command line: an object with a frozen dataclass per group, e.g. options.network.gf_dim.

    A wrong value ends the program with one `error:` line and exit code 2.
    """
    description, group_names = SCRIPTS[script]
    parser = Parser(prog=f"{script}.py", description=description, epilog=_epilog(group_names))
    defaults = SCRIPT_DEFAULTS.get(script, {})
    for group_name in group_names:
        group = parser.add_argument_group(group_name)
        for field in dataclasses.fields(GROUPS[group_name]):
            choices = SCRIPT_CHOICES.get(script, {}).get(field.name, field.metadata["choices"])
            _add_argument(
                group, field, defaults.get(field.name, field.default), choices, _help(field, script)
            )
    given, explicit = vars(parser.parse_args(arguments)), _explicitly_given(parser, arguments)
    if not given["exp_name"] or "/" in given["exp_name"]:
        raise UserError(f"--exp_name: '{given['exp_name']}' is not the name of a folder; give one without /")
    dependent = METHOD_DEFAULTS.get(_method(given), {}) | PROTOCOL_DEFAULTS.get(given.get("protocol"), {})
    given |= {name: value for name, value in dependent.items() if name in given and name not in explicit}
    options = resolve(script, given, explicit)
    if script == "test" or not options.run.load_path:  # what goes on is not yet known: see `resumed`
        refuse_unread(options)
    return options


@dataclass(frozen=True)
class Options:
    """The resolved options of one script, a group an attribute (None for groups the script does not have)."""

    script: str
    data: DataOptions = None
    network: NetworkOptions = None
    training: TrainingOptions = None
    scoring: ScoringOptions = None
    run: RunOptions = None
    search: SearchOptions = None
    growth: GrowthOptions = None
    derive: DeriveOptions = None
    test: TestOptions = None
    explicit: frozenset = frozenset()

    def flat(self):
        """{option: value} of all groups but those of this call alone: plain data for config.json and checkpoints."""
        groups = (getattr(self, name) for name in SCRIPTS[self.script][1])
        values = {name: value for group in groups for name, value in dataclasses.asdict(group).items()}
        return {name: value for name, value in values.items() if name not in THIS_CALL_ONLY}


def resolve(script, values, explicit=()):
    """Options from {option: value}; raises UserError for a value outside its range."""
    groups = {}
    for group_name in SCRIPTS[script][1]:
        fields = dataclasses.fields(GROUPS[group_name])
        for field in fields:
            _check_range(field, values[field.name])
        groups[group_name] = GROUPS[group_name](
            **{field.name: _frozen(values[field.name]) for field in fields}
        )
    scored = "rl_num_eval_img" if "search" in groups else "num_eval_imgs"
    images, parts = values[scored], values["is_splits"]
    if parts > images:
        raise UserError(
            f"--is_splits: {images} images (--{scored}) have no {parts} parts; lower it or score more images"
        )
    return Options(script=script, explicit=frozenset(explicit), **groups)


def _frozen(value):
    """A list as a tuple: argparse makes lists where defaults are tuples."""
    return tuple(value) if isinstance(value, list) else value


def on_the_data_of(options, saved):
    """Options of test.py for the run whose options are `saved`: its widths, seed, images and feature network, unless the command line
    names others."""
    told = {"img_size", "latent_dim", "gf_dim", "df_dim", "bottom_width", "random_seed", "fast"}
    if "dataset" not in options.explicit:
        told |= {"dataset", "data_path"}
    if not options.explicit & {"feature_net", "inception_path", "inception_backend"}:
        told |= {"feature_net", "inception_path", "feature_precision"}
    values = {name: saved[name] for name in told - options.explicit if name in saved}
    return resolve(
        options.script,
        {**options.flat(), "load_path": options.run.load_path, "dry_run": options.run.dry_run, **values},
        options.explicit,
    )


def resumed(options, saved):
    """Options of the run being gone on with: the saved ones but for what may differ; refuses to change what the run computes."""
    script = "search" if "max_search_iter" in saved else "train_derived"
    if script != options.script:
        path = options.run.load_path
        raise UserError(
            f"--load_path: {path} is a run of {script}.py; go on with it by: python {script}.py --load_path {shlex.quote(path)}"
        )
    values = {**saved, "load_path": options.run.load_path, "dry_run": options.run.dry_run}
    free = FREE_ON_RESUME
    if (
        options.derive
        and not saved["lr_decay"]
        and saved["max_epoch"] is None
        and options.derive.max_iter > saved["max_iter"]
    ):
        free = free | {"max_iter"}  # without decay no step depends on how many there will be
    for name in options.explicit - THIS_CALL_ONLY:
        value = options.flat()[name]
        if name not in free and value != _frozen(saved.get(name, value)):
            raise UserError(
                f"--{name}: the run was started with {saved[name]}, not {value}; leave the option out or start a new run"
            )
        values[name] = value
    options = resolve(options.script, {**options.flat(), **values}, options.explicit)
    refuse_unread(options)
    return options


def refuse_unread(options, method=None):
    """Refuse what stands on the command line without effect: options of other scripts or methods, and those that another one replaces.

    method: "growing" where a checkpoint tells that it is about such networks.
    """
    method = method or _method(options.flat())
    for field in _fields(options.script):
        details = field.metadata
        if field.name not in options.explicit:
            continue
        if not (is_read(field, options.script) or details["tolerated"]):
            raise UserError(f"--{field.name}: without effect in {options.script}.py; leave it out")
        if not is_read(field, method=method):
            cure = f" or set --method {details['methods'][0]}" if options.script == "search" else ""
            raise UserError(f"--{field.name}: without effect with {method}; leave it out{cure}")
        for other in details["instead_of"]:
            if other in options.explicit:
                raise UserError(f"--{other}: without effect beside --{field.name}; leave one of them out")


def is_read(field, script=None, method=None):
    """Whether a script, and a method, do something with an option."""
    scripts, methods = field.metadata["scripts"], field.metadata["methods"]
    return (None in (scripts, script) or script in scripts) and (
        None in (methods, method) or method in methods
    )


def _fields(script):
    """The fields of all options of a script."""
    return [field for group_name in SCRIPTS[script][1] for field in dataclasses.fields(GROUPS[group_name])]


def command(script, options, **values):
    """A command line of another script: `values`, and those options of this run that both have and that differ from its defaults.

    What only makes a search's rewards cheap is left out, as is the search's width.
    """
    left_out = {"gf_dim", "df_dim", "gen_model", "dis_model"}
    if options.script == "search":
        left_out |= {"is_splits", "feature_precision"}
    method = _method({**options.flat(), **values})
    method_defaults = METHOD_DEFAULTS.get(method, {})
    shared = {
        field.name: (
            {**SCRIPT_DEFAULTS.get(script, {}), **method_defaults}.get(field.name, field.default),
            flat_value,
        )
        for name in SCRIPTS[script][1]
        for field in dataclasses.fields(GROUPS[name])
        for flat_value in [options.flat().get(field.name)]
        if (name in ("data", "network", "training", "scoring") or field.name == "ema_decay")
        and field.name not in left_out
        and is_read(field, script, method)
    }
    values = {
        name: value for name, (default, value) in shared.items() if value not in (None, default)
    } | values
    return " ".join(
        [f"python {script}.py", *(f"--{name} {shlex.quote(str(value))}" for name, value in values.items())]
    )


def generator_architecture(options):
    """The architecture that --arch, --arch_file or --gen_model names (None if none does), checked against --img_size."""
    derive, network = options.derive, options.network
    arch = (derive or options.test).arch
    if "rank" in options.explicit and not derive.arch_file:
        raise UserError("--rank: without effect without --arch_file; give the derived.json of a search too")
    try:
        if derive and derive.arch_file:
            source, architecture = (
                "--arch_file",
                architectures.parse(_ranked_text(derive.arch_file, derive.rank)),
            )
        elif arch:
            source, architecture = "--arch", architectures.parse(" ".join(arch))
        elif network.gen_model in PUBLISHED:
            source, architecture = "--gen_model", Architecture.parse(network.gen_model)
        else:
            return None
    except ArchitectureError as error:
        source = "--arch_file" if derive and derive.arch_file else "--arch"
        cure = "an architecture is 4 tokens for the first cell and 5 for each further one, or as in docs/DGGAN.md for each resolution"
        raise UserError(f"{source}: {error}; {cure}") from None
    if network.gen_model in PUBLISHED and architecture != Architecture.parse(network.gen_model):
        raise UserError(
            f"--gen_model: {network.gen_model} is not the architecture of {source}, {architecture}; leave one of them out"
        )
    if architecture.family == "autogan":
        check_resolution(options, architecture.levels, source)
    elif architecture.resolution != options.data.img_size:
        made = architecture.resolution
        raise UserError(
            f"--img_size: the architecture ({source}) makes {made} px images, not {options.data.img_size}; set --img_size {made}"
        )
    return architecture


def _method(values):
    """Whose defaults hold: those of --method, or of the kind of architecture that --arch or --arch_file names."""
    if "method" in values:
        return values["method"]
    text = " ".join(values.get("arch") or ())
    if values.get("arch_file"):
        text = _ranked_text(values["arch_file"], values["rank"])
    return architectures.family_name(text)


def _epilog(group_names):
    """What --help says of the defaults that depend on the kind of network."""
    if "training" not in group_names:
        return None
    fields = {field.name for group_name in group_names for field in dataclasses.fields(GROUPS[group_name])}
    stated = " ".join(f"--{name} {value}" for name, value in GROWING_DEFAULTS.items() if name in fields)
    kind = "With --method dggan or proggan" if "search" in group_names else "Of a growing architecture"
    return f"{kind} the defaults are {stated}."


def check_resolution(options, levels, source, cells="the cells"):
    """Refuse an --img_size that the cells do not produce; `cells` says where to change them."""
    made = options.network.bottom_width << levels
    if made != options.data.img_size:
        raise UserError(
            f"--img_size: {levels} cells ({source}) on --bottom_width {options.network.bottom_width} make {made} px images, "
            f"not {options.data.img_size}; set --img_size {made} or change {cells} or --bottom_width"
        )


def compiles_discriminator(options):
    """Whether --compile reaches the discriminator: its norms must be joint, and WGAN-GP would differentiate its gradients."""
    return options.run.compile and options.run.fast == "on" and options.training.loss == "hinge"


def growing_steps(options):
    """Search iterations at which a cell is added; their number fixes the number of cells."""
    search = options.search
    cells = max(1, round(math.log2(options.data.img_size / options.network.bottom_width)))
    steps = (
        search.grow_steps
        if search.grow_steps is not None
        else (search.grow_step1, search.grow_step2)[: cells - 1]
    )
    name = "--grow_steps" if search.grow_steps is not None else "--grow_step1, --grow_step2"
    if list(steps) != sorted(set(steps)) or (
        steps and not 0 < min(steps) <= max(steps) < search.max_search_iter
    ):
        raise UserError(
            f"{name}: {list(steps)} must rise between 0 and --max_search_iter {search.max_search_iter}; give smaller or distinct steps"
        )
    check_resolution(
        options, 1 + len(steps), name, cells="--grow_steps (an iteration for each cell but the first)"
    )
    for unused in ("grow_step1", "grow_step2")[len(steps) :]:
        if unused in options.explicit:
            raise UserError(
                f"--{unused}: without effect at --img_size {options.data.img_size}, which adds {len(steps)} cells; omit it"
            )
    return tuple(steps)


def check_search(options):
    """Refuse settings of AutoGAN's search that do not go together."""
    search = options.search
    if search.reward == "swd":
        raise UserError("--reward: swd is a reward of --method dggan and proggan; use is or fid")
    if search.topk > search.num_candidate:
        raise UserError(
            f"--topk: cannot keep {search.topk} of --num_candidate {search.num_candidate}; lower --topk or draw more"
        )
    if search.controller == "random":
        for name in ("ctrl_step", "ctrl_sample_batch", "ctrl_lr", "entropy_coeff", "baseline_decay"):
            if name in options.explicit:
                raise UserError(
                    f"--{name}: without effect with --controller random, which learns nothing; leave it out"
                )


def _ranked_text(path, rank):
    """The text of one architecture of a derived.json."""
    try:
        ranked = json.loads(Path(path).read_text(encoding="utf-8"))["architectures"]
        texts = [entry["architecture"] for entry in ranked]
    except OSError:
        raise UserError(f"--arch_file: no file {path}; give the derived.json that a search wrote") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"--arch_file: {path} is not a derived.json; give the one that a search wrote"
        ) from None
    if not 1 <= rank <= len(texts):
        raise UserError(f"--rank: {path} holds {len(texts)} architectures; give 1 to {len(texts)}")
    return str(texts[rank - 1])


def _help(field, script):
    """What --help says of an option: nothing where it would be refused."""
    details = field.metadata
    if not is_read(field, script):
        return (
            "without effect here; the authors' command lines have it"
            if details["tolerated"]
            else argparse.SUPPRESS
        )
    words = [details["help"]]
    if details["methods"] and script == "search":
        words.append(f"(--method {' and '.join(details['methods'])})")
    if details["instead_of"]:
        words.append(f"(instead of {' and '.join(f'--{name}' for name in details['instead_of'])})")
    return " ".join(words)


def _add_argument(group, field, default, choices, help):
    details = field.metadata
    names = (*details["flags"], f"--{field.name}")
    if details["kind"] is bool:
        group.add_argument(*names, dest=field.name, action="store_true", help=help)
        return
    arguments = dict(dest=field.name, default=default, help=help, type=details["kind"])
    if choices:
        arguments.update(choices=choices)
    else:
        arguments.update(
            metavar=getattr(details["kind"], "__name__", "value").upper()
            if details["kind"] is not true_or_false
            else "BOOL"
        )
    if details["nargs"]:
        arguments.update(nargs=details["nargs"])
    group.add_argument(*names, **arguments)


def _explicitly_given(parser, arguments):
    """Names of the options that stand on the command line."""
    flags = {flag: action.dest for action in parser._actions for flag in action.option_strings}
    words = sys.argv[1:] if arguments is None else arguments
    return {flags[word.split("=")[0]] for word in words if word.split("=")[0] in flags}


def _check_range(field, value):
    if value is None or field.metadata["nargs"]:
        return
    details, name = field.metadata, f"--{field.name}"
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name}: {value} is no number to work with; give a finite one")
    for bound, holds, words in (
        ("at_least", lambda limit: value >= limit, "at least"),
        ("above", lambda limit: value > limit, "more than"),
        ("at_most", lambda limit: value <= limit, "at most"),
    ):
        if details[bound] is not None and not holds(details[bound]):
            raise UserError(f"{name}: must be {words} {details[bound]}, not {value}")
