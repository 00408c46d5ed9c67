"""Every option of every script, once, in groups by who reads them. No torch.

    options = parse("search")
    options.beam.topk, options.run.random_seed

A group that a script does not read is None. Values come in layers, of which later ones win: the fields'
defaults, the script's, the method's, the protocol's, the options of a run that goes on, what is typed.
Defaults are the paper's, or those of the authors' scripts where the paper is silent (README, "Differences
from the paper").
"""

import dataclasses
import math
import shlex
from dataclasses import dataclass

from models import architectures
from models.autogan.architecture import PUBLISHED, Architecture
from models.errors import ArchitectureError
from utils.cli import UserError
from utils.options import (
    Script, boolean, count, folder_name, group, option, output_file, refuse_other_size, share
)  # fmt: skip
from utils.run.derived import read_architecture
from utils.run.resume import find_interrupted

SEARCH, TRAIN, TEST = "search", "train_derived", "test"
ALL, TRAINING, SCORING = (SEARCH, TRAIN, TEST), (SEARCH, TRAIN), (TRAIN, TEST)
DATASETS = ("cifar10", "stl10", "mnist", "fashion_mnist", "digits", "folder")
GENERATORS = ("shared_gan", *PUBLISHED)
PRECISIONS = ("float32", "tf32", "bfloat16")  # those of utils.precision, which needs torch
# Methods of search.py: those that search AutoGAN's cells in a shared GAN. "autogan" is also their family.
SHARED_GAN_METHODS = ("autogan", "slas", "random_sharing")


@group(scripts=ALL)
class DataOptions:
    dataset: str = option("cifar10", "images to learn", DATASETS)
    data_path: str = option("./data", "where data sets are kept or downloaded to; folder: the folder or zip")
    img_size: int = option(32, "resolution of the images: bottom_width doubled once per cell", at_least=2)
    num_workers: int = option(8, "processes that read images, at most one a core", at_least=0)


@group(scripts=())
class AuthorsOptions:
    channels: int = option(3, "channels of the images", (3,))
    dis_model: str = option("shared_gan", "discriminator", GENERATORS)


@group(scripts=SCORING)
class ModelOptions:
    gen_model: str = option("shared_gan", "a published generator, or shared_gan: that of --arch", GENERATORS)


@group(scripts=ALL)
class NetworkOptions:
    latent_dim: int = count(128, "dimension of the noise")


@group(scripts=ALL, methods=SHARED_GAN_METHODS)
class CellOptions:
    gf_dim: int = count(256, "base width of the generator")
    df_dim: int = count(128, "base width of the discriminator")
    bottom_width: int = count(4, "resolution before the first cell")


@group(scripts=TRAINING, methods=SHARED_GAN_METHODS)
class WeightOptions:
    g_spectral_norm: bool = option(False, "spectral norm in the generator", kind=boolean)
    d_spectral_norm: bool = option(True, "spectral norm in the discriminator", kind=boolean)
    init_type: str = option(
        "xavier_uniform", "how convolutions start", ("normal", "orth", "xavier_uniform", "false")
    )


@group(scripts=TRAINING)
class TrainingOptions:
    gen_batch_size: int = count(128, "noise vectors in a generator step", flags=("-gen_bs",))
    dis_batch_size: int = count(64, "real images in a discriminator step", flags=("-dis_bs",))
    g_lr: float = option(2e-4, "learning rate of the generator", above=0)
    d_lr: float = option(2e-4, "learning rate of the discriminator", above=0)
    beta1: float = option(0.0, "Adam's first decay rate", at_least=0, at_most=0.999999)
    beta2: float = option(0.9, "Adam's second decay rate", at_least=0, at_most=0.999999)
    n_critic: int = count(5, "discriminator steps per generator step")
    loss: str = option("hinge", "adversarial loss", ("hinge", "wgan-gp"))
    max_grad_norm: float = option(0.0, "clip the gradients' norm; 0: never; 50 helps on STL-10", at_least=0)
    on_nan: str = option(
        "stop",
        "at NaN: stop, or go back to the last look at the losses and on with other noise, at most 3 times",
        ("stop", "rollback"),
    )
    precision: str = option("float32", "of the training; the others are faster and less exact", PRECISIONS)
    print_freq: int = count(100, "steps between looks at the losses: metrics.jsonl, bar, dynamic reset")

    @property
    def betas(self):
        """Adam's decay rates."""
        return self.beta1, self.beta2


