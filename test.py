"""Score a checkpoint, of this project or of the authors' code, and draw its samples.

python test.py --load_path logs/derive_TIME --exp_name test
"""

import json
import os
from pathlib import Path

import torch

import cfg
from models import architectures
from models.autogan import authors
from models.errors import ArchitectureError
from models.families import family
from models.layers.fast_form import fast_form
from utils.cli import UserError, run_script
from utils.data.load import DATASETS, load_images
from utils.metrics.generator import load_feature_nets, load_real_statistics, score_generator
from utils.metrics.scores import fewest_images
from utils.metrics.sliced_wasserstein import PATCH_SIZE
from utils.metrics.sums import FEATURE_SAMPLE
from utils.randomness import random_generator
from utils.run.checkpoint import DamagedCheckpoint, load_networks, read_authors_weights
from utils.run.files import write_text
from utils.run.folder import Run, find_run, load_run
from utils.run.machine import device_memory, pick_device
from utils.training.gan import place
from utils.training.memory import on_meta, sampling_memory
from utils.training.sizes import count_parameters, network_sizes


def load_generator(path, options):
    """(generator, options of its run, its file), from a run's folder or a .pth file.

    The file may be of this project or of the authors' code. Raises UserError if it does not fit.
    """
    path = Path(path)
    if os.path.isdir(path):  # path.is_dir() raises OSError for a name that is too long
        models = find_run(path) / "Model"
        best = models / "checkpoint_best.pth"
        path = best if best.is_file() else models / "checkpoint.pth"
    named = cfg.generator_architecture(options)
    try:
        text, weights, saved = load_networks(path)
    except DamagedCheckpoint as not_ours:
        try:
            weights = authors.rename(read_authors_weights(path))
        except DamagedCheckpoint:
            raise not_ours from None
        if named is None:
            cure = "name it with --gen_model or --arch"
            raise UserError(f"--gen_model: {path} does not say which architecture it has; {cure}") from None
        return build_generator(named, weights, options), {}, path
    try:
        architecture = architectures.parse(text)
    except ArchitectureError as error:
        raise UserError(
            f"--load_path: {path} names no architecture: {error}; use another checkpoint"
        ) from None
    if named not in (None, architecture):
        cure = "leave --arch and --gen_model out"
        raise UserError(f"--arch: the checkpoint's architecture is {architecture}, not {named}; {cure}")
    return build_generator(architecture, weights["average"], options), run_options(path, saved), path


def run_options(path, saved):
    """The options of the run that wrote a checkpoint.

    A node of a growth tree does not hold them; its run does. {} if that run is not found.
    """
    if isinstance(saved.get("options"), dict):
        return saved["options"]
    try:
        return load_run(path)["options"]
    except UserError:  # the file lies elsewhere
        return {}


def build_generator(architecture, weights, options):
    """The generator with these weights, from which its widths are read.

    Raises UserError if options on the command line contradict them.
    """
    try:
        generator = family(architecture).load_generator(architecture, weights)
    except ArchitectureError as error:
        raise UserError(f"--load_path: {error}; name the right --gen_model or --arch") from None
    cfg.refuse_unread(options, architecture.family)
    if generator.architecture.family == "autogan":
        cfg.refuse_single_pixel(generator.architecture, generator.bottom_width, "--load_path")
    typed = options.flat()
    for name, value in generator.widths().items():
        if name in options.typed and typed[name] != value:
            raise UserError(f"--{name}: the checkpoint has {value}, not {typed[name]}; leave the option out")
    made = generator.resolution
    if "img_size" in options.typed and typed["img_size"] != made:
        cure = f"set --img_size {made} or leave it out"
        raise UserError(f"--img_size: the checkpoint makes {made} px images, not {typed['img_size']}; {cure}")
    return generator


def describe(options, architecture):
    """The resolved run, for --dry_run and results.json.

    It includes the discriminator that would be trained beside the generator.
    """
    sizes, memory = sizes_and_memory(options, architecture)
    return {
        "script": "test.py",
        "options": options.flat(),
        "architecture": str(architecture),
        "resolution": options.data.img_size,
        **sizes,
        "memory_bytes": memory.total,
        "scored_images": options.evaluation.num_eval_imgs,
    }


def sizes_and_memory(options, architecture):
    """(parameters and MACs of the networks, Memory of sampling), counted without allocating."""
    widths = family(architecture).widths
    with on_meta(widths):
        networks = family(architecture).networks(architecture, options.network.latent_dim, options.cells)
        sizes = network_sizes(*networks, options.data.img_size)
        return sizes, sampling_memory(networks[0], options.scoring.eval_batch_size, widths=widths)


