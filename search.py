"""Search a generator: AutoGAN's multi-level search with a shared GAN and one LSTM controller per level (Algorithm 1 of the paper).

python search.py --dataset cifar10 --exp_name autogan_search
"""

import json
import time
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from tqdm import tqdm

import cfg
from models.architecture import Architecture
from models.autogan import Discriminator
from models.init import prepare
from models_search.candidates import Candidate, top_k
from models_search.controller import Controller, UniformController, first_beam, reinforce, sample_architectures
from models_search.dynamic_reset import CollapseDetector
from models_search.shared_gan import shared_generator
from utils.adversarial import Gan, Setting, in_precision, last_known, new_gan, train_steps
from utils.cli import run_script
from utils.complexity import network_sizes
from utils.datasets import load_images
from utils.inception import load_feature_net
from utils.metrics import NonFiniteImages, evaluate
from utils.randomness import derived_seed, global_seed, random_generator
from utils.real_statistics import real_statistics
from utils.run import Run, SafePoint, load_run, pick_device, write_json
from utils.scoring import noise_sampler
from utils.steps import StepInputs

CONTROLLERS = {"controller": Controller, "random": UniformController}
LOWEST_REWARD = {"is": 1.0, "fid": 0.0}


@dataclass
class Policy:
    """A level's controller, its optimiser and the moving average of its rewards."""

    controller: torch.nn.Module
    optimizer: torch.optim.Optimizer
    baseline: float = None


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


def search_autogan(search, options, level_of, images_of, reward_of, run, safe_point):
    """Algorithm 1: train the shared GAN, train the controller, keep the best architectures at the end of a level, and grow.

    `level_of(iteration)` is the growing schedule, `images_of(level)` gives the real images, and `reward_of(architecture, *purpose)`
    scores an architecture in the shared GAN as it is. Returns the beam: the best architectures, best first.
    """
    iterations = options.search.max_search_iter
    for iteration in tqdm(range(search.iteration, iterations), "search", initial=search.iteration, total=iterations, disable=None):
        level = level_of(iteration)
        train_shared_gan(search, options, images_of(level), run, safe_point)
        train_controller(search, options, reward_of, run, safe_point)
        if iteration + 1 == iterations or level_of(iteration + 1) > level:
            search.beam = best_architectures(search, options, reward_of, run)
            if iteration + 1 < iterations:
                search.policy = new_policy(options, level + 1)  # both networks grow by being called with longer architectures
        if (iteration + 1) % options.search.val_freq == 0:
            sample_grid(search, options, run)
        if search.collapsed:
            search.resets += 1
            run.log(f"iteration {iteration}: the losses have collapsed, so the shared GAN starts anew")
            search.gan = new_shared_gan(options, images_of(level).device, search.resets)
        search.iteration, search.shared_steps, search.controller_steps, search.collapsed = iteration + 1, 0, 0, False
        safe_point(due=True)
    return search.beam


def train_shared_gan(search, options, images, run, safe_point):
    """Some epochs of adversarial training, an architecture drawn for every step from the fixed policy (section 3.3.1).

    The losses are looked at every --print_freq steps, in one transfer. Where the reset rule held at an earlier step, the networks
    go back to the last look and run to exactly that step, and the iteration's training ends.
    """
    gan, level, training = search.gan, search.policy.controller.level, options.training
    inputs = StepInputs(
        images, derived_seed(options.run.random_seed, "shared GAN", search.iteration), batch_size=training.dis_batch_size,
        generator_batch_size=training.gen_batch_size, latent_dim=options.network.latent_dim, generator_every=training.n_critic,
    )  # fmt: skip
    total_steps = options.search.shared_epoch * inputs.steps_per_epoch
    drawn = random_generator(options.run.random_seed, "architectures", search.iteration)
    with torch.no_grad():
        architectures, _ = sample_architectures(search.policy.controller, search.beam, total_steps, drawn)
    gan.generator.train()
    gan.discriminator.train()

    precise = partial(in_precision, precision=options.run.precision, device=images.device)
    discriminate = precise(partial(gan.discriminator, level=level))

    def setting_at(step):
        return Setting(precise(partial(gan.generator, architecture=architectures[step])), discriminate)

    def train(first, last):
        return train_steps(gan, inputs.steps(first, last), setting_at, max_grad_norm=training.max_grad_norm)

    with tqdm(total=total_steps, desc=f"  GAN {images.resolution} px", initial=search.shared_steps, leave=False, disable=None) as bar:
        while search.shared_steps < total_steps and not search.collapsed:
            first = search.shared_steps
            last = min(first + options.run.print_freq, total_steps)
            before = gan.snapshot()
            losses = train(first, last)
            collapsed_at = search.collapse.first_collapse(*losses)
            if collapsed_at is not None:
                search.collapsed = True
                gan.load_state_dict(before)
                train(first, first + collapsed_at + 1)
            search.shared_steps = last
            run.record(search.iteration * total_steps + last, {"d_loss": losses[0][-1], "g_loss": last_known(losses[1])}, "shared_gan")
            bar.update(last - first)
            safe_point()


