"""Training a GAN whose networks have just grown: the new part fades in, everything trains on, the average generator is scored.

Knows no architecture: networks, inheritance and the fading of images come as functions. What becomes of a pair of networks depends
on its `Pair` and the `Recipe` alone, which can be sent to any process.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import torch
from tqdm import tqdm

from utils.training.adversarial import Diverged, Setting, last_known, train_or_roll_back, train_steps
from utils.run.checkpoint import DamagedCheckpoint, load_checkpoint, previous_of, save_checkpoint
from utils.cli import UserError
from utils.data.load import load_images
from utils.training.gan import new_gan, placed
from utils.images import save_grid
from utils.inception.feature_net import load_feature_net
from utils.training.losses import loss_schedule
from utils.metrics.evaluate import NonFiniteImages
from utils.randomness import derived_seed, global_seed, random_generator
from utils.metrics.real_statistics import real_statistics
from utils.run.folder import SafePoint, StopRequested, progress_line
from utils.metrics.generator import score_generator
from utils.training.inputs import StepInputs

SECONDS_PER_LINE = 600  # of the console: training a pair may take hours


@dataclass(frozen=True)
class Pair:
    """A generator and a discriminator to be trained: what they are, what they grew from, where they are kept."""

    file: Path  # RUN/Model/NAME.pth, there once the pair is trained and scored
    picture: Path  # its grid of samples
    architecture: str
    resolution: int
    path: tuple[str, ...]  # the root's architecture and the actions since: the purpose of every random number
    grown_from: str | None = None
    parent_file: Path | None = None
    doubled: bool = False  # whether the growth was one of resolution: then real images fade too


@dataclass(frozen=True)
class Recipe:
    """How every pair of a run is trained and scored. The functions are a module's own or `partial`s of such: they can be pickled."""

    networks: Callable  # (architecture, grown_from or None) -> generator, discriminator; weights from torch's global generator
    inherit: Callable  # (network, the parent's network)
    fade_images: Callable  # (real images, fade) -> real images
    images_at: Callable  # (resolution, device) -> ResizedImages
    feature_net_on: Callable  # (device) -> FeatureNet
    seed: int
    total_steps: int  # of a pair
    fade_steps: int  # of these, of a pair that grew
    batch_size: int
    generator_batch_size: int
    generator_every: int
    g_lr: float
    d_lr: float
    betas: tuple[float, float]
    loss: str
    max_grad_norm: float
    on_nan: str
    ema_decay: float
    precision: str
    fast: bool
    look_every: int  # steps between looks at the losses
    scored_images: int
    scoring_batch_size: int
    splits: int
    metrics: tuple[str, ...]


def fade_at(step, fade_steps):
    """How far a growth has faded in at a step: 0 at step 0, a line up to 1 at step `fade_steps`, 1 from there on."""
    return min(1.0, step / fade_steps) if fade_steps else 1.0


def train_pair(pair, device, stop_signal=lambda: None, *, recipe, progress=False):
    """Train and score a pair, or read what became of it if that has been done: {"figures", "failure", "losses", "rollbacks"}.

    A pair that diverges or makes images that are not finite has failed; that is a result, and no weights are kept. The optimisers
    start anew; the average generator goes on from the parent's. `stop_signal()` is the number of a signal that asked to stop, if any:
    then what is done so far is saved and StopRequested raised.
    """
    if pair.file.is_file():
        return load_checkpoint(pair.file)["result"]
    partial_file = pair.file.with_name(f"{pair.file.stem}_partial.pth")
    weights, figures, failure, losses, rollbacks = None, {}, "", [], []

    def stop_if_asked():
        if stop_signal():
            raise StopRequested(stop_signal(), _resume_hint(pair))

    with _one_thread_on_cpu(device), _out_of_memory_is_the_users(pair, device):
        try:
            networks = _trained(losses, rollbacks, pair, recipe, partial_file, device, stop_signal, progress)
            figures = _score(
                placed(networks["average"], device, recipe.fast).eval(), pair, recipe, device, stop_if_asked
            )
            weights = {name: network.state_dict() for name, network in networks.items()}
        except (Diverged, NonFiniteImages) as error:
            failure = str(error)
    result = {"figures": figures, "failure": failure, "losses": losses, "rollbacks": rollbacks}
    save_checkpoint(
        pair.file,
        {"architecture": pair.architecture, "path": list(pair.path), "gan": weights, "result": result},
    )
    for file in (partial_file, previous_of(partial_file)):
        file.unlink(missing_ok=True)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # another process may need the memory, and the next pair takes other sizes
    return result


