"""Random search with weight sharing (Li and Talwalkar 2019; section 4.3.5 of AutoGAN's paper), and its parts.

The shared GAN trains on uniformly drawn architectures at the final resolution. Then many architectures are
scored on few images, and the best of them on many.
"""

import time
from functools import partial
from typing import NamedTuple

from models.autogan.architecture import Architecture
from models_search.candidates import top_k
from models_search.random_sharing.state import SearchState
from models_search.scored import log_cost
from models_search.search_space import distinct_architectures
from models_search.shared_gan.materials import new_or_restored
from models_search.shared_gan.progress import (
    SCORED_ARCHITECTURES,
    is_scored_after,
    keep_scores,
    sample_grid,
    score_sampled,
    scores_generator,
)  # fmt: skip
from models_search.shared_gan.training import reset, steps_per_iteration, train_shared_gan
from utils.distributed import from_first
from utils.progress import Progress, progress_line
from utils.randomness import random_generator
from utils.run.save_point import SavePoint


class Candidate(NamedTuple):
    """An architecture and its reward, as `top_k` compares them."""

    architecture: Architecture
    score: float


def search(state, plan, images, reward, run, save_point):
    """Train, score cheaply, score in full. Returns the best architectures, best first, as Candidates."""
    while state.iteration < plan.iterations:
        search_iteration(state, plan, images, reward, run, save_point)
    options, cheap = plan.random_sharing, plan.cheap_protocol()
    random = random_generator(plan.run.random_seed, "candidates")
    candidates = distinct_architectures(plan.levels, options.random_candidates, random, plan.space)
    score_all(candidates, state.cheap, "cheap", state, plan, reward, run, save_point, **cheap)
    best = top_k([Candidate(*each) for each in state.cheap], plan.shared_gan.num_candidate)
    candidates = [each.architecture for each in best]
    score_all(candidates, state.in_full, "candidate", state, plan, reward, run, save_point)
    beam = top_k([Candidate(*each) for each in state.in_full], plan.beam.topk)
    run.log(f"the best of {len(state.cheap)} architectures, {len(state.in_full)} of them scored in full")
    for rank, entry in enumerate(beam, 1):
        run.log(f"  {rank}. {entry.architecture}   reward {entry.score:.4g} ({reward.name})")
    save_point.reached(due=True)
    return beam


def search_iteration(state, plan, images, reward, run, save_point):
    """Train the shared GAN on a uniform architecture per step. Out of time this iteration is the last."""
    iteration, started = state.iteration, time.monotonic()
    deadline = plan.search.budget_seconds
    if plan.search.budget_hours is not None:
        deadline -= plan.scoring_seconds(cheap_score_seconds(state, plan, reward))
    steps = steps_per_iteration(plan, images.num_images)
    architectures = draw_architectures(plan, steps, "architectures", iteration)
    figures = train_shared_gan(
        state.shared, plan, architectures, images, iteration, run, save_point, deadline
    )  # fmt: skip
    seconds, left = time.monotonic() - started, plan.iterations - iteration - 1
    position, most = f"iteration {iteration + 1}", deadline - run.seconds()
    run.log(progress_line(position, plan.iterations, figures, seconds, 1, left, most=most))
    following = iteration + 1
    if run.is_past(deadline):
        run.log(f"iteration {following}: the rest of --budget_hours is for the scores, so the training ends")
        following = plan.iterations
    if following == plan.iterations or following % plan.shared_gan.val_freq == 0:
        fixed = random_generator(plan.run.random_seed, "grid")
        sampled = [plan.random_architecture(fixed) for _ in range(5)]
        sample_grid(state.shared.gan.generator, sampled, fixed, run, iteration, plan.classes)
    scored = []
    if is_scored_after(plan, iteration):
        random = scores_generator(plan, iteration)
        sampled = [plan.random_architecture(random) for _ in range(SCORED_ARCHITECTURES)]
        scored = score_sampled(state, plan, sampled, reward)
    if state.shared.collapsed and following < plan.iterations:  # untrained networks would be scored
        reset(state.shared, plan, iteration, run)
    keep_scores(run, plan, iteration, scored)
    state.begin_iteration(following)
    save_point.reached(due=True)


def cheap_score_seconds(state, plan, reward):
    """Seconds of a cheap score, measured. Its result counts for nothing."""
    (architecture,) = draw_architectures(plan, 1, "timed", state.iteration)
    generator, timed = state.shared.gan.generator, ("timed", state.iteration)
    reward(generator, architecture, *timed, **plan.cheap_protocol())  # the first one also warms up
    started = time.monotonic()
    reward(generator, architecture, *timed, **plan.cheap_protocol())
    seconds = time.monotonic() - started
    return from_first(lambda: seconds)


def score_all(architectures, found, purpose, state, plan, reward, run, save_point, **protocol):
    """Score what `found`, [(architecture, reward)], does not hold yet, and add it there."""
    left, generator = architectures[len(found) :], state.shared.gan.generator
    with Progress(len(architectures), f"  {purpose} scores", "architecture", len(found)) as progress:
        for architecture in left:
            scored = reward(generator, architecture, purpose, **protocol)
            keep_scores(run, plan, state.trained - 1, [scored])
            found.append((architecture, scored.score))
            progress.show({"best": max(score for _, score in found)})
            progress.update()
            save_point.reached()


def draw_architectures(plan, count, *purpose):
    """So many architectures, each equally likely."""
    random = random_generator(plan.run.random_seed, *purpose)
    return [plan.random_architecture(random) for _ in range(count)]


# How search.py runs it.


new_state = partial(new_or_restored, SearchState)


def read_images(state, plan, materials):
    """Read the images that the search goes on with. Raises UserError."""
    materials.images.at(plan.levels - 1)


def run_search(state, plan, materials, run, stop):
    """Search to the end. Returns (ranked architectures, results).

    Both are plain data, the first for derived.json, the second for results.json.
    """
    save_point = SavePoint(lambda: run.save(state.to_saved(), state.iteration), stop, stop.hint)
    reward = materials.reward(plan, run, save_point)
    images = materials.images.at(plan.levels - 1)
    beam = search(state, plan, images, reward, run, save_point)
    ranked = [{"architecture": str(entry.architecture), "reward": entry.score} for entry in beam]
    return ranked, {"resets": state.shared.resets, **log_cost(run, state.shared.resets)}
