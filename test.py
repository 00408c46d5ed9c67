"""Score a checkpoint, of this project or of the authors' code, and draw its samples.

python test.py --load_path logs/derive_TIME --exp_name test
"""

import json
from pathlib import Path

import torch

import cfg
from models.architectures import parse
from models.autogan.architecture import Architecture, ArchitectureError
from models.autogan.networks import Discriminator, Generator
from models.growing.networks import GrowingDiscriminator, GrowingGenerator
from models.layers.fast_form import fast_form
from models.growing.architecture import GrowingArchitecture
from utils.run.checkpoint import DamagedCheckpoint, load_authors_generator, load_checkpoint
from utils.cli import UserError, run_script
from utils.run.files import write_text
from utils.training.sizes import count_parameters, network_sizes
from utils.data.load import DATASETS, load_images
from utils.metrics.sums import FEATURE_SAMPLE
from utils.training.gan import placed
from utils.randomness import random_generator
from utils.run.folder import Run, load_run, pick_device, run_folder
from utils.metrics.generator import feature_nets_of, real_statistics_for, score_generator

GENERATORS = {Architecture: Generator, GrowingArchitecture: GrowingGenerator}


def load_generator(path, options):
    """(generator, its run's options, what it was loaded from) of a run's folder or of a .pth file, of this project or the authors'."""
    path = Path(path)
    if path.is_dir():
        models = run_folder(path) / "Model"
        best = models / "checkpoint_best.pth"
        path = best if best.is_file() else models / "checkpoint.pth"
    told = cfg.generator_architecture(options)
    try:
        state = load_checkpoint(path)
    except DamagedCheckpoint as not_ours:
        try:
            weights = load_authors_generator(path)
        except DamagedCheckpoint:
            raise not_ours from None
        if told is None:
            raise UserError(
                f"--gen_model: {path} does not tell its architecture; name it with --gen_model or --arch"
            ) from None
        return from_weights(told, weights, options), {}, path
    if "architecture" not in state:
        raise UserError(
            f"--load_path: {path} is of a search, not of one generator; train one of its derived.json first"
        )
    if state["gan"] is None:
        raise UserError(
            f"--load_path: the training of {path} failed ({state['result']['failure']}); give another checkpoint"
        )
    saved = parse(state["architecture"])
    if told not in (None, saved):
        raise UserError(
            f"--arch: the checkpoint's architecture is {saved}, not {told}; leave --arch and --gen_model out"
        )
    return from_weights(saved, state["gan"]["average"], options), options_of_run(path, state), path


def options_of_run(path, state):
    """The options of the run that wrote a checkpoint, {} if they are not to be had; a network of a growth leaves them to its run."""
    if "options" in state:
        return state["options"]
    try:
        return load_run(path)["options"]
    except UserError:  # the file lies elsewhere
        return {}


def from_weights(architecture, weights, options):
    """The generator, its widths taken from the weights; refuses options on the command line that say otherwise."""
    try:
        generator = GENERATORS[type(architecture)].from_state(architecture, weights)
    except ArchitectureError as error:
        raise UserError(f"--load_path: {error}; name the right --gen_model or --arch") from None
    is_growing = isinstance(architecture, GrowingArchitecture)
    if is_growing:
        cfg.refuse_unread(options, "growing")
    actual = widths_of(generator)
    wanted = {name: width(options, name) for name in actual}
    for name, value in actual.items():
        if name in options.typed and wanted[name] != value:
            raise UserError(f"--{name}: the checkpoint has {value}, not {wanted[name]}; leave the option out")
    made = resolution_of(generator)
    if "img_size" in options.typed and options.data.img_size != made:
        raise UserError(
            f"--img_size: the checkpoint makes {made} px images, not {options.data.img_size}; set --img_size {made} or leave it out"
        )
    return generator


def resolution_of(generator):
    architecture = generator.architecture
    is_growing = isinstance(architecture, GrowingArchitecture)
    return architecture.resolution if is_growing else generator.bottom_width << architecture.levels


def widths_of(generator):
    """The options that, with its architecture, make a generator."""
    return {
        name: getattr(generator, name)
        for name in ("latent_dim", "gf_dim", "bottom_width")
        if hasattr(generator, name)
    }


def width(options, name):
    return getattr(options.network if name == "latent_dim" else options.cells, name)


