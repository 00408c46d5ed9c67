"""Trains the shared GAN, and knows where that training stands (sections 3.2 and 3.3.1)."""

from dataclasses import dataclass
from functools import partial

from models_search.shared_gan.dynamic_reset import CollapseDetector
from utils.progress import Progress
from utils.randomness import derived_seed
from utils.training.adversarial import StepFunctions
from utils.training.gan import Gan
from utils.training.inputs import StepInputs
from utils.training.loop import look_steps, train
from utils.training.losses import loss_schedule


@dataclass
class SharedGan:
    """The shared GAN and where its training stands."""

    gan: Gan
    collapse: CollapseDetector
    steps: int = 0  # since the start of the search iteration
    collapsed: bool = False  # whether the reset rule has held in this iteration
    resets: int = 0
    rollbacks: int = 0  # of the whole search, see utils.training.loop.train_or_roll_back


def train_shared_gan(shared, plan, architectures, images, iteration, run, save_point):
    """Train the shared GAN for one search iteration, on one architecture per step.

    plan: of any search that shares weights; the option groups network, training and run are read here.
    architectures: one per step, all of one level. images: ResizedImages of that level. The losses are read
    every --print_freq steps. If the GAN collapsed in between, the networks go back and are trained again up
    to exactly the step of the collapse. Returns the latest losses, see Look.figures.
    """
    if shared.collapsed:  # before the run was stopped
        return {}
    gan, level, total = shared.gan, architectures[0].levels - 1, len(architectures)
    inputs = StepInputs(
        images,
        derived_seed(plan.run.random_seed, "shared GAN", iteration),
        plan.training,
        plan.network.latent_dim,
    )
    loss_at = loss_schedule(plan.training.loss, plan.run.random_seed, iteration, device=images.device)
    discriminate = partial(gan.discriminator, level=level)

    def functions_at(step):
        architecture = architectures[step]
        generate = partial(gan.generator, architecture=architecture)
        return StepFunctions(generate, discriminate, loss_at(step), key=architecture)

    gan.generator.train()
    gan.discriminator.train()
    before, figures = gan.snapshot(), {}
    looks = look_steps(shared.steps, total, plan.training.print_freq)
    with Progress(total, f"  GAN {images.resolution} px", first=shared.steps) as progress:
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
            figures = look.figures()
            progress.show(figures)
            run.record(iteration * total + look.step, figures, "shared_gan", iteration + 1)
            save_point.reached()
            if shared.collapsed:
                break
            before = gan.snapshot(before)
    return figures
