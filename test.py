"""Score a checkpoint, of this project or of the authors' code, and draw its samples.

python test.py --load_path logs/derive_TIME --exp_name test
python test.py --load_path logs/derive_TIME --save_images samples --num_images 1000    # draws, scores nothing
"""

import json
import os
from functools import partial
from pathlib import Path

import cfg
from utils.cli import UserError, answer_first, run_script

if __name__ == "__main__":
    answer_first(partial(cfg.parse, "test"))

import torch

from library.generators import image_batches, load_generator, walks
from models.families import family
from models.layers.fast_form import fast_form
from utils.data.load import DATASETS, load_images
from utils.distributed import size
from utils.images import save_images
from utils.metrics.generator import load_feature_nets, load_real_statistics, score_generator
from utils.metrics.scores import fewest_images
from utils.metrics.sliced_wasserstein import PATCH_SIZE
from utils.metrics.sums import FEATURE_SAMPLE
from utils.options import refuse_halvings
from utils.randomness import random_generator
from utils.run.folder import new_run
from utils.run.machine import device_memory, pick_device
from utils.run.together import together
from utils.training.gan import place
from utils.training.memory import on_meta, sampling_memory
from utils.training.sizes import count_parameters, network_sizes


def load(options):
    """(the Loaded generator of --load_path, Options that fit it).

    Raises UserError if typed options contradict the checkpoint.
    """
    path, typed = options.run.load_path, options.flat()
    if "checkpoint" in options.typed and not os.path.isdir(path):
        raise UserError("--checkpoint: without effect on a file; leave it out or give the run's folder")
    loaded = load_generator(path, options.test.checkpoint, cfg.generator_architecture(options))
    if "checkpoint" in options.typed and loaded.kind != options.test.checkpoint:
        raise UserError("--checkpoint: the run was never scored, so there is no best one; leave it out")
    generator = loaded.generator
    cfg.refuse_unread(options, generator.architecture.family)
    if generator.architecture.family == "autogan":
        cfg.refuse_single_pixel(generator.architecture, generator.bottom_width, "--load_path")
        refuse_halvings(options.cells.d_halvings, generator.architecture.levels)
    for name, value in generator.widths().items():
        if name in options.typed and typed[name] != value:
            raise UserError(f"--{name}: the checkpoint has {value}, not {typed[name]}; leave the option out")
    made = generator.resolution
    if "img_size" in options.typed and typed["img_size"] != made:
        cure = f"set --img_size {made} or leave it out"
        raise UserError(f"--img_size: the checkpoint makes {made} px images, not {typed['img_size']}; {cure}")
    known = {**loaded.options, **generator.widths(), "img_size": made}
    return loaded, cfg.with_run_options(options, known)


def draws_only(options):
    """Whether images are drawn and nothing is scored."""
    return bool(options.test.save_images or options.test.interpolate)


def refuse_unused(options):
    """Raise UserError for typed options of images or scores that are not asked for."""
    count = options.test.num_images
    if "num_images" in options.typed and not options.test.save_images:
        raise UserError(f"--num_images: no folder for {count} images; give --save_images FOLDER too")
    if not draws_only(options):
        return
    if size() > 1:
        option = "--save_images" if options.test.save_images else "--interpolate"
        raise UserError(f"{option}: one process draws, torchrun started {size()}; start it without torchrun")
    read = {"eval_batch_size"} | ({"exp_name", "folder_file"} if options.test.interpolate else set())
    known = cfg.SCRIPTS["test"].known("data", "scoring", "evaluation").keys() - {"img_size"}
    unread = known | {"metrics", "protocol", "split", "compile", "exp_name", "folder_file"}
    for name in sorted(options.typed & unread - read):
        option = "--save_images" if options.test.save_images else "--interpolate"
        raise UserError(f"--{name}: without effect with {option}, which scores nothing; leave it out")


def describe(options, architecture, loaded=None):
    """The resolved run, for --dry_run and results.json.

    It includes the discriminator that would be trained beside the generator.
    """
    sizes, memory = sizes_and_memory(options, architecture)
    return {
        "script": "test.py",
        "options": options.flat(),
        "architecture": str(architecture),
        "checkpoint": loaded and loaded.describe(),
        "processes": size(),
        "resolution": options.data.img_size,
        **sizes,
        "memory_bytes": memory.total,
        "scored_images": 0 if draws_only(options) else options.evaluation.num_eval_imgs,
    }


def placed(loaded, options, device):
    """The generator on the device, in the form in which it computes fast, as while it was trained."""
    generator, is_fast = loaded.generator, options.run.is_fast
    generator = fast_form(generator) if is_fast else generator
    return place(generator, device, is_fast, loaded.options.get("precision", "float32")).eval()


