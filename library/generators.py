"""Generators that runs left: load them and draw their images.

    loaded = load_generator("logs/derive_TIME")
    images = sample(loaded.generator, 64, seed=1)
    images = sample(loaded.generator, 64, seed=1, classes=loaded.classes)  # of a conditional one

utils.metrics.generator scores them.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from library.headers import read_header
from models import architectures
from models.autogan import authors
from models.errors import ArchitectureError
from models.families import family
from utils.cli import UserError
from utils.data.labels import Classes, read_saved_classes
from utils.images import all_finite, to_uint8
from utils.metrics.evaluate import NonFiniteImages
from utils.metrics.generator import label_sampler, noise_sampler
from utils.progress import Progress
from utils.randomness import random_generator
from utils.run.checkpoint import DamagedCheckpoint, load_latest, load_networks, read_authors_weights
from utils.run.derived import read_derived
from utils.run.folder import find_run, load_run


@dataclass(frozen=True)
class Loaded:
    """A generator and where it comes from."""

    generator: torch.nn.Module  # in eval mode, on the CPU
    options: dict  # {option: value} of the run that trained it, or of its header; {} if unknown
    file: Path
    kind: str = ""  # "best" or "last" of a training, "best" of a search by growth; "" for a file
    iteration: int | None = None  # generator iterations it was trained for; None if unknown
    classes: Classes | None = None  # of a conditional generator
    header: dict = field(default_factory=dict)  # of a .safetensors file, see library.headers; else {}

    @property
    def architecture(self):
        return self.generator.architecture

    def describe(self):
        """Where it comes from, as plain data."""
        return {"file": str(self.file), "kind": self.kind or None, "iteration": self.iteration}


def load_generator(path, checkpoint="best", architecture=None):
    """The Loaded generator of a run's folder, or of a file.

    path: the folder of a training, or of a search by growth, whose best network is taken; or a .pth file of
    this project or of the authors' code, or a .safetensors file that library.export wrote.
    checkpoint: of a training's folder, "best" by FID or "last". A training that was never scored has the last
    one only. architecture: needed for the authors' files alone. Others must not contradict it.
    Raises UserError, which names the option of test.py, if something is missing or does not fit.
    """
    path = Path(path)
    file, kind = _find_checkpoint(find_run(path), checkpoint) if os.path.isdir(path) else (path, "")
    if file.suffix == ".safetensors":
        text, weights, classes = _read_safetensors(file)
        generator, header = _build(text, weights, architecture, file), read_header(file)
        details = {"iteration": header.get("iterations"), "header": header, "classes": classes}
        return _fitting(Loaded(generator, header.get("options", {}), file, **details))
    try:
        text, weights, saved = load_networks(file)
    except DamagedCheckpoint as not_ours:
        try:
            weights = authors.rename(read_authors_weights(file))
        except DamagedCheckpoint:
            raise not_ours from None
        if architecture is None:
            cure = "name it with --gen_model or --arch"
            raise UserError(f"--gen_model: {file} does not say which architecture it has; {cure}") from None
        return Loaded(_build(str(architecture), weights, None, file), {}, file)
    options = _run_options(file, saved)
    generator = _build(text, weights["average"], architecture, file)
    steps, n_critic = _steps(saved, options), options.get("n_critic")
    iteration = None if steps is None or not n_critic else steps // n_critic
    classes = read_saved_classes(saved, f"--load_path: {file}")
    return _fitting(Loaded(generator, options, file, kind, iteration, classes))


def _steps(saved, options):
    """The discriminator's steps of a training, or of the path to a node of a growth tree; None if unknown."""
    if isinstance(saved.get("position"), int):
        return saved["position"]
    each, path = options.get("growth_iterations"), saved.get("path")
    return each * len(path) if each and isinstance(path, list) else None


def _fitting(loaded):
    """The Loaded, if its classes are as many as those of its generator. Raises UserError."""
    stated, known = len(loaded.classes or ()), getattr(loaded.generator, "num_classes", 0)
    if stated != known:
        problem = f"{loaded.file} names {stated} classes for a generator of {known}"
        raise UserError(f"--load_path: {problem}; use another one")
    return loaded


def _find_checkpoint(folder, checkpoint):
    """(file, "best" or "last") of a run's folder."""
    models = folder / "Model"
    if (folder / "derived.json").is_file():
        weights = [entry["weights"] for entry in read_derived(folder) if "weights" in entry]
        if weights and checkpoint == "last":
            cure = "leave it out or give one of its Model/node_*.pth"
            raise UserError(f"--checkpoint: {folder} is a search by growth, which keeps its best; {cure}")
        if weights:
            return folder / weights[0], "best"
    best = models / "checkpoint_best.pth"
    if checkpoint == "best" and best.is_file():
        return best, "best"
    return load_latest(models)[1], "last"


