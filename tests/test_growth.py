"""DGGAN's actions, drawing, pruning and growth tree."""

import dataclasses
import math

import pytest
import torch

from models.errors import ArchitectureError
from models.growing.architecture import Conv, GrowingArchitecture, proggan_architecture
from models.growing.networks import parameter_counts
from models_search.dggan.actions import (
    ACTIONS,
    GrowDiscriminator,
    GrowGenerator,
    GrowResolution,
    GrowthError,
    apply,
    apply_all,
    draw_actions,
    every_action,
    legal_actions,
    parse_action,
    progressive_actions,
)
from models_search.dggan.plan import check_choice, check_list
from models_search.dggan.tree import (
    kept_nodes,
    path,
    planted,
    pruned,
    tree_from_json,
    tree_to_json,
    with_children,
    with_failure,
    with_score,
)

BASE = proggan_architecture(8, width=16)


def test_there_are_25_actions_12_for_each_network_and_one_doubling():
    assert len(set(ACTIONS)) == len(ACTIONS) == 25
    for grow in (GrowGenerator, GrowDiscriminator):
        convs = {(a.conv.kernel, a.conv.filters) for a in ACTIONS if isinstance(a, grow)}
        assert convs == {(kernel, filters) for kernel in (3, 7) for filters in (32, 64, 128, 256, 512, 1024)}
    assert ACTIONS.count(GrowResolution()) == 1
    assert len(every_action(kernels=(3,), filters=(8, 16))) == 5


@pytest.mark.parametrize(
    "action", [*ACTIONS, GrowGenerator(Conv(3, 8), 1), GrowDiscriminator(Conv(5, 8), 2)], ids=str
)
def test_the_text_form_of_an_action_is_read_back(action):
    assert parse_action(str(action)) == action


@pytest.mark.parametrize("text", ["", "grow", "G", "E 3x8", "G 2x8", "D 3x0", "G 3x8 after", "double 2"])
def test_wrong_action_text_is_refused(text):
    with pytest.raises((GrowthError, ArchitectureError)):
        parse_action(text)


def test_actions_grow_the_highest_resolution_nearest_the_image():
    generator = apply(GrowGenerator(Conv(7, 5)), BASE)
    assert str(generator) == "4: G 3x16 D 3x16 | 8: G 3x16 3x16 7x5 D 3x16 3x16"
    discriminator = apply(GrowDiscriminator(Conv(7, 5)), BASE)
    assert str(discriminator) == "4: G 3x16 D 3x16 | 8: G 3x16 3x16 D 3x16 3x16 7x5"
    assert str(BASE) == "4: G 3x16 D 3x16 | 8: G 3x16 3x16 D 3x16 3x16"


@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.parametrize("grow", [GrowGenerator, GrowDiscriminator])
def test_a_place_that_does_not_exist_is_refused(grow, place):
    with pytest.raises(GrowthError, match="places 1 to 2"):
        apply(grow(Conv(3, 8), place), BASE)


def test_doubling_takes_its_width_from_the_first_block_whatever_was_grown_since():
    grown = apply_all([GrowDiscriminator(Conv(3, 99)), GrowGenerator(Conv(3, 77)), GrowResolution()], BASE)
    assert grown.resolution == 16
    assert grown.generator[-1] == (Conv(3, 16), Conv(3, 16)) and grown.discriminator[-1] == (
        Conv(3, 16),
        Conv(3, 16),
    )