def new_generator(architecture, widths):
    """An untrained generator; of a growing one only the latent's dimension is an option."""
    if isinstance(architecture, GrowingArchitecture):
        return GrowingGenerator(architecture, widths["latent_dim"])
    return Generator.of(architecture, **widths)


def describe(options, generator):
    """The resolved run, for --dry_run and results.json; the discriminator is the one that would be trained beside the generator."""
    architecture = generator.architecture
    with torch.device("meta"):
        is_growing = isinstance(architecture, GrowingArchitecture)
        discriminator = (
            GrowingDiscriminator(architecture)
            if is_growing
            else Discriminator(architecture.levels, options.cells.df_dim)
        )
        sizes = network_sizes(
            new_generator(architecture, widths_of(generator)), discriminator, options.data.img_size
        )
    return {
        "script": "test.py",
        "options": options.flat(),
        "architecture": str(generator.architecture),
        "resolution": options.data.img_size,
        **sizes,
        "scored_images": options.evaluation.num_eval_imgs,
    }


def main():
    options = cfg.parse("test")
    if options.run.load_path is None and not options.run.dry_run:
        raise UserError("--load_path: no checkpoint to score; give a run's folder or a .pth file")
    if options.run.load_path:
        generator, run_options, source = load_generator(options.run.load_path, options)
        options = cfg.with_run_options(
            options, {**run_options, **widths_of(generator), "img_size": resolution_of(generator)}
        )
        precision = run_options.get("precision", "float32")
    else:
        architecture = cfg.generator_architecture(options)
        if architecture is None:
            raise UserError(
                "--gen_model: no architecture to describe; give --gen_model, --arch or --load_path"
            )
        generator = new_generator(
            architecture,
            {name: width(options, name) for name in ("latent_dim", "gf_dim", "bottom_width")},
        )
    if options.run.dry_run:
        print(json.dumps(describe(options, generator), indent=2))
        return

    data, scoring = options.data, options.scoring
    device = pick_device(options.run.device)
    feature_nets = feature_nets_of(**scoring.network(), compiled=options.run.compile, device=device)
    metrics = {"is", "fid", *options.test.metrics}
    images = None
    if not options.evaluation.fid_stat or "swd" in metrics:
        images = load_images(
            data.dataset, data.data_path, options.test.split, data.img_size, fewest=2
        ).resized(data.img_size, device, num_workers=data.num_workers)
    reals = real_statistics_for(
        feature_nets, images, fid_stat=options.evaluation.fid_stat, sample_size=FEATURE_SAMPLE if {"kid", "precision_recall"} & metrics else 0,
        data=DATASETS[data.dataset], split=options.test.split, resolution=data.img_size,
    )  # fmt: skip

    run = Run.create("logs_eval", options.run.exp_name, options.flat(), device)
    if options.run.folder_file:
        write_text(options.run.folder_file, f"{run.folder}\n")
    if options.run.is_fast:
        generator = fast_form(generator)
    generator = placed(generator, device, options.run.is_fast, precision).eval()
    run.log(
        f"loaded {source}: architecture {generator.architecture}, {count_parameters(generator):,} parameters"
    )
    fixed = random_generator(options.run.random_seed, "grid")
    with torch.inference_mode():
        samples = generator(torch.randn(100, generator.latent_dim, generator=fixed).to(device))
    picture = run.grid("samples", samples, 0)
    scores, differences = score_generator(
        generator, feature_nets, reals, num_images=options.evaluation.num_eval_imgs, batch_size=scoring.eval_batch_size, splits=scoring.is_splits,
        seed=options.run.random_seed, metrics=metrics, real_images=images, progress="scoring",
    )  # fmt: skip
    compared = ", ".join(filter(None, (scores.data, scores.split)))
    run.log(
        f"{scores.num_fake} generated against {scores.num_real or 'the'} real images ({compared}): {scores.text()}"
    )
    if differences:
        run.log(
            "torch against TensorFlow: "
            + ", ".join(f"{name} {value:.1e}" for name, value in differences.items() if value is not None)
        )
    run.finish(
        {**describe(options, generator), "scores": scores.as_dict(), "backend_differences": differences}
    )
    run.log(f"samples {picture}, results {run.folder / 'results.json'}")


if __name__ == "__main__":
    run_script(main)
