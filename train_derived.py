"""Train one architecture, from scratch or from a search's weights.

It is a published one, a vector, or one that a search found.

python train_derived.py --gen_model autogan_cifar10_a --dataset cifar10 --exp_name autogan_cifar10_a
"""

import json
import time
from dataclasses import dataclass, field

import torch

import cfg
from models.families import family
from models.layers.fast_form import fast_form
from utils.cli import UserError, run_script
from utils.data.load import DATASETS, load_images
from utils.images import save_gif
from utils.metrics.generator import load_feature_nets, load_real_statistics, score_generator
from utils.precision import check_precision
from utils.progress import Progress, progress_line
from utils.randomness import global_seed, random_generator
from utils.run.checkpoint import load_networks
from utils.run.folder import load_run, open_run
from utils.run.machine import device_memory, pick_device
from utils.run.save_point import SavePoint, StopSignal
from utils.run.schema import COUNT, Each, Least, refuse_other_parts
from utils.training.adversarial import StepFunctions
from utils.training.compiled import compile_discriminator, compile_generator, compiles_discriminator
from utils.training.gan import Gan, new_gan
from utils.training.inputs import StepInputs, steps_per_epoch
from utils.training.loop import MOST_ROLLBACKS, look_steps, train
from utils.training.losses import loss_schedule
from utils.training.memory import on_meta, training_memory
from utils.training.sizes import count_parameters, network_sizes

SECONDS_PER_LINE = 60  # of the log


@dataclass
class TrainingState:
    """Where the training stands: what a checkpoint holds."""

    architecture: object
    gan: Gan
    step: int = 0
    best: dict | None = None  # scores of the checkpoint with the best FID
    history: list = field(default_factory=list)  # {"iteration", "is_mean", "fid", ...} of every scoring
    scored_step: int = -1  # the step at which it was scored last
    rollbacks: int = 0

    def to_saved(self):
        """Plain data and tensors, for `restore`. test.py reads them too."""
        return {
            "architecture": str(self.architecture),
            "gan": self.gan.state_dict(),
            "position": self.step,
            "best": self.best,
            "history": self.history,
            "scored_step": self.scored_step,
            "rollbacks": self.rollbacks,
        }

    def restore(self, saved, source):
        """Go back to where a checkpoint was written.

        Raises UserError, beginning with `source`, where it does not fit.
        """
        refuse_other_parts(saved, Least(position=COUNT), source)
        scores, gan = Least(iteration=COUNT, fid=float), self.gan.schema(all_trained=saved["position"] > 0)
        wanted = Least(
            architecture=str(self.architecture), gan=gan, position=COUNT, best=(None, scores),
            history=Each(scores), scored_step=range(-1, COUNT.stop), rollbacks=range(MOST_ROLLBACKS + 1),
        )  # fmt: skip
        refuse_other_parts(saved, wanted, source)
        self.gan.load_state_dict(saved["gan"])
        self.step, self.best, self.history = saved["position"], saved["best"], saved["history"]
        self.scored_step, self.rollbacks = saved["scored_step"], saved["rollbacks"]


@dataclass
class Scorer:
    """Scores a training's average generator, records the scores, and keeps the best checkpoint."""

    options: cfg.Options
    feature_nets: list
    reals: list  # RealStatistics, one for each feature network
    run: object

    def score(self, state, stop_if_asked):
        """Score the average generator now.

        stop_if_asked(): called before every batch; raises if a signal has come.
        """
        scoring, images, seed = (
            self.options.scoring,
            self.options.evaluation.num_eval_imgs,
            self.options.run.random_seed,
        )
        scores, differences = score_generator(
            state.gan.average, self.feature_nets, self.reals, num_images=images, splits=scoring.is_splits,
            batch_size=scoring.eval_batch_size, seed=seed, progress="  scoring", stop_if_asked=stop_if_asked,
        )  # fmt: skip
        iteration = state.step // self.options.training.n_critic
        self.run.log(f"iteration {iteration}: {scores.text()}")
        figures = {"IS": scores.is_mean, "IS_std": scores.is_std, "FID": scores.fid}
        named = {f"{scores.feature_net}_{name}": value for name, value in figures.items()}
        self.run.record(state.step, named, "score", iteration)
        entry = {"iteration": iteration, **scores.as_dict(), "backend_differences": differences}
        state.history.append(entry)
        state.scored_step = state.step
        if state.best is None or scores.fid < state.best["fid"]:
            state.best = entry
            self.run.save(state.to_saved(), state.step, best=True)