@group(scripts=ALL)
class ScoringOptions:
    feature_net: str = option("inception", "network behind IS and FID", ("inception", "efficientnet-lite0"))
    inception_path: str = option(
        None, "Inception's weights: classify_image_graph_def.pb, its .tgz, or torch-fidelity's .pth"
    )
    inception_backend: str = option("torch", "what runs Inception's graph", ("torch", "tf", "both"))
    tf_python: str = option(None, "a Python that has TensorFlow, for --inception_backend tf")
    feature_precision: str = option(
        "float32",
        "of the feature network; the others are faster and move scores (docs/METRICS.md)",
        PRECISIONS,
    )
    eval_batch_size: int = count(100, "images generated at once for scoring")
    is_splits: int = count(10, "parts of the Inception score")

    def network(self):
        """Keyword arguments of utils.inception.feature_net.load_feature_net."""
        weights = {"inception_path": self.inception_path, "tf_python": self.tf_python}
        computing = {"backend": self.inception_backend, "precision": self.feature_precision}
        return {"name": self.feature_net, **weights, **computing}


@group(scripts=SCORING)
class EvaluationOptions:
    fid_stat: str = option(None, "real images' statistics (.npz with mu and sigma) instead of computing them")
    num_eval_imgs: int = option(50000, "images to score", at_least=2)


@group(scripts=ALL)
class RunOptions:
    exp_name: str = option(
        "run", "the run's folder: logs/EXP_NAME_TIME, of test.py in logs_eval", kind=folder_name
    )
    load_path: str = option(None, "a run's folder, to go on with it; test.py: or a .pth file, to score it")
    random_seed: int = option(12345, "seed of everything random", at_least=0)
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    fast: str = option("on", "off: plain code, for comparison; the same results to rounding", ("on", "off"))
    compile: bool = option(
        False, "compile the feature network, discriminator and trained generator; the same to rounding"
    )
    dry_run: bool = option(False, "print the resolved run as JSON and stop")
    folder_file: str = option(None, "write the run's folder into this file, for scripts", kind=output_file)

    @property
    def is_fast(self):
        return self.fast == "on"


@group(scripts=TRAINING)
class ResumeOptions:
    resume: str = option(
        "auto",
        "auto: go on with the run of the same command that was interrupted; never; or a run's folder",
        instead_of=("load_path",),
    )


@group(scripts=(SEARCH,))
class SearchOptions:
    method: str = option(
        "autogan",
        "autogan: cell by cell; slas: all cells at once (single-level); random_sharing: uniform cells in a "
        "shared GAN; dggan: grow both networks while they train; proggan: a list of growths",
        (*SHARED_GAN_METHODS, "dggan", "proggan"),
    )
    reward: str = option(
        "is", "Inception score, FID, or (dggan, proggan) sliced Wasserstein distance", ("is", "fid", "swd")
    )
    rl_num_eval_img: int = option(5000, "images scored for a reward", at_least=2)
    budget_hours: float = option(
        None,
        "end in order after so many hours of all sessions, if the search is not done before: autogan shares "
        "them among its levels, so every search ends with whole architectures (docs/SEARCHES.md)",
        above=0,
    )

    @property
    def budget_seconds(self):
        """When the search ends, in seconds of the run."""
        return math.inf if self.budget_hours is None else 3600 * self.budget_hours


@group(scripts=(SEARCH,), methods=(*SHARED_GAN_METHODS, "dggan"))
class BeamOptions:
    topk: int = count(5, "architectures kept at the end of a level, search or growing step (K)")


@group(scripts=(SEARCH,), methods=SHARED_GAN_METHODS)
class SharedGanOptions:
    shared_epoch: int = count(15, "epochs of shared-GAN training per search iteration")
    max_search_iter: int = count(90, "search iterations")
    num_candidate: int = count(
        10, "architectures scored at the end of a level (M); random_sharing: of the candidates"
    )
    dynamic_reset_threshold: float = option(
        1e-3, "variance of the losses below which the GAN has collapsed; 0: never reset", at_least=0
    )
    dynamic_reset_window: int = option(500, "losses the variance is taken over", at_least=2)
    val_freq: int = count(20, "search iterations between sample grids")
    score_freq: int = option(
        0, "search iterations between scores, IS and FID, of five sampled architectures; 0: never", at_least=0
    )
    score_imgs: int = option(5000, "images of each of these architectures", at_least=2)


