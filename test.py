"""Score a checkpoint, of this project or of the authors' code, and draw its samples.

python test.py --load_path logs/derive_TIME --exp_name test
python test.py --load_path logs/derive_TIME --save_images samples --num_images 1000    # draws, scores nothing
"""

import hashlib
import json
import os
from functools import partial
from pathlib import Path

import cfg
from utils.cli import UserError, answer_first, run_script

if __name__ == "__main__":
    answer_first(partial(cfg.parse, "test"))

import torch

from library.export import fits_half, save_safetensors, save_strip
from library.generators import image_batches, load_generator, sample_labels, walks
from library.headers import about, without_folders
from models.conditioning import Conditioning
from models.families import family
from models.layers.fast_form import fast_form
from utils.data.load import DATASETS, load_images
from utils.distributed import size
from utils.images import save_images
from utils.data.labels import write_label_file
from utils.metrics import intra_fid
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
from utils.training.samples import sample_rows
from utils.training.sizes import count_parameters, network_sizes


WALKS = 8  # rows of --interpolate


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
        refuse_halvings(options.cells.df_halvings, generator.architecture.levels)
    for name, value in generator.widths().items():
        if name in options.typed and typed[name] != value:
            raise UserError(f"--{name}: the checkpoint has {value}, not {typed[name]}; leave the option out")
    made = generator.resolution
    if "img_size" in options.typed and typed["img_size"] != made:
        cure = f"set --img_size {made} or leave it out"
        raise UserError(f"--img_size: the checkpoint makes {made} px images, not {typed['img_size']}; {cure}")
    known = {**loaded.options, **generator.widths(), "img_size": made}
    # A file that states its score is scored by that protocol.
    protocol = ("num_eval_imgs", "is_splits", "eval_batch_size", "split") if loaded.header else ()
    return loaded, cfg.with_run_options(options, known, protocol)


def is_same_file(first, second):
    """Whether two paths, of which one may be None, lead to one file that exists."""
    paths = first, second
    return all(path and os.path.exists(path) for path in paths) and os.path.samefile(*paths)


def draws_only(options):
    """Whether images are drawn and nothing is scored."""
    return bool(options.test.save_images or options.test.interpolate)


def refuse_unused(options):
    """Raise UserError for typed options of images or scores that are not asked for."""
    count = options.test.num_images
    if "num_images" in options.typed and not options.test.save_images:
        raise UserError(f"--num_images: no folder for {count} images; give --save_images FOLDER too")
    for name in sorted(options.typed & {"intra_fid_imgs", "labels"}):
        if "intra_fid" not in options.test.metrics:
            raise UserError(f"--{name}: without effect without --metrics intra_fid; leave it out")
    if size() > 1 and "intra_fid" in options.test.metrics:
        cure = f"torchrun started {size()}; start it without torchrun"
        raise UserError(f"--metrics: one process scores by class (intra_fid), {cure}")
    if options.test.export and not options.test.export.endswith(".safetensors"):
        raise UserError(f"--export: {options.test.export} must end in .safetensors; give such a name")
    if options.test.export and is_same_file(options.test.export, options.run.load_path):
        raise UserError(f"--export: {options.test.export} is the file of --load_path; give another name")
    if not draws_only(options):
        return
    if size() > 1:
        option = "--save_images" if options.test.save_images else "--interpolate"
        raise UserError(f"{option}: one process draws, torchrun started {size()}; start it without torchrun")
    read = {"eval_batch_size"} | ({"exp_name", "folder_file"} if options.test.interpolate else set())
    known = cfg.SCRIPTS["test"].known("data", "scoring", "evaluation").keys() - {"img_size"}
    unread = known | {"metrics", "protocol", "split", "compile", "exp_name", "folder_file"}
    unread |= {"intra_fid_imgs", "labels", "export"}
    for name in sorted(options.typed & unread - read):
        option = "--save_images" if options.test.save_images else "--interpolate"
        raise UserError(f"--{name}: without effect with {option}, which scores nothing; leave it out")


def drawn_classes(options, loaded):
    """The Classes to draw: those of the checkpoint, of which --class picks one; None if it has none.

    Raises UserError for options that only a conditional generator has.
    """
    classes, wanted = loaded and loaded.classes, options.test.class_name
    if "intra_fid" in options.test.metrics and not classes:
        cure = "leave it out, or score one trained with --conditional"
        raise UserError(f"--metrics: intra_fid compares classes, and the generator knows none; {cure}")
    if wanted is None:
        return classes
    if not classes:
        raise UserError("--class: the generator was not trained with --conditional; leave it out")
    return classes.only(wanted)


