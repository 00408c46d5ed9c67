"""Search a generator: by AutoGAN, DGGAN, or ProgGAN's fixed list of growths.

AutoGAN: a multi-level search with a shared GAN and one LSTM controller per level (Algorithm 1 of the paper).
DGGAN: both networks and the resolution grow while they train, the best children stay (docs/DGGAN.md).

python search.py --dataset cifar10 --exp_name autogan_search
python search.py --method dggan --dataset cifar10
"""

import json
import math
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from tqdm import tqdm

import cfg
from models.autogan.architecture import Architecture, ArchitectureError
from models.autogan.networks import Discriminator
from models.growing.networks import fade_images, growing_networks, inherit
from models.layers.fast_form import fast_form
from models.growing.architecture import GrowingArchitecture, proggan_architecture
from models.layers.init import prepare
from models_search.candidates import Candidate, top_k
from models_search.autogan.controller import (
    Controller,
    UniformController,
    first_beam,
    reinforce,
    sample_architectures,
)
from models_search.shared_gan.dynamic_reset import CollapseDetector
from models_search.dggan.actions import (
    GrowResolution,
    GrowthError,
    apply_all,
    check_plan_fits,
    check_steps,
    dggan_plan,
    drawn_actions,
    every_action,
    legal_actions,
    parse_action,
    proggan_plan,
    progressive_actions,
)  # fmt: skip
from models_search.dggan.tree import (
    actions_to,
    best_architectures,
    best_of_resolutions,
    boxes,
    kept_nodes,
    node_line,
    planted,
    pruned,
    tree_from_json,
    tree_to_json,
    with_children,
    with_failure,
    with_score,
)  # fmt: skip
from models_search.shared_gan.network import shared_generator
from utils.training.adversarial import (
    Diverged,
    Setting,
    last_known,
    refuse_non_finite,
    train_or_roll_back,
    train_steps,
)
from utils.run.derived import write_derived
from utils.run.files import write_atomically, write_text
from utils.cli import UserError, run_script
from utils.options import refuse_other_size
from utils.training.compiled import compile_discriminator
from utils.training.sizes import network_sizes, refuse_too_large
from utils.data.load import load_images
from utils.training.gan import Gan, new_gan
from models_search.dggan.picture import save_growth_picture
from utils.inception.feature_net import load_feature_net
from utils.training.losses import loss_schedule
from utils.metrics.evaluate import NonFiniteImages, evaluate, figure_name
from utils.precision import check_precision
from models_search.dggan.pair import Pair, Recipe, feature_net_on, images_at, train_pair
from utils.randomness import derived_seed, global_seed, random_generator, seed_after
from utils.metrics.real_statistics import real_statistics
from utils.run.folder import (
    Run,
    SafePoint,
    device_memory,
    load_run,
    pick_device,
    progress_line,
    worker_devices,
)
from utils.metrics.generator import noise_sampler
from utils.training.inputs import StepInputs
from utils.run.workers import worker_processes

CONTROLLERS = {"controller": Controller, "random": UniformController}
LOWEST_REWARD = {"is": 1.0, "fid": 0.0}
REWARD_NAMES = {"is": "IS", "fid": "1/FID"}


# --------------------------------------------------------------------------------------------------------------------------------
# AutoGAN


@dataclass
class Policy:
    """A level's controller, its optimiser and the moving average of its rewards."""

    controller: torch.nn.Module
    optimizer: torch.optim.Optimizer
    baseline: float = None

    def state_dict(self):
        optimizer = self.optimizer.state_dict() if self.optimizer else None
        return {
            "controller": self.controller.state_dict(),
            "controller_optimizer": optimizer,
            "baseline": self.baseline,
        }

    def load_state_dict(self, state):
        self.controller.load_state_dict(state["controller"])
        if self.optimizer:
            self.optimizer.load_state_dict(state["controller_optimizer"])
        self.baseline = state["baseline"]


@dataclass
class Search:
    """Where the search stands: what a checkpoint holds. The steps count from the start of the iteration."""

    gan: Gan
    policy: Policy
    beam: list
    collapse: CollapseDetector
    iteration: int = 0
    shared_steps: int = 0
    controller_steps: int = 0
    collapsed: bool = False
    resets: int = 0
    rollbacks: int = 0


