"""What an ASHA search will take (--estimate)."""

import math

from models_search.asha.trial import trial_task
from models_search.estimate import BYTES_OF_A_LOOK, GRID_BYTES, Estimate, Work, measured_memory
from models_search.retraining.costs import measure_training
from models_search.retraining.materials import find_materials

MEASURED_TRIALS = 3


def estimate(plan, materials):
    """The Estimate of a search of all its trials, or of as many as --budget_hours allows."""
    device, num_images = materials.device, materials.num_images
    costs = []
    for index in range(MEASURED_TRIALS):
        training = trial_task(plan, index, 0, run_folder="", num_images=num_images, hint="").plan
        costs.append(measure_training(training, *find_materials(training, device), device))
    step, score = (sum(getattr(cost, name) for cost in costs) / len(costs) for name in ("step", "score"))
    rungs, eta, workers = len(plan.asha.rungs), plan.asha.eta, plan.independent.workers
    passes = [plan.iterations(rung, num_images) * plan.training.n_critic for rung in range(rungs)]
    steps = [after - before for before, after in zip([0, *passes], passes)]
    # One trial in eta goes on to each next rung.
    trials, budget = plan.most_trials, plan.search.budget_seconds
    if trials is None:
        each = sum((count * step + score) / eta**rung for rung, count in enumerate(steps))
        trials = max(1, math.ceil(workers * budget / each))
    at_rung = [trials // eta**rung for rung in range(rungs)]
    trained, scored = sum(n * count for n, count in zip(at_rung, steps)), sum(at_rung)
    resolution = plan.data.img_size
    works = [
        Work("reading images", resolution, workers, costs[0].read),
        Work("statistics", resolution, 1, costs[0].statistics),
        Work("training", resolution, trained, step),
        Work("scores", resolution, scored, score),
    ]
    looks = trained / plan.training.print_freq
    return Estimate(
        works,
        memory_bytes=workers * (measured_memory(device) + 3 * num_images * resolution**2),
        checkpoint_bytes=trials * max(cost.checkpoint_bytes for cost in costs),
        log_bytes=math.ceil(looks * BYTES_OF_A_LOOK + 3 * (scored + trials) * GRID_BYTES),
        workers=workers,
        most_seconds=budget,
    )
