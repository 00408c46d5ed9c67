"""DGGAN's growing steps: the actions, which of them a parent tries, which children stay, and the record of it all.

Everything here is plain frozen data and pure functions; training and scoring the children is the caller's business.
"""

import json
import re
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from math import isfinite

import torch

from models.dggan import parameter_counts
from models.growing_architecture import Conv, GrowingArchitecture, doubled
from models_search.candidates import Candidate, top_k


class GrowthError(ValueError):
    """Actions, settings or a growth tree with which no search can run."""


@dataclass(frozen=True)
class GrowGenerator:
    """One convolution more in the generator, at its highest resolution. Text: `G 3x128`, with a place `G 3x128 after 1`.

    It comes on the image's side of the first `place` convolutions of that resolution; None is nearest the image.
    """

    conv: Conv
    place: int | None = None

    def __str__(self):
        return f"G {self.conv}" + _place_text(self)


@dataclass(frozen=True)
class GrowDiscriminator:
    """One convolution more in the discriminator: as `GrowGenerator`. Text: `D 3x128`, with a place `D 3x128 after 1`."""

    conv: Conv
    place: int | None = None

    def __str__(self):
        return f"D {self.conv}" + _place_text(self)


def _place_text(action):
    return "" if action.place is None else f" after {action.place}"


@dataclass(frozen=True)
class GrowResolution:
    """ProgGAN's step: both networks get blocks of two 3x3 convolutions at twice the resolution. Text: `double`."""

    def __str__(self):
        return "double"


def every_action(kernels=(3, 7), filters=(32, 64, 128, 256, 512, 1024)):
    """A convolution of each kernel and number of filters for each network, and the doubling: 25 actions as the paper has them."""
    convs = [Conv(kernel, count) for kernel in kernels for count in filters]
    return tuple(grow(conv) for grow in (GrowGenerator, GrowDiscriminator) for conv in convs) + (GrowResolution(),)


ACTIONS = every_action()


def progressive_actions(start_resolution=8, final_resolution=32):
    """ProgGAN as a list of the same actions: doubling and nothing else."""
    return (GrowResolution(),) * _doublings(start_resolution, final_resolution)


def parse_action(text):
    """The action of a text form; raises GrowthError, or ArchitectureError for its convolution."""
    if text == "double":
        return GrowResolution()
    match = re.fullmatch(r"([GD]) (\S+)(?: after (\d{1,3}))?", text, re.ASCII)
    if not match:
        raise GrowthError(f"'{text}' is no action: write such as 'G 3x128', 'D 7x64' or 'double'")
    grow = GrowGenerator if match[1] == "G" else GrowDiscriminator
    return grow(Conv.parse(match[2]), int(match[3]) if match[3] else None)


def apply(action, architecture):
    """The architecture grown by one action; raises GrowthError for a place that the highest resolution does not have."""
    if isinstance(action, GrowResolution):
        return doubled(architecture)
    network = "generator" if isinstance(action, GrowGenerator) else "discriminator"
    blocks = getattr(architecture, network)
    place = len(blocks[-1]) if action.place is None else action.place
    if not 1 <= place <= len(blocks[-1]):
        raise GrowthError(f"'{action}': at {architecture.resolution} pixels the {network} has places 1 to {len(blocks[-1])}")
    grown = blocks[-1][:place] + (action.conv,) + blocks[-1][place:]
    return replace(architecture, **{network: blocks[:-1] + (grown,)})


def apply_all(actions, architecture):
    """The architecture after a list of actions."""
    return reduce(lambda grown, action: apply(action, grown), actions, architecture)


def legal_actions(actions, architecture, final_resolution, maximum_parameters=None, latent_dim=512, steps_left=None):
    """Those actions that exceed neither the final resolution nor, where given, this number of parameters of both networks.

    Where the growing steps left, this one included, are only enough for doublings, only a doubling is legal.
    """
    doublings = _doublings(architecture.resolution, final_resolution)

    def legal(action):
        if isinstance(action, GrowResolution):
            if not doublings:
                return False
        elif steps_left is not None and doublings >= steps_left:
            return False
        return maximum_parameters is None or sum(parameter_counts(apply(action, architecture), latent_dim)) <= maximum_parameters

    return tuple(action for action in actions if legal(action))