def search_autogan(search, options, level_of, images_of, reward_of, reward_name, run, safe_point):
    """Algorithm 1: train the shared GAN, train the controller, keep the best architectures at the end of a level, and grow.

    `level_of(iteration)` is the growing schedule, `images_of(level)` gives the real images, and `reward_of(architecture, *purpose)`
    scores an architecture in the shared GAN as it is, by what `reward_name` says. Returns the beam: the best architectures, best first.
    """
    iterations = options.autogan.max_search_iter
    for iteration in tqdm(
        range(search.iteration, iterations),
        "search",
        initial=search.iteration,
        total=iterations,
        disable=None,
    ):
        level, started = level_of(iteration), time.monotonic()
        figures = train_shared_gan(search, options, images_of(level), run, safe_point)
        rewards = train_controller(search, options, reward_of, run, safe_point)
        if rewards:
            figures[f"mean reward ({reward_name})"] = sum(rewards) / len(rewards)
        run.log(
            iteration_line(
                iteration,
                iterations,
                figures,
                time.monotonic() - started,
                level_of,
                images_of(level).resolution,
            )
        )
        if (iteration + 1) % options.autogan.val_freq == 0 or iteration + 1 == iterations:
            sample_grid(search, options, run)
        if iteration + 1 == iterations or level_of(iteration + 1) > level:
            search.beam = best_candidates(search, options, reward_of, reward_name, run)
            if iteration + 1 < iterations:
                search.policy = new_policy(
                    options, level + 1
                )  # both networks grow by being called with longer architectures
                search.gan.forget_recordings()
        if search.collapsed:
            search.resets += 1
            run.log(f"iteration {iteration + 1}: the losses have collapsed, so the shared GAN starts anew")
            search.gan = new_shared_gan(options, images_of(level).device, search.resets)
        search.iteration, search.shared_steps, search.controller_steps, search.collapsed = (
            iteration + 1,
            0,
            0,
            False,
        )
        safe_point(due=True)
    return search.beam


def iteration_line(iteration, iterations, figures, seconds, level_of, resolution):
    """What the log says of an iteration. The time left is that of its level: iterations of the next ones take several times as long."""
    left, of_what = (
        sum(level_of(later) == level_of(iteration) for later in range(iteration + 1, iterations)),
        "",
    )
    if level_of(iteration) < level_of(iterations - 1):
        left, of_what = left or None, f" at {resolution} px"
    return progress_line(f"iteration {iteration + 1}", iterations, figures, seconds, 1, left, of_what)


def train_shared_gan(search, options, images, run, safe_point):
    """Some epochs of adversarial training, an architecture drawn for every step from the fixed policy (section 3.3.1).

    The losses are looked at every --print_freq steps, in one transfer. Where the reset rule held at an earlier step, the networks
    go back to the last look and run to exactly that step, and the iteration's training ends. Returns the losses last looked at.
    """
    gan, level, training = search.gan, search.policy.controller.level, options.training
    inputs = StepInputs(
        images, derived_seed(options.run.random_seed, "shared GAN", search.iteration), batch_size=training.dis_batch_size,
        generator_batch_size=training.gen_batch_size, latent_dim=options.network.latent_dim, generator_every=training.n_critic,
    )  # fmt: skip
    total_steps = options.autogan.shared_epoch * inputs.steps_per_epoch
    drawn = random_generator(options.run.random_seed, "architectures", search.iteration)
    with torch.no_grad():
        architectures, _ = sample_architectures(search.policy.controller, search.beam, total_steps, drawn)
    gan.generator.train()
    gan.discriminator.train()

    discriminate = partial(gan.discriminator, level=level)
    loss_at = loss_schedule(training.loss, options.run.random_seed, search.iteration, device=images.device)

    def setting_at(step):
        architecture = architectures[step]
        return Setting(
            partial(gan.generator, architecture=architecture), discriminate, loss_at(step), key=architecture
        )

    def train(first, last, rollbacks):
        return train_steps(
            gan,
            inputs.steps(first, last, rollbacks),
            setting_at,
            precision=options.training.precision,
            max_grad_norm=training.max_grad_norm,
        )

    before, figures = None, {}
    with tqdm(
        total=total_steps,
        desc=f"  GAN {images.resolution} px",
        initial=search.shared_steps,
        leave=False,
        disable=None,
    ) as bar:
        while search.shared_steps < total_steps and not search.collapsed:
            first = search.shared_steps
            last = min(first + options.training.print_freq, total_steps)
            before = gan.snapshot(before)
            losses, search.rollbacks = train_or_roll_back(
                gan, partial(train, first, last), search.rollbacks, training.on_nan, run.log
            )
            collapsed_at = search.collapse.first_collapse(*losses)
            if collapsed_at is not None:
                search.collapsed = True
                gan.load_state_dict(before)
                train(first, first + collapsed_at + 1, search.rollbacks)
            search.shared_steps = last
            figures = {"d_loss": losses[0][-1], "g_loss": last_known(losses[1])}
            run.record(search.iteration * total_steps + last, figures, "shared_gan")
            bar.update(last - first)
            safe_point()
    return figures