def train_controller(search, options, reward_of, run, safe_point):
    """Some REINFORCE updates, the shared GAN fixed (section 3.3.2)."""
    settings, policy = options.search, search.policy
    if policy.optimizer is None:  # random search learns nothing
        return
    with tqdm(total=settings.ctrl_step, desc="  controller", initial=search.controller_steps, leave=False, disable=None) as bar:
        while search.controller_steps < settings.ctrl_step:
            step = search.controller_steps
            drawn = random_generator(options.run.random_seed, "rollout", search.iteration, step)
            architectures, rollout = sample_architectures(policy.controller, search.beam, settings.ctrl_sample_batch, drawn)
            rewards = torch.tensor([reward_of(architecture, "reward", search.iteration, step) for architecture in architectures])
            policy.baseline, figures = reinforce(
                policy.optimizer, rollout, rewards, policy.baseline, settings.entropy_coeff, settings.baseline_decay
            )
            run.record(search.iteration * settings.ctrl_step + step, {**figures, "level": policy.controller.level}, "controller")
            search.controller_steps += 1
            bar.update()
            bar.set_postfix(reward=f"{figures['reward']:.3f}", refresh=False)
            safe_point()


def best_architectures(search, options, reward_of, run):
    """Draw --num_candidate distinct architectures, score them and keep the --topk best with their LSTM states (section 3.3.3)."""
    settings, controller = options.search, search.policy.controller
    drawn = random_generator(options.run.random_seed, "candidates", search.iteration)
    states = {}
    for _ in range(20):  # a policy that has made up its mind may not know as many different ones
        with torch.no_grad():
            architectures, rollout = sample_architectures(controller, search.beam, settings.num_candidate, drawn)
        for architecture, *state in zip(architectures, *rollout.state):
            states.setdefault(architecture, tuple(state))
        if len(states) >= settings.num_candidate:
            break
    candidates = [
        Candidate(architecture, reward_of(architecture, "candidate", search.iteration), state)
        for architecture, state in tqdm(list(states.items())[: settings.num_candidate], "  candidates", leave=False, disable=None)
    ]
    beam = top_k(candidates, settings.topk)
    run.log(f"level {controller.level + 1}: the best of {len(candidates)} architectures")
    for rank, candidate in enumerate(beam, 1):
        run.log(f"  {rank}. {candidate.architecture}   reward {candidate.score:.3f}")
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
    network, training, levels = options.network, options.training, 1 + len(cfg.growing_steps(options))
    with global_seed(options.run.random_seed, "shared GAN", resets):
        generator = shared_generator(
            levels, latent_dim=network.latent_dim, gf_dim=network.gf_dim, bottom_width=network.bottom_width
        )
        generator = prepare(generator, network.init_type, network.g_spectral_norm)
        discriminator = prepare(Discriminator(levels, network.df_dim), network.init_type, network.d_spectral_norm)
    return new_gan(
        generator, discriminator, device, g_lr=training.g_lr, d_lr=training.d_lr, betas=(training.beta1, training.beta2),
        fast=options.run.fast == "on",
    )  # fmt: skip


def new_policy(options, level):
    """The controller of one level, untrained."""
    settings = options.search
    with global_seed(options.run.random_seed, "controller", level):
        controller = CONTROLLERS[settings.controller](level, settings.hid_size)
    learned = list(controller.parameters())
    betas = (options.training.beta1, options.training.beta2)
    return Policy(controller, torch.optim.Adam(learned, settings.ctrl_lr, betas) if learned else None)


def reward_in(search, options, feature_net, real_of, run):
    """The reward function: the Inception score of an architecture in the shared GAN, or the reciprocal of its FID (section 4.3.2)."""
    settings, scoring = options.search, options.scoring

    def reward_of(architecture, *purpose):
        generator = search.gan.generator.eval()
        device = next(generator.parameters()).device
        generate = partial(generator, architecture=architecture)
        sample = noise_sampler(generate, generator.latent_dim, options.run.random_seed, *purpose, str(architecture), device=device)
        try:
            scores = evaluate(
                sample, settings.rl_num_eval_img, feature_net, metrics=(settings.reward,), splits=scoring.is_splits,
                batch_size=scoring.eval_batch_size, real=real_of(architecture.levels - 1) if settings.reward == "fid" else None,
            )  # fmt: skip
        except NonFiniteImages:
            run.log(f"{architecture} makes images that are not finite: it gets the lowest reward")
            return LOWEST_REWARD[settings.reward]
        return scores.is_mean if settings.reward == "is" else 1 / scores.fid

    return reward_of