def describe(options, architecture, loaded=None):
    """The resolved run, for --dry_run and results.json.

    It includes the discriminator that would be trained beside the generator.
    """
    classes, scored = loaded and loaded.classes, options.evaluation.num_eval_imgs
    sizes, memory = sizes_and_memory(options, architecture, classes)
    if "intra_fid" in options.test.metrics:
        scored += len(classes) * options.test.intra_fid_imgs
    return {
        "script": "test.py",
        "options": options.flat(),
        "architecture": str(architecture),
        "checkpoint": loaded and loaded.describe(),
        "processes": size(),
        "resolution": options.data.img_size,
        **({"classes": list(classes.names)} if classes else {}),
        **sizes,
        "memory_bytes": memory.total,
        "scored_images": 0 if draws_only(options) else scored,
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


def sizes_and_memory(options, architecture, classes):
    """(parameters and MACs of the networks, Memory of sampling), counted without allocating."""
    widths = family(architecture).widths
    with on_meta(widths):
        build, latent_dim = family(architecture).networks, options.network.latent_dim
        conditioning = Conditioning(len(classes or ()))
        networks = build(architecture, latent_dim, options.cells, conditioning=conditioning)
        sizes = network_sizes(*networks, options.data.img_size)
        return sizes, sampling_memory(networks[0], options.scoring.eval_batch_size, widths=widths)


def check(options, architecture, classes, device):
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
    _, memory = sizes_and_memory(options, architecture, classes)
    memory.check(device_memory(device))


def start_run(options, device):
    """A new Run in logs_eval. --folder_file gets its path."""
    return new_run("logs_eval", options.run, options.flat(), device)


def draw(loaded, options, classes, device):
    """Write single images (--save_images) and a grid of walks (--interpolate); score nothing."""
    generator, seed = placed(loaded, options, device), options.run.random_seed
    print(loaded_line(loaded), flush=True)
    if options.test.save_images:
        folder = Path(options.test.save_images)
        folder.mkdir(parents=True, exist_ok=True)
        count, batch_size, first = options.test.num_images, options.scoring.eval_batch_size, 0
        for images in image_batches(generator, count, seed, batch_size, classes):
            save_images(images, folder, first)
            first += len(images)
        if classes:
            labels = sample_labels(classes, count, seed, batch_size)
            names = [f"{number:06d}.png" for number in range(count)]
            write_label_file(folder / "labels.csv", names, labels, classes)
        print(f"wrote {count} images to {folder}" + (", their classes to labels.csv" if classes else ""))
    if options.test.interpolate:
        run, rows = start_run(options, device), ()
        if classes:
            shown = classes.shown()
            rows = [classes.names[shown[row % len(shown)]] for row in range(WALKS)]
        picture = run.grid("interpolation", walks(generator, seed, WALKS, classes=classes), 0, rows)
        run.finish(describe(options, loaded.architecture, loaded))
        run.log(f"walks between noise vectors {picture}")


def score(loaded, options, classes, device):
    """Score the generator, and draw a grid of its samples.

    classes: those to draw in the grid. All of the checkpoint's are scored.
    """
    # What to compare with.
    data, scoring, metrics = options.data, options.scoring, {"is", "fid", *options.test.metrics}
    by_class = "intra_fid" in metrics
    metrics -= {"intra_fid"}
    feature_nets = load_feature_nets(**scoring.network(), compiled=options.run.compile, device=device)
    image_set = None
    if not options.evaluation.fid_stat or "swd" in metrics or by_class:
        fewest, labels = fewest_images(metrics), (options.test.labels or True) if by_class else None
        split = options.test.split
        image_set = load_images(data.dataset, data.data_path, split, data.img_size, fewest, labels)
    if by_class:
        intra_fid.check_classes(image_set, loaded.classes)

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
    picture = draw_samples(generator, options.run.random_seed, run, classes, scoring.eval_batch_size)
    scores, differences = score_generator(
        generator, feature_nets, reals, num_images=options.evaluation.num_eval_imgs, metrics=metrics,
        batch_size=scoring.eval_batch_size, splits=scoring.is_splits, seed=options.run.random_seed,
        real_images=images, progress="scoring", classes=loaded.classes,
    )  # fmt: skip
    compared = ", ".join(filter(None, (scores.data, scores.split)))
    count = scores.num_real or "the"
    run.log(f"{scores.num_fake} generated against {count} real images ({compared}): {scores.text()}")
    if differences:
        stated = (f"{name} {value:.1e}" for name, value in differences.items() if value is not None)
        run.log(f"torch against TensorFlow: {', '.join(stated)}")
    if loaded.header.get("scores"):
        stated = loaded.header["scores"]
        values = ", ".join(f"{name} {stated[name]:.2f}" for name in ("is_mean", "fid") if stated.get(name))
        run.log(f"the file states {stated['feature_net']}: {values}")
    if options.test.export:
        export(loaded, options, scores, run)
    results = {"scores": scores.as_dict(), "backend_differences": differences}
    if by_class:
        results["intra_fid"], line = score_by_class(
            generator, feature_nets[0], images, image_set.class_names, loaded.classes, options
        )
        run.log(line)
    run.finish({**describe(options, loaded.architecture, loaded), **results})
    run.log(f"samples {picture}, results {run.folder / 'results.json'}")


def score_by_class(generator, feature_net, images, names, classes, options):
    """(FID of each class and their mean, plain data; a line for the log).

    names: of the images' classes. classes: the Classes of the generator.
    """
    count = options.test.intra_fid_imgs
    found = intra_fid.intra_fid(
        generator, feature_net, images, names, classes, num_images=count, seed=options.run.random_seed,
        batch_size=options.scoring.eval_batch_size,
    )  # fmt: skip
    return intra_fid.summary(found, count, feature_net.name)


def export(loaded, options, scores, run):
    """Write --export, and beside it a picture of its first samples."""
    path, command = Path(options.test.export), loaded.header.get("command")
    if "max_iter" in loaded.options:  # a run of train_derived.py: the command that needs no other file
        named = {"arch": str(loaded.architecture).split(), "arch_file": None, "rank": 1, "extend": None}
        command = cfg.started_by(without_folders(loaded.options) | named, str(loaded.architecture))
    elif "method" in loaded.options:
        command = cfg.started_by(without_folders(loaded.options))
    header = about(loaded, command, options.flat(), scores.as_dict())
    # The loaded one may be in a fast form by now.
    generator = load_generator(loaded.file, options.test.checkpoint, loaded.architecture).generator
    save_safetensors(generator, path, classes=loaded.classes, header=header, half=options.test.half)
    written = load_generator(path)
    picture = save_strip(written.generator, path.with_suffix(".png"), written.classes)
    size, digest = path.stat().st_size / 1e6, hashlib.sha256(path.read_bytes()).hexdigest()
    run.log(f"wrote {path} ({size:.2f} MB, sha256 {digest}) and {picture}")


def draw_samples(generator, seed, run, classes, batch_size):
    """Write a grid of the images of fixed noise vectors, 100 or ten of each class, and return its path."""
    fixed, device = random_generator(seed, "grid"), next(generator.parameters()).device
    with torch.inference_mode():
        images, rows = sample_rows(
            generator, generator.latent_dim, fixed, device, classes, batch_size=batch_size
        )
    return run.grid("samples", images, 0, rows)


def main():
    options, loaded = cfg.parse("test"), None
    refuse_unused(options)
    if not options.run.load_path and not options.run.dry_run:
        raise UserError("--load_path: no checkpoint to score; give a run's folder or a .pth file")
    if options.run.load_path:
        loaded, options = load(options)
        if options.test.half and not fits_half(loaded.generator):
            raise UserError(f"--half: {loaded.file} has weights above 65504; leave it out")
    architecture = loaded.architecture if loaded else cfg.generator_architecture(options)
    if architecture is None:
        raise UserError("--gen_model: no architecture to describe; give --gen_model, --arch or --load_path")
    classes = drawn_classes(options, loaded)
    device = pick_device(options.run.device)
    check(options, architecture, classes, device)
    if options.run.dry_run:
        print(json.dumps(describe(options, architecture, loaded), indent=2))
        return
    if draws_only(options):
        draw(loaded, options, classes, device)
    else:
        score(loaded, options, classes, device)


if __name__ == "__main__":
    run_script(together(main))
