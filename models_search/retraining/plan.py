"""What the training of one architecture is going to do."""

from dataclasses import dataclass

from models.conditioning import NONE
from models.families import family
from models.layers.fast_form import fast_form
from utils.cli import UserError
from utils.data.labels import Classes
from utils.data.load import load_classes
from utils.distributed import size
from utils.precision import check_precision
from utils.run.machine import device_memory
from utils.training.checks import check_recipe
from utils.training.inputs import refuse_uneven_batches, steps_per_epoch
from utils.training.losses import LOSSES
from utils.training.memory import on_meta, training_memory
from utils.training.sizes import network_sizes


@dataclass(frozen=True)
class TrainingPlan:
    """An architecture, the option groups that its training reads, and its length. Picklable.

    schedule: the group `derive`, or anything with its lr_decay, ema_decay, val_freq, sample_freq and
    score_start. average, rates: the groups of --ema_halflife and --lr_schedule; without rates they stay.
    The length is either `iterations` of the generator or `passes` over the data.
    """

    architecture: object
    data: object
    labels: object
    network: object
    cells: object
    weights: object
    training: object
    recipe: object
    scoring: object
    run: object
    schedule: object
    average: object
    num_eval_imgs: int
    fid_stat: str | None = None
    iterations: int | None = None
    passes: int | None = None
    rates: object | None = None
    classes: Classes | None = None  # of a conditional GAN

    def total_steps(self, num_images):
        """Discriminator steps of the whole training."""
        if self.iterations is not None:
            return self.iterations * self.training.n_critic
        return self.passes * steps_per_epoch(num_images, self.training)

    def total_iterations(self, num_images):
        """Generator iterations of the whole training."""
        return -(-self.total_steps(num_images) // self.training.n_critic)

    def new_networks(self):
        """(generator, discriminator) of the architecture, not yet initialised."""
        build, outputs = family(self.architecture).networks, LOSSES[self.training.loss].outputs
        widths = self.network.latent_dim, self.cells
        return build(self.architecture, *widths, outputs, self.conditioning)

    @property
    def label_source(self):
        """Where labels come from, see utils.data.load.load_images."""
        return self.labels.source if self.classes else None

    @property
    def conditioning(self):
        """How the networks are conditioned."""
        is_growing = self.architecture.family == "growing"
        return NONE if is_growing else self.labels.conditioning(self.classes)

    def memory(self):
        """The Memory of the training."""
        widths, batch = family(self.architecture).widths, self.scoring.eval_batch_size
        with on_meta(widths):
            networks = self.new_networks()
            if self.run.is_fast:
                networks = tuple(map(fast_form, networks))
            details = {"widths": widths, "averages": 1, "parts": self.recipe.accumulate}
            return training_memory(networks, self.training, batch, self.data.img_size, **details)

    def check(self, device):
        """Raise UserError unless the device computes in the precision and has the memory."""
        check_precision("--precision", self.training.precision, device)
        if self.run.compile and size() > 1:
            problem = f"the generator's batch norm needs all {size()} processes, so it cannot be compiled"
            raise UserError(f"--compile: {problem}; leave it out")
        refuse_uneven_batches(self.training)
        check_recipe(self.training, self.recipe, self.architecture.family)
        self.refuse_single_values(self.training.gen_batch_size, self.training.dis_batch_size)
        if self.iterations is not None:
            self.refuse_late_decay(self.iterations)
        self.memory().check(device_memory(device))

    def refuse_single_values(self, *batch_sizes):
        """Raise UserError if a batch norm would see a single value, in batches of these sizes."""
        batch_norms = ("batch", "self_modulated")
        if self.architecture.family != "autogan" or self.architecture.first_norm not in batch_norms:
            return
        if self.cells.bottom_width == 1 and 1 in batch_sizes:
            cure = "give 2 or more, or another batch size"
            raise UserError(
                f"--bottom_width: 1 leaves the first cell's batch norm one value in a batch of 1; {cure}"
            )

    def refuse_late_decay(self, iterations):
        """Raise UserError if the learning rates would fall after the end, or warm up beyond it."""
        for name in ("lr_decay_start", "lr_warmup"):
            if self.rates and getattr(self.rates, name) >= iterations:
                problem = f"the training ends after {iterations} iterations"
                raise UserError(f"--{name}: {problem}; give fewer")

    def describe(self):
        """The plan as plain data, for --dry_run: no data set is read."""
        with on_meta(family(self.architecture).widths):
            sizes = network_sizes(*self.new_networks(), self.data.img_size)
        return {
            "architecture": str(self.architecture),
            "resolution": self.data.img_size,
            **sizes,
            "memory_bytes": self.memory().total,
            "generator_steps": self.iterations,
            "discriminator_steps": self.iterations and self.iterations * self.training.n_critic,
        }


GROUPS = ("data", "labels", "network", "cells", "weights", "training", "recipe", "scoring", "run")


def training_plan(options, architecture):
    """The TrainingPlan of the resolved options of train_derived.py.

    --max_epoch counts as the authors' code does: n_critic passes over the data are one epoch.
    """
    groups = {name: getattr(options, name) for name in GROUPS}
    derive, evaluation = options.derive, options.evaluation
    if derive.max_epoch is None:
        length = {"iterations": derive.max_iter}
    else:
        length = {"passes": derive.max_epoch * options.training.n_critic}
    scores = {"num_eval_imgs": evaluation.num_eval_imgs, "fid_stat": evaluation.fid_stat}
    schedules = {"schedule": derive, "average": options.average, "rates": options.rates}
    classes = None
    if architecture.family == "autogan":  # the others cannot be conditional
        classes = load_classes(options.data, options.labels, options.reads_no_data)
    return TrainingPlan(architecture, **groups, **schedules, **scores, **length, classes=classes)
