"""What search.py reads, by method."""

import math

from models.autogan.architecture import CHOICES
from models.growing.architecture import LARGEST_KERNEL, MOST_FILTERS
from option_groups.kinds import (
    CELL_METHODS, SEARCH, SHARED_GAN_METHODS, choice, engines, gpu_shares, images, million, processes, size,
    width,
)  # fmt: skip
from utils.options import count, group, option, share


@group(scripts=(SEARCH,))
class SearchOptions:
    method: str = option(
        "autogan",
        "autogan: cell by cell; slas: all cells at once (single-level); random_sharing: uniform cells in a "
        "shared GAN; asha: random cells, each trained alone, the better ones longer; dggan: grow both "
        "networks while they train; proggan: a list of growths",
        (*CELL_METHODS, "dggan", "proggan"),
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


@group(scripts=(SEARCH,), methods=(*CELL_METHODS, "dggan"))
class BeamOptions:
    topk: int = count(5, "architectures kept at the end of a level, search or growing step (K)")


@group(scripts=(SEARCH,), methods=CELL_METHODS)
class SpaceOptions:
    """What a search may draw. Architectures outside never are: nothing is begun that cannot end inside."""

    space: str = option(
        "authors",
        "the cells to draw from. extended: also attention after a cell, self-modulated batch norm and AdaIN "
        "as norms, modulated convolutions (docs/SPACE.md)",
        tuple(CHOICES),
        later=True,
    )
    attention_size: int = size(
        None,
        "largest output in pixels that attention may follow (with --space extended); by default 16",
        at_least=2,
        later=True,
    )
    only: tuple[str, ...] = option(
        None,
        "choices of the cells to draw from, such as norm=none,batch up=nearest; the others stay free: conv, "
        "norm, up, shortcut, and of the extended space attention",
        kind=choice,
        nargs="+",
        repeats=True,
        later=True,
    )
    max_params: int = count(
        None,
        "most parameters of the whole generator, with all its cells, at the width --cap_gf_dim",
        at_most=10**15,
        later=True,
    )
    max_macs: int = count(
        None, "most multiply-accumulates of it for one image, counted likewise", at_most=10**15, later=True
    )
    cap_gf_dim: int = width(
        None,
        "width at which both caps count, such as the one to train with afterwards; by default the search's "
        "--gf_dim, as in scored.jsonl",
        later=True,
    )


@group(scripts=(SEARCH,), methods=("asha", "dggan", "proggan"))
class IndependentOptions:
    ema_decay: float = share(0.999, "decay of the average generator per generator step")
    workers: int = processes(
        1,
        "networks that are trained at once, each GPU in turn; the same result, but asha's order",
        at_least=1,
    )
    engine: str = engines()
    gpus_per_task: float = gpu_shares()


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
    reuse_rewards: bool = option(
        False,
        "an architecture that is drawn again while the controller trains for an iteration keeps its reward "
        "instead of being scored on other images (docs/SEARCHES.md)",
        later=True,
    )


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
