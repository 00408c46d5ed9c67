"""Train one architecture, from scratch or from a search's weights: a published one, a vector, or one that a search found.

python train_derived.py --gen_model autogan_cifar10_a --dataset cifar10 --exp_name autogan_cifar10_a
"""

import json
import time
from dataclasses import dataclass, field
from functools import partial

import torch
from tqdm import tqdm

import cfg
from models.autogan.architecture import Architecture
from models.autogan.networks import Discriminator, Generator
from models.growing.networks import GrowingDiscriminator, GrowingGenerator
from models.layers.fast_form import fast_form
from models.layers.init import prepare
from utils.training.adversarial import Setting, last_known, train_or_roll_back, train_steps
from utils.run.checkpoint import load_checkpoint
from utils.run.files import write_text
from utils.cli import UserError, run_script
from utils.training.compiled import compile_discriminator, compile_generator
from utils.training.sizes import count_parameters, network_sizes, refuse_too_large
from utils.data.load import DATASETS, load_images
from utils.training.gan import Gan, new_gan
from utils.images import save_gif
from utils.training.losses import loss_schedule
from utils.precision import check_precision
from utils.randomness import global_seed, random_generator
from utils.run.folder import Run, SafePoint, device_memory, load_run, pick_device, progress_line
from utils.metrics.generator import feature_nets_of, real_statistics_for, score_generator
from utils.training.inputs import StepInputs


STEPS_PER_LINE = 1000  # of the log


@dataclass
class Training:
    """Where the training stands: what a checkpoint holds."""

    gan: Gan
    step: int = 0
    best: dict = None  # scores of the best checkpoint by FID
    history: list = field(default_factory=list)  # {"iteration", "is_mean", "fid", ...} of every scoring
    scored_step: int = -1  # where it was scored last
    rollbacks: int = 0