def train_generator(state, options, inputs, total, scorer, run, save_point):
    """Train for `total` discriminator steps, drawing and scoring the average generator on the way.

    The generator takes a step in every --n_critic-th of them.
    """
    gan, derive, n_critic, epoch = (
        state.gan,
        options.derive,
        options.training.n_critic,
        inputs.steps_per_epoch,
    )
    loss_at = loss_schedule(options.training.loss, options.run.random_seed, device=inputs.images.device)
    lr_factor = (lambda step: 1 - step / total) if derive.lr_decay else None

    def functions_at(step):
        return StepFunctions(gan.generator, gan.discriminator, loss_at(step), key="derived")

    def is_due(epochs):
        return state.step == total or (state.step > 0 and state.step % (epochs * epoch) == 0)

    def score_if_due():
        is_start = state.step == 0 and derive.score_start
        if state.scored_step < state.step and (is_start or is_due(derive.val_freq)):
            scorer.score(state, save_point.stop_if_asked)
            save_point.reached(due=True)

    if state.step == 0:
        sample_grid(state, options, run)
    score_if_due()
    gan.generator.train()
    gan.discriminator.train()
    first, started, last_line = state.step, time.monotonic(), time.monotonic()
    steps = look_steps(first, total, options.training.print_freq, epoch)
    with Progress(total, "training", "iteration", first, n_critic, stays=True) as progress:
        looks = train(
            gan, inputs, functions_at, steps, options.training, first=first, rollbacks=state.rollbacks,
            log=run.log, ema_decay=derive.ema_decay, lr_factor=lr_factor, progress=progress,
        )  # fmt: skip
        for look in looks:
            state.step, state.rollbacks = look.step, look.rollbacks
            figures = {**look.figures(), "g_lr": float(gan.generator_optimizer.param_groups[0]["lr"])}
            run.record(state.step, figures, "train", state.step // n_critic)
            progress.show(figures)
            if time.monotonic() - last_line > SECONDS_PER_LINE:
                last_line = time.monotonic()
                position, total_iterations = f"iteration {state.step // n_critic}", total // n_critic
                done, left = state.step - first, total - state.step
                run.log(progress_line(position, total_iterations, figures, last_line - started, done, left))
            if is_due(derive.sample_freq):
                sample_grid(state, options, run)
            save_point.reached()
            score_if_due()


def sample_grid(state, options, run):
    """The average generator's images of 100 fixed noise vectors."""
    average = state.gan.average.eval()
    device = next(average.parameters()).device
    fixed = random_generator(options.run.random_seed, "grid")
    with torch.inference_mode():
        images = average(torch.randn(100, average.latent_dim, generator=fixed).to(device))
    run.grid(f"iteration_{state.step // options.training.n_critic:06d}", images, state.step)


def new_networks(options, architecture):
    """(generator, discriminator) of the architecture, not yet initialised."""
    return family(architecture).networks(architecture, options.network.latent_dim, options.cells)


def new_state(options, architecture, device):
    """Untrained networks, initialised from the seed."""
    run, is_fast = options.run, options.run.is_fast
    with global_seed(run.random_seed, "networks"):
        networks = new_networks(options, architecture)
        generator, discriminator = family(architecture).initialise(*networks, options.weights)
    if is_fast:
        generator, discriminator = fast_form(generator), fast_form(discriminator)
    gan = new_gan(generator, discriminator, device, options.training, with_average=True, fast=is_fast)
    if run.compile and not options.weights.g_spectral_norm:
        compile_generator(gan.generator)
    if compiles_discriminator(run, options.training) and family(architecture).compiles_discriminator:
        compile_discriminator(gan.discriminator)
    return TrainingState(architecture, gan)


def start_from(gan, path, architecture):
    """Load the weights, but not the optimisers, of a checkpoint of the same architecture (--init_from).

    Raises UserError if the checkpoint does not fit.
    """
    found, weights, _ = load_networks(path, "--init_from")
    if found != str(architecture):
        raise UserError(f"--init_from: {path} holds {found}, not {architecture}; give a checkpoint of that")
    for name, network in gan.networks().items():
        try:
            network.load_state_dict(weights[name])
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise UserError(f"--init_from: {path} has other widths: {reason}; give its options") from None


def total_steps(options, num_images):
    """Discriminator steps of the whole training.

    --max_epoch counts as the authors' code does: n_critic passes over the data are one epoch.
    """
    derive, training = options.derive, options.training
    if derive.max_epoch is not None:
        return derive.max_epoch * training.n_critic * steps_per_epoch(num_images, training)
    return derive.max_iter * training.n_critic


def describe(options, architecture):
    """The resolved run, for --dry_run: no data set is read."""
    derive, n_critic = options.derive, options.training.n_critic
    with on_meta(family(architecture).widths):
        sizes = network_sizes(*new_networks(options, architecture), options.data.img_size)
    iterations = derive.max_iter if derive.max_epoch is None else None
    return {
        "script": "train_derived.py",
        "options": options.flat(),
        "architecture": str(architecture),
        "resolution": options.data.img_size,
        **sizes,
        "memory_bytes": estimate_memory(options, architecture).total,
        "generator_steps": iterations,
        "discriminator_steps": iterations and iterations * n_critic,
    }


def estimate_memory(options, architecture):
    """The Memory of the training."""
    widths = family(architecture).widths
    with on_meta(widths):
        networks = new_networks(options, architecture)
        if options.run.is_fast:
            networks = tuple(map(fast_form, networks))
        batch = options.scoring.eval_batch_size
        return training_memory(
            networks, options.training, batch, options.data.img_size, widths=widths, averages=1
        )


def refuse_single_values(options, architecture, *batch_sizes):
    """Raise UserError if a batch norm would see a single value, in batches of these sizes."""
    if architecture.family != "autogan" or architecture.first_norm != "batch":
        return
    if options.cells.bottom_width == 1 and 1 in batch_sizes:
        cure = "give 2 or more, or another batch size"
        raise UserError(
            f"--bottom_width: 1 leaves the first cell's batch norm one value in a batch of 1; {cure}"
        )


def write_results(run, state, options):
    """Write results.json and a GIF of the sample grids, and log where they are."""
    resolved = describe(options, state.architecture)
    pictures = sorted(run.samples.glob("iteration_*.png"))
    gif = save_gif(pictures, run.samples / "training.gif")
    results = {
        name: resolved[name]
        for name in ("architecture", "resolution", "generator_parameters", "generator_macs")
    }
    scores = {"final": state.history[-1], "best": state.best, "history": state.history}
    run.finish({**results, **scores, "seconds": run.seconds()})
    run.log(f"samples {pictures[-1]}, their history {gif}")
    run.log(f"results {run.folder / 'results.json'}; to score it again:")
    run.log("  " + cfg.command("test", options, load_path=run.folder, exp_name="test"))


def main():
    options, saved = cfg.find_run(cfg.parse("train_derived")), None
    if options.run.load_path:
        saved = load_run(options.run.load_path)
        options = cfg.resumed(options, saved["options"])
    architecture = cfg.generator_architecture(options)
    if architecture is None:
        ways = "--arch, --arch_file of a search, or a published --gen_model"
        raise UserError(f"--arch: no architecture to train; give {ways}")
    data, training = options.data, options.training
    device = pick_device(options.run.device)
    check_precision("--precision", training.precision, device)
    refuse_single_values(options, architecture, training.gen_batch_size, training.dis_batch_size)
    estimate_memory(options, architecture).check(device_memory(device))
    if options.run.dry_run:
        print(json.dumps(describe(options, architecture), indent=2))
        return

    # Where the training stands.
    state = new_state(options, architecture, device)
    if saved:
        state.restore(saved, f"--load_path: {options.run.load_path}")
    elif options.derive.init_from:
        start_from(state.gan, options.derive.init_from, architecture)

    # What can be missing.
    feature_nets = load_feature_nets(**options.scoring.network(), compiled=options.run.compile, device=device)
    image_set = load_images(data.dataset, data.data_path, image_size=data.img_size, fewest=2)
    refuse_single_values(options, architecture, image_set.num_images % training.dis_batch_size)

    # What takes long: reading the images, and their statistics.
    run = open_run(options.run, options.flat(), saved, device)
    parameters, count = count_parameters(state.gan.generator), image_set.num_images
    run.log(f"architecture {architecture}, {parameters:,} parameters, {count} images of {image_set.name}")
    with run.removed_if_refused():
        images = image_set.resized(data.img_size, device, num_workers=data.num_workers)
        reals = load_real_statistics(
            feature_nets, images, fid_stat=options.evaluation.fid_stat, data=DATASETS[data.dataset],
            split="train", resolution=data.img_size,
        )  # fmt: skip

    inputs = StepInputs(images, options.run.random_seed, training, options.network.latent_dim)
    total = total_steps(options, images.num_images)
    hint = f"go on with --load_path {run.folder}"
    with StopSignal(hint, run.note) as stop:
        save_point = SavePoint(lambda: run.save(state.to_saved(), state.step), stop, hint)
        scorer = Scorer(options, feature_nets, reals, run)
        train_generator(state, options, inputs, total, scorer, run, save_point)
    write_results(run, state, options)


if __name__ == "__main__":
    run_script(main)
