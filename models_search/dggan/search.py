"""DGGAN's search: both networks and the resolution grow while they train, and the K best stay.

ProgGAN is the case of one action in each growing step.
"""

import time
from dataclasses import dataclass
from functools import partial

import torch

from models.errors import ArchitectureError
from models_search.dggan.actions import GrowResolution, GrowthError, doublings
from models_search.dggan.node import LEFT_OUT, Node, node_file, node_picture
from models_search.dggan.pair import images_at, load_net, train_node
from models_search.dggan.picture import save_growth_picture, tree_boxes
from models_search.dggan.tree import (
    best_nodes,
    best_of_resolutions,
    check_tree,
    kept_nodes,
    node_line,
    path_actions,
    planted,
    pruned,
    tree_from_json,
    tree_to_json,
    with_children,
    with_failure,
    with_score,
)  # fmt: skip
from models_search.scored import keep_score, log_cost
from utils.cli import UserError
from utils.data.load import load_images
from utils.metrics.scores import figure_name
from utils.run.files import write_atomically
from utils.run.save_point import SavePoint
from utils.run.schema import Least, refuse_other_parts
from utils.run.workers import find_workers, first_device, workers
from utils.training.loop import Diverged

# {--reward: the figure of a node that it reads}. Distances are negated, because a higher reward is better.
REWARD_FIGURES = {"fid": "fid", "is": "is_mean", "swd": "swd"}


def search(tree, plan, trainer):
    """Search by growth: try actions on the kept networks, train their children, keep the best.

    The root is trained first. Out of time only doublings follow, on the best network, until one of the final
    resolution has been kept. trainer: a NodeTrainer, or anything with its `train`, `save` and
    `is_out_of_time`. Returns the growth tree.
    """
    if tree[0].score is None:
        tree = trainer.train(tree, 0)
        trainer.save(tree)
    for step in range(tree[-1].step + 1, plan.growing_steps + 1):
        if trainer.is_out_of_time():
            tree = with_missing_doubling(tree, plan, step)
        else:
            for parent in kept_nodes(tree, step - 1):
                tree = with_children(tree, parent, plan.actions_for(tree, parent, step))
        if tree[-1].step < step:  # no parent has an action left to try, or time is up
            break
        tree = pruned(trainer.train(tree, step), step, plan.kept)
        trainer.save(tree)
    return tree


def with_missing_doubling(tree, plan, step):
    """The tree with the best kept network doubled; as it is if one of the final resolution has been kept."""
    if best_nodes(tree, plan.data.img_size, 1):
        return tree
    parents = kept_nodes(tree, step - 1)
    highest = max(tree[index].resolution for index in parents)
    parent = next(index for index in parents if tree[index].resolution == highest)
    return with_children(tree, parent, [GrowResolution()])


@dataclass
class NodeTrainer:
    """Trains the nodes of a growing step with the available workers, and saves the tree."""

    plan: object
    run: object
    workers: object  # see utils.run.workers.workers
    names: dict  # {figure of a node: its label}

    def train(self, tree, step):
        """Train the nodes of a growing step. Returns the tree with their scores or failures.

        Raises Diverged if all of them fail.
        """
        indices = [index for index, node in enumerate(tree) if node.step == step]
        work = partial(train_node, plan=self.plan)
        results = self.workers.in_order(work, self._nodes(tree, indices))
        for index, result in zip(indices, results):
            for steps, d_loss, g_loss in result["losses"]:
                self.run.record(steps, {"d_loss": d_loss, "g_loss": g_loss}, f"node_{index:03d}", step)
            for message in result["rollbacks"]:
                self.run.log(f"node {index}: {message}")
            if result["failure"]:
                tree = with_failure(tree, index, result["failure"])
            else:
                tree = with_score(tree, index, self._reward(result["figures"]), **result["figures"])
                self._keep_score(tree[index])
            self.run.log(node_line(tree, index, self.names))
        if not any(tree[index].score is not None for index in indices):
            failure = tree[indices[0]].failure
            raise Diverged(f"no network of growing step {step} could be trained: {failure}")
        return tree

    def is_out_of_time(self):
        """Whether --budget_hours is spent."""
        return self.run.seconds() > self.plan.search.budget_seconds

    def _nodes(self, tree, indices):
        """The tasks of a growing step. All but the first are left out if they would begin out of time."""
        end = time.time() + self.plan.search.budget_seconds - self.run.seconds()
        first, *others = indices
        folder = self.run.folder
        return [Node(tree, first, folder), *(Node(tree, index, folder, begin_until=end) for index in others)]

    def _keep_score(self, node):
        """Its line of scored.jsonl."""
        level, figures = doublings(self.plan.growth.start_resolution, node.resolution) + 1, node.figures
        keep_score(
            self.run, self.plan, node.architecture, level=level, iteration=node.step, purpose="node",
            images=self.plan.search.rl_num_eval_img, is_mean=figures.get("is_mean"), fid=figures.get("fid"),
            swd=figures.get("swd"),
        )  # fmt: skip

    def _reward(self, figures):
        reward = self.plan.search.reward
        value = figures[REWARD_FIGURES[reward]]
        return value if reward == "is" else -value

    def save(self, tree):
        """Save the tree as a checkpoint to go on from, and write its files."""
        step = tree[-1].step
        self.run.save({"tree": tree_to_json(tree)}, step)
        self.write_files(tree)
        if tree[0].score is not None:
            kept = ", ".join(f"node {index}" for index in kept_nodes(tree, step))
            self.run.log(f"growing step {step}: kept {kept}")

    def write_files(self, tree):
        """Write the tree as JSON and as a picture, and that of its best network.

        Removes the weights of networks that pruning has dropped.
        """
        run, step = self.run, tree[-1].step
        write_atomically(
            run.folder / "growth_tree.json", lambda file: file.write(tree_to_json(tree).encode())
        )
        boxes = tree_boxes(tree, self.plan.data.img_size, self.names["fid"])
        save_growth_picture(boxes, run.folder / "growth_tree.png")
        for index, node in enumerate(tree):
            if node.kept is False:
                node_file(run.folder, index).unlink(missing_ok=True)
        picture = run.samples / f"best_of_step_{step:02d}.png"
        if tree[0].score is not None and not picture.exists():
            best = node_picture(run.folder, kept_nodes(tree, step)[0]).read_bytes()
            write_atomically(picture, lambda file: file.write(best))


