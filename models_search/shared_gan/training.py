"""Trains the shared GAN, and knows where that training stands (sections 3.2 and 3.3.1)."""

import math
from dataclasses import dataclass
from functools import partial

from models_search.shared_gan.dynamic_reset import CollapseDetector
from models_search.shared_gan.network import new_shared_gan
from utils.data.labels import Classes
from utils.progress import Progress
from utils.randomness import derived_seed
from utils.run.schema import COUNT, Each
from utils.training.adversarial import StepFunctions
from utils.training.gan import Gan
from utils.training.heads import heads_of
from utils.training.inputs import StepInputs, steps_per_epoch
from utils.training.loop import MOST_ROLLBACKS, look_steps, train
from utils.training.losses import loss_schedule
from utils.training.recipe import recipe_schedule

COUNTERS = {  # of SharedGan.counters, see utils.run.schema
    "shared_steps": COUNT, "collapsed": bool, "resets": COUNT, "rollbacks": range(MOST_ROLLBACKS + 1),
}  # fmt: skip


@dataclass
class SharedGan:
    """The shared GAN and where its training stands."""

    gan: Gan
    collapse: CollapseDetector
    steps: int = 0  # since the start of the search iteration
    collapsed: bool = False  # whether the reset rule has held in this iteration
    resets: int = 0
    rollbacks: int = 0  # of the whole search, see utils.training.loop.train_or_roll_back
    classes: Classes | None = None  # of a conditional GAN

    @classmethod
    def start(cls, plan, device):
        """Before the first step. plan: of any search that shares weights, see new_shared_gan."""
        options = plan.shared_gan
        collapse = CollapseDetector(options.dynamic_reset_window, options.dynamic_reset_threshold)
        return cls(new_shared_gan(plan, device), collapse, classes=plan.classes)

    def counters(self):
        """Plain data on where the training stands, for `restore`."""
        return {
            "shared_steps": self.steps,
            "collapsed": self.collapsed,
            "resets": self.resets,
            "rollbacks": self.rollbacks,
        }

    def schema(self):
        """What `restore` reads but for the counters, see utils.run.schema."""
        losses = {"generator": Each(float), "discriminator": Each(float)}
        return {"gan": self.gan.schema(), "collapse": losses}

    def restore(self, saved):
        """Take over what a checkpoint holds."""
        counters = saved["counters"]
        self.gan.load_state_dict(saved["gan"])
        self.collapse.load_state_dict(saved["collapse"])
        self.steps, self.collapsed = counters["shared_steps"], counters["collapsed"]
        self.resets, self.rollbacks = counters["resets"], counters["rollbacks"]

    def end_iteration(self):
        """The next iteration has done no steps yet."""
        self.steps, self.collapsed = 0, False


def steps_per_iteration(plan, num_images):
    """Training steps of the shared GAN in one search iteration."""
    return plan.shared_gan.shared_epoch * steps_per_epoch(num_images, plan.training)


def train_shared_gan(
    shared, plan, architectures, images, iteration, run, save_point, deadline=math.inf
):  # fmt: skip
    """Train the shared GAN for one search iteration, on one architecture per step.

    plan: of any search that shares weights; its `classes`, `conditioning` and the option groups network,
    training, recipe and run are read.
    architectures: one per step, all of one level. images: ResizedImages of that level. The losses are read
    every --print_freq steps. If the GAN collapsed in between, the networks go back and are trained again up
    to exactly the step of the collapse. The training ends early once the run has taken more seconds than
    `deadline`. Returns the latest losses, see Look.figures.
    """
    if shared.collapsed:  # before the run was stopped
        return {}
    gan, level, total = shared.gan, architectures[0].levels - 1, len(architectures)
    seed = derived_seed(plan.run.random_seed, "shared GAN", iteration)
    inputs = StepInputs(images, seed, plan.training, plan.network.latent_dim, plan.classes)
    loss_at = loss_schedule(plan.training.loss, plan.run.random_seed, iteration, device=images.device)
    passes = {
        "steps_per_epoch": inputs.steps_per_epoch,
        "first_epoch": iteration * plan.shared_gan.shared_epoch,
    }
    recipe_at = recipe_schedule(plan.recipe, plan.training, plan.run.random_seed, iteration, **passes)
    discriminate = partial(gan.discriminator, level=level)
    heads = heads_of(gan.discriminator, plan.conditioning, level=level)

    def functions_at(step):
        architecture = architectures[step]
        generate = partial(gan.generator, architecture=architecture)
        form = architecture, recipe_at(step), heads
        return StepFunctions(generate, discriminate, loss_at(step), *form)

    gan.generator.train()
    gan.discriminator.train()
    before, figures = gan.snapshot(), {}
    looks = look_steps(shared.steps, total, plan.training.print_freq)
    name, left = f"  GAN {images.resolution} px", deadline - run.seconds()
    with Progress(total, name, first=shared.steps, seconds_left=left) as progress:
        train_to = partial(
            train, gan, inputs, functions_at, options=plan.training, log=run.log, progress=progress
        )
        for look in train_to(looks, first=shared.steps, rollbacks=shared.rollbacks):
            first, shared.steps, shared.rollbacks = shared.steps, look.step, look.rollbacks
            collapsed_at = shared.collapse.first_collapse(look.d_losses, look.g_losses)
            if collapsed_at is not None:
                # Go back to the last look, then on to the step at which the rule held.
                shared.collapsed = True
                gan.load_state_dict(before)
                list(train_to([first + collapsed_at + 1], first=first, rollbacks=look.rollbacks))
            figures = {**look.figures(), **gan.figures()}
            progress.show(figures)
            run.record(iteration * total + look.step, figures, "shared_gan", iteration + 1)
            save_point.reached()
            if shared.collapsed or run.is_past(deadline):
                break
            before = gan.snapshot(before)
    return figures


def reset(shared, plan, iteration, run):
    """Dynamic reset: both networks and both optimisers start anew, the policy stays (section 3.2)."""
    shared.resets += 1
    run.log(f"iteration {iteration + 1}: the losses have collapsed, so the shared GAN starts anew")
    run.record(iteration + 1, {"resets": shared.resets}, "reset", iteration + 1)
    device = next(shared.gan.generator.parameters()).device
    shared.gan = new_shared_gan(plan, device, shared.resets)