@group(scripts=(SEARCH,), methods=("autogan",))
class MultiLevelOptions:
    controller: str = option(
        "controller",
        "the LSTM; or random: uniform cells, still level by level with a beam, so not random_sharing",
        ("controller", "random"),
    )
    grow_step1: int = count(25, "iteration at which the second cell is added")
    grow_step2: int = count(55, "iteration at which the third cell is added")
    grow_steps: tuple[int, ...] = option(
        None, "the same for any number of cells", nargs="*", instead_of=("grow_step1", "grow_step2")
    )


@group(scripts=(SEARCH,), methods=("autogan", "slas"))
class ControllerOptions:
    ctrl_step: int = option(30, "controller updates per search iteration", at_least=0)
    ctrl_sample_batch: int = count(1, "architectures per controller update")
    ctrl_lr: float = option(3.5e-4, "learning rate of the controller", above=0)
    hid_size: int = count(100, "hidden size of the controller")
    entropy_coeff: float = option(1e-4, "weight of the entropy in the reward", at_least=0)
    baseline_decay: float = share(0.9, "decay of the reward's moving average")


@group(scripts=(SEARCH,), methods=("random_sharing",))
class RandomSharingOptions:
    random_candidates: int = count(1000, "random architectures scored cheaply after the training")
    cheap_eval_imgs: int = option(500, "images of a cheap score", at_least=2)


@group(scripts=(SEARCH,), methods=("dggan", "proggan"))
class GrowthOptions:
    start_resolution: int = option(8, "resolution of the networks that everything grows from", at_least=4)
    growth_iterations: int = count(100000, "training steps at the start and after each growth")
    fade_share: float = share(0.5, "share of these steps over which a growth fades in")
    actions: tuple[str, ...] = option(
        None,
        "dggan's actions to choose from, or proggan's growths in order, such as 'G 3x64' 'D 7x32' double",
        instead_of=("kernels", "filters"),
    )
    growth_width: int = count(512, "filters of the first 4x4 convolutions; others follow by ProgGAN's rule")
    ema_decay: float = share(0.999, "decay of the average generator per generator step")
    workers: int = count(1, "processes that train a growing step's children, each GPU in turn; same result")


@group(scripts=(SEARCH,), methods=("dggan",))
class DgganOptions:
    growing_steps: int = option(8, "growing steps; the last ones only double where they must", at_least=0)
    action_probability: float = option(0.2, "chance that an action is tried (p)", above=0, at_most=1)
    kernels: tuple[int, ...] = option((3, 7), "kernels of the convolutions that dggan may add")
    filters: tuple[int, ...] = option((32, 64, 128, 256, 512, 1024), "their filters")


@group(scripts=(TRAIN,))
class DeriveOptions:
    arch: tuple[str, ...] = option(
        None, "a vector such as 1 0 1 1, a published name, or such as '4: G 3x512 D 3x512'"
    )
    init_from: str = option(None, "weights to start with: a checkpoint such as RUN/Model/node_007.pth")
    arch_file: str = option(None, "derived.json of a search")
    rank: int = count(1, "which architecture of --arch_file: 1 is the best")
    max_iter: int = count(50000, "generator iterations")
    max_epoch: int = count(
        None, "passes over the data divided by n_critic, as the authors count", instead_of=("max_iter",)
    )
    lr_decay: bool = option(False, "let the learning rates fall linearly to 0")
    sample_freq: int = count(5, "passes over the data between sample grids")
    score_start: bool = option(False, "score the untrained generator too")
    ema_decay: float = share(0.999, "decay of the average generator per generator step")
    val_freq: int = count(20, "passes over the data between scorings")


@group(scripts=(TEST,))
class TestOptions:
    arch: tuple[str, ...] = option(None, "architecture, if neither the checkpoint nor --gen_model names it")
    metrics: tuple[str, ...] = option(
        (), "scores besides is and fid", ("kid", "precision_recall", "swd"), nargs="*"
    )
    protocol: str = option(
        "autogan",
        "autogan: 50,000 images against the train split; sngan: 5,000 against the test split",
        ("autogan", "sngan"),
    )
    split: str = option("train", "real images to compare with, if not the protocol's", ("train", "test"))


