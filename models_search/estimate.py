"""What a run will take: time, memory and disk, reckoned from a few real steps (--estimate).

A run is a list of Work: so many units, of which one took so many seconds here. Nothing of what is trained to
measure is kept.
"""

import dataclasses
import json
import resource
import time
from dataclasses import dataclass

import torch

from utils.metrics.distances import frechet_distance
from utils.metrics.evaluate import evaluate
from utils.metrics.generator import noise_sampler
from utils.randomness import random_generator
from utils.training.inputs import StepInputs
from utils.training.loop import train
from utils.training.losses import loss_schedule

SECONDS_TO_MEASURE = 5  # of one kind of work; what takes longer is done once
MOST_REPEATS = 20
GRID_BYTES = 3 * 64**2 * 100  # a hundred images of 64 px: noise does not shrink
BYTES_OF_A_LOOK = 500  # lines of metrics.jsonl and TensorBoard's events
BYTES_OF_A_SCORE = 1000  # the same, and a line of scored.jsonl
PHASES = ("reading images", "statistics", "training", "controller", "rewards", "candidates", "scores")
SCORING = ("statistics", "rewards", "candidates", "scores")


@dataclass(frozen=True)
class Work:
    """Units of work of one phase, at one resolution in pixels."""

    phase: str
    resolution: int
    units: float
    seconds_per_unit: float

    @property
    def seconds(self):
        return self.units * self.seconds_per_unit


@dataclass(frozen=True)
class Estimate:
    """The Work of a run, its memory and disk. workers: processes that share the work.

    most_seconds: when --budget_hours ends it; infinite without.
    """

    works: list
    memory_bytes: int
    checkpoint_bytes: int
    log_bytes: int
    workers: int = 1
    most_seconds: float = float("inf")

    @property
    def seconds(self):
        """Of the whole run, without a budget."""
        return sum(work.seconds for work in self.works) / self.workers

    def describe(self):
        """Plain data, for --dry_run."""
        total = sum(work.seconds for work in self.works)
        phases = {name: self._seconds(lambda work: work.phase == name) for name in PHASES}
        scoring = self._seconds(lambda work: work.phase in SCORING)
        resolutions = sorted({work.resolution for work in self.works})
        return {
            "seconds": self.seconds,
            "budget_ends_it_at": self.most_seconds if self.most_seconds < self.seconds else None,
            "seconds_per_phase": {name: seconds for name, seconds in phases.items() if seconds},
            "seconds_per_resolution": {
                str(each): self._seconds(lambda work: work.resolution == each) for each in resolutions
            },
            "share_of_scoring": scoring * self.workers / total if total else 0.0,
            "memory_bytes": self.memory_bytes,
            "disk_bytes": {"checkpoints": self.checkpoint_bytes, "logs": self.log_bytes},
        }

    def _seconds(self, wanted):
        return sum(work.seconds for work in self.works if wanted(work)) / self.workers

    def lines(self):
        """The same as text."""
        found = self.describe()
        phases = ", ".join(f"{name} {duration(value)}" for name, value in found["seconds_per_phase"].items())
        sizes = ", ".join(
            f"{each} px {duration(value)}" for each, value in found["seconds_per_resolution"].items()
        )
        lines = [
            f"about {duration(self.seconds)}, of which {found['share_of_scoring']:.0%} for scoring",
            f"  by phase: {phases}",
            f"  by resolution: {sizes}",
            f"  memory: {amount(self.memory_bytes)}; disk: {amount(self.checkpoint_bytes)} for checkpoints, "
            f"{amount(self.log_bytes)} for logs and pictures",
        ]
        if found["budget_ends_it_at"] is not None:
            lines.insert(
                1, f"  but --budget_hours ends it after {duration(self.most_seconds)} and the last scores"
            )
        return lines


def print_plan(resolved, estimate, run):
    """What --dry_run and --estimate print. resolved: the run as plain data. run: the run options."""
    if run.dry_run:
        resolved = resolved | ({"estimate": estimate.describe()} if estimate else {})
        print(json.dumps(resolved, indent=2))
    else:
        print("\n".join(estimate.lines()))