def train_controller(search, options, reward_of, run, safe_point):
    """Some REINFORCE updates, the shared GAN fixed (section 3.3.2). Returns their mean rewards."""
    settings, policy, rewards = options.autogan, search.policy, []
    if policy.optimizer is None:  # random search learns nothing
        return rewards

    def update(step, rollbacks):
        drawn = random_generator(
            seed_after(rollbacks, options.run.random_seed), "rollout", search.iteration, step
        )
        architectures, rollout = sample_architectures(
            policy.controller, search.beam, settings.ctrl_sample_batch, drawn
        )
        rewards = torch.tensor(
            [reward_of(architecture, "reward", search.iteration, step) for architecture in architectures]
        )
        policy.baseline, figures = reinforce(
            policy.optimizer,
            rollout,
            rewards,
            policy.baseline,
            settings.entropy_coeff,
            settings.baseline_decay,
        )
        refuse_non_finite(
            {f"{name} of the controller": value for name, value in figures.items()}, f"step {step}"
        )
        return figures

    with tqdm(
        total=settings.ctrl_step,
        desc="  controller",
        initial=search.controller_steps,
        leave=False,
        disable=None,
    ) as bar:
        while search.controller_steps < settings.ctrl_step:
            step = search.controller_steps
            figures, search.rollbacks = train_or_roll_back(
                policy, partial(update, step), search.rollbacks, options.training.on_nan, run.log
            )
            run.record(
                search.iteration * settings.ctrl_step + step,
                {**figures, "level": policy.controller.level},
                "controller",
            )
            rewards.append(figures["reward"])
            search.controller_steps += 1
            bar.update()
            bar.set_postfix(reward=f"{figures['reward']:.4g}", refresh=False)
            safe_point()
    return rewards


def best_candidates(search, options, reward_of, reward_name, run):
    """Draw --num_candidate distinct architectures, score them and keep the --topk best with their LSTM states (section 3.3.3)."""
    settings, controller = options.autogan, search.policy.controller
    drawn = random_generator(options.run.random_seed, "candidates", search.iteration)
    states = {}
    for _ in range(20):  # a policy that has made up its mind may not know as many different ones
        with torch.no_grad():
            architectures, rollout = sample_architectures(
                controller, search.beam, settings.num_candidate, drawn
            )
        for architecture, *state in zip(architectures, *rollout.state):
            states.setdefault(architecture, tuple(state))
        if len(states) >= settings.num_candidate:
            break
    candidates = [
        Candidate(architecture, reward_of(architecture, "candidate", search.iteration), state)
        for architecture, state in tqdm(
            list(states.items())[: settings.num_candidate], "  candidates", leave=False, disable=None
        )
    ]
    beam = top_k(candidates, options.beam.topk)
    run.log(f"level {controller.level + 1}: the best of {len(candidates)} architectures")
    for rank, candidate in enumerate(beam, 1):
        run.log(f"  {rank}. {candidate.architecture}   reward {candidate.score:.4g} ({reward_name})")
    return beam


def sample_grid(search, options, run):
    """A row of ten images for each of five architectures of the policy, on fixed noise."""
    generator = search.gan.generator.eval()
    device = next(generator.parameters()).device
    fixed = random_generator(options.run.random_seed, "grid")
    with torch.inference_mode():
        architectures, _ = sample_architectures(search.policy.controller, search.beam, 5, fixed)
        z = torch.randn(10, generator.latent_dim, generator=fixed).to(device)
        images = torch.cat([generator(z, architecture) for architecture in architectures])
    run.grid(f"iteration_{search.iteration + 1:03d}", images, search.iteration + 1)


