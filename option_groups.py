"""Every option of every script, once, in groups by who reads them. No torch.

cfg.py makes the Options of a script of them.
Defaults are the paper's, or those of the authors' scripts where the paper is silent (docs/DIFFERENCES.md).
"""

import math
from functools import partial

from models.autogan.architecture import PUBLISHED
from models.growing.architecture import LARGEST_KERNEL, MOST_FILTERS
from utils.options import boolean, count, folder_name, group, new_folder, option, output_file, share

SEARCH, TRAIN, TEST = "search", "train_derived", "test"
ALL, TRAINING, SCORING = (SEARCH, TRAIN, TEST), (SEARCH, TRAIN), (TRAIN, TEST)
DATASETS = ("cifar10", "stl10", "mnist", "fashion_mnist", "digits", "folder")
GENERATORS = ("shared_gan", *PUBLISHED)
PRECISIONS = ("float32", "tf32", "bfloat16")  # those of utils.precision, which needs torch
# Larger ones fit no memory, and the products of these fit 64 bits; what fits this machine is checked later.
width = partial(count, at_most=2**20)
size = partial(option, at_most=2**14)
images = partial(option, at_least=2, at_most=10**8)  # a random order of so many takes 800 MB
million = partial(count, at_most=10**6)
processes = partial(option, at_most=1024)
# Methods of search.py: those that search AutoGAN's cells in a shared GAN. "autogan" is also their family.
SHARED_GAN_METHODS = ("autogan", "slas", "random_sharing")


@group(scripts=ALL)
class DataOptions:
    dataset: str = option("cifar10", "images to learn", DATASETS)
    data_path: str = option("./data", "where data sets are kept or downloaded to; folder: the folder or zip")
    img_size: int = size(32, "resolution of the images: bottom_width doubled once per cell", at_least=2)
    num_workers: int = processes(8, "processes that read images, at most one a core", at_least=0)


@group(scripts=())
class AuthorsOptions:
    channels: int = option(3, "channels of the images", (3,))
    dis_model: str = option("shared_gan", "discriminator", GENERATORS)


@group(scripts=SCORING)
class ModelOptions:
    gen_model: str = option("shared_gan", "a published generator, or shared_gan: that of --arch", GENERATORS)


@group(scripts=ALL)
class NetworkOptions:
    latent_dim: int = width(128, "dimension of the noise")


@group(scripts=ALL, methods=(*SHARED_GAN_METHODS, "asha"))
class CellOptions:
    gf_dim: int = width(256, "base width of the generator")
    df_dim: int = width(128, "base width of the discriminator")
    bottom_width: int = size(4, "resolution before the first cell", at_least=1)


@group(scripts=TRAINING, methods=(*SHARED_GAN_METHODS, "asha"))
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
    print_freq: int = million(100, "steps between looks at the losses: metrics.jsonl, bar, dynamic reset")

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
    is_splits: int = count(10, "parts of the Inception score", at_most=10**4)

    def network(self):
        """Keyword arguments of utils.inception.feature_net.load_feature_net."""
        weights = {"inception_path": self.inception_path, "tf_python": self.tf_python}
        computing = {"backend": self.inception_backend, "precision": self.feature_precision}
        return {"name": self.feature_net, **weights, **computing}


@group(scripts=SCORING)
class EvaluationOptions:
    fid_stat: str = option(None, "real images' statistics (.npz with mu and sigma) instead of computing them")
    num_eval_imgs: int = images(50000, "images to score")


@group(scripts=ALL)
class RunOptions:
    exp_name: str = option(
        "run", "the run's folder: logs/EXP_NAME_TIME, of test.py in logs_eval", kind=folder_name
    )
    config: str = option(None, "a config.json: its options count where none is typed")
    load_path: str = option(None, "a run's folder, to go on with it; test.py: or a .pth file, to score it")
    random_seed: int = option(12345, "seed of everything random", at_least=0, at_most=2**53)
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
        "shared GAN; asha: random cells, each trained alone, the better ones longer; dggan: grow both "
        "networks while they train; proggan: a list of growths",
        (*SHARED_GAN_METHODS, "asha", "dggan", "proggan"),
    )
    reward: str = option(
        "is", "Inception score, FID, or (dggan, proggan) sliced Wasserstein distance", ("is", "fid", "swd")
    )
    rl_num_eval_img: int = images(5000, "images scored for a reward")
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


@group(scripts=(SEARCH,), methods=(*SHARED_GAN_METHODS, "asha", "dggan"))
class BeamOptions:
    topk: int = count(5, "architectures kept at the end of a level, search or growing step (K)")


@group(scripts=(SEARCH,), methods=("asha", "dggan", "proggan"))
class IndependentOptions:
    ema_decay: float = share(0.999, "decay of the average generator per generator step")
    workers: int = processes(
        1,
        "processes that train networks at once, each GPU in turn; the same result, but asha's order",
        at_least=1,
    )


@group(scripts=(SEARCH,), methods=("asha",))
class AshaOptions:
    rungs: tuple[int, ...] = option(
        (5, 20, 80, 320),
        "passes over the data after which architectures are compared",
        at_least=1,
        at_most=10**6,
    )
    eta: int = option(4, "of this many at a rung, one goes on to the next", at_least=2)
    max_trials: int = million(
        None, "architectures to begin with; by default 64, or with --budget_hours as many as it allows"
    )


