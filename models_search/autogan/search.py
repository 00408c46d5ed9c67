"""AutoGAN's search: Algorithm 1 of the paper, and its parts."""

import time
from dataclasses import dataclass
from functools import partial

import torch

from models_search.autogan.controller import BeamEntry, reinforce, sample_architectures
from models_search.autogan.state import SearchState, new_policy
from models_search.candidates import top_k
from models_search.shared_gan.images import LevelImages
from models_search.shared_gan.network import new_shared_gan
from models_search.shared_gan.reward import Reward
from models_search.shared_gan.training import train_shared_gan
from utils.data.load import load_images
from utils.inception.feature_net import load_feature_net
from utils.progress import Progress, progress_line
from utils.randomness import random_generator, seed_after
from utils.run.machine import device_memory, pick_device
from utils.run.save_point import SavePoint
from utils.training.loop import refuse_non_finite, train_or_roll_back


def search(state, plan, images, reward, run, save_point):
    """Algorithm 1. Returns the beam: the best architectures, best first."""
    for iteration in range(state.iteration, plan.iterations):
        level, started = plan.level_at(iteration), time.monotonic()
        figures = train_shared(state, plan, images.at(level), run, save_point)
        rewards = train_controller(state, plan, reward, run, save_point)
        if rewards:
            figures[f"mean reward ({reward.name})"] = sum(rewards) / len(rewards)
        run.log(iteration_line(plan, iteration, figures, time.monotonic() - started))
        if plan.shows_grid(iteration):
            sample_grid(state, plan, run)
        if plan.ends_level(iteration):
            state.beam = best_architectures(state, plan, reward, run)
            if not plan.is_last(iteration):
                # Both networks grow by being called with longer architectures: all their cells exist already.
                state.policy = new_policy(plan, level + 1)
                state.shared.gan.graphs.clear()
        if state.shared.collapsed:
            reset(state, plan, run)
        state.end_iteration()
        save_point.reached(due=True)
    return state.beam


def train_shared(state, plan, images, run, save_point):
    """Train the shared GAN with a fixed policy, on one sampled architecture per step (section 3.3.1)."""
    random = random_generator(plan.run.random_seed, "architectures", state.iteration)
    steps = plan.shared_steps(images.num_images)
    with torch.no_grad():
        architectures, _ = sample_architectures(state.policy.controller, state.beam, steps, random)
    return train_shared_gan(state.shared, plan, architectures, images, state.iteration, run, save_point)


def train_controller(state, plan, reward, run, save_point):
    """Train the controller by REINFORCE with a fixed shared GAN (section 3.3.2).

    Returns the mean reward of each update.
    """
    steps, policy, rewards = plan.controller_steps, state.policy, []
    if state.controller_steps == steps:  # random search learns nothing
        return rewards
    with Progress(steps, "  controller", "update", state.controller_steps) as progress:
        while state.controller_steps < steps:
            step = state.controller_steps
            update = partial(update_controller, state, plan, reward, step)
            figures, state.shared.rollbacks = train_or_roll_back(
                policy, update, state.shared.rollbacks, plan.training.on_nan, run.log
            )
            recorded = {**figures, "level": policy.controller.level}
            run.record(state.iteration * steps + step, recorded, "controller", state.iteration + 1)
            rewards.append(figures["reward"])
            state.controller_steps += 1
            progress.show({"reward": figures["reward"], "best": max(rewards)})
            progress.update()
            save_point.reached()
    return rewards


def update_controller(state, plan, reward, step, rollbacks):
    """Update the controller once and return the figures to log.

    Raises Diverged if one of them is not finite.
    """
    autogan, policy = plan.autogan, state.policy
    random = random_generator(seed_after(rollbacks, plan.run.random_seed), "rollout", state.iteration, step)
    architectures, rollout = sample_architectures(
        policy.controller, state.beam, autogan.ctrl_sample_batch, random
    )
    generator = state.shared.gan.generator
    rewards = torch.tensor(
        [reward(generator, each, "reward", state.iteration, step) for each in architectures]
    )
    policy.baseline, figures = reinforce(
        policy.optimizer, rollout, rewards, policy.baseline, autogan.entropy_coeff, autogan.baseline_decay
    )
    refuse_non_finite({f"{name} of the controller": value for name, value in figures.items()}, f"step {step}")
    return figures