def checkpoint_of(search, options):
    """The search as plain data and tensors."""
    policy = search.policy
    return {
        "options": options.flat(),
        "gan": search.gan.state_dict(),
        "level": policy.controller.level,
        "controller": policy.controller.state_dict(),
        "controller_optimizer": policy.optimizer.state_dict() if policy.optimizer else None,
        "baseline": policy.baseline,
        "beam": [{"architecture": str(c.architecture), "reward": c.score, "state": c.state} for c in search.beam],
        "collapse": search.collapse.state_dict(),
        "counters": {name: getattr(search, name) for name in ("iteration", "shared_steps", "controller_steps", "collapsed", "resets")},
    }


def restore(search, state, options):
    """Set a new search back to where a checkpoint was written."""
    search.gan.load_state_dict(state["gan"])
    search.policy = new_policy(options, state["level"])
    search.policy.controller.load_state_dict(state["controller"])
    if search.policy.optimizer:
        search.policy.optimizer.load_state_dict(state["controller_optimizer"])
    search.policy.baseline = state["baseline"]
    search.beam = [
        Candidate(Architecture.parse(entry["architecture"]) if entry["architecture"] else Architecture(()), entry["reward"], entry["state"])
        for entry in state["beam"]
    ]
    search.collapse.load_state_dict(state["collapse"])
    for name, value in state["counters"].items():
        setattr(search, name, value)


def describe(options, growing_steps):
    """The resolved run, for --dry_run: no data set is read."""
    network, settings, levels = options.network, options.search, 1 + len(growing_steps)
    updates = settings.max_search_iter * settings.ctrl_step
    scored = updates * settings.ctrl_sample_batch + levels * settings.num_candidate
    with torch.device("meta"):
        generator = shared_generator(levels, latent_dim=network.latent_dim, gf_dim=network.gf_dim, bottom_width=network.bottom_width)
        sizes = network_sizes(generator, Discriminator(levels, network.df_dim), options.data.img_size)
    return {
        "script": "search.py",
        "options": options.flat(),
        "architecture": "searched",
        "resolution": options.data.img_size,
        "resolutions": [network.bottom_width << level for level in range(1, levels + 1)],
        "growing_steps": list(growing_steps),
        **sizes,
        "search_iterations": settings.max_search_iter,
        "controller_steps": updates,
        "scored_images": scored * settings.rl_num_eval_img,
    }


def write_derived(run, beam, options):
    """Write derived.json, and say what to type next."""
    ranked = [{"rank": rank, "architecture": str(c.architecture), "reward": c.score} for rank, c in enumerate(beam, 1)]
    write_json(
        run.folder / "derived.json",
        {"reward": options.search.reward, "feature_net": options.scoring.feature_net, "architectures": ranked},
    )
    run.log(f"wrote {run.folder / 'derived.json'}; to train the best architecture from scratch:")
    run.log("  " + cfg.command("train_derived", options, arch_file=run.folder / "derived.json", rank=1, exp_name="derive"))


def main():
    options = cfg.parse("search")
    run = state = None
    if options.run.load_path:
        state = load_run(options.run.load_path)
        options = cfg.resumed(options, state["options"])
    growing_steps = cfg.growing_steps(options)
    if options.run.dry_run:
        print(json.dumps(describe(options, growing_steps), indent=2))
        return

    data, scoring = options.data, options.scoring
    device = pick_device(options.run.device)
    image_set = load_images(data.dataset, data.data_path, image_size=data.img_size)
    feature_net = load_feature_net(
        scoring.feature_net, inception_path=scoring.inception_path, backend=scoring.inception_backend,
        tf_python=scoring.tf_python, device=device,
    )  # fmt: skip

    @lru_cache(maxsize=1)
    def images_of(level):
        return image_set.resized(options.network.bottom_width << (level + 1), device, num_workers=data.num_workers)

    def level_of(iteration):
        return sum(iteration >= step for step in growing_steps)

    @lru_cache(maxsize=1)
    def real_of(level):
        return real_statistics(images_of(level), feature_net, progress="statistics of the real images")

    detector = CollapseDetector(options.search.dynamic_reset_window, options.search.dynamic_reset_threshold)
    search = Search(new_shared_gan(options, device), new_policy(options, level=0), first_beam(options.search.hid_size), detector)
    if state:
        restore(search, state, options)
    run = Run.reopen(options.run.load_path, state) if state else Run.create("logs", options.run.exp_name, options.flat())

    def save():
        run.save(checkpoint_of(search, options), search.iteration)

    started = time.monotonic()
    with SafePoint(save, f"go on with --load_path {run.folder}") as safe_point:
        reward_of = reward_in(search, options, feature_net, real_of, run)
        beam = search_autogan(search, options, level_of, images_of, reward_of, run, safe_point)
    write_derived(run, beam, options)
    run.finish({"architectures": [str(c.architecture) for c in beam], "rewards": [c.score for c in beam], "resets": search.resets,
                "hours": (time.monotonic() - started) / 3600})


if __name__ == "__main__":
    run_script(main)