def new_shared_gan(options, device, resets=0):
    """A freshly initialised shared GAN; the n-th reset draws other weights than the (n-1)-th."""
    network, cells, weights = options.network, options.cells, options.weights
    training, levels = options.training, 1 + len(check_growing_steps(options))
    with global_seed(options.run.random_seed, "shared GAN", resets):
        generator = shared_generator(
            levels, latent_dim=network.latent_dim, gf_dim=cells.gf_dim, bottom_width=cells.bottom_width
        )
        generator = prepare(generator, weights.init_type, weights.g_spectral_norm)
        discriminator = prepare(
            Discriminator(levels, cells.df_dim), weights.init_type, weights.d_spectral_norm
        )
    if options.run.is_fast:
        generator, discriminator = fast_form(generator), fast_form(discriminator)
    if options.run.compile and options.run.is_fast and training.loss == "hinge":
        compile_discriminator(discriminator)
    return new_gan(
        generator, discriminator, device, g_lr=training.g_lr, d_lr=training.d_lr, betas=training.betas,
        fast=options.run.is_fast, precision=options.training.precision,
    )  # fmt: skip


def new_policy(options, level):
    """The controller of one level, untrained."""
    settings = options.autogan
    with global_seed(options.run.random_seed, "controller", level):
        controller = CONTROLLERS[settings.controller](level, settings.hid_size)
    learned = list(controller.parameters())
    betas = options.training.betas
    return Policy(controller, torch.optim.Adam(learned, settings.ctrl_lr, betas) if learned else None)


def reward_in(search, options, feature_net, real_of, run, stop_if_asked):
    """The reward function: the Inception score of an architecture in the shared GAN, or the reciprocal of its FID (section 4.3.2)."""
    settings, scoring = options.search, options.scoring

    def reward_of(architecture, *purpose):
        generator = search.gan.generator.eval()
        device = next(generator.parameters()).device
        generate = partial(generator, architecture=architecture)
        sample = noise_sampler(
            generate,
            generator.latent_dim,
            options.run.random_seed,
            *purpose,
            str(architecture),
            device=device,
            before_each=stop_if_asked,
        )
        try:
            scores = evaluate(
                sample, settings.rl_num_eval_img, feature_net, metrics=(settings.reward,), splits=scoring.is_splits,
                batch_size=scoring.eval_batch_size, real=real_of(architecture.levels - 1) if settings.reward == "fid" else None,
            )  # fmt: skip
        except NonFiniteImages:
            run.log(f"{architecture} makes images that are not finite: it gets the lowest reward")
            return LOWEST_REWARD[settings.reward]
        reward = scores.is_mean if settings.reward == "is" else 1 / scores.fid
        refuse_non_finite({f"reward of {architecture}": reward}, " ".join(map(str, purpose)))
        return reward

    return reward_of


def checkpoint_of(search, options):
    """The search as plain data and tensors."""
    return {
        "options": options.flat(),
        "gan": search.gan.state_dict(),
        "level": search.policy.controller.level,
        **search.policy.state_dict(),
        "beam": [
            {"architecture": str(c.architecture), "reward": c.score, "state": c.state} for c in search.beam
        ],
        "collapse": search.collapse.state_dict(),
        "counters": {name: value for name, value in vars(search).items() if isinstance(value, int)},
    }


def restore(search, state, options):
    """Set a new search back to where a checkpoint was written."""
    search.gan.load_state_dict(state["gan"])
    search.policy = new_policy(options, state["level"])
    search.policy.load_state_dict(state)
    search.beam = [
        Candidate(
            Architecture.parse(entry["architecture"]) if entry["architecture"] else Architecture(()),
            entry["reward"],
            entry["state"],
        )
        for entry in state["beam"]
    ]
    search.collapse.load_state_dict(state["collapse"])
    for name, value in state["counters"].items():
        setattr(search, name, value)


def describe(options, growing_steps):
    """The resolved run, for --dry_run: no data set is read."""
    network, cells, settings, levels = options.network, options.cells, options.autogan, 1 + len(growing_steps)
    updates = 0 if settings.controller == "random" else settings.max_search_iter * settings.ctrl_step
    scored = updates * settings.ctrl_sample_batch + levels * settings.num_candidate
    with torch.device("meta"):
        generator = shared_generator(
            levels, latent_dim=network.latent_dim, gf_dim=cells.gf_dim, bottom_width=cells.bottom_width
        )
        sizes = network_sizes(generator, Discriminator(levels, cells.df_dim), options.data.img_size)
    return {
        "script": "search.py",
        "options": options.flat(),
        "architecture": "searched",
        "resolution": options.data.img_size,
        "resolutions": [cells.bottom_width << level for level in range(1, levels + 1)],
        "growing_steps": list(growing_steps),
        **sizes,
        "search_iterations": settings.max_search_iter,
        "controller_steps": updates,
        "scored_images": scored * options.search.rl_num_eval_img,
    }


