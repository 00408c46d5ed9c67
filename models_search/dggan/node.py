"""A node of the growth tree as a task: what to train, and its files."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from models_search.dggan.actions import GrowResolution
from models_search.dggan.tree import path_actions
from utils.run.checkpoint import load_checkpoint
from utils.run.schema import Each, refuse_other_parts

LOSSES = Each(Each((None, int, float), length=3))  # step and both networks' losses
RESULT = {"figures": {str: float}, "failure": str, "losses": LOSSES, "rollbacks": Each(str)}

LEFT_OUT = "--budget_hours was spent before it began"  # the failure of a node that was not trained


@dataclass(frozen=True)
class Node:
    """A node of the growth tree to be trained: its place in the tree and its files."""

    tree: tuple
    index: int
    folder: Path  # of the run
    begin_until: float = math.inf  # left out if its training would begin later, by time.time()
    size = 1  # as much work as other nodes

    @property
    def name(self):
        """What the log calls it."""
        return self.file.stem

    def failed(self, reason):
        """The result of a node that cannot be trained."""
        return {"figures": {}, "failure": reason, "losses": [], "rollbacks": []}

    @property
    def entry(self):
        """The node as the tree lists it: a GrowthNode."""
        return self.tree[self.index]

    @property
    def architecture(self):
        return self.entry.architecture

    @property
    def parent_architecture(self):
        """The architecture that it grew from; None for the root."""
        return None if self.entry.parent is None else self.tree[self.entry.parent].architecture

    @property
    def doubled(self):
        """Whether its resolution grew. If so, the real images fade too."""
        return self.entry.action == str(GrowResolution())

    @property
    def path(self):
        """The root's architecture and the actions since; all random numbers of the node depend on it."""
        return (self.tree[0].architecture, *path_actions(self.tree, self.index))

    @property
    def file(self):
        """The file of its weights and scores, which is there once it is trained and scored."""
        return node_file(self.folder, self.index)

    @property
    def partial_file(self):
        """The file of its checkpoint while it trains."""
        return self.file.with_name(f"{self.file.stem}_partial.pth")

    @property
    def picture(self):
        """The file of its sample grid."""
        return node_picture(self.folder, self.index)

    @property
    def hint(self):
        """What to type to go on after a stop."""
        return f"go on with --load_path {self.folder}"


def load_node(node):
    """The content of the file of a Node that has been trained. Raises UserError where it is of another."""
    saved = load_checkpoint(node.file)
    weights = {name: {str: torch.Tensor} for name in ("generator", "discriminator", "average")}
    wanted = {
        "architecture": node.architecture, "path": Each(str), "gan": (None, weights), "result": RESULT,
    }  # fmt: skip
    refuse_other_parts(saved, wanted, f"--load_path: {node.file}")
    return saved


def node_file(folder, index):
    """The file of a node's weights, in a run's folder."""
    return folder / "Model" / f"node_{index:03d}.pth"


def node_picture(folder, index):
    """The file of a node's samples, in a run's folder."""
    return folder / "Samples" / f"node_{index:03d}.png"
