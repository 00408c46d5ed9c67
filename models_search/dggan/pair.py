"""Train and score one node of the growth tree: a pair of networks.

If the pair has just grown, the new part fades in while all layers train. Then the average generator is
scored. The result depends only on the tree and the plan, so any process can do this. Each node has its own
file, from which its training can go on.
"""

import contextlib
import time
from dataclasses import dataclass, field
from functools import lru_cache, partial

import torch

from models.growing.growth import inherit
from models.growing.networks import growing_networks
from models_search.dggan.fade import Fade, FadedInputs
from models_search.dggan.node import LEFT_OUT, LOSSES, Node, load_node
from utils.cli import UserError
from utils.data.load import load_images
from utils.images import save_grid
from utils.inception.feature_net import load_feature_net
from utils.metrics.evaluate import NonFiniteImages
from utils.metrics.generator import score_generator
from utils.metrics.real_statistics import real_statistics
from utils.progress import Progress
from utils.randomness import derived_seed, global_seed, random_generator
from utils.run.checkpoint import DamagedCheckpoint, load_checkpoint, previous_of, save_checkpoint
from utils.run.save_point import SavePoint
from utils.run.schema import COUNT, Each, refuse_other_parts
from utils.run.workers import one_thread_on_cpu
from utils.training.gan import new_gan, place
from utils.training.inputs import StepInputs
from utils.training.loop import Diverged, look_steps, train
from utils.training.losses import loss_schedule
from utils.training.recipe import recipe_schedule
from utils.training.schedules import average_decay

SECONDS_PER_SAVE = 300


def train_node(node, device, stop, *, plan):
    """Train and score a Node, or read the result if that has been done.

    Returns {"figures", "failure", "losses", "rollbacks"}. A node fails if it diverges or makes images that
    are not finite. This is a result too, but no weights are kept. A node whose time to begin is over is left
    out, and no file is written. The optimisers start anew, the average generator goes on from the parent's.
    stop: see SavePoint; after a signal, what is done so far is saved and StopRequested is raised.
    """
    if node.file.is_file():
        return load_node(node)["result"]
    if time.time() > node.begin_until:
        return node.failed(LEFT_OUT)
    weights, figures, failure = None, {}, ""
    training = NodeTraining()
    with one_thread_on_cpu(device), _memory_errors(node, device):
        try:
            networks = _train(training, node, plan, device, stop)
            average = place(networks["average"], device, plan.run.is_fast).eval()
            figures = _score(average, node, plan, device, SavePoint(None, stop, node.hint))
            weights = {name: network.state_dict() for name, network in networks.items()}
        except (Diverged, NonFiniteImages) as error:
            failure = str(error)
    result = {
        "figures": figures,
        "failure": failure,
        "losses": training.losses,
        "rollbacks": training.rollbacks,
    }
    content = {"architecture": node.architecture, "path": list(node.path), "gan": weights, "result": result}
    save_checkpoint(node.file, content)
    for file in (node.partial_file, previous_of(node.partial_file)):
        file.unlink(missing_ok=True)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # another process may need the memory, and the next node takes other sizes
    return result


@dataclass
class NodeTraining:
    """Where the training of a node stands."""

    step: int = 0
    losses: list = field(default_factory=list)  # (step, discriminator's loss, generator's loss) at every look
    rollbacks: list = field(default_factory=list)  # a message for each


def _train(training, node, plan, device, stop):
    """Train a node to the end, from its partial checkpoint if there is one.

    Returns its networks {"generator", "discriminator", "average"}, on the CPU.
    """
    gan = _grown_gan(node, plan, device)
    _restore(training, gan, node.partial_file)
    total, seed = plan.growth.growth_iterations, derived_seed(plan.run.random_seed, "growth", *node.path)
    fade = Fade(plan.fade_steps if node.parent_architecture else 0, device)
    images = images_at(plan.data, node.entry.resolution, device)
    inputs = StepInputs(images, seed, plan.training, gan.generator.latent_dim)
    passes = {"steps_per_epoch": inputs.steps_per_epoch}
    recipe_at = recipe_schedule(plan.recipe, plan.training, seed, **passes)
    if node.doubled:
        inputs = FadedInputs(inputs, fade)
    save_point = SavePoint(
        partial(_save, training, gan, node.partial_file), stop, node.hint, SECONDS_PER_SAVE
    )
    gan.generator.train()
    gan.discriminator.train()
    first, name = training.step, f"  {node.file.stem}, {node.entry.resolution} px"
    loss_at = loss_schedule(plan.training.loss, seed, device=device)
    functions_at = partial(fade.functions_at, gan, loss_at, recipe_at)
    with Progress(total, name, first=first) as progress:
        looks = train(
            gan, inputs, functions_at, look_steps(first, total, plan.training.print_freq), plan.training,
            first=first, rollbacks=len(training.rollbacks), log=training.rollbacks.append,
            ema_decay=average_decay(plan.independent.ema_decay, plan.independent_average, plan.training),
            progress=progress,
        )  # fmt: skip
        for look in looks:
            training.step, figures = look.step, look.figures()
            training.losses.append((look.step, *figures.values()))
            progress.show(figures)
            # Save at the end of training too: if scoring is stopped, the node need not be trained again.
            save_point.reached(due=look.step == total)
    return _without_bypass(gan, node, plan)