# How search.py runs it.


@dataclass
class Materials:
    """What a search needs to work with: whatever may be missing or unreadable."""

    device: torch.device
    names: dict  # {figure of a node: its label}; the sliced Wasserstein distance needs no network


def load_materials(plan):
    """Find the workers, and load the feature network and the images once.

    Raises UserError now rather than in a worker process later.
    """
    find_workers(plan.independent, plan.run.device)
    device = first_device(plan.run.device)
    net = load_net(plan.scoring, plan.run.compile, device).name
    load_images(plan.data.dataset, plan.data.data_path, image_size=plan.data.img_size, fewest=2)
    return Materials(
        device, {"fid": figure_name("FID", net), "is_mean": figure_name("IS", net), "swd": "SWD"}
    )


def new_state(plan, saved):
    """The growth tree to start from: that of the checkpoint `saved`, or the root alone.

    Raises UserError for a tree that is not of this plan.
    """
    if saved is None:
        return planted(plan.root)
    source = f"--load_path: {plan.run.load_path}"
    refuse_other_parts(saved, Least(tree=str), source)
    try:
        tree = tree_from_json(saved["tree"])
        check_tree(tree, plan.root, plan.growing_steps, REWARD_FIGURES[plan.search.reward])
    except (GrowthError, ArchitectureError) as error:
        raise UserError(f"{source} holds no growth tree to go on from: {error}; use another run") from None
    return tree


def read_images(tree, plan, materials):
    """Read the images of the root, if it has not been trained. Raises UserError."""
    if tree[0].score is None:
        images_at(plan.data, plan.root.resolution, materials.device)


def run_search(tree, plan, materials, run, stop):
    """Search to the end. Returns (ranked architectures, results).

    Both are plain data, the first for derived.json, the second for results.json.
    """
    save_point = SavePoint(None, stop, stop.hint)  # every node and every growing step is saved where it ends
    with workers(plan.independent, plan.run.device, run.folder, save_point, run.log) as pool:
        trainer = NodeTrainer(plan, run, pool, materials.names)
        if tree[0].score is None:
            trainer.save(tree)
        else:  # a run that was killed while it saved may lack some
            trainer.write_files(tree)
        tree = search(tree, plan, trainer)
    beam = best_nodes(tree, plan.data.img_size, plan.kept)
    resolutions = best_of_resolutions(tree, plan.images_per_node)
    figure = REWARD_FIGURES[plan.search.reward]
    for resolution, entry in resolutions.items():
        path, score = (
            ", ".join(entry["actions"]) or "the root",
            f"{materials.names[figure]} {entry[figure]:.2f}",
        )
        run.log(f"best at {resolution} px: {score}, node {entry['node']}, {path}")
    samples = node_picture(run.folder, beam[0].index)
    run.log(f"growth tree {run.folder / 'growth_tree.png'}, samples {samples}")
    ranked = [
        {
            "architecture": best.architecture,
            "reward": best.score,
            "actions": list(path_actions(tree, best.index)),
            "weights": str(node_file(run.folder, best.index).relative_to(run.folder)),
        }
        for best in beam
    ]
    results = {
        "method": plan.search.method,
        "feature_net": plan.scoring.feature_net,
        "reward": plan.search.reward,
        "resolutions": resolutions,
        "networks": len(tree),
        "failed": sum(bool(node.failure) and node.failure != LEFT_OUT for node in tree),
        "left_out": sum(node.failure == LEFT_OUT for node in tree),
        **log_cost(run),
    }
    return ranked, results