@group(scripts=(SEARCH,), methods=SHARED_GAN_METHODS)
class SharedGanOptions:
    shared_epoch: int = million(15, "epochs of shared-GAN training per search iteration")
    max_search_iter: int = million(90, "search iterations")
    num_candidate: int = million(
        10, "architectures scored at the end of a level (M); random_sharing: of the candidates"
    )
    dynamic_reset_threshold: float = option(
        1e-3, "variance of the losses below which the GAN has collapsed; 0: never reset", at_least=0
    )
    dynamic_reset_window: int = million(500, "losses the variance is taken over", at_least=2)
    val_freq: int = count(20, "search iterations between sample grids")
    score_freq: int = option(
        0, "search iterations between scores, IS and FID, of five sampled architectures; 0: never", at_least=0
    )
    score_imgs: int = images(5000, "images of each of these architectures")


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
    ctrl_step: int = million(30, "controller updates per search iteration", at_least=0)
    ctrl_sample_batch: int = million(1, "architectures per controller update")
    ctrl_lr: float = option(3.5e-4, "learning rate of the controller", above=0)
    hid_size: int = width(100, "hidden size of the controller")
    entropy_coeff: float = option(1e-4, "weight of the entropy in the reward", at_least=0)
    baseline_decay: float = share(0.9, "decay of the reward's moving average")


@group(scripts=(SEARCH,), methods=("random_sharing",))
class RandomSharingOptions:
    random_candidates: int = million(1000, "random architectures scored cheaply after the training")
    cheap_eval_imgs: int = images(500, "images of a cheap score")


@group(scripts=(SEARCH,), methods=("dggan", "proggan"))
class GrowthOptions:
    start_resolution: int = size(8, "resolution of the networks that everything grows from", at_least=4)
    growth_iterations: int = count(100000, "training steps at the start and after each growth")
    fade_share: float = share(0.5, "share of these steps over which a growth fades in")
    actions: tuple[str, ...] = option(
        None,
        "dggan's actions to choose from, or proggan's growths in order, such as 'G 3x64' 'D 7x32' double",
        instead_of=("kernels", "filters"),
    )
    growth_width: int = count(
        512, "filters of the first 4x4 convolutions; others follow by ProgGAN's rule", at_most=MOST_FILTERS
    )


@group(scripts=(SEARCH,), methods=("dggan",))
class DgganOptions:
    growing_steps: int = option(
        8, "growing steps; the last ones only double where they must", at_least=0, at_most=500
    )
    action_probability: float = option(0.2, "chance that an action is tried (p)", above=0, at_most=1)
    kernels: tuple[int, ...] = option(
        (3, 7), "kernels of the convolutions that dggan may add", at_least=1, at_most=LARGEST_KERNEL
    )
    filters: tuple[int, ...] = option(
        (32, 64, 128, 256, 512, 1024), "their filters", at_least=1, at_most=MOST_FILTERS
    )


@group(scripts=(TRAIN,))
class DeriveOptions:
    arch: tuple[str, ...] = option(
        None, "a vector such as 1 0 1 1, a published name, or such as '4: G 3x512 D 3x512'"
    )
    init_from: str = option(None, "weights to start with: a checkpoint such as RUN/Model/node_007.pth")
    arch_file: str = option(
        None, "a search's derived.json; or its folder, which also names data, resolution and feature network"
    )
    rank: int = count(1, "which architecture of --arch_file: 1 is the best")
    max_iter: int = count(50000, "generator iterations")
    max_epoch: int = count(
        None,
        "passes over the data divided by n_critic, as the authors count",
        instead_of=("max_iter",),
        at_most=10**6,
    )
    lr_decay: bool = option(False, "let the learning rates fall linearly to 0")
    sample_freq: int = count(5, "passes over the data between sample grids")
    score_start: bool = option(False, "score the untrained generator too")
    ema_decay: float = share(0.999, "decay of the average generator per generator step")
    val_freq: int = count(20, "passes over the data between scorings")


@group(scripts=(TRAIN,))
class RetrainOptions:
    derive: str = option(
        None,
        "derived.json of a search: train its best architectures, each in a run of its own, and rank them",
        instead_of=("arch", "arch_file", "rank", "gen_model", "init_from"),
    )
    topk: int = count(None, "how many of them; by default all", needs="derive")
    seeds: int = million(1, "trainings of each, with --random_seed and the numbers after it", needs="derive")
    rank_by: str = option("is", "rank by the mean of the last of these scores", ("is", "fid"), needs="derive")
    workers: int = processes(
        1, "processes that train at once, each GPU in turn; same result", at_least=1, needs="derive"
    )


@group(scripts=(TEST,))
class TestOptions:
    arch: tuple[str, ...] = option(None, "architecture, if neither the checkpoint nor --gen_model names it")
    checkpoint: str = option("best", "of a training's folder: the best by FID, or the last", ("best", "last"))
    save_images: str = option(
        None, "write single images into this new folder, and score nothing", kind=new_folder
    )
    num_images: int = count(64, "how many images --save_images writes", at_most=10**8)
    interpolate: bool = option(False, "draw walks between noise vectors as a grid, and score nothing")
    metrics: tuple[str, ...] = option(
        (), "scores besides is and fid", ("kid", "precision_recall", "swd"), nargs="*"
    )
    protocol: str = option(
        "autogan",
        "autogan: 50,000 images against the train split; sngan: 5,000 against the test split",
        ("autogan", "sngan"),
    )
    split: str = option("train", "real images to compare with, if not the protocol's", ("train", "test"))