def _trained(losses, rollbacks, pair, recipe, partial_file, device, stop_signal, progress):
    """The networks of a pair, on the CPU, trained to the end from the partial checkpoint if there is one.

    Appends (step, loss of the discriminator, of the generator) to `losses`, and to `rollbacks` what there was to say of each.
    """
    gan, step = _grown_gan(pair, recipe, device), 0
    if partial_file.is_file():
        with contextlib.suppress(DamagedCheckpoint):  # then it starts anew
            state = load_checkpoint(partial_file)
            gan.load_state_dict(state["gan"])
            step, losses[:], rollbacks[:] = state["step"], state["losses"], state.get("rollbacks", ())
    seed = derived_seed(recipe.seed, "growth", *pair.path)
    inputs = StepInputs(
        recipe.images_at(pair.resolution, device), seed, batch_size=recipe.batch_size, latent_dim=gan.generator.latent_dim,
        generator_batch_size=recipe.generator_batch_size, generator_every=recipe.generator_every,
    )  # fmt: skip
    fade_steps = recipe.fade_steps if pair.grown_from else 0
    loss_at = loss_schedule(recipe.loss, seed, device=device)

    fade_now = torch.zeros((), device=device)  # a recorded step reads it from the device

    def setting_at(step):
        fade = fade_at(step, fade_steps)
        if fade == 1:
            return Setting(gan.generator, gan.discriminator, loss_at(step), key="grown")
        fade_now.fill_(fade)
        return Setting(
            partial(gan.generator, fade=fade_now),
            partial(gan.discriminator, fade=fade_now),
            loss_at(step),
            key="fading",
        )

    def faded(steps):
        for step, real, *noise in steps:
            yield step, recipe.fade_images(real, fade_at(step, fade_steps)) if pair.doubled else real, *noise

    def save():
        save_checkpoint(
            partial_file, {"gan": gan.state_dict(), "step": step, "losses": losses, "rollbacks": rollbacks}
        )

    def train(first, last, rollbacks_before):
        return train_steps(
            gan, faded(inputs.steps(first, last, rollbacks_before)), setting_at, precision=recipe.precision,
            max_grad_norm=recipe.max_grad_norm, ema_decay=recipe.ema_decay,
        )  # fmt: skip

    safe_point = SafePoint(save, _resume_hint(pair), interval_seconds=300)
    gan.generator.train()
    gan.discriminator.train()
    name = f"  {pair.file.stem}, {pair.resolution} px"
    started, first, line_at = time.monotonic(), step, time.monotonic() + SECONDS_PER_LINE
    with tqdm(
        total=recipe.total_steps, initial=step, desc=name, leave=False, disable=None if progress else True
    ) as bar:
        while step < recipe.total_steps:
            last = min(step + recipe.look_every, recipe.total_steps)
            (d_losses, g_losses), _ = train_or_roll_back(
                gan, partial(train, step, last), len(rollbacks), recipe.on_nan, rollbacks.append
            )  # fmt: skip
            bar.update(last - step)
            step = last
            losses.append((step, d_losses[-1], last_known(g_losses)))
            if time.monotonic() > line_at:
                line_at += SECONDS_PER_LINE
                figures, seconds = (
                    {"d_loss": d_losses[-1], "g_loss": last_known(g_losses)},
                    time.monotonic() - started,
                )
                place = f"{name.strip()}: step {step}"
                tqdm.write(
                    progress_line(
                        place, recipe.total_steps, figures, seconds, step - first, recipe.total_steps - step
                    )
                )
                sys.stdout.flush()
            safe_point.signal_number = stop_signal()
            safe_point(due=step == recipe.total_steps)  # what is trained to the end is only scored again
    return _without_bypass(gan, pair, recipe)


