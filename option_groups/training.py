"""How networks are trained, in every search and by train_derived.py."""

from option_groups.kinds import (
    CELL_METHODS, PRECISIONS, TRAIN, TRAINING, engines, gpu_shares, million, processes
)  # fmt: skip
from utils.option_types import boolean
from utils.options import count, group, option, share


@group(scripts=TRAINING, methods=CELL_METHODS)
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
    loss: str = option(
        "hinge",
        "adversarial loss (docs/RECIPES.md)",
        ("hinge", "wgan-gp", "non-saturating", "relativistic-hinge", "r3gan", "mmd"),
    )
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
        1, "trainings at once, each GPU in turn; same result", at_least=1, needs="derive"
    )
    engine: str = engines(needs="derive")
    gpus_per_task: float = gpu_shares(needs="derive")