def _save(training, gan, file):
    state = {"gan": gan.state_dict(), "step": training.step, "losses": training.losses}
    save_checkpoint(file, {**state, "rollbacks": training.rollbacks})


def _restore(training, gan, file):
    """Go on from the partial checkpoint. If it is missing or damaged, start anew."""
    if file.is_file():
        with contextlib.suppress(DamagedCheckpoint):
            saved = load_checkpoint(file)
            parts = {"gan": gan.schema(), "step": COUNT, "losses": LOSSES, "rollbacks": Each(str)}
            refuse_other_parts(saved, parts, f"--load_path: {file}")
            gan.load_state_dict(saved["gan"])
            training.step, training.losses = saved["step"], saved["losses"]
            training.rollbacks = saved["rollbacks"]


def _networks(plan, architecture, parent=None):
    return growing_networks(architecture, parent, latent_dim=plan.network.latent_dim, merged=plan.run.is_fast)


def _grown_gan(node, plan, device):
    """The Gan before its first step: new weights from the seed, then what the parent hands down."""
    with global_seed(plan.run.random_seed, "networks", *node.path):
        generator, discriminator = _networks(plan, node.architecture, node.parent_architecture)
    parent = _parent_networks(node, plan)
    if parent:
        inherit(generator, parent["generator"])
        inherit(discriminator, parent["discriminator"])
    form = {"recipe": plan.recipe, "with_average": True, "fast": plan.run.is_fast}
    gan = new_gan(generator, discriminator, device, plan.training, **form)
    if parent:
        inherit(gan.average, parent["average"])
    return gan


def _parent_networks(node, plan):
    """{"generator", "discriminator", "average"} of the parent; None for the root."""
    if node.entry.parent is None:
        return None
    parent = Node(node.tree, node.entry.parent, node.folder)
    weights, networks = load_node(parent)["gan"], _empty_networks(plan, parent.architecture)
    parts = {name: dict(network.state_dict()) for name, network in networks.items()}
    refuse_other_parts(weights, parts, f"--load_path: {parent.file}")
    for name, network in networks.items():
        network.load_state_dict(weights[name])
    return networks


def _without_bypass(gan, node, plan):
    """The trained networks as the architecture describes them, on the CPU, by the Gan's names."""
    networks = _empty_networks(plan, node.architecture)
    for name, network in networks.items():
        inherit(network, getattr(gan, name))
    return networks


def _empty_networks(plan, architecture):
    """Networks without a bypass, whose weights the caller overwrites."""
    with global_seed(0, "overwritten"):
        (generator, discriminator), (average, _) = (_networks(plan, architecture) for _ in range(2))
    return {"generator": generator, "discriminator": discriminator, "average": average}


def _score(average, node, plan, device, save_point):
    """Score the average generator and draw a grid of its images.

    The noise is the same for every node. Returns {score: value}: fid, is_mean, is_std, and swd if it is the
    reward.
    """
    fixed = random_generator(plan.run.random_seed, "grid")
    with torch.inference_mode():
        samples = average(torch.randn(100, average.latent_dim, generator=fixed).to(device))
    resolution = node.entry.resolution
    save_grid(samples, node.picture, zoom=max(1, 64 // resolution))
    images, feature_net = (
        images_at(plan.data, resolution, device),
        load_net(plan.scoring, plan.run.compile, device),
    )
    metrics = ("is", "fid", "swd") if plan.search.reward == "swd" else ("is", "fid")
    scoring, reals = plan.scoring, [real_statistics(images, feature_net)]
    scores, _ = score_generator(
        average, [feature_net], reals, num_images=plan.search.rl_num_eval_img, seed=plan.run.random_seed,
        batch_size=scoring.eval_batch_size, splits=scoring.is_splits, metrics=metrics, real_images=images,
        stop_if_asked=save_point.stop_if_asked,
    )  # fmt: skip
    figures = {name: getattr(scores, name) for name in ("fid", "is_mean", "is_std", "swd")}
    return {name: value for name, value in figures.items() if value is not None}


@contextlib.contextmanager
def _memory_errors(node, device):
    """Turn an out-of-memory error into a UserError, which ends the run.

    It does not make the node a failure: with fewer processes on the device the node may fit, and the result
    must not depend on their number.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        cure = "use fewer --workers, --filters or a smaller --growth_width"
        raise UserError(f"--workers: {node.file.stem} does not fit the memory of {device}; {cure}") from None


# What a process loads once for all its nodes.


@lru_cache(maxsize=4)
def images_at(data, resolution, device):
    """The training images at a resolution. data: the option group of this name."""
    image_set = load_images(data.dataset, data.data_path, image_size=data.img_size)
    return image_set.resized(resolution, device, num_workers=data.num_workers)


@lru_cache(maxsize=1)
def load_net(scoring, compiled, device):
    """The feature network to score with. scoring: the option group of this name."""
    return load_feature_net(**scoring.network(), compiled=compiled, device=device)