def _resume_hint(pair):
    return f"go on with --load_path {pair.file.parent.parent}"


def _grown_gan(pair, recipe, device):
    """The Gan at its first step: new weights from the seed, then all that the parent hands on."""
    with global_seed(recipe.seed, "networks", *pair.path):
        grown = recipe.networks(pair.architecture, pair.grown_from)
    parents = _parents(pair, recipe)
    for network, parent in zip(grown, parents):
        recipe.inherit(network, parent)
    gan = new_gan(
        *grown, device, g_lr=recipe.g_lr, d_lr=recipe.d_lr, betas=recipe.betas, with_average=True, fast=recipe.fast,
        precision=recipe.precision,
    )  # fmt: skip
    if parents:
        recipe.inherit(gan.average, parents[2])
    return gan


def _parents(pair, recipe):
    """The parent's generator, discriminator and average generator; nothing for the root."""
    if not pair.grown_from:
        return ()
    weights = load_checkpoint(pair.parent_file)["gan"]
    networks = _fresh(recipe, pair.grown_from)
    for name, network in networks.items():
        network.load_state_dict(weights[name])
    return tuple(networks.values())


def _without_bypass(gan, pair, recipe):
    """The trained networks as the architecture describes them, on the CPU, by the Gan's names."""
    networks = _fresh(recipe, pair.architecture)
    for name, network in networks.items():
        recipe.inherit(network, getattr(gan, name))
    return networks


def _fresh(recipe, architecture):
    """Networks without bypass, to be filled: their random weights do not matter."""
    with global_seed(0, "overwritten"):
        (generator, discriminator), (average, _) = (recipe.networks(architecture, None) for _ in range(2))
    return {"generator": generator, "discriminator": discriminator, "average": average}


def _score(average, pair, recipe, device, stop_if_asked):
    """Draw the average generator's images of fixed noise, then score it; the same noise for every pair."""
    fixed = random_generator(recipe.seed, "grid")
    with torch.inference_mode():
        samples = average(torch.randn(100, average.latent_dim, generator=fixed).to(device))
    save_grid(samples, pair.picture, zoom=max(1, 64 // pair.resolution))
    images, feature_net = recipe.images_at(pair.resolution, device), recipe.feature_net_on(device)
    scores, _ = score_generator(
        average, [feature_net], [real_statistics(images, feature_net)], num_images=recipe.scored_images, seed=recipe.seed,
        batch_size=recipe.scoring_batch_size, splits=recipe.splits, metrics=recipe.metrics, real_images=images,
        stop_if_asked=stop_if_asked,
    )  # fmt: skip
    figures = {name: getattr(scores, name) for name in ("fid", "is_mean", "is_std", "swd")}
    return {name: value for name, value in figures.items() if value is not None}


@contextlib.contextmanager
def _one_thread_on_cpu(device):
    """Sums on the CPU depend on the number of threads, and several pairs may be training."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _out_of_memory_is_the_users(pair, device):
    try:
        yield
    except torch.OutOfMemoryError:
        # Not a failed pair: with fewer processes on the device it may fit, and the result must not depend on their number.
        raise UserError(
            f"--workers: {pair.file.stem} does not fit the memory of {device}; use fewer --workers, --filters or a smaller --growth_width"
        ) from None


# What a process needs once for all its pairs.


@lru_cache(maxsize=4)
def images_at(dataset, data_path, image_size, num_workers, resolution, device):
    """The training images of a data set at a resolution."""
    return load_images(dataset, data_path, image_size=image_size).resized(
        resolution, device, num_workers=num_workers
    )


@lru_cache(maxsize=1)
def feature_net_on(device, **network):
    """The feature network to score with; `network`: see load_feature_net."""
    return load_feature_net(**network, device=device)