def drawn_actions(actions, probability, generator):
    """Each action with this probability, in their order; where none was drawn, one of them, each as likely.

    A parent without a child would end its line by chance and not by its score, hence the second draw: an action's share is
    p + (1 - p)^n / n of n actions. Of no actions none are drawn. `generator` is a torch.Generator on the CPU.
    """
    tried = (torch.rand(len(actions), generator=generator) < probability).tolist()
    if actions and not any(tried):
        tried[torch.randint(len(actions), (), generator=generator).item()] = True
    return tuple(action for action, is_tried in zip(actions, tried) if is_tried)


def check_search(actions, start_resolution, final_resolution, k, probability):
    """Raise GrowthError for settings with which a search cannot run or cannot reach the final resolution."""
    if not actions:
        raise GrowthError("a search needs one action or more")
    if len(set(actions)) < len(actions):
        raise GrowthError("an action is listed twice")
    if k < 1:
        raise GrowthError(f"K is the number of children kept, 1 or more, not {k}")
    if not 0 < probability <= 1:
        raise GrowthError(f"the probability of trying an action is in (0, 1], not {probability}")
    if _doublings(start_resolution, final_resolution) and GrowResolution() not in actions:
        raise GrowthError(f"without 'double' the actions never reach {final_resolution} pixels from {start_resolution}")


def check_fixed_list(actions, start_resolution, final_resolution):
    """Raise GrowthError unless this list of actions, taken one after the other, ends at the final resolution."""
    needed, given = _doublings(start_resolution, final_resolution), sum(action == GrowResolution() for action in actions)
    if given != needed:
        raise GrowthError(f"the list doubles {given} times: from {start_resolution} to {final_resolution} pixels takes {needed}")


def check_steps(growing_steps, start_resolution, final_resolution):
    """Raise GrowthError if this many growing steps cannot reach the final resolution."""
    needed = _doublings(start_resolution, final_resolution)
    if growing_steps < needed:
        raise GrowthError(f"from {start_resolution} to {final_resolution} pixels takes {needed} growing steps, not {growing_steps}")


def check_memory(actions, architecture, available_bytes, latent_dim=512):
    """Raise GrowthError if one of the actions makes networks that cannot be trained in this memory, and name the largest.

    Without actions it is about the architecture as it is.
    """
    grown = {f"'{action}'": apply(action, architecture) for action in actions} or {f"'{architecture}'": architecture}
    needed, largest = max((training_bytes(each, latent_dim), name) for name, each in grown.items())
    if needed > available_bytes:
        raise GrowthError(
            f"{largest} takes {needed / 2**30:.1f} GiB for the parameters alone, "
            f"{available_bytes / 2**30:.1f} GiB are there: use fewer filters"
        )


def training_bytes(architecture, latent_dim=512):
    """Lower bound of what training takes: weights, gradients, Adam's two averages and the average generator, in float32.

    Activations and a fading layer's bypass are not in it.
    """
    generator, discriminator = parameter_counts(architecture, latent_dim)
    return 4 * (5 * generator + 4 * discriminator)


def _doublings(start_resolution, final_resolution):
    if start_resolution < 4 or final_resolution < start_resolution:
        raise GrowthError(f"growth goes from 4 pixels or more upwards, not from {start_resolution} to {final_resolution}")
    ratio, rest = divmod(final_resolution, start_resolution)
    if rest or ratio & (ratio - 1):
        raise GrowthError(f"doubling never leads from {start_resolution} to {final_resolution} pixels")
    return ratio.bit_length() - 1


@dataclass(frozen=True)
class GrowthNode:
    """One network pair of the growth tree: the root (step 0) or a child. Only text and numbers, so that JSON holds all of it."""

    step: int  # growing step that made it, 0 for the root
    architecture: str
    parent: int | None = None  # index of the parent's node
    action: str | None = None
    score: float | None = None  # higher is better; None until it is scored, and where training failed
    kept: bool | None = None  # None until its step is pruned
    failure: str = ""  # why there is no score
    figures: dict = field(default_factory=dict)  # whatever else is worth keeping: FID, IS, images, seconds


def planted(architecture):
    """A growth tree, which is a tuple of nodes, with its root alone."""
    return (GrowthNode(step=0, architecture=str(architecture), kept=True),)


def with_children(tree, parent, actions):
    """The tree with a child of node `parent` for each action; the children stand at its end, in the order of the actions."""
    node = tree[parent]
    architecture = GrowingArchitecture.parse(node.architecture)
    return tree + tuple(GrowthNode(node.step + 1, str(apply(action, architecture)), parent, str(action)) for action in actions)


def with_score(tree, index, score, **figures):
    """The tree with a node's score, finite and higher is better, and other figures worth keeping."""
    if not isfinite(score):
        raise GrowthError(f"node {index} has the score {score}: record it with with_failure")
    return _changed(tree, {index: {"score": float(score), "figures": figures}})


