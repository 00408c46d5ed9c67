"""AutoGAN's search: Algorithm 1 of the paper, and its parts."""

import math
import time
from functools import partial

import torch

from models_search.autogan.controller import BeamEntry, reinforce, sample_architectures
from models_search.autogan.state import SearchState, new_policy
from models_search.candidates import top_k
from models_search.scored import log_cost
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
from utils.progress import Progress, progress_line
from utils.randomness import random_generator, seed_after
from utils.run.save_point import SavePoint
from utils.training.loop import refuse_non_finite, train_or_roll_back


def search(state, plan, images, reward, run, save_point):
    """Algorithm 1. Returns the beam: the best architectures, best first."""
    while state.iteration < plan.iterations:
        search_iteration(state, plan, images, reward, run, save_point)
    return state.beam


def search_iteration(state, plan, images, reward, run, save_point):
    """One iteration. A level's last one, which out of time is this one, ends with its best architectures."""
    iteration, started = state.iteration, time.monotonic()
    level = plan.level_at(iteration)
    figures = train_shared(state, plan, images.at(level), run, save_point)
    rewards = train_controller(state, plan, reward, run, save_point)
    if rewards:
        figures[f"mean reward ({reward.name})"] = sum(rewards) / len(rewards)
    if plan.controller.reuse_rewards:
        drawn = state.controller_steps * plan.controller.ctrl_sample_batch
        figures["reused rewards"] = drawn - len(state.rewards)
    seconds_left = plan.deadline(level) - run.seconds()
    run.log(iteration_line(plan, iteration, figures, time.monotonic() - started, seconds_left))
    following = next_iteration(state, plan, run)
    ends_search = following == plan.iterations
    if ends_search or plan.shows_grid(iteration):
        draw_samples(state, plan, run)
    scored = score_policy(state, plan, reward)
    if ends_search or plan.level_at(following) > level:
        state.beam, candidates = best_architectures(state, plan, reward, run)
        scored += candidates
        if not ends_search:
            # Both networks grow by being called with longer architectures: all their cells exist already.
            state.policy = new_policy(plan, level + 1)
            state.shared.gan.graphs.clear()
    if state.shared.collapsed:
        reset(state.shared, plan, iteration, run)
    keep_scores(run, plan, iteration, scored)
    state.begin_iteration(following)
    save_point.reached(due=True)


def next_iteration(state, plan, run):
    """The iteration to go on with: the first of the next level, or the end, where time is up."""
    iteration = state.iteration
    out_of_time = run.is_past(plan.deadline(plan.level_at(iteration)))
    following = plan.next_iteration(iteration, out_of_time)
    if following > iteration + 1:
        goal = f"on with iteration {following + 1}" if following < plan.iterations else "the search ends"
        run.log(f"iteration {iteration + 1}: its share of --budget_hours is spent, so {goal}")
    return following


def train_shared(state, plan, images, run, save_point):
    """Train the shared GAN with a fixed policy, on one sampled architecture per step (section 3.3.1)."""
    random = random_generator(plan.run.random_seed, "architectures", state.iteration)
    steps = steps_per_iteration(plan, images.num_images)
    with torch.no_grad():
        architectures, _ = sample_architectures(state.policy.controller, state.beam, steps, random)
    iteration, deadline = state.iteration, plan.deadline(state.policy.controller.level)
    return train_shared_gan(state.shared, plan, architectures, images, iteration, run, save_point, deadline)


def train_controller(state, plan, reward, run, save_point):
    """Train the controller by REINFORCE with a fixed shared GAN (section 3.3.2).

    Returns the mean reward of each update.
    """
    steps, policy, rewards = plan.controller_steps, state.policy, []
    deadline = plan.deadline(policy.controller.level)
    if state.controller_steps == steps:  # random search learns nothing
        return rewards
    left = deadline - run.seconds()
    with Progress(steps, "  controller", "update", state.controller_steps, seconds_left=left) as progress:
        while state.controller_steps < steps and not run.is_past(deadline):
            step = state.controller_steps
            update = partial(update_controller, state, plan, reward, step)
            (figures, scored), state.shared.rollbacks = train_or_roll_back(
                policy, update, state.shared.rollbacks, plan.training.on_nan, run.log
            )
            recorded = {**figures, "level": policy.controller.level}
            run.record(state.iteration * steps + step, recorded, "controller", state.iteration + 1)
            keep_scores(run, plan, state.iteration, scored)
            if plan.controller.reuse_rewards:
                state.rewards.update((each.architecture, each.score) for each in scored)
                state.reused_rewards += figures["reused"]
            rewards.append(figures["reward"])
            state.controller_steps += 1
            progress.show({"reward": figures["reward"], "best": max(rewards)})
            progress.update()
            save_point.reached()
    return rewards


