"""What a search in a shared GAN shows and keeps of its architectures: grids, scores, the line at the end."""

from functools import partial

import torch

from models_search.scored import keep_score
from utils.progress import Progress
from utils.randomness import random_generator
from utils.training.samples import sample_rows

SCORED_ARCHITECTURES = 5  # of a periodic score


def sample_grid(generator, architectures, fixed, run, iteration, classes=None):
    """A row of ten images for each architecture, under its text. fixed: the torch.Generator of the noise.

    classes: the Classes of a conditional GAN: then a row for each class of each architecture.
    iteration: 0-based, as everywhere in the code; what a user sees counts from 1.
    """
    device, was_training = next(generator.parameters()).device, generator.training
    generator.eval()
    images, texts, state = [], [], fixed.get_state()
    with torch.inference_mode():
        for architecture in architectures:
            fixed.set_state(state)  # the same noise for all
            generate = partial(generator, architecture=architecture)
            made, rows = sample_rows(generate, generator.latent_dim, fixed, device, classes, rows=1)
            images.append(made)
            texts += [f"{architecture}: {row}" for row in rows] or [str(architecture)]
    generator.train(was_training)
    run.grid(f"iteration_{iteration + 1:03d}", torch.cat(images), iteration + 1, texts)


def is_scored_after(plan, iteration):
    """Whether the policy's architectures are scored after this iteration."""
    frequency = plan.shared_gan.score_freq
    return frequency > 0 and (iteration + 1) % frequency == 0


def periodic_images(plan):
    """How many images the scores of --score_freq take in a whole search."""
    shared = plan.shared_gan
    times = plan.iterations // shared.score_freq if shared.score_freq else 0
    return times * SCORED_ARCHITECTURES * shared.score_imgs


def score_sampled(state, plan, architectures, reward):
    """[Scored by IS and FID] of architectures that the search's policy samples: its progress."""
    generator, images = state.shared.gan.generator, plan.shared_gan.score_imgs
    protocol, scored = {"metrics": ("is", "fid"), "images": images}, []
    with Progress(len(architectures), "  scores", "architecture") as progress:
        for architecture in architectures:
            scored.append(reward(generator, architecture, "score", state.iteration, **protocol))
            progress.update()
    return scored


def scores_generator(plan, iteration):
    """The random numbers by which the architectures of a periodic score are sampled."""
    return random_generator(plan.run.random_seed, "scored architectures", iteration)


def keep_scores(run, plan, iteration, scored):
    """Write all [Scored] to scored.jsonl, and the means of the periodic ones to metrics.jsonl.

    Call it where the state counts them, see Run.keep_score.
    """
    for each in scored:
        keep_score(
            run, plan, each.architecture, level=each.architecture.levels, iteration=iteration + 1,
            purpose=each.purpose, images=each.images, is_mean=each.is_mean, fid=each.fid,
        )  # fmt: skip
    periodic = [each for each in scored if each.purpose == "score"]
    if periodic:
        means = {"is": _mean(each.is_mean for each in periodic), "fid": _mean(each.fid for each in periodic)}
        run.record(iteration + 1, means, "score", iteration + 1)


def _mean(values):
    """The mean of the numbers among the values; None if there is none."""
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None