@dataclass(frozen=True)
class Options:
    """The resolved options of one script, a group an attribute: None if the script does not read it.

    typed: names of the options on the command line. unread: {option: value} that the script has but ignores.
    """

    script: str
    typed: frozenset
    unread: dict
    data: DataOptions = None
    authors: AuthorsOptions = None
    model: ModelOptions = None
    network: NetworkOptions = None
    cells: CellOptions = None
    weights: WeightOptions = None
    training: TrainingOptions = None
    scoring: ScoringOptions = None
    evaluation: EvaluationOptions = None
    run: RunOptions = None
    resuming: ResumeOptions = None
    search: SearchOptions = None
    beam: BeamOptions = None
    shared_gan: SharedGanOptions = None
    multi_level: MultiLevelOptions = None
    controller: ControllerOptions = None
    random_sharing: RandomSharingOptions = None
    growth: GrowthOptions = None
    dggan: DgganOptions = None
    derive: DeriveOptions = None
    test: TestOptions = None

    def flat(self):
        """{option: value}, plain data for config.json and checkpoints.

        Options that only concern this call, such as --load_path, are left out.
        """
        values = self.unread.copy()
        for options in filter(None, map(self.__getattribute__, GROUPS)):
            values |= dataclasses.asdict(options)
        return {name: value for name, value in values.items() if name not in THIS_CALL_ONLY}


GROUPS = {field.name: field.type for field in dataclasses.fields(Options) if hasattr(field.type, "scripts")}
AUTHORS = ("channels", "dis_model")
SCRIPTS = {
    SEARCH: Script(
        SEARCH,
        "Search a generator: its cells (AutoGAN and others), or by growing both networks (DGGAN, ProgGAN).",
        GROUPS,
        tolerated=(*AUTHORS, "gen_model"),
        refused=("fid_stat", "num_eval_imgs"),
        # A search has no published architecture, and its reward is one score by one backend.
        choices={"gen_model": ("shared_gan",), "inception_backend": ("torch", "tf")},
        switch="--method",
    ),
    TRAIN: Script(TRAIN, "Train one architecture from scratch.", GROUPS, tolerated=AUTHORS),
    TEST: Script(
        TEST,
        "Score a checkpoint and draw its samples.",
        GROUPS,
        tolerated=(*AUTHORS, "g_spectral_norm"),
        refused=("d_spectral_norm", "init_type", "precision", "print_freq"),
    ),
}
# The authors search with half the width they retrain with.
SCRIPT_DEFAULTS = {
    SEARCH: {"exp_name": "search", "gf_dim": 128, "df_dim": 64},
    TRAIN: {"exp_name": "derive"},
    TEST: {"exp_name": "test"},
}
# ProgGAN's training. 800,000 images to fade in and 800,000 more are 100,000 steps of 16.
GROWING_DEFAULTS = {
    "latent_dim": 512, "dis_batch_size": 16, "gen_batch_size": 16, "g_lr": 1e-3, "d_lr": 1e-3, "beta2": 0.99,
    "n_critic": 1, "loss": "wgan-gp", "max_iter": 100000, "reward": "fid", "rl_num_eval_img": 10000,
    "topk": 20,
}  # fmt: skip
METHOD_DEFAULTS = {
    "autogan": {},
    "slas": {"exp_name": "slas"},
    "random_sharing": {"exp_name": "random_sharing"},
    "dggan": {**GROWING_DEFAULTS, "exp_name": "dggan"},
    "proggan": {**GROWING_DEFAULTS, "exp_name": "proggan"},
    "growing": GROWING_DEFAULTS,  # the family of an architecture that is trained or scored
}
PROTOCOL_DEFAULTS = {"autogan": {}, "sngan": {"num_eval_imgs": 5000, "split": "test"}}
# Options that may change when a run goes on: where and by what means it computes, not what.
FREE_ON_RESUME = {"data_path", "exp_name", "print_freq", "inception_path", "tf_python", "on_nan"}
FREE_ON_RESUME |= {"device", "compile", "num_workers", "workers", "budget_hours"}
THIS_CALL_ONLY = {"load_path", "resume", "dry_run", "folder_file"}


