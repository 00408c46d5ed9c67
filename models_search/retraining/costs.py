"""What trainings of one architecture each will take (--estimate)."""

import math
from dataclasses import dataclass

from models_search.estimate import (
    BYTES_OF_A_LOOK, BYTES_OF_A_SCORE, GRID_BYTES, Estimate, Work, gan_bytes, measured_memory, scoring_cost,
    seconds_per_step, some_images,
)  # fmt: skip
from models_search.retraining.materials import find_materials
from models_search.retraining.training import new_state
from utils.training.adversarial import StepFunctions
from utils.training.inputs import steps_per_epoch

CHECKPOINTS = 4  # the newest, the best, and the ones before them


@dataclass(frozen=True)
class TrainingCost:
    """Seconds to read all images, for their statistics, of a step, of a scoring; bytes of a checkpoint."""

    read: float
    statistics: float
    step: float
    score: float
    checkpoint_bytes: int


def measure_training(plan, feature_nets, image_set, device):
    """The TrainingCost of a TrainingPlan, from a few steps."""
    gan, resolution, count = new_state(plan, device).gan, plan.data.img_size, image_set.num_images
    images, read = some_images(image_set, 2 * plan.training.dis_batch_size, resolution, device)

    def functions_at(step, loss):
        return StepFunctions(gan.generator, gan.discriminator, loss, key="derived")

    step = seconds_per_step(gan, plan, images, functions_at, ema_decay=plan.schedule.ema_decay)
    average, latent_dim = gan.average.eval(), gan.generator.latent_dim
    costs = [
        scoring_cost(average, latent_dim, net, resolution, plan.scoring, device, plan.classes)
        for net in feature_nets
    ]
    score = sum(cost.of(1, plan.num_eval_imgs, ("is", "fid")) for cost in costs)
    statistics = 0.0 if plan.fid_stat else count * sum(cost.real_image for cost in costs)
    return TrainingCost(count * read, statistics, step, score, gan_bytes(gan))


def estimate(plans, device, workers=1):
    """The Estimate of several trainings; each architecture is measured once. plans: TrainingPlans."""
    costs, trainings = {}, []
    for plan in plans:
        feature_nets, image_set = find_materials(plan, device)
        if plan.architecture not in costs:
            costs[plan.architecture] = measure_training(plan, feature_nets, image_set, device)
        trainings.append((plan, costs[plan.architecture]))
    plan, cost = trainings[0]
    resolution, num_images = plan.data.img_size, image_set.num_images
    works = [
        Work("reading images", resolution, workers, cost.read),
        Work("statistics", resolution, 1, cost.statistics),
    ]
    looks = scores = grids = 0
    for plan, cost in trainings:
        steps, epoch = plan.total_steps(num_images), steps_per_epoch(num_images, plan.training)
        scorings = math.ceil(steps / (plan.schedule.val_freq * epoch)) + plan.schedule.score_start
        works.append(Work("training", resolution, steps, cost.step))
        works.append(Work("scores", resolution, scorings, cost.score))
        looks += steps / plan.training.print_freq + steps / epoch
        scores, grids = scores + scorings, grids + steps / (plan.schedule.sample_freq * epoch) + 2
    return Estimate(
        works,
        memory_bytes=workers * (measured_memory(device) + 3 * num_images * resolution**2),
        checkpoint_bytes=sum(CHECKPOINTS * cost.checkpoint_bytes for _, cost in trainings),
        log_bytes=math.ceil(looks * BYTES_OF_A_LOOK + scores * BYTES_OF_A_SCORE + 3 * grids * GRID_BYTES),
        workers=workers,
    )