def log_next_step(run, options):
    """Say how to train the best architecture."""
    derived = run.folder / "derived.json"
    run.log(f"wrote {derived}; to train the first of them from scratch:")
    run.log("  " + cfg.command("train_derived", options, arch_file=derived, rank=1, exp_name="derive"))


def check_growing_steps(options):
    """Search iterations at which a cell is added; their number fixes the number of cells."""
    autogan, size, width = options.autogan, options.data.img_size, options.cells.bottom_width
    cells = max(1, round(math.log2(size / width)))
    if autogan.grow_steps is not None:
        name, steps = "--grow_steps", autogan.grow_steps
    else:
        name, steps = "--grow_step1, --grow_step2", (autogan.grow_step1, autogan.grow_step2)[: cells - 1]
    iterations = autogan.max_search_iter
    if list(steps) != sorted(set(steps)) or (steps and not 0 < min(steps) <= max(steps) < iterations):
        raise UserError(
            f"{name}: {list(steps)} must rise between 0 and --max_search_iter {iterations}; "
            "give smaller or distinct steps"
        )
    refuse_other_size(
        size,
        width << (1 + len(steps)),
        f"{1 + len(steps)} cells ({name}) on --bottom_width {width}",
        " or change --grow_steps (an iteration for each cell but the first) or --bottom_width",
    )
    for unused in ("grow_step1", "grow_step2")[len(steps) :]:
        if unused in options.typed:
            raise UserError(
                f"--{unused}: without effect at --img_size {size}, which adds {len(steps)} cells; omit it"
            )
    return tuple(steps)


def check_search(options):
    """Refuse settings of AutoGAN's search that do not go together."""
    topk, candidates = options.beam.topk, options.autogan.num_candidate
    if options.search.reward == "swd":
        raise UserError("--reward: swd is a reward of --method dggan and proggan; use is or fid")
    if topk > candidates:
        raise UserError(
            f"--topk: cannot keep {topk} of --num_candidate {candidates}; lower --topk or draw more"
        )
    if options.autogan.controller == "random":
        for name in ("ctrl_step", "ctrl_sample_batch", "ctrl_lr", "entropy_coeff", "baseline_decay"):
            if name in options.typed:
                raise UserError(
                    f"--{name}: without effect with --controller random, which learns nothing; leave it out"
                )


def run_autogan(options, state):
    """--method autogan."""
    check_search(options)
    growing_steps = check_growing_steps(options)
    if options.run.dry_run:
        print(json.dumps(describe(options, growing_steps), indent=2))
        return

    data, scoring = options.data, options.scoring
    device = pick_device(options.run.device)
    check_precision("--precision", options.training.precision, device)
    refuse_too_large(describe(options, growing_steps), device_memory(device))
    feature_net = load_feature_net(**scoring.network(), compiled=options.run.compile, device=device)
    image_set = load_images(data.dataset, data.data_path, image_size=data.img_size, fewest=2)

    @lru_cache(maxsize=1)
    def images_of(level):
        return image_set.resized(
            options.cells.bottom_width << (level + 1), device, num_workers=data.num_workers
        )

    def level_of(iteration):
        return sum(iteration >= step for step in growing_steps)

    @lru_cache(maxsize=1)
    def real_of(level):
        return real_statistics(images_of(level), feature_net, progress="statistics of the real images")

    detector = CollapseDetector(options.autogan.dynamic_reset_window, options.autogan.dynamic_reset_threshold)
    search = Search(
        new_shared_gan(options, device),
        new_policy(options, level=0),
        first_beam(options.autogan.hid_size),
        detector,
    )
    if state:
        restore(search, state, options)
    run = (
        Run.reopen(options.run.load_path, state)
        if state
        else Run.create("logs", options.run.exp_name, options.flat(), device)
    )
    if options.run.folder_file:
        write_text(options.run.folder_file, f"{run.folder}\n")

    def save():
        run.save(checkpoint_of(search, options), search.iteration)

    with SafePoint(save, f"go on with --load_path {run.folder}", note=run.note) as safe_point:
        reward_of = reward_in(search, options, feature_net, real_of, run, safe_point.stop_if_asked)
        reward_name = figure_name(REWARD_NAMES[options.search.reward], feature_net.name)
        beam = search_autogan(search, options, level_of, images_of, reward_of, reward_name, run, safe_point)
    ranked = [{"architecture": str(c.architecture), "reward": c.score} for c in beam]
    write_derived(run.folder / "derived.json", options.search.reward, scoring.feature_net, ranked)
    log_next_step(run, options)
    run.log("the paper trains all of them and keeps the one of the highest Inception score:")
    training = cfg.command("train_derived", options).removeprefix("python train_derived.py").strip()
    run.log(f"  bash exps/retrain_topk.sh {run.folder / 'derived.json'} {training}".rstrip())
    run.finish(
        {
            "architectures": [str(c.architecture) for c in beam],
            "rewards": [c.score for c in beam],
            "resets": search.resets,
            "hours": run.seconds() / 3600,
        }
    )