def with_failure(tree, index, failure):
    """The tree with the reason why a node has no score: it loses against every node that has one."""
    return _changed(tree, {index: {"failure": failure}})


def pruned(tree, step, k):
    """The tree after greedy pruning of a growing step: of all parents' children the k best are kept, distinct in architecture.

    Raises GrowthError while a child is neither scored nor failed, and if all failed.
    """
    children = {index: node for index, node in enumerate(tree) if node.step == step}
    unfinished = [index for index, node in children.items() if node.score is None and not node.failure]
    if unfinished:
        raise GrowthError(f"growing step {step} cannot be pruned: nodes {unfinished} have no score yet")
    scored = [Candidate(node.architecture, node.score, index) for index, node in children.items() if node.score is not None]
    if not scored:
        reasons = "; ".join(sorted({node.failure for node in children.values()})) or "there is none"
        raise GrowthError(f"every child of growing step {step} failed: {reasons}")
    kept = {candidate.state for candidate in top_k(scored, k)}
    return _changed(tree, {index: {"kept": index in kept} for index in children})


def kept_nodes(tree, step):
    """Indices of the nodes that a growing step kept, best first: the next step's parents."""
    kept = [index for index, node in enumerate(tree) if node.step == step and node.kept]
    return sorted(kept, key=lambda index: -(tree[index].score or 0.0))


def best_architectures(tree, final_resolution, k):
    """The k best nodes of the final resolution of all growing steps, as Candidates whose state is the node's index.

    Of every step those that pruning kept, which are the ones whose weights there are.
    """
    candidates = [
        Candidate(node.architecture, node.score, index)
        for index, node in enumerate(tree)
        if node.kept and node.score is not None and GrowingArchitecture.parse(node.architecture).resolution == final_resolution
    ]
    return top_k(candidates, k)


def path(tree, index):
    """Indices from the root to a node."""
    parent = tree[index].parent
    return (index,) if parent is None else path(tree, parent) + (index,)


def actions_to(tree, index):
    """The actions from the root to a node."""
    return tuple(tree[each].action for each in path(tree, index)[1:])


def best_of_resolutions(tree, images_per_node):
    """{resolution: what there is to tell of the node with the best score there}, from the lowest resolution up; kept or not."""
    best = {}
    for index, node in enumerate(tree):
        resolution = GrowingArchitecture.parse(node.architecture).resolution
        if node.score is not None and (resolution not in best or node.score > tree[best[resolution]].score):
            best[resolution] = index
    return {
        resolution: {
            "node": index, "actions": list(actions_to(tree, index)), "architecture": tree[index].architecture,
            "training_images": images_per_node * len(path(tree, index)), **tree[index].figures,
        }
        for resolution, index in sorted(best.items())
    }  # fmt: skip


def node_line(tree, index):
    """One line about a trained node."""
    node = tree[index]
    origin = "the root" if node.parent is None else f"{node.action} on node {node.parent}"
    names = {"fid": "FID", "is_mean": "IS", "swd": "SWD"}
    figures = ", ".join(f"{name} {node.figures[key]:.2f}" for key, name in names.items() if key in node.figures)
    return f"node {index}, {origin}: {figures or f'failed, {node.failure}'}"


def boxes(tree, final_resolution):
    """The tree as a picture takes it: per node its step, parent, two lines of text and fate, the path to the best network marked."""
    best = best_architectures(tree, final_resolution, 1)
    marked = path(tree, best[0].state) if best else ()

    def box(index, node):
        fate = "best" if index in marked else "failed" if node.failure else "pruned" if node.kept is False else "kept"
        resolution = GrowingArchitecture.parse(node.architecture).resolution
        fid = f"FID {node.figures['fid']:.2f}" if "fid" in node.figures else node.failure[:20]
        return {"step": node.step, "parent": node.parent, "fate": fate, "lines": (f"{index}: {node.action or 'root'}", f"{resolution} px  {fid}")}

    return [box(index, node) for index, node in enumerate(tree)]


def tree_to_json(tree):
    """The tree as JSON text."""
    return json.dumps([asdict(node) for node in tree], indent=1, allow_nan=False)


def tree_from_json(text):
    """The tree of such a text."""
    return tuple(GrowthNode(**node) for node in json.loads(text))


def _changed(tree, changes):
    return tuple(replace(node, **changes[index]) if index in changes else node for index, node in enumerate(tree))