def parse(script, arguments=None):
    """The Options of `script` from the command line.

    A mistake ends the program with one line and exit code 2.
    """
    defaults, epilog = _defaults(script), None
    if script in TRAINING:
        stated = (f"--{name} {value}" for name, value in GROWING_DEFAULTS.items() if name in defaults)
        kind = "With --method dggan or proggan" if script == SEARCH else "Of a growing architecture"
        epilog = f"{kind} the defaults are {' '.join(stated)}."
    typed = SCRIPTS[script].typed(arguments, defaults, epilog)
    chosen = defaults | typed
    options = _resolve(script, _defaults(script, _method(chosen), chosen.get("protocol")) | typed, typed)
    if script == TEST or not _names_run(options):  # `resumed` does it for a run that goes on
        refuse_unread(options)
    return options


def _defaults(script, method=None, protocol=None):
    """{option: default} for all options that a script has."""
    layers = SCRIPT_DEFAULTS[script], METHOD_DEFAULTS.get(method, {}), PROTOCOL_DEFAULTS.get(protocol, {})
    return SCRIPTS[script].defaults(*layers)


def _method(values):
    """The method whose defaults apply: --method, or the family of the named architecture."""
    if "method" in values:
        return values["method"]
    text, _ = _named_architecture(*map(values.get, ("gen_model", "arch", "arch_file", "rank")))
    return architectures.family_name(text or "")


def _resolve(script, values, typed):
    """Options from {option: value}. typed: names of the options on the command line."""
    counted, parts = "rl_num_eval_img" if script == SEARCH else "num_eval_imgs", values["is_splits"]
    if parts > values[counted]:
        images = f"{values[counted]} images (--{counted})"
        raise UserError(f"--is_splits: {images} have no {parts} parts; lower it or score more images")
    groups, unread = SCRIPTS[script].build(values)
    return Options(script, frozenset(typed), unread, **groups)