# --------------------------------------------------------------------------------------------------------------------------------
# DGGAN, and ProgGAN as the case of a fixed list of growths


def search_dggan(tree, plan, actions_of, train, save):
    """Train the root; at every growing step try actions on the networks of the beam, train their children, and keep the K best.

    `actions_of(tree, index, step)` gives the actions to try on a node, `train(tree, step)` the tree with the scores of a growing
    step's nodes, and `save(tree)` is called wherever the search can go on from. Returns the growth tree. ProgGAN is the case of one
    action a step.
    """
    if tree[0].score is None:
        tree = train(tree, 0)
        save(tree)
    for step in range(tree[-1].step + 1, plan.growing_steps + 1):
        for parent in kept_nodes(tree, step - 1):
            tree = with_children(tree, parent, actions_of(tree, parent, step))
        if tree[-1].step < step:  # no parent has an action left to try
            break
        tree = pruned(train(tree, step), step, plan.kept)
        save(tree)
    return tree


def growth_plan(options, memory):
    """The GrowthPlan of the options, for devices with so many bytes of memory a worker; raises UserError if it cannot be carried out."""
    growth, final, is_search = options.growth, options.data.img_size, options.search.method == "dggan"
    with naming("--start_resolution, --img_size"):
        root = proggan_architecture(growth.start_resolution, growth.growth_width)
        actions = progressive_actions(growth.start_resolution, final)
    with naming("--actions" if growth.actions else "--kernels, --filters"):
        if growth.actions:
            actions = tuple(map(parse_action, growth.actions))
        elif is_search:
            actions = every_action(options.dggan.kernels, options.dggan.filters)
        if is_search:
            plan = dggan_plan(
                root,
                actions,
                final,
                options.dggan.growing_steps,
                options.beam.topk,
                options.dggan.action_probability,
            )
        else:
            plan = proggan_plan(root, actions, final)
    with naming("--growing_steps"):
        check_steps(plan.growing_steps, growth.start_resolution, final, plan.actions)
    with naming("--growth_width, --filters"):
        check_plan_fits(plan, final, memory, is_search, options.network.latent_dim)
    return plan


@contextmanager
def naming(option):
    """Inside, what no growth can be made of is the user's mistake in this option."""
    try:
        yield
    except (GrowthError, ArchitectureError) as error:
        raise UserError(f"{option}: {error}") from None


def recipe_of(options):
    """How every pair of networks is trained and scored."""
    data, training, scoring, growth = options.data, options.training, options.scoring, options.growth
    return Recipe(
        networks=partial(growing_networks, latent_dim=options.network.latent_dim, merged=options.run.is_fast),
        inherit=inherit, fade_images=fade_images,
        images_at=partial(images_at, data.dataset, data.data_path, data.img_size, data.num_workers),
        feature_net_on=partial(feature_net_on, **scoring.network(), compiled=options.run.compile),
        seed=options.run.random_seed, total_steps=growth.growth_iterations,
        fade_steps=round(growth.fade_share * growth.growth_iterations), batch_size=training.dis_batch_size,
        generator_batch_size=training.gen_batch_size, generator_every=training.n_critic, g_lr=training.g_lr, d_lr=training.d_lr,
        betas=training.betas, loss=training.loss, max_grad_norm=training.max_grad_norm, on_nan=training.on_nan,
        ema_decay=growth.ema_decay, precision=options.training.precision, fast=options.run.is_fast,
        look_every=options.training.print_freq, scored_images=options.search.rl_num_eval_img,
        scoring_batch_size=scoring.eval_batch_size, splits=scoring.is_splits,
        metrics=("is", "fid", "swd") if options.search.reward == "swd" else ("is", "fid"),
    )  # fmt: skip


