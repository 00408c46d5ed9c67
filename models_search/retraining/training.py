"""Trains the networks of one architecture, and draws and scores their average generator on the way."""

import time
from dataclasses import dataclass, field

import torch

from models.families import family
from models.layers.fast_form import fast_form
from models.layers.spectral_norm import has_spectral_norm
from utils.cli import UserError
from utils.data.labels import Classes, refuse_other_classes, saved_classes
from utils.images import save_gif
from utils.metrics.generator import score_generator
from utils.progress import Progress, progress_line
from utils.randomness import global_seed, random_generator
from utils.run.checkpoint import load_networks
from utils.run.schema import COUNT, Each, Least, refuse_other_parts
from utils.training.adversarial import StepFunctions
from utils.training.compiled import compile_discriminator, compile_generator, compiles_discriminator
from utils.training.gan import Gan, new_gan
from utils.training.heads import heads_of
from utils.training.loop import MOST_ROLLBACKS, look_steps, train
from utils.training.losses import loss_schedule
from utils.training.recipe import recipe_schedule
from utils.training.samples import sample_rows
from utils.training.schedules import average_decay, rate_factors

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
    classes: Classes | None = None  # of a conditional GAN

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
            **saved_classes(self.classes),
        }

    def restore(self, saved, source):
        """Go back to where a checkpoint was written.

        Raises UserError, beginning with `source`, where it does not fit.
        """
        refuse_other_parts(saved, Least(position=COUNT), source)
        refuse_other_classes(saved, self.classes, source)
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

    plan: object
    feature_nets: list
    reals: list  # RealStatistics, one for each feature network
    run: object

    def score(self, state, stop_if_asked):
        """Score the average generator now.

        stop_if_asked(): called before every batch; raises if a signal has come.
        """
        plan = self.plan
        scores, differences = score_generator(
            state.gan.average, self.feature_nets, self.reals, num_images=plan.num_eval_imgs,
            splits=plan.scoring.is_splits, batch_size=plan.scoring.eval_batch_size, seed=plan.run.random_seed,
            progress="  scoring", stop_if_asked=stop_if_asked, classes=plan.classes,
        )  # fmt: skip
        iteration = state.step // plan.training.n_critic
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


def train_generator(state, plan, inputs, total, scorer, run, save_point):
    """Train for `total` discriminator steps, drawing and scoring the average generator on the way.

    The generator takes a step in every --n_critic-th of them.
    """
    gan, schedule, n_critic, epoch = state.gan, plan.schedule, plan.training.n_critic, inputs.steps_per_epoch
    loss_at = loss_schedule(plan.training.loss, plan.run.random_seed, device=inputs.images.device)
    seed = plan.run.random_seed
    recipe_at = recipe_schedule(plan.recipe, plan.training, seed, steps_per_epoch=epoch)
    first_factor, lr_factor = rate_factors(schedule.lr_decay, plan.rates, total, n_critic)
    heads = heads_of(gan.discriminator, plan.conditioning)

    def functions_at(step):
        form = "derived", recipe_at(step), heads
        return StepFunctions(gan.generator, gan.discriminator, loss_at(step), *form)

    def is_due(epochs):
        return state.step == total or (state.step > 0 and state.step % (epochs * epoch) == 0)

    def score_if_due():
        is_start = state.step == 0 and schedule.score_start
        if state.scored_step < state.step and (is_start or is_due(schedule.val_freq)):
            scorer.score(state, save_point.stop_if_asked)
            save_point.reached(due=True)

    if state.step == 0:
        sample_grid(state, plan, run)
        gan.scale_learning_rates(first_factor)
    score_if_due()
    gan.generator.train()
    gan.discriminator.train()
    first, started, last_line = state.step, time.monotonic(), time.monotonic()
    steps = look_steps(first, total, plan.training.print_freq, epoch)
    with Progress(total, "training", "iteration", first, n_critic, stays=True) as progress:
        looks = train(
            gan, inputs, functions_at, steps, plan.training, first=first, rollbacks=state.rollbacks,
            log=run.log, ema_decay=average_decay(schedule.ema_decay, plan.average, plan.training),
            lr_factor=lr_factor, progress=progress,
        )  # fmt: skip
        for look in looks:
            state.step, state.rollbacks = look.step, look.rollbacks
            rate = float(gan.generator_optimizer.param_groups[0]["lr"])
            figures = {**look.figures(), "g_lr": rate, **gan.figures()}
            run.record(state.step, figures, "train", state.step // n_critic)
            progress.show(figures)
            if time.monotonic() - last_line > SECONDS_PER_LINE:
                last_line = time.monotonic()
                position, total_iterations = f"iteration {state.step // n_critic}", total // n_critic
                done, left = state.step - first, total - state.step
                seconds, most = last_line - started, save_point.seconds_left()
                run.log(progress_line(position, total_iterations, figures, seconds, done, left, most=most))
            if is_due(schedule.sample_freq):
                sample_grid(state, plan, run)
            save_point.reached()
            score_if_due()


def sample_grid(state, plan, run):
    """The average generator's images of fixed noise vectors: 100, or ten of each class.

    As many at once as in scoring.
    """
    average = state.gan.average.eval()
    device = next(average.parameters()).device
    fixed = random_generator(plan.run.random_seed, "grid")
    with torch.inference_mode():
        images, rows = sample_rows(
            average, average.latent_dim, fixed, device, plan.classes, batch_size=plan.scoring.eval_batch_size
        )
    run.grid(f"iteration_{state.step // plan.training.n_critic:06d}", images, state.step, rows)


def new_state(plan, device):
    """Untrained networks, initialised from the seed."""
    run, is_fast, architecture = plan.run, plan.run.is_fast, plan.architecture
    with global_seed(run.random_seed, "networks"):
        generator, discriminator = family(architecture).initialise(*plan.new_networks(), plan.weights)
    if is_fast:
        generator, discriminator = fast_form(generator), fast_form(discriminator)
    form = {"recipe": plan.recipe, "with_average": True, "fast": is_fast}
    gan = new_gan(generator, discriminator, device, plan.training, **form)
    if run.compile and not has_spectral_norm(gan.generator):
        compile_generator(gan.generator)
    if (
        compiles_discriminator(run, plan.training, plan.recipe)
        and family(architecture).compiles_discriminator
    ):
        compile_discriminator(gan.discriminator)
    return TrainingState(architecture, gan, classes=plan.classes)


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


def training_results(plan, state, run):
    """What results.json says of a training. Also writes a GIF of its sample grids."""
    sizes = plan.describe()
    names = ("architecture", "resolution", "generator_parameters", "generator_macs")
    save_gif(sorted(run.samples.glob("iteration_*.png")), run.samples / "training.gif")
    scores = {"final": state.history[-1], "best": state.best, "history": state.history}
    known = {"classes": list(plan.classes.names)} if plan.classes else {}
    return {**{name: sizes[name] for name in names}, **known, **scores, "seconds": run.seconds()}