def resumed(options, saved):
    """The Options of a run that goes on: the `saved` ones, and typed ones that do not change results.

    Raises UserError for other typed options.
    """
    script, path = SEARCH if "max_search_iter" in saved else TRAIN, options.run.load_path
    if script != options.script:
        cure = f"go on with it by: python {script}.py --load_path {shlex.quote(path)}"
        raise UserError(f"--load_path: {path} is a run of {script}.py; {cure}")
    free = FREE_ON_RESUME
    # Without decay of the learning rates, no step depends on the number of steps.
    if script == TRAIN and not saved["lr_decay"] and saved["max_epoch"] is None:
        free = free | {"max_iter"} if options.derive.max_iter > saved["max_iter"] else free
    saved = {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
    values = {**options.flat(), **saved, **_this_call(options)}
    for name in options.typed - THIS_CALL_ONLY:
        value = options.flat()[name]
        if name not in free and value != values[name]:
            problem = f"the run was started with {values[name]}, not {value}"
            raise UserError(f"--{name}: {problem}; leave the option out or start a new run")
        values[name] = value
    options = _resolve(script, values, options.typed)
    refuse_unread(options)
    return options


def with_run_options(options, saved):
    """test.py's Options for a run: its widths, seed, images and feature network, from `saved`.

    Typed options stay. If a data set or a feature network is typed, the options that belong to it are not
    taken from the run either.
    """
    names = {"img_size", "latent_dim", "gf_dim", "df_dim", "bottom_width", "random_seed", "fast"}
    if "dataset" not in options.typed:
        names |= {"dataset", "data_path"}
    if not options.typed & {"feature_net", "inception_path", "inception_backend"}:
        names |= {"feature_net", "inception_path", "feature_precision"}
    values = {name: saved[name] for name in names - options.typed if name in saved}
    return _resolve(options.script, {**options.flat(), **_this_call(options), **values}, options.typed)


def _this_call(options):
    """{option: value} of THIS_CALL_ONLY, as far as the script has them."""
    groups = filter(None, (options.run, options.resuming))
    values = {name: value for group in groups for name, value in vars(group).items()}
    return {name: values[name] for name in THIS_CALL_ONLY if name in values}


def _names_run(options):
    """Whether --load_path or --resume names a run to go on with."""
    return bool(options.run.load_path) or options.resuming.resume not in ("auto", "never")


def find_run(options):
    """The Options with --load_path set to the run that --resume names or finds.

    auto finds the newest run of the same options that was interrupted: it has a checkpoint, but no results.
    """
    run, resume = options.run, options.resuming.resume
    if run.load_path or run.dry_run or resume == "never":
        return options
    path = resume
    if resume == "auto":
        path = find_interrupted("logs", run.exp_name, options.flat(), FREE_ON_RESUME)
    return dataclasses.replace(options, run=dataclasses.replace(run, load_path=path))


def refuse_unread(options, method=None):
    """Raise UserError if a typed option has no effect.

    method: the family of a checkpoint's architecture, if it is known.
    """
    SCRIPTS[options.script].refuse_unread(options.typed, method or _method(options.flat()))


def command(script, options, **values):
    """A command line for another script, with `values` and what it needs of this run's options.

    These are the options of networks, training and scoring that both scripts read, where they are not the
    defaults. A search's width, and what only makes its rewards cheap, are left out.
    """
    left_out = {"gf_dim", "df_dim", "precision", "print_freq"}
    left_out |= {"is_splits", "feature_precision"} if options.script == SEARCH else set()
    ours, target = options.flat(), SCRIPTS[script]
    method = _method(ours | values)
    shared = target.known("data", "network", "cells", "weights", "training", "scoring", "evaluation")
    shared |= {name: found for name, found in target.known().items() if name == "ema_decay"}
    carried = {
        name: ours[name]
        for name, (group_class, _) in shared.items()
        if name not in left_out
        and target.reads(group_class, method)
        and ours.get(name) not in (None, _defaults(script, method)[name])
    }
    return target.command(carried | values)


def script_of(saved):
    """The script whose run saved these options {option: value}."""
    return SEARCH if "method" in saved else TRAIN if "max_iter" in saved else TEST


def changed_options(saved, architecture=""):
    """{option: (value, default)} of a run's saved options, as JSON holds them, that differ from the defaults.

    architecture: the text of what a run of train_derived.py or test.py trained or scored. An option that this
    version does not have has no default: None.
    """
    method = saved.get("method") or architectures.family_name(architecture)
    defaults = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in _defaults(script_of(saved), method, saved.get("protocol")).items()
    }
    pairs = {name: (value, defaults.get(name)) for name, value in saved.items()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def started_by(saved, architecture=""):
    """The command line that starts a run with these saved options anew."""
    script = SCRIPTS[script_of(saved)]
    changed = {name: value for name, (value, _) in changed_options(saved, architecture).items()}
    return script.command({name: value for name, value in changed.items() if name in script.known()})


def generator_architecture(options):
    """The architecture that --arch_file, --arch or --gen_model names, or None.

    Raises UserError if it is not valid, or does not make images of --img_size.
    """
    gen_model, derive = options.model.gen_model, options.derive
    if "rank" in options.typed and not derive.arch_file:
        raise UserError("--rank: without effect without --arch_file; give the derived.json of a search too")
    ranked = (derive.arch, derive.arch_file, derive.rank) if derive else (options.test.arch,)
    text, source = _named_architecture(gen_model, *ranked)
    if text is None:
        return None
    try:
        architecture = architectures.parse(text)
    except ArchitectureError as error:
        cure = "4 tokens describe the first cell and 5 each further one; growing networks: docs/DGGAN.md"
        raise UserError(f"{source}: {error}; {cure}") from None
    if gen_model in PUBLISHED and architecture != architectures.parse(gen_model):
        problem = f"{gen_model} is not the architecture of {source}, {architecture}"
        raise UserError(f"--gen_model: {problem}; leave one of them out")
    if isinstance(architecture, Architecture):
        levels, width = architecture.levels, options.cells.bottom_width
        maker = f"{levels} cells ({source}) on --bottom_width {width}"
        cure = " or change the cells or --bottom_width"
        refuse_other_size(options.data.img_size, width << levels, maker, cure)
    else:
        refuse_other_size(options.data.img_size, architecture.resolution, f"the layers of {source}")
    return architecture


def _named_architecture(gen_model, arch, arch_file=None, rank=None):
    """(text of the architecture, option that names it), or (None, None)."""
    if arch_file:
        return read_architecture(arch_file, rank), "--arch_file"
    if arch:
        return " ".join(arch), "--arch"
    return (gen_model, "--gen_model") if gen_model in PUBLISHED else (None, None)