def _run_options(file, saved):
    """The options of the run that wrote a checkpoint.

    A node of a growth tree does not hold them; its run does. {} if that run is not found.
    """
    if isinstance(saved.get("options"), dict):
        return saved["options"]
    try:
        return load_run(file)["options"]
    except UserError:  # the file lies elsewhere
        return {}


def _build(text, weights, named, file):
    """The generator with these weights, from which its widths are read."""
    try:
        architecture = architectures.parse(text)
    except ArchitectureError as error:
        raise UserError(
            f"--load_path: {file} names no architecture: {error}; use another checkpoint"
        ) from None
    if named not in (None, architecture):
        cure = "leave --arch and --gen_model out"
        raise UserError(f"--arch: the checkpoint's architecture is {architecture}, not {named}; {cure}")
    try:
        return family(architecture).load_generator(architecture, weights).eval()
    except ArchitectureError as error:
        raise UserError(f"--load_path: {file}: {error}; name the right --gen_model or --arch") from None


def _read_safetensors(file):
    """(text of the architecture, weights, Classes or None) of a file that library.export wrote."""
    cure = "give one that library.export wrote"
    if not file.is_file():
        raise UserError(f"--load_path: no file {file}; {cure}")
    try:
        with safe_open(file, "pt") as content:
            weights = {name: content.get_tensor(name) for name in content.keys()}
            metadata = content.metadata() or {}
            text, saved = metadata["architecture"], {}
            architectures.parse(text)
            if "classes" in metadata:
                saved = {"classes": json.loads(metadata["classes"])}
            return text, weights, read_saved_classes(saved, f"--load_path: {file}")
    except (SafetensorError, KeyError, ArchitectureError, ValueError, RecursionError) as error:
        raise UserError(f"--load_path: {file} holds no generator of this project ({error}); {cure}") from None


def sample(generator, count, seed, batch_size=100, classes=None):
    """`count` images of a generator in eval mode: uint8 (count, 3, R, R) on the CPU; see image_batches."""
    return torch.cat(list(image_batches(generator, count, seed, batch_size, classes)))


def sample_labels(classes, count, seed, batch_size=100):
    """The labels (count,) of the images that `sample` and `image_batches` draw."""
    draw = label_sampler(classes, seed, "score", device="cpu")
    return torch.cat([draw(batch_size) for _ in range(0, count, batch_size)])[:count]


def image_batches(generator, count, seed, batch_size=100, classes=None):
    """Yield `count` images, uint8 on the CPU, in batches.

    They are the images that scoring with this seed and batch size sees first. classes: of a conditional
    generator; `classes.only("cat")` draws one of them. Raises NonFiniteImages.
    """
    device = next(generator.parameters()).device
    draw = noise_sampler(generator, generator.latent_dim, seed, "score", device=device, classes=classes)
    with Progress(count, "images", "image") as progress:
        for first in range(0, count, batch_size):
            with torch.inference_mode():
                # Always a whole batch: random numbers at the end of a smaller one would be others.
                images = draw(batch_size)[: count - first]
                if not all_finite(images):
                    raise NonFiniteImages("the generated images hold NaN or infinity")
                images = to_uint8(images).cpu()
            yield images
            progress.update(len(images))


def walks(generator, seed, rows=8, columns=10, classes=None):
    """Float images (rows * columns, 3, R, R): in each row a walk from one noise vector to another.

    They are on the generator's device. classes: of a conditional generator; a row is of one class, the rows
    are of each in turn.
    """
    random = random_generator(seed, "walks")
    ends = torch.randn(rows, 2, 1, generator.latent_dim, generator=random)
    shares = torch.linspace(0, 1, columns)[:, None]
    noise = spherical(ends[:, 0], ends[:, 1], shares).flatten(0, 1)
    device = next(generator.parameters()).device
    labels = {}
    if classes:
        shown = classes.shown()
        numbers = torch.tensor([shown[row % len(shown)] for row in range(rows)])
        labels["labels"] = numbers.repeat_interleave(columns).to(device)
    with torch.inference_mode():
        return generator(noise.to(device), **labels)


def spherical(first, second, share):
    """The point at a share of the way between vectors (..., D), along the great circle.

    On the straight line points come closer to the origin than normal noise does. (Shoemake 1985; White 2016,
    arXiv:1609.04468.)
    """
    directions = (torch.nn.functional.normalize(vectors, dim=-1) for vectors in (first, second))
    cosine = torch.mul(*directions).sum(-1, keepdim=True).clamp(-1, 1)
    angle = torch.acos(cosine)
    sine = torch.sin(angle)
    curved = (torch.sin((1 - share) * angle) * first + torch.sin(share * angle) * second) / sine
    return torch.where(sine > 1e-4, curved, torch.lerp(first, second, share))