def actions_on(plan, options):
    """The function that gives the actions to try on a node: by chance in DGGAN, the next of the list in ProgGAN."""

    def drawn(tree, index, step):
        architecture, final = GrowingArchitecture.parse(tree[index].architecture), options.data.img_size
        legal = legal_actions(plan.actions, architecture, final, steps_left=plan.growing_steps - step + 1)
        chance = random_generator(
            options.run.random_seed, "actions", tree[0].architecture, *actions_to(tree, index)
        )
        return drawn_actions(legal, options.dggan.action_probability, chance)

    return (
        drawn if options.search.method == "dggan" else lambda tree, index, step: plan.actions[step - 1 : step]
    )


def pair_of(tree, index, run):
    """What training a node takes."""
    node, architecture = tree[index], GrowingArchitecture.parse(tree[index].architecture)
    grown_from = None if node.parent is None else tree[node.parent].architecture
    return Pair(
        file=node_file(run, index), picture=run.samples / f"node_{index:03d}.png", architecture=node.architecture,
        resolution=architecture.resolution, path=(tree[0].architecture, *actions_to(tree, index)), grown_from=grown_from,
        parent_file=None if node.parent is None else node_file(run, node.parent), doubled=node.action == str(GrowResolution()),
    )  # fmt: skip


def node_file(run, index):
    return run.models / f"node_{index:03d}.pth"


def figure_names(feature_net):
    """{figure of a node: how it is printed}; the sliced Wasserstein distance needs no network."""
    return {"fid": figure_name("FID", feature_net), "is_mean": figure_name("IS", feature_net), "swd": "SWD"}


def trainer(options, in_order, names, run):
    """A function that trains and scores the nodes of a growing step, as many at once as `in_order` does, and records them in turn."""
    train_one = partial(train_pair, recipe=recipe_of(options), progress=options.growth.workers == 1)
    reward_of = {
        "fid": lambda figures: -figures["fid"],
        "swd": lambda figures: -figures["swd"],
        "is": lambda figures: figures["is_mean"],
    }

    def train(tree, step):
        indices = [index for index, node in enumerate(tree) if node.step == step]
        results = in_order(train_one, [pair_of(tree, index, run) for index in indices])
        for index, result in zip(
            indices, tqdm(results, f"growing step {step}", total=len(indices), leave=False, disable=None)
        ):
            for steps, d_loss, g_loss in result["losses"]:
                run.record(steps, {"d_loss": d_loss, "g_loss": g_loss}, f"node_{index:03d}")
            for message in result.get("rollbacks", ()):  # none in checkpoints of earlier versions
                run.log(f"node {index}: {message}")
            if result["failure"]:
                tree = with_failure(tree, index, result["failure"])
            else:
                tree = with_score(
                    tree, index, reward_of[options.search.reward](result["figures"]), **result["figures"]
                )
            run.log(node_line(tree, index, names))
        if not any(tree[index].score is not None for index in indices):
            raise Diverged(f"no network of growing step {step} could be trained: {tree[indices[0]].failure}")
        return tree

    return train


def saver(options, names, run):
    """A function that saves a growth tree: to go on from, as JSON and as a picture; weights that pruning has dropped are removed."""

    def save(tree):
        step, kept = tree[-1].step, kept_nodes(tree, tree[-1].step)
        run.save({"options": options.flat(), "tree": tree_to_json(tree)}, step)
        write_atomically(
            run.folder / "growth_tree.json", lambda file: file.write(tree_to_json(tree).encode())
        )
        save_growth_picture(boxes(tree, options.data.img_size, names["fid"]), run.folder / "growth_tree.png")
        for index, node in enumerate(tree):
            if node.kept is False:
                node_file(run, index).unlink(missing_ok=True)
        if tree[0].score is not None:
            shutil.copyfile(
                run.samples / f"node_{kept[0]:03d}.png", run.samples / f"best_of_step_{step:02d}.png"
            )
            run.log(f"growing step {step}: kept {', '.join(f'node {index}' for index in kept)}")

    return save


