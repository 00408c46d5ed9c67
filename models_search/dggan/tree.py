"""The growth tree: the pairs of networks that a search has grown, their scores, and which were kept.

Everything here is frozen data and pure functions; training and scoring are elsewhere.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import NamedTuple

from models.growing.architecture import GrowingArchitecture
from models_search.candidates import top_k
from models_search.dggan.actions import GrowthError, apply, parse_action


@dataclass(frozen=True)
class GrowthNode:
    """One pair of networks in the growth tree: the root (step 0) or a child.

    It holds only text and numbers, so that it can be written as JSON.
    """

    step: int  # growing step that made it, 0 for the root
    architecture: str
    parent: int | None = None  # index of the parent's node
    action: str | None = None
    score: float | None = None  # higher is better; None until it is scored, and where training failed
    kept: bool | None = None  # None until its step is pruned
    failure: str = ""  # why there is no score
    figures: dict = field(default_factory=dict)  # other scores: FID, IS, SWD

    @property
    def resolution(self):
        """Size of the node's images in pixels."""
        return GrowingArchitecture.parse(self.architecture).resolution


class RankedNode(NamedTuple):
    """A node as `top_k` compares it; `index` is its place in the tree."""

    architecture: str
    score: float
    index: int


def planted(architecture):
    """A growth tree, which is a tuple of GrowthNodes, with only its root."""
    return (GrowthNode(step=0, architecture=str(architecture), kept=True),)


def with_children(tree, parent, actions):
    """The tree with a child of node `parent` for each action.

    The children are appended in the order of the actions.
    """
    node = tree[parent]
    architecture = GrowingArchitecture.parse(node.architecture)
    return tree + tuple(
        GrowthNode(node.step + 1, str(apply(action, architecture)), parent, str(action)) for action in actions
    )


def with_score(tree, index, score, **figures):
    """The tree with a node's score (higher is better) and its other figures.

    Raises GrowthError if the score is not finite.
    """
    if not isfinite(score):
        raise GrowthError(f"node {index} has the score {score}: record it with with_failure")
    return _changed(tree, {index: {"score": float(score), "figures": figures}})


def with_failure(tree, index, failure):
    """The tree with the reason why a node has no score. Pruning always drops such a node."""
    return _changed(tree, {index: {"failure": failure}})


def pruned(tree, step, k):
    """The tree after greedy pruning of a growing step: the k best children of all parents are kept.

    The kept ones have distinct architectures. Raises GrowthError while a child is neither scored nor failed,
    and if all of them failed.
    """
    children = {index: node for index, node in enumerate(tree) if node.step == step}
    unfinished = [index for index, node in children.items() if node.score is None and not node.failure]
    if unfinished:
        raise GrowthError(f"growing step {step} cannot be pruned: nodes {unfinished} have no score yet")
    scored = [
        RankedNode(node.architecture, node.score, index)
        for index, node in children.items()
        if node.score is not None
    ]
    if not scored:
        reasons = "; ".join(sorted({node.failure for node in children.values()})) or "there is none"
        raise GrowthError(f"every child of growing step {step} failed: {reasons}")
    kept = {best.index for best in top_k(scored, k)}
    return _changed(tree, {index: {"kept": index in kept} for index in children})


def kept_nodes(tree, step):
    """Indices of the nodes that a growing step kept, best first: the next step's parents."""
    kept = [index for index, node in enumerate(tree) if node.step == step and node.kept]
    return sorted(kept, key=lambda index: -(tree[index].score or 0.0))


def best_nodes(tree, final_resolution, k):
    """The k best nodes at the final resolution, best first, as RankedNodes.

    They may come from any growing step, but only from nodes that pruning kept, whose weights still exist.
    """
    ranked = [
        RankedNode(node.architecture, node.score, index)
        for index, node in enumerate(tree)
        if node.kept and node.score is not None and node.resolution == final_resolution
    ]
    return top_k(ranked, k)


def path(tree, index):
    """Indices from the root to a node."""
    parent = tree[index].parent
    return (index,) if parent is None else path(tree, parent) + (index,)


def path_actions(tree, index):
    """The actions from the root to a node."""
    return tuple(tree[each].action for each in path(tree, index)[1:])


def best_of_resolutions(tree, images_per_node):
    """{resolution: summary of the node with the best score there}, from the lowest resolution up.

    Nodes that pruning dropped count too. A summary is a dict: node, actions, architecture, training_images
    and the node's figures.
    """
    best = {}
    for index, node in enumerate(tree):
        resolution = node.resolution
        if node.score is not None and (resolution not in best or node.score > tree[best[resolution]].score):
            best[resolution] = index
    return {
        resolution: {
            "node": index,
            "actions": list(path_actions(tree, index)),
            "architecture": tree[index].architecture,
            "training_images": images_per_node * len(path(tree, index)),
            **tree[index].figures,
        }
        for resolution, index in sorted(best.items())
    }


def node_line(tree, index, names):
    """A log line about a trained node. names: {figure to print: its label}."""
    node = tree[index]
    origin = "the root" if node.parent is None else f"{node.action} on node {node.parent}"
    figures = ", ".join(
        f"{name} {node.figures[key]:.2f}" for key, name in names.items() if key in node.figures
    )
    return f"node {index}, {origin}: {figures or f'failed, {node.failure}'}"


def tree_to_json(tree):
    """The tree as JSON text."""
    return json.dumps([asdict(node) for node in tree], indent=1, allow_nan=False)


def tree_from_json(text):
    """The tree of such a text. Raises GrowthError for any other text."""
    try:
        return tuple(GrowthNode(**node) for node in json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise GrowthError(f"it is no list of nodes ({error})") from None


def check_tree(tree, root, growing_steps, figure):
    """Raise GrowthError or ArchitectureError unless a search saves such trees: grown from `root`, pruned.

    figure: the name of the reward's figure, which every scored node has.
    """
    if not tree or tree[0].architecture != str(root):
        raise GrowthError(f"it does not begin with {root}")
    for index, node in enumerate(tree):
        if not (_has_grown(tree, index) if index else (node.step, node.parent, node.kept) == (0, None, True)):
            raise GrowthError(f"node {index} does not follow from its parent")
        is_scored = node.score is not None
        scores = (
            [node.score, node.figures.get(figure)] if is_scored and isinstance(node.figures, dict) else [None]
        )
        if is_scored != all(isinstance(each, float) and isfinite(each) for each in scores):
            raise GrowthError(f"node {index} has no sound score")
        if not isinstance(node.failure, str) or (len(tree) > 1 and node.kept and not is_scored):
            raise GrowthError(f"node {index} is kept without a score")
    if {node.step for node in tree if node.kept} != set(range(tree[-1].step + 1)) or tree[
        -1
    ].step > growing_steps:
        raise GrowthError(f"its growing steps are not those of a search of {growing_steps}")


def _has_grown(tree, index):
    """Whether a node other than the root, and what is said of it, follows from a node before it."""
    node = tree[index]
    if type(node.parent) is not int or not 0 <= node.parent < index or not isinstance(node.kept, bool):
        return False
    parent, action = tree[node.parent], parse_action(str(node.action))
    grown = str(apply(action, GrowingArchitecture.parse(parent.architecture)))
    return grown == node.architecture and node.step == parent.step + 1 >= tree[index - 1].step


def _changed(tree, changes):
    return tuple(
        replace(node, **changes[index]) if index in changes else node for index, node in enumerate(tree)
    )