def check(options, architecture, metrics, device):
    """Raise UserError for options that do not go together, or too large for the memory."""
    images, resolution = options.evaluation.num_eval_imgs, options.data.img_size
    if images < fewest_images(metrics):
        cure = "score more or leave it out"
        raise UserError(
            f"--metrics: precision_recall takes {fewest_images(metrics)} images, not {images}; {cure}"
        )
    if "swd" in metrics and resolution < PATCH_SIZE:
        reason = f"swd compares images of {PATCH_SIZE} pixels or more, not of {resolution}"
        raise UserError(f"--metrics: {reason}; leave it out")
    _, memory = sizes_and_memory(options, architecture)
    memory.check(device_memory(device))


def main():
    options, precision = cfg.parse("test"), "float32"
    if not options.run.load_path and not options.run.dry_run:
        raise UserError("--load_path: no checkpoint to score; give a run's folder or a .pth file")
    if options.run.load_path:
        generator, saved_options, source = load_generator(options.run.load_path, options)
        known = {**saved_options, **generator.widths(), "img_size": generator.resolution}
        options = cfg.with_run_options(options, known)
        architecture, precision = generator.architecture, saved_options.get("precision", precision)
    else:
        architecture = cfg.generator_architecture(options)
    if architecture is None:
        raise UserError("--gen_model: no architecture to describe; give --gen_model, --arch or --load_path")
    data, scoring, metrics = options.data, options.scoring, {"is", "fid", *options.test.metrics}
    device = pick_device(options.run.device)
    check(options, architecture, metrics, device)
    if options.run.dry_run:
        print(json.dumps(describe(options, architecture), indent=2))
        return

    # What to compare with.
    feature_nets = load_feature_nets(**scoring.network(), compiled=options.run.compile, device=device)
    image_set = None
    if not options.evaluation.fid_stat or "swd" in metrics:
        fewest = fewest_images(metrics)
        image_set = load_images(data.dataset, data.data_path, options.test.split, data.img_size, fewest)

    run = Run.create("logs_eval", options.run.exp_name, options.flat(), device)
    if options.run.folder_file:
        write_text(options.run.folder_file, f"{run.folder}\n")
    # Read the images, which can take long.
    with run.removed_if_refused():
        images = image_set and image_set.resized(data.img_size, device, num_workers=data.num_workers)
        reals = load_real_statistics(
            feature_nets, images, fid_stat=options.evaluation.fid_stat, data=DATASETS[data.dataset],
            sample_size=FEATURE_SAMPLE if {"kid", "precision_recall"} & metrics else 0,
            split=options.test.split, resolution=data.img_size,
        )  # fmt: skip

    # Draw and score.
    is_fast = options.run.is_fast
    generator = place(fast_form(generator) if is_fast else generator, device, is_fast, precision).eval()
    run.log(f"loaded {source}: architecture {architecture}, {count_parameters(generator):,} parameters")
    picture = draw_samples(generator, options.run.random_seed, run, device)
    scores, differences = score_generator(
        generator, feature_nets, reals, num_images=options.evaluation.num_eval_imgs, metrics=metrics,
        batch_size=scoring.eval_batch_size, splits=scoring.is_splits, seed=options.run.random_seed,
        real_images=images, progress="scoring",
    )  # fmt: skip
    compared = ", ".join(filter(None, (scores.data, scores.split)))
    count = scores.num_real or "the"
    run.log(f"{scores.num_fake} generated against {count} real images ({compared}): {scores.text()}")
    if differences:
        stated = (f"{name} {value:.1e}" for name, value in differences.items() if value is not None)
        run.log(f"torch against TensorFlow: {', '.join(stated)}")
    results = {"scores": scores.as_dict(), "backend_differences": differences}
    run.finish({**describe(options, architecture), **results})
    run.log(f"samples {picture}, results {run.folder / 'results.json'}")


def draw_samples(generator, seed, run, device):
    """Write a grid of the images of 100 fixed noise vectors, and return its path."""
    fixed = random_generator(seed, "grid")
    with torch.inference_mode():
        images = generator(torch.randn(100, generator.latent_dim, generator=fixed).to(device))
    return run.grid("samples", images, 0)


if __name__ == "__main__":
    run_script(main)