@pytest.mark.parametrize("final", [8, 16, 32, 128, 256])
def test_the_fixed_list_is_proggan(final):
    """Written out from ProgGAN's rule: two 3x3 convolutions of min(8192 / 2^stage, 512) maps."""
    maps = {
        resolution: min(8192 // 2**stage, 512)
        for stage, resolution in enumerate((2, 4, 8, 16, 32, 64, 128, 256))
    }
    parts = ["4: G 3x512 D 3x512"]
    for resolution in (8, 16, 32, 64, 128, 256):
        if resolution <= final:
            own = maps[resolution]
            parts.append(f"{resolution}: G 3x{own} 3x{own} D 3x{own} 3x{own}")
    assert str(apply_all(progressive_actions(8, final), proggan_architecture(8))) == " | ".join(parts)
    check_list(progressive_actions(8, final), proggan_architecture(8), final)


def test_doubling_beyond_the_final_resolution_is_not_legal():
    assert legal_actions(ACTIONS, BASE, 16) == ACTIONS
    assert legal_actions(ACTIONS, BASE, 8) == tuple(
        action for action in ACTIONS if action != GrowResolution()
    )
    assert legal_actions((GrowResolution(),), BASE, 8) == ()


def test_actions_over_the_cap_on_parameters_are_not_legal():
    cap = sum(parameter_counts(apply(GrowGenerator(Conv(3, 64)), BASE), 8))
    legal = legal_actions(every_action(filters=(32, 64, 128)), BASE, 8, maximum_parameters=cap, latent_dim=8)
    assert GrowGenerator(Conv(3, 64)) in legal
    assert GrowGenerator(Conv(3, 128)) not in legal and GrowGenerator(Conv(7, 64)) not in legal


def test_drawn_actions_come_with_their_probability_and_the_second_draw():
    actions, probability, draws = every_action(filters=(8,)), 0.2, 20_000
    generator = torch.Generator().manual_seed(1)
    counts = dict.fromkeys(actions, 0)
    for _ in range(draws):
        for action in draw_actions(actions, probability, generator):
            counts[action] += 1
    expected = probability + (1 - probability) ** len(actions) / len(actions)
    deviation = math.sqrt(expected * (1 - expected) / draws)
    for action, count in counts.items():
        assert abs(count / draws - expected) < 4.5 * deviation, action


def test_drawn_actions_are_ordered_distinct_and_never_none():
    generator = torch.Generator().manual_seed(0)
    for probability in (1e-6, 0.1, 0.5):
        for _ in range(200):
            drawn = draw_actions(ACTIONS, probability, generator)
            assert drawn and list(drawn) == [action for action in ACTIONS if action in drawn]
    assert draw_actions(ACTIONS, 1.0, generator) == ACTIONS
    assert draw_actions((), 0.5, generator) == ()


def test_the_same_seed_draws_the_same_actions():
    first, second, other = (
        draw_actions(ACTIONS, 0.4, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert first == second != other


@pytest.mark.parametrize(
    "actions, final, message",
    [
        ((), 32, "one action or more"),
        (ACTIONS[:-1], 32, "never reach 32 pixels"),
        (ACTIONS + ACTIONS[:1], 32, "twice"),
        (ACTIONS, 48, "never leads"),
        (ACTIONS, 4, "upwards"),
        ((*ACTIONS, GrowGenerator(Conv(3, 8), 3)), 32, "places 1 to 2"),
    ],
)
def test_actions_with_which_no_search_can_run_are_refused(actions, final, message):
    check_choice(ACTIONS, BASE, 32)
    with pytest.raises(GrowthError, match=message):
        check_choice(actions, BASE, final)


def test_a_search_that_starts_at_the_final_resolution_needs_no_doubling():
    check_choice(ACTIONS[:-1], BASE, 8)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_fixed_list_that_does_not_end_at_the_final_resolution_is_refused(count):
    with pytest.raises(GrowthError, match="takes 2"):
        check_list((GrowResolution(),) * count + (GrowGenerator(Conv(3, 8)),), BASE, 32)


def a_tree():
    """Two steps; the first keeps 2 of 3 children."""
    tree = with_children(
        planted(BASE), 0, [GrowGenerator(Conv(3, 4)), GrowDiscriminator(Conv(3, 4)), GrowResolution()]
    )
    for index, score in ((1, -30.0), (2, -20.0), (3, -25.0)):
        tree = with_score(tree, index, score, fid=-score)
    tree = pruned(tree, step=1, k=2)
    for parent in kept_nodes(tree, 1):
        tree = with_children(tree, parent, [GrowGenerator(Conv(3, 4))])
    return tree


def test_pruning_keeps_the_k_best_children_of_all_parents():
    tree = a_tree()
    assert [node.kept for node in tree] == [True, False, True, True, None, None]
    assert kept_nodes(tree, 1) == [2, 3]
    tree = pruned(with_score(with_score(tree, 4, -19), 5, -18), step=2, k=1)
    assert kept_nodes(tree, 2) == [5] and path(tree, 5) == (0, 3, 5)
    assert [tree[index].action for index in path(tree, 5)] == [None, "double", "G 3x4"]


def test_of_children_with_the_same_architecture_the_better_one_is_kept():
    tree = with_children(planted(BASE), 0, [GrowGenerator(Conv(3, 4)), GrowDiscriminator(Conv(3, 4))])
    tree = pruned(with_score(with_score(tree, 1, -1), 2, -2), 1, 2)
    tree = with_children(tree, 1, [GrowDiscriminator(Conv(3, 4)), GrowDiscriminator(Conv(3, 8))])
    tree = with_children(tree, 2, [GrowGenerator(Conv(3, 4))])
    assert tree[3].architecture == tree[5].architecture
    for index, score in ((3, -9), (4, -10), (5, -8)):
        tree = with_score(tree, index, score)
    assert kept_nodes(pruned(tree, 2, k=2), 2) == [5, 4]


def test_a_failed_child_loses_and_unfinished_steps_are_not_pruned():
    tree = with_children(planted(BASE), 0, [GrowGenerator(Conv(3, 4)), GrowResolution()])
    with pytest.raises(GrowthError, match=r"\[1, 2\]"):
        pruned(tree, 1, 5)
    tree = with_failure(tree, 1, "discriminator loss is not finite at step 7")
    with pytest.raises(GrowthError, match=r"\[2\]"):
        pruned(tree, 1, 5)
    assert kept_nodes(pruned(with_score(tree, 2, -400), 1, 5), 1) == [2]
    with pytest.raises(GrowthError, match="every child .* at step 7"):
        pruned(with_failure(tree, 2, "too"), 1, 5)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_is_no_score(score):
    with pytest.raises(GrowthError, match="with_failure"):
        with_score(a_tree(), 4, score)


def test_a_tree_is_json_and_back():
    tree = with_failure(a_tree(), 4, "out of memory")
    assert tree_from_json(tree_to_json(tree)) == tree
    assert all(GrowingArchitecture.parse(node.architecture).resolution in (8, 16) for node in tree)


def test_a_tree_changes_by_making_another():
    tree = a_tree()
    before = tree_to_json(tree)
    with_failure(with_children(with_score(tree, 4, 1), 4, [GrowResolution()]), 5, "x")
    assert tree_to_json(tree) == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        tree[0].score = 1.0
