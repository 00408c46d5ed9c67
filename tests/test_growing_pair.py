"""One pair of networks in DGGAN's tree: what it inherits, and on which images it is trained."""

from dataclasses import replace

import pytest
import torch
from running import short_run, use_tiny_net

import cfg
import models_search.dggan.pair
from models_search.dggan.node import Node, load_node
from models_search.dggan.pair import _grown_gan, train_node
from models_search.dggan.plan import make_plan
from models_search.dggan.tree import tree_from_json
from models.growing.growth import fade_images
from utils.randomness import derived_seed
from utils.run.save_point import StopSignal
from utils.training.inputs import StepInputs

CPU = torch.device("cpu")


@pytest.fixture
def growth(short_runs, monkeypatch):
    """(plan, a Node of each kind) of a finished search."""
    use_tiny_net(monkeypatch)
    run = short_runs / "logs" / "dggan"
    tree = tree_from_json((run / "growth_tree.json").read_text())
    _, *arguments = short_run("dggan", short_runs / "pictures").split()
    nodes = {}
    for index, entry in enumerate(tree):
        if entry.parent is None or Node(tree, entry.parent, run).file.is_file():
            kind = entry.action if entry.action in (None, "double") else "convolution"
            nodes[kind] = Node(tree, index, run)
    return make_plan(cfg.parse("search", arguments)), nodes


def test_each_network_and_the_average_inherit_from_their_own_parent(growth):
    plan, nodes = growth
    node = nodes["double"]
    gan = _grown_gan(node, plan, CPU)
    parent = load_node(Node(node.tree, node.entry.parent, node.folder))["gan"]
    for name, network in gan.networks().items():
        mine = network.state_dict()
        shared = [
            each
            for each in parent[name]
            if "rgb" not in each and mine[each].shape == parent[name][each].shape
        ]
        assert len(shared) >= 4 and all(torch.equal(mine[each], parent[name][each]) for each in shared)
    weights = [name for name in parent["average"] if "weight" in name]
    assert not any(torch.equal(parent["average"][name], parent["generator"][name]) for name in weights)


@pytest.mark.parametrize(
    "reward, scores", [("is", {"fid", "is_mean", "is_std"}), ("swd", {"fid", "is_mean", "is_std", "swd"})]
)
def test_a_pair_is_scored_by_is_and_fid_and_by_swd_if_that_is_the_reward(growth, tmp_path, reward, scores):
    plan, nodes = growth
    plan = replace(plan, search=replace(plan.search, reward=reward))
    node = replace(nodes[None], folder=tmp_path)
    for name in ("Model", "Samples"):
        (tmp_path / name).mkdir()
    result = train_node(node, CPU, StopSignal("go on"), plan=plan)
    assert result["figures"].keys() == scores and result["failure"] == ""
    assert load_node(node)["result"] == result and node.picture.is_file() and not node.partial_file.exists()


class Seen(Exception):
    """The batches that a training would begin with."""


@pytest.mark.parametrize("kind", [None, "convolution", "double"])
def test_real_images_fade_in_with_a_new_resolution_and_not_with_a_convolution(growth, monkeypatch, kind):
    plan, nodes = growth
    node = nodes[kind]
    plan = replace(plan, growth=replace(plan.growth, growth_iterations=8))

    def seen(gan, inputs, *arguments, **options):
        raise Seen(list(inputs.batches(0, 5)))

    monkeypatch.setattr(models_search.dggan.pair, "train", seen)
    node = Node(node.tree, node.index, node.folder / "elsewhere")  # where its file is not
    monkeypatch.setattr(models_search.dggan.pair, "_parent_networks", lambda node, plan: None)
    with pytest.raises(Seen) as found:
        train_node(node, CPU, StopSignal("go on"), plan=plan)
    images = models_search.dggan.pair.images_at(plan.data, node.entry.resolution, CPU)
    seed = derived_seed(plan.run.random_seed, "growth", *node.path)
    for step, batch in enumerate(
        StepInputs(images, seed, plan.training, plan.network.latent_dim).batches(0, 5)
    ):
        fade = step / 4 if kind == "double" else 1
        expected = fade_images(batch.real, fade)
        assert torch.equal(found.value.args[0][step].real, expected)
        assert torch.equal(expected, batch.real) == (fade == 1)