def train(training, options, inputs, total_steps, score, run, safe_point):
    """`total_steps` discriminator steps, one generator step every --n_critic of them; grids and scores of the average generator."""
    gan, settings, n_critic = training.gan, options.derive, options.training.n_critic
    epoch = inputs.steps_per_epoch
    loss_at = loss_schedule(options.training.loss, options.run.random_seed, device=inputs.images.device)
    lr_factor = (lambda step: 1 - step / total_steps) if settings.lr_decay else None
    gan.generator.train()
    gan.discriminator.train()

    def train_until(last, rollbacks):
        return train_steps(
            gan, inputs.steps(training.step, last, rollbacks),
            lambda step: Setting(gan.generator, gan.discriminator, loss_at(step), key="derived"), precision=options.training.precision,
            max_grad_norm=options.training.max_grad_norm, ema_decay=settings.ema_decay, lr_factor=lr_factor,
        )  # fmt: skip

    def is_due(every):
        """At the end of every so many epochs, and of the training."""
        return training.step == total_steps or (training.step > 0 and training.step % (every * epoch) == 0)

    if training.step == 0:
        sample_grid(training, options, run)
    bar = tqdm(
        total=total_steps // n_critic,
        initial=training.step // n_critic,
        desc="training",
        unit="iteration",
        disable=None,
    )
    started, first = time.monotonic(), training.step
    with bar:
        while True:
            if training.scored_step < training.step and (
                is_due(settings.val_freq) or (training.step == 0 and settings.score_start)
            ):
                score(training)
                safe_point(due=True)
            if training.step == total_steps:
                return
            stops = (every * (training.step // every + 1) for every in (options.training.print_freq, epoch))
            last = min(total_steps, *stops)
            (d_losses, g_losses), training.rollbacks = train_or_roll_back(
                gan, partial(train_until, last), training.rollbacks, options.training.on_nan, run.log
            )  # fmt: skip
            is_line_due = last // STEPS_PER_LINE > training.step // STEPS_PER_LINE
            training.step = last
            figures = {"d_loss": d_losses[-1], "g_loss": last_known(g_losses), "g_lr": current_lr(gan)}
            run.record(last, figures, "train")
            if is_line_due:
                place, of = last // n_critic, total_steps // n_critic
                run.log(
                    progress_line(
                        f"iteration {place}",
                        of,
                        figures,
                        time.monotonic() - started,
                        last - first,
                        total_steps - last,
                    )
                )
            bar.update(last // n_critic - bar.n)

            if is_due(settings.sample_freq):
                sample_grid(training, options, run)
            safe_point()


def sample_grid(training, options, run):
    """The average generator's images of 100 fixed noise vectors."""
    average = training.gan.average.eval()
    device = next(average.parameters()).device
    fixed = random_generator(options.run.random_seed, "grid")
    with torch.inference_mode():
        images = average(torch.randn(100, average.latent_dim, generator=fixed).to(device))
    return run.grid(f"iteration_{training.step // options.training.n_critic:06d}", images, training.step)


def scorer(options, feature_nets, reals, run, architecture, stop_if_asked):
    """A function that scores a training's average generator, records it, and keeps the best checkpoint."""
    scoring, n_critic = options.scoring, options.training.n_critic

    def score(training):
        scores, differences = score_generator(
            training.gan.average, feature_nets, reals, num_images=options.evaluation.num_eval_imgs, batch_size=scoring.eval_batch_size,
            splits=scoring.is_splits, seed=options.run.random_seed, progress="  scoring", before_each=stop_if_asked,
        )  # fmt: skip
        iteration = training.step // n_critic
        run.log(f"iteration {iteration}: {scores.text()}")
        name = scores.feature_net
        figures = {"IS": scores.is_mean, "IS_std": scores.is_std, "FID": scores.fid}
        run.record(training.step, {f"{name}_{figure}": value for figure, value in figures.items()}, "score")
        entry = {"iteration": iteration, **scores.as_dict(), "backend_differences": differences}
        training.history.append(entry)
        training.scored_step = training.step
        if training.best is None or scores.fid < training.best["fid"]:
            training.best = entry
            run.save(checkpoint_of(training, options, architecture), training.step, best=True)

    return score


def current_lr(gan):
    return float(gan.generator_optimizer.param_groups[0]["lr"])


def networks_of(options, architecture):
    """(generator, discriminator) of an AutoGAN architecture or of a growing one."""
    network, cells = options.network, options.cells
    if isinstance(architecture, Architecture):
        generator = Generator.of(
            architecture,
            latent_dim=network.latent_dim,
            gf_dim=cells.gf_dim,
            bottom_width=cells.bottom_width,
        )
        return generator, Discriminator(architecture.levels, cells.df_dim)
    return GrowingGenerator(architecture, network.latent_dim), GrowingDiscriminator(architecture)


def start_from(gan, path, architecture):
    """Take over the weights, not the optimisers, of a checkpoint of the same architecture."""
    state = load_checkpoint(path, "--init_from")
    if state.get("architecture") != str(architecture):
        raise UserError(
            f"--init_from: {path} holds {state.get('architecture', 'no architecture')}, not {architecture}; give a checkpoint of that"
        )
    if state["gan"] is None:
        raise UserError(
            f"--init_from: the training of {path} failed ({state['result']['failure']}); give another checkpoint"
        )
    for name in ("generator", "discriminator", "average"):
        try:
            getattr(gan, name).load_state_dict(state["gan"][name])
        except RuntimeError as error:
            raise UserError(
                f"--init_from: {path} has other widths: {str(error).splitlines()[-1].strip()}; give its options"
            ) from None


def new_training(options, architecture, device):
    """Untrained networks, initialised from the seed."""
    weights, training = options.weights, options.training
    with global_seed(options.run.random_seed, "networks"):
        generator, discriminator = networks_of(options, architecture)
        if isinstance(architecture, Architecture):  # growing networks have an initialisation of their own
            generator = prepare(generator, weights.init_type, weights.g_spectral_norm)
            discriminator = prepare(discriminator, weights.init_type, weights.d_spectral_norm)
    if options.run.is_fast:
        generator, discriminator = fast_form(generator), fast_form(discriminator)
    gan = new_gan(
        generator, discriminator, device, g_lr=training.g_lr, d_lr=training.d_lr, betas=training.betas,
        with_average=True, fast=options.run.is_fast, precision=options.training.precision,
    )  # fmt: skip
    if options.run.compile and not weights.g_spectral_norm:
        compile_generator(gan.generator)
    compiles = options.run.compile and options.run.is_fast and training.loss == "hinge"
    if compiles and isinstance(architecture, Architecture):
        compile_discriminator(gan.discriminator)
    return Training(gan)


def checkpoint_of(training, options, architecture):
    """The training as plain data and tensors; `test.py` needs no more than this."""
    return {
        "options": options.flat(),
        "architecture": str(architecture),
        "gan": training.gan.state_dict(),
        "position": training.step,
        "best": training.best,
        "history": training.history,
        "scored_step": training.scored_step,
        "rollbacks": training.rollbacks,
    }


def restore(training, state):
    """Set a new training back to where a checkpoint was written."""
    training.gan.load_state_dict(state["gan"])
    training.step, training.best, training.history = state["position"], state["best"], state["history"]
    training.scored_step, training.rollbacks = (
        state.get(name, none) for name, none in (("scored_step", training.step), ("rollbacks", 0))
    )


def steps_of(options, num_images):
    """Discriminator steps of the whole training: --max_epoch counts passes over the data as the authors' code does."""
    settings, n_critic = options.derive, options.training.n_critic
    if settings.max_epoch is not None:
        return settings.max_epoch * n_critic * -(-num_images // options.training.dis_batch_size)
    return settings.max_iter * n_critic


def describe(options, architecture):
    """The resolved run, for --dry_run: no data set is read."""
    size = options.data.img_size
    with torch.device("meta"):
        sizes = network_sizes(*networks_of(options, architecture), size)
    iterations = options.derive.max_iter if options.derive.max_epoch is None else None
    return {
        "script": "train_derived.py",
        "options": options.flat(),
        "architecture": str(architecture),
        "resolution": size,
        **sizes,
        "generator_steps": iterations,
        "discriminator_steps": iterations and iterations * options.training.n_critic,
    }


def write_results(run, training, options, architecture):
    """results.json, a GIF of the sample grids, and the closing lines."""
    resolved = describe(options, architecture)
    pictures = sorted(run.samples.glob("iteration_*.png"))
    gif = save_gif(pictures, run.samples / "training.gif")
    results = {
        name: resolved[name]
        for name in ("architecture", "resolution", "generator_parameters", "generator_macs")
    }
    run.finish(
        {
            **results,
            "final": training.history[-1],
            "best": training.best,
            "history": training.history,
            "seconds": run.seconds(),
        }
    )
    run.log(f"samples {pictures[-1]}, their history {gif}")
    run.log(f"results {run.folder / 'results.json'}; to score it again:")
    run.log("  " + cfg.command("test", options, load_path=run.folder, exp_name="test"))


def main():
    options = cfg.parse("train_derived")
    state = None
    if options.run.load_path:
        state = load_run(options.run.load_path)
        options = cfg.resumed(options, state["options"])
    architecture = cfg.generator_architecture(options)
    if architecture is None:
        raise UserError(
            "--arch: no architecture to train; give --arch, --arch_file of a search, or a published --gen_model"
        )
    if options.run.dry_run:
        print(json.dumps(describe(options, architecture), indent=2))
        return

    data, scoring = options.data, options.scoring
    device = pick_device(options.run.device)
    check_precision("--precision", options.training.precision, device)
    refuse_too_large(describe(options, architecture), device_memory(device))
    feature_nets = feature_nets_of(**scoring.network(), compiled=options.run.compile, device=device)
    images = load_images(data.dataset, data.data_path, image_size=data.img_size, fewest=2).resized(
        data.img_size, device, num_workers=data.num_workers
    )
    reals = real_statistics_for(
        feature_nets,
        images,
        fid_stat=options.evaluation.fid_stat,
        data=DATASETS[data.dataset],
        split="train",
        resolution=data.img_size,
    )

    training = new_training(options, architecture, device)
    if state:
        restore(training, state)
    elif options.derive.init_from:
        start_from(training.gan, options.derive.init_from, architecture)
    inputs = StepInputs(
        images, options.run.random_seed, batch_size=options.training.dis_batch_size, latent_dim=options.network.latent_dim,
        generator_batch_size=options.training.gen_batch_size, generator_every=options.training.n_critic,
    )  # fmt: skip
    run = (
        Run.reopen(options.run.load_path, state)
        if state
        else Run.create("logs", options.run.exp_name, options.flat(), device)
    )
    if options.run.folder_file:
        write_text(options.run.folder_file, f"{run.folder}\n")
    run.log(
        f"architecture {architecture}, {count_parameters(training.gan.generator):,} parameters, {images.num_images} images of {images.name}"
    )

    def save():
        run.save(checkpoint_of(training, options, architecture), training.step)

    with SafePoint(save, f"go on with --load_path {run.folder}", note=run.note) as safe_point:
        score = scorer(options, feature_nets, reals, run, architecture, safe_point.stop_if_asked)
        train(training, options, inputs, steps_of(options, images.num_images), score, run, safe_point)
    write_results(run, training, options, architecture)


if __name__ == "__main__":
    run_script(main)