def duration(seconds):
    """Such as "3.2 s", "41 min" or "12.5 h"."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.1f} s"


def amount(count):
    """Bytes, such as "1.3 GiB"."""
    for power, name in ((30, "GiB"), (20, "MiB")):
        if count >= 1 << power:
            return f"{count / (1 << power):.1f} {name}"
    return f"{count / 1024:.1f} KiB"


def seconds_of(work):
    """Seconds of one call of `work`, after a first one that does not count."""
    work()
    started, done = time.monotonic(), 0
    while done < MOST_REPEATS and (not done or time.monotonic() - started < SECONDS_TO_MEASURE):
        work()
        done += 1
    return (time.monotonic() - started) / done


def some_images(image_set, count, resolution, device):
    """(ResizedImages of the first images, seconds to read one)."""
    few = dataclasses.replace(image_set, num_images=min(count, image_set.num_images), warnings=())
    started = time.monotonic()
    images = few.resized(resolution, device)
    return images, (time.monotonic() - started) / few.num_images


def seconds_per_step(gan, plan, images, functions_at, **options):
    """Seconds of a discriminator step, with its share of the generator's, in real steps on these images.

    plan: of a search or a training; its `classes` and the option groups training, network and run are read.
    functions_at(step, loss): the StepFunctions of a step. options: further arguments of
    utils.training.loop.train.
    """
    training = plan.training
    inputs = StepInputs(images, plan.run.random_seed, training, plan.network.latent_dim, plan.classes)
    loss_at = loss_schedule(training.loss, plan.run.random_seed, device=images.device)
    gan.generator.train()
    gan.discriminator.train()
    steps = (step * training.n_critic for step in range(1, MOST_REPEATS + 3))
    looks = train(gan, inputs, lambda step: functions_at(step, loss_at(step)), steps, training, **options)
    return seconds_of(lambda: next(looks)) / training.n_critic


@dataclass(frozen=True)
class ScoringCost:
    """Seconds to score: of each image, of the feature network alone for one, and of the distance itself."""

    image: float
    real_image: float
    distance: float

    def of(self, architectures, images, metrics):
        """Seconds to score so many architectures by so many images each, by some of "is" and "fid"."""
        return architectures * (images * self.image + ("fid" in metrics) * self.distance)


def scoring_cost(generate, latent_dim, feature_net, resolution, scoring, device, classes=None):
    """The ScoringCost of images generate(noise). scoring: the option group of this name.

    classes: the Classes of a conditional generator.
    """
    batch = scoring.eval_batch_size
    sample = noise_sampler(generate, latent_dim, 0, "estimate", device=device, classes=classes)
    image = seconds_of(lambda: evaluate(sample, batch, feature_net, metrics=("is",), splits=1)) / batch
    pictures = torch.zeros(batch, 3, resolution, resolution, dtype=torch.uint8, device=device)
    with torch.inference_mode():
        real_image = seconds_of(lambda: feature_net(pictures)[1].sum().item()) / batch
    dimensions = feature_net.feature_dim
    numbers = torch.randn(dimensions, dimensions + 8, generator=random_generator(0, "estimate"))
    mu, sigma = numbers[:, 0].double().numpy(), torch.cov(numbers.double()).numpy()
    distance = seconds_of(lambda: frechet_distance(mu, sigma, mu, sigma))
    return ScoringCost(image, real_image, distance)


def measured_memory(device):
    """The most bytes that this process has taken so far, of the GPU if it computes there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def gan_bytes(gan):
    """Bytes of a checkpoint of a Gan, once all of it has been trained."""
    networks = gan.networks()
    weights = sum(
        t.numel() * t.element_size() for each in networks.values() for t in each.state_dict().values()
    )
    trained = (networks["generator"], networks["discriminator"])
    moments = sum(2 * p.numel() * p.element_size() for each in trained for p in each.parameters())
    return weights + moments