def describe_growth(options, plan):
    """The resolved run, for --dry_run: no data set is read."""
    growth, final = options.growth, options.data.img_size
    with torch.device("meta"):
        sizes = network_sizes(
            *growing_networks(str(plan.root), latent_dim=options.network.latent_dim), plan.root.resolution
        )
    doublings = len(progressive_actions(growth.start_resolution, final))
    return {
        "script": "search.py",
        "options": options.flat(),
        "architecture": "searched"
        if options.search.method == "dggan"
        else str(apply_all(plan.actions, plan.root)),
        "resolution": final,
        "resolutions": [growth.start_resolution << level for level in range(doublings + 1)],
        "root": str(plan.root),
        **sizes,
        "actions": [str(action) for action in plan.actions],
        "growing_steps": plan.growing_steps,
        "kept": plan.kept,
        "training_images_per_network": growth.growth_iterations * options.training.dis_batch_size,
    }


def run_dggan(options, state):
    """--method dggan and proggan."""
    devices = worker_devices(pick_device(options.run.device), options.growth.workers)
    check_precision("--precision", options.training.precision, devices[0])
    plan = growth_plan(options, device_memory(devices[0]) // devices.count(devices[0]))
    if options.run.dry_run:
        print(json.dumps(describe_growth(options, plan), indent=2))
        return

    names = figure_names(recipe_of(options).feature_net_on(devices[0]).name)
    load_images(
        options.data.dataset, options.data.data_path, image_size=options.data.img_size, fewest=2
    )  # a mistake shows now
    tree = tree_from_json(state["tree"]) if state else planted(plan.root)
    run = (
        Run.reopen(options.run.load_path, state)
        if state
        else Run.create("logs", options.run.exp_name, options.flat(), devices[0])
    )
    if options.run.folder_file:
        write_text(options.run.folder_file, f"{run.folder}\n")
    save = saver(options, names, run)
    if not state:
        save(tree)

    safe_point = SafePoint(lambda: None, f"go on with --load_path {run.folder}", note=run.note)
    with safe_point, worker_processes(devices, safe_point) as in_order:
        tree = search_dggan(
            tree, plan, actions_on(plan, options), trainer(options, in_order, names, run), save
        )
    beam = best_architectures(tree, options.data.img_size, plan.kept)
    resolutions = best_of_resolutions(
        tree, options.growth.growth_iterations * options.training.dis_batch_size
    )
    shown = {"fid": "fid", "is": "is_mean", "swd": "swd"}[
        options.search.reward
    ]  # by which the best were chosen
    for resolution, entry in resolutions.items():
        run.log(
            f"best at {resolution} px: {names[shown]} {entry[shown]:.2f}, node {entry['node']}, {', '.join(entry['actions']) or 'the root'}"
        )
    run.log(
        f"growth tree {run.folder / 'growth_tree.png'}, samples {run.samples / f'node_{beam[0].state:03d}.png'}"
    )
    ranked = [
        {
            "architecture": str(candidate.architecture),
            "reward": candidate.score,
            "actions": list(actions_to(tree, candidate.state)),
            "weights": str(node_file(run, candidate.state).relative_to(run.folder)),
        }
        for candidate in beam
    ]
    write_derived(run.folder / "derived.json", options.search.reward, options.scoring.feature_net, ranked)
    log_next_step(run, options)
    run.log(f"or add --init_from {node_file(run, beam[0].state)} to go on from the searched weights")
    run.finish({
        "method": options.search.method, "feature_net": options.scoring.feature_net, "reward": options.search.reward,
        "architectures": [str(candidate.architecture) for candidate in beam], "rewards": [candidate.score for candidate in beam],
        "resolutions": resolutions, "networks": len(tree), "failed": sum(bool(node.failure) for node in tree),
        "hours": run.seconds() / 3600,
    })  # fmt: skip


# --------------------------------------------------------------------------------------------------------------------------------


def main():
    options = cfg.parse("search")
    state = None
    if options.run.load_path:
        state = load_run(options.run.load_path)
        options = cfg.resumed(options, state["options"])
    {"autogan": run_autogan, "dggan": run_dggan, "proggan": run_dggan}[options.search.method](options, state)


if __name__ == "__main__":
    run_script(main)