def update_controller(state, plan, reward, step, rollbacks):
    """Update the controller once. Returns (figures to log, [Scored] of the architectures scored for it).

    Raises Diverged if a figure is not finite.
    """
    options, policy = plan.controller, state.policy
    random = random_generator(seed_after(rollbacks, plan.run.random_seed), "rollout", state.iteration, step)
    architectures, rollout = sample_architectures(
        policy.controller, state.beam, options.ctrl_sample_batch, random
    )
    generator, known, rewards, scored = state.shared.gan.generator, dict(state.rewards), [], []
    for architecture in architectures:
        if architecture in known:
            rewards.append(known[architecture])
            continue
        scored.append(reward(generator, architecture, "reward", state.iteration, step))
        rewards.append(scored[-1].score)
        if options.reuse_rewards:
            known[architecture] = scored[-1].score
    policy.baseline, figures = reinforce(
        policy.optimizer, rollout, torch.tensor(rewards), policy.baseline, options.entropy_coeff,
        options.baseline_decay,
    )  # fmt: skip
    refuse_non_finite({f"{name} of the controller": value for name, value in figures.items()}, f"step {step}")
    if options.reuse_rewards:
        figures["reused"] = len(rewards) - len(scored)
    return figures, scored


def best_architectures(state, plan, reward, run):
    """Sample --num_candidate distinct architectures and keep the --topk best (section 3.3.3).

    Returns (them as the new beam, best first, with rewards and LSTM states; [Scored] of all).
    """
    candidates = sample_distinct(state, plan, plan.shared_gan.num_candidate)
    generator, scored, entries = state.shared.gan.generator, [], []
    with Progress(len(candidates), "  candidates", "architecture") as progress:
        for architecture, lstm_state in candidates.items():
            scored.append(reward(generator, architecture, "candidate", state.iteration))
            entries.append(BeamEntry(architecture, scored[-1].score, lstm_state))
            progress.update()
    beam = top_k(entries, plan.beam.topk)
    run.log(f"level {state.policy.controller.level + 1}: the best of {len(scored)} architectures")
    for rank, entry in enumerate(beam, 1):
        run.log(f"  {rank}. {entry.architecture}   reward {entry.score:.4g} ({reward.name})")
    return beam, scored


def sample_distinct(state, plan, count):
    """Sample `count` distinct architectures from the policy: {architecture: its LSTM state}.

    There are fewer if 20 times as many samples hold no more.
    """
    random = random_generator(plan.run.random_seed, "candidates", state.iteration)
    found = {}
    for _ in range(20):
        with torch.no_grad():
            architectures, rollout = sample_architectures(state.policy.controller, state.beam, count, random)
        for architecture, *lstm_state in zip(architectures, *rollout.state):
            found.setdefault(architecture, tuple(lstm_state))
        if len(found) >= count:
            break
    return dict(list(found.items())[:count])


def score_policy(state, plan, reward):
    """[Scored] of some architectures that the policy samples now, every --score_freq iterations."""
    if not is_scored_after(plan, state.iteration):
        return []
    random = scores_generator(plan, state.iteration)
    with torch.no_grad():
        policy, beam = state.policy, state.beam
        architectures, _ = sample_architectures(policy.controller, beam, SCORED_ARCHITECTURES, random)
    return score_sampled(state, plan, architectures, reward)


def draw_samples(state, plan, run):
    """Draw images, on fixed noise, of five architectures sampled from the policy."""
    fixed = random_generator(plan.run.random_seed, "grid")
    with torch.no_grad():
        architectures, _ = sample_architectures(state.policy.controller, state.beam, 5, fixed)
    sample_grid(state.shared.gan.generator, architectures, fixed, run, state.iteration, plan.classes)


def iteration_line(plan, iteration, figures, seconds, seconds_left=math.inf):
    """The log line of an iteration.

    The time left is that to the end of the level, because the next level's iterations take several times as
    long. seconds_left: what --budget_hours leaves the level.
    """
    level, place = plan.level_at(iteration), ""
    left = sum(plan.level_at(later) == level for later in range(iteration + 1, plan.iterations))
    if level < plan.levels - 1:
        left, place = left or None, f" at {plan.cells.bottom_width << (level + 1)} px"
    position = f"iteration {iteration + 1}"
    return progress_line(position, plan.iterations, figures, seconds, 1, left, place, seconds_left)


# How search.py runs it.


new_state = partial(new_or_restored, SearchState)


def read_images(state, plan, materials):
    """Read the images that the search goes on with. Raises UserError."""
    materials.images.at(plan.level_at(min(state.iteration, plan.iterations - 1)))


def run_search(state, plan, materials, run, stop):
    """Search to the end. Returns (ranked architectures, results).

    Both are plain data, the first for derived.json, the second for results.json.
    """
    save_point = SavePoint(lambda: run.save(state.to_saved(), state.iteration), stop, stop.hint)
    reward = materials.reward(plan, run, save_point)
    beam = search(state, plan, materials.images, reward, run, save_point)
    ranked = [{"architecture": str(entry.architecture), "reward": entry.score} for entry in beam]
    results = {"resets": state.shared.resets, **log_cost(run, state.shared.resets)}
    if plan.controller.reuse_rewards:
        results["reused_rewards"] = state.reused_rewards
        run.log(f"{state.reused_rewards:,} rewards were reused (--reuse_rewards)")
    return ranked, results
