"""What a search in a shared GAN will take, from a few real steps at each of its levels (--estimate)."""

import math
from dataclasses import dataclass
from functools import partial

from models.autogan.architecture import Architecture
from models_search.estimate import (
    BYTES_OF_A_LOOK, BYTES_OF_A_SCORE, GRID_BYTES, Estimate, ScoringCost, Work, gan_bytes, measured_memory,
    scoring_cost, seconds_per_step, some_images,
)  # fmt: skip
from models_search.search_space import random_architecture
from models_search.shared_gan.network import new_shared_gan
from models_search.shared_gan.progress import SCORED_ARCHITECTURES
from models_search.shared_gan.training import steps_per_iteration
from utils.randomness import random_generator
from utils.training.adversarial import StepFunctions

CHECKPOINTS = 2  # the newest and the one before it


@dataclass(frozen=True)
class LevelCost:
    """Seconds at one level: to read an image, of a training step, to score."""

    resolution: int
    read: float
    step: float
    scoring: ScoringCost

    def scored(self, phase, architectures, images, metrics):
        """The Work of scoring so many architectures, on so many images each."""
        return Work(phase, self.resolution, architectures, self.scoring.of(1, images, metrics))


def measure_level(plan, materials, gan, level):
    """The LevelCost of a level, measured on architectures that are drawn at random."""
    random = random_generator(plan.run.random_seed, "estimate", level)
    drawn = [random_architecture(plan.levels, random, plan.space) for _ in range(100)]
    architectures = [Architecture(each.cells[: level + 1]) for each in drawn]
    resolution, device = plan.cells.bottom_width << (level + 1), materials.device
    count = 2 * plan.training.dis_batch_size
    images, read = some_images(materials.images.image_set, count, resolution, device)
    discriminate = partial(gan.discriminator, level=level)

    def functions_at(step, loss):
        architecture = architectures[step % len(architectures)]
        generate = partial(gan.generator, architecture=architecture)
        return StepFunctions(generate, discriminate, loss, key=architecture)

    step = seconds_per_step(gan, plan, images, functions_at)
    generate = partial(gan.generator.eval(), architecture=architectures[0])
    net, latent_dim = materials.feature_net, gan.generator.latent_dim
    return LevelCost(
        resolution,
        read,
        step,
        scoring_cost(generate, latent_dim, net, resolution, plan.scoring, device, plan.classes),
    )


def level_works(plan, cost, num_images, iterations, periodic):
    """The Work of some iterations at a level but for rewards and candidates. periodic: how many of them are
    followed by scores.
    """
    works = [
        Work("reading images", cost.resolution, num_images, cost.read),
        Work("training", cost.resolution, iterations * steps_per_iteration(plan, num_images), cost.step),
    ]
    if plan.search.reward == "fid" or periodic:
        works.append(Work("statistics", cost.resolution, num_images, cost.scoring.real_image))
    images, scored = plan.shared_gan.score_imgs, periodic * SCORED_ARCHITECTURES
    return works + [cost.scored("scores", scored, images, ("is", "fid"))]


def shared_estimate(plan, materials, works_of_level):
    """The Estimate of a search.

    works_of_level(cost, level, num_images): the Work at a level. plan: of any search that shares weights.
    """
    num_images, gan = materials.images.image_set.num_images, new_shared_gan(plan, materials.device)
    first = plan.levels - len(plan.describe()["resolutions"])
    costs = {level: measure_level(plan, materials, gan, level) for level in range(first, plan.levels)}
    works = [work for level, cost in costs.items() for work in works_of_level(cost, level, num_images)]
    steps = sum(work.units for work in works if work.phase == "training")
    scores = sum(work.units for work in works if work.phase in ("rewards", "candidates", "scores"))
    looks = steps / plan.training.print_freq + sum(w.units for w in works if w.phase == "controller")
    grids = plan.iterations // plan.shared_gan.val_freq + 1
    return Estimate(
        works,
        memory_bytes=measured_memory(materials.device) + 3 * num_images * plan.data.img_size**2,
        checkpoint_bytes=CHECKPOINTS * gan_bytes(gan),
        log_bytes=math.ceil(looks * BYTES_OF_A_LOOK + scores * BYTES_OF_A_SCORE + grids * GRID_BYTES),
        most_seconds=plan.search.budget_seconds,
    )