def loaded_line(loaded):
    """The log line that says which checkpoint was loaded."""
    words = [f"the {loaded.kind} one"] if loaded.kind else []
    words += [f"of iteration {loaded.iteration}"] if loaded.iteration is not None else []
    which = f" ({', '.join(words)})" if words else ""
    size = f"{count_parameters(loaded.generator):,} parameters"
    return f"loaded {loaded.file}{which}: architecture {loaded.architecture}, {size}"


def sizes_and_memory(options, architecture):
    """(parameters and MACs of the networks, Memory of sampling), counted without allocating."""
    widths = family(architecture).widths
    with on_meta(widths):
        networks = family(architecture).networks(architecture, options.network.latent_dim, options.cells)
        sizes = network_sizes(*networks, options.data.img_size)
        return sizes, sampling_memory(networks[0], options.scoring.eval_batch_size, widths=widths)


def check(options, architecture, device):
    """Raise UserError for options that do not go together, or too large for the memory."""
    images, resolution = options.evaluation.num_eval_imgs, options.data.img_size
    metrics = options.test.metrics
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


def start_run(options, device):
    """A new Run in logs_eval. --folder_file gets its path."""
    return new_run("logs_eval", options.run, options.flat(), device)


def draw(loaded, options, device):
    """Write single images (--save_images) and a grid of walks (--interpolate); score nothing."""
    generator, seed = placed(loaded, options, device), options.run.random_seed
    print(loaded_line(loaded), flush=True)
    if options.test.save_images:
        folder = Path(options.test.save_images)
        folder.mkdir(parents=True, exist_ok=True)
        count, first = options.test.num_images, 0
        for images in image_batches(generator, count, seed, options.scoring.eval_batch_size):
            save_images(images, folder, first)
            first += len(images)
        print(f"wrote {count} images to {folder}")
    if options.test.interpolate:
        run = start_run(options, device)
        picture = run.grid("interpolation", walks(generator, seed), 0)
        run.finish(describe(options, loaded.architecture, loaded))
        run.log(f"walks between noise vectors {picture}")


def score(loaded, options, device):
    """Score the generator, and draw a grid of its samples."""
    # What to compare with.
    data, scoring, metrics = options.data, options.scoring, {"is", "fid", *options.test.metrics}
    feature_nets = load_feature_nets(**scoring.network(), compiled=options.run.compile, device=device)
    image_set = None
    if not options.evaluation.fid_stat or "swd" in metrics:
        fewest = fewest_images(metrics)
        image_set = load_images(data.dataset, data.data_path, options.test.split, data.img_size, fewest)

    run = start_run(options, device)
    # Read the images, which can take long.
    with run.removed_if_refused():
        images = image_set and image_set.resized(data.img_size, device, num_workers=data.num_workers)
        reals = load_real_statistics(
            feature_nets, images, fid_stat=options.evaluation.fid_stat, data=DATASETS[data.dataset],
            sample_size=FEATURE_SAMPLE if {"kid", "precision_recall"} & metrics else 0,
            split=options.test.split, resolution=data.img_size,
        )  # fmt: skip

    # Draw and score.
    generator = placed(loaded, options, device)
    run.log(loaded_line(loaded))
    picture = draw_samples(generator, options.run.random_seed, run, device, scoring.eval_batch_size)
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
    run.finish({**describe(options, loaded.architecture, loaded), **results})
    run.log(f"samples {picture}, results {run.folder / 'results.json'}")


def draw_samples(generator, seed, run, device, batch_size):
    """Write a grid of the images of 100 fixed noise vectors, and return its path."""
    fixed = random_generator(seed, "grid")
    with torch.inference_mode():
        noise = torch.randn(100, generator.latent_dim, generator=fixed).to(device)
        images = torch.cat([generator(part) for part in noise.split(batch_size)])
    return run.grid("samples", images, 0)


def main():
    options, loaded = cfg.parse("test"), None
    refuse_unused(options)
    if not options.run.load_path and not options.run.dry_run:
        raise UserError("--load_path: no checkpoint to score; give a run's folder or a .pth file")
    if options.run.load_path:
        loaded, options = load(options)
    architecture = loaded.architecture if loaded else cfg.generator_architecture(options)
    if architecture is None:
        raise UserError("--gen_model: no architecture to describe; give --gen_model, --arch or --load_path")
    device = pick_device(options.run.device)
    check(options, architecture, device)
    if options.run.dry_run:
        print(json.dumps(describe(options, architecture, loaded), indent=2))
        return
    if draws_only(options):
        draw(loaded, options, device)
    else:
        score(loaded, options, device)


if __name__ == "__main__":
    run_script(together(main))