def best_architectures(state, plan, reward, run):
    """Sample --num_candidate distinct architectures and keep the --topk best (section 3.3.3).

    Returns them as the new beam, best first, with their rewards and LSTM states.
    """
    candidates = sample_distinct(state, plan, plan.autogan.num_candidate)
    generator, scored = state.shared.gan.generator, []
    with Progress(len(candidates), "  candidates", "architecture") as progress:
        for architecture, lstm_state in candidates.items():
            score = reward(generator, architecture, "candidate", state.iteration)
            scored.append(BeamEntry(architecture, score, lstm_state))
            progress.update()
    beam = top_k(scored, plan.beam.topk)
    run.log(f"level {state.policy.controller.level + 1}: the best of {len(scored)} architectures")
    for rank, entry in enumerate(beam, 1):
        run.log(f"  {rank}. {entry.architecture}   reward {entry.score:.4g} ({reward.name})")
    return beam


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


def reset(state, plan, run):
    """Dynamic reset: both networks and both optimisers start anew, the policy stays (section 3.2)."""
    shared = state.shared
    shared.resets += 1
    run.log(f"iteration {state.iteration + 1}: the losses have collapsed, so the shared GAN starts anew")
    device = next(shared.gan.generator.parameters()).device
    shared.gan = new_shared_gan(plan, device, shared.resets)


def sample_grid(state, plan, run):
    """Draw ten images, on fixed noise, of each of five architectures sampled from the policy."""
    generator = state.shared.gan.generator.eval()
    device = next(generator.parameters()).device
    fixed = random_generator(plan.run.random_seed, "grid")
    with torch.inference_mode():
        architectures, _ = sample_architectures(state.policy.controller, state.beam, 5, fixed)
        noise = torch.randn(10, generator.latent_dim, generator=fixed).to(device)
        images = torch.cat([generator(noise, architecture) for architecture in architectures])
    run.grid(f"iteration_{state.iteration + 1:03d}", images, state.iteration + 1)


def iteration_line(plan, iteration, figures, seconds):
    """The log line of an iteration.

    The time left is that to the end of the level, because the next level's iterations take several times as
    long.
    """
    level, place = plan.level_at(iteration), ""
    left = sum(plan.level_at(later) == level for later in range(iteration + 1, plan.iterations))
    if level < plan.levels - 1:
        left, place = left or None, f" at {plan.resolutions[level]} px"
    return progress_line(f"iteration {iteration + 1}", plan.iterations, figures, seconds, 1, left, place)


# How search.py runs it.


@dataclass
class Materials:
    """What a search needs to work with: whatever may be missing or unreadable."""

    device: torch.device
    feature_net: object
    images: LevelImages


def load_materials(plan):
    """Load the feature network and find the images. Raises UserError."""
    device = pick_device(plan.run.device)
    feature_net = load_feature_net(**plan.scoring.network(), compiled=plan.run.compile, device=device)
    data = plan.data
    image_set = load_images(data.dataset, data.data_path, image_size=data.img_size, fewest=2)
    plan.check_steps(image_set.num_images, device_memory(torch.device("cpu")))
    images = LevelImages(image_set, plan.resolutions, feature_net, device, data.num_workers)
    return Materials(device, feature_net, images)


def new_state(plan, saved):
    """The state to start from: that of the checkpoint `saved`, or a new one.

    Raises UserError where a checkpoint does not fit the plan.
    """
    device = pick_device(plan.run.device)
    if saved:
        return SearchState.restore(saved, plan, device, f"--load_path: {plan.run.load_path}")
    return SearchState.start(plan, device)


def read_images(state, plan, materials):
    """Read the images of the level that the search is at. Raises UserError."""
    materials.images.at(plan.level_at(min(state.iteration, plan.iterations - 1)))


def run_search(state, plan, materials, run, stop):
    """Search to the end. Returns (ranked architectures, results).

    Both are plain data, the first for derived.json, the second for results.json.
    """
    save_point = SavePoint(lambda: run.save(state.to_saved(), state.iteration), stop, stop.hint)
    reward = Reward(
        plan.search, plan.scoring, plan.run.random_seed, materials.feature_net, materials.images, run.log,
        save_point.stop_if_asked,
    )  # fmt: skip
    beam = search(state, plan, materials.images, reward, run, save_point)
    ranked = [{"architecture": str(entry.architecture), "reward": entry.score} for entry in beam]
    results = {
        "architectures": [entry["architecture"] for entry in ranked],
        "rewards": [entry["reward"] for entry in ranked],
        "resets": state.shared.resets,
        "hours": run.seconds() / 3600,
    }
    return ranked, results
