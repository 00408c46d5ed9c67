"""Caps and choices: --max_params, --max_macs, --only. Small spaces are enumerated."""

import itertools
import json

import pytest
import torch
from running import only_run, scored_lines, short_run, stop_at, use_tiny_net, write_pictures

import cfg
from option_groups.shared import CellOptions
from models.autogan.architecture import Architecture
from models.autogan.networks import Generator
from models_search.autogan.controller import (
    BeamEntry, Controller, UniformController, first_beam, sample_architectures
)  # fmt: skip
from models_search.autogan.next_tokens import NextTokens
from models_search.restricted_space import RestrictedSpace
from models_search.restrictions import _no_room, restricted_space
from models_search.search_space import every_architecture, every_cell, number_of_architectures
from models_search.sizes import generator_sizes, sizes_of_cells
from utils.run.checkpoint import load_checkpoint, save_checkpoint
from utils.run.folder import Run
from utils.run.resume import find_interrupted

WIDTHS = "--gf_dim 4 --latent_dim 8"


def space_of(levels, words):
    """The space that these options leave."""
    options = cfg.parse("search", f"{WIDTHS} {words}".split())
    return restricted_space(levels, options.space, options.network.latent_dim, options.cells)


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def sizes():
    """{architecture of two cells: (parameters, MACs)} of all that have the first of each kind of first cell."""
    cells, counted = CellOptions(gf_dim=4), {}
    for architecture in every_architecture(2):
        first, second = architecture.cells
        if first.conv == "post" and first.norm != "none" and second.conv == "pre":
            counted[architecture] = generator_sizes(str(architecture), 8, cells)
    return counted


ONLY = "--only conv=post norm=batch,instance"  # applies to both cells


ONLY = "--only conv=post norm=none,batch up=nearest,deconv"  # 128 architectures of two cells


@pytest.fixture(scope="module")
def small():
    """{architecture of two cells of ONLY: (parameters, MACs)}, counted one by one."""
    cells = CellOptions(gf_dim=4)
    return {
        each: generator_sizes(str(each), 8, cells)
        for each in every_architecture(2)
        if all(
            cell.conv == "post" and cell.norm != "instance" and cell.up != "bilinear" for cell in each.cells
        )
    }


def capped(small, **quantiles):
    """(words, the allowed architectures) with caps at these shares of the sorted sizes."""
    words, allowed = ONLY, set(small)
    for index, name in enumerate(("max_params", "max_macs")):
        if name in quantiles:
            cap = sorted(size[index] for size in small.values())[int(quantiles[name] * (len(small) - 1))]
            words += f" --{name} {cap}"
            allowed &= {each for each, size in small.items() if size[index] <= cap}
    return words, allowed


CAPS = ({"max_params": 0.3}, {"max_macs": 0.4}, {"max_params": 0.5, "max_macs": 0.3}, {"max_params": 0.0}, {})


@pytest.fixture(params=CAPS, ids=lambda caps: " ".join(caps) or "none")
def restricted(request, small):
    """(space, the set of its architectures) of two cells."""
    words, allowed = capped(small, **request.param)
    assert allowed
    return space_of(2, words), allowed


# The space


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_the_sizes_of_a_generator_are_the_sums_over_its_cells(levels):
    cells, random = CellOptions(gf_dim=4, bottom_width=2), drawn(levels)
    rows = [sizes_of_cells(level, 4, 2) for level in range(levels)]

    def sums(positions):
        return [sum(row[position][which] for row, position in zip(rows, positions)) for which in (0, 1)]

    rests = set()
    for _ in range(25):
        positions = [int(torch.randint(len(row), (), generator=random)) for row in rows]
        architecture = Architecture(tuple(every_cell(level)[p] for level, p in enumerate(positions)))
        whole = generator_sizes(str(architecture), 8, cells)
        rests.add(tuple(total - part for total, part in zip(whole, sums(positions))))
    assert len(rests) == 1


def test_a_space_numbers_exactly_the_architectures_that_are_within_choices_and_caps(restricted):
    space, allowed = restricted
    assert space.count() == number_of_architectures(2, space) == len(allowed)
    assert {space._ranks.architecture(rank) for rank in range(space.count())} == allowed
    assert {each for each in every_architecture(2) if space.has(each)} == allowed


def test_a_first_cell_belongs_to_the_space_if_a_second_one_completes_it_within_the_caps(restricted):
    space, allowed = restricted
    completed = {architecture.cells[:1] for architecture in allowed}
    assert {each.cells for each in every_architecture(1) if space.has(each)} == completed
    cells = space.next_cells(0, torch.zeros(1, len(space.smallest()[0]), dtype=torch.int64))[0]
    assert {(cell,) for cell, may_follow in zip(every_cell(0), cells) if may_follow} == completed


def test_random_architectures_are_uniform_over_the_space(small):
    words, allowed = capped(small, max_params=0.3)
    space, random, counts = space_of(2, words), drawn(), dict.fromkeys(allowed, 0)
    for _ in range(100 * len(allowed)):
        counts[space.random_architecture(random)] += 1
    chi_square = sum((count - 100) ** 2 / 100 for count in counts.values())
    assert chi_square < len(allowed) + 4 * (2 * len(allowed)) ** 0.5


def test_more_cells_than_are_counted_exactly_are_drawn_uniformly_too():
    """Three sizes a cell, of which sums beyond the limit are dropped: 5 cells, enumerated here."""
    values = (0, 700, 1001)
    chosen = [[index < 3 for index in range(len(every_cell(level)))] for level in range(5)]
    sizes = [[(values[index % 3],) for index in range(len(row))] for row in chosen]
    space = RestrictedSpace(5, chosen, sizes, (2102,))
    allowed = [row for row in itertools.product(range(3), repeat=5) if sum(values[i] for i in row) <= 2102]
    counts, random = dict.fromkeys(allowed, 0), drawn()
    for _ in range(60 * len(allowed)):
        architecture = space.random_architecture(random)
        counts[tuple(every_cell(level).index(cell) for level, cell in enumerate(architecture.cells))] += 1
    chi_square = sum((count - 60) ** 2 / 60 for count in counts.values())
    assert chi_square < len(allowed) + 4 * (2 * len(allowed)) ** 0.5
    assert space.count() is None


def test_nothing_restricts_a_search_by_default():
    assert space_of(3, "") is None
    assert space_of(3, "--only norm=none,batch,instance shortcut=true,false") is None


def test_choices_may_be_given_at_once_or_one_by_one():
    once, twice = (
        space_of(2, "--only norm=none up=nearest"),
        space_of(2, "--only norm=none --only up=nearest"),
    )
    assert once.count() == twice.count() == 4 * 8
    assert space_of(1, "--only SHORTCUT=true".lower()).count() == 18


def test_a_cap_may_count_at_another_width():
    cells = CellOptions(gf_dim=32)
    cap = generator_sizes("0 0 0 0 | 0 0 0 0 0", 8, cells)[0]
    space = space_of(2, f"--max_params {cap} --cap_gf_dim 32")
    brute = [
        each for each in every_architecture(1)
        if generator_sizes(f"{each} | 0 0 0 0 0", 8, cells)[0] <= cap
    ]  # fmt: skip
    assert {each for each in every_architecture(1) if space.has(each)} == set(brute) and len(brute) == 8


# The controllers


def rollout_of(controller, architectures):
    """The Rollout in which these architectures are taken, from the empty one."""
    tokens = torch.tensor([each.tokens for each in architectures])
    state = (torch.zeros(len(tokens), 6), torch.zeros(len(tokens), 6))
    following = controller.space and NextTokens(controller.space, [Architecture(())] * len(tokens))
    return controller(state, actions=tokens, following=following)


def test_the_controllers_probabilities_sum_to_one_over_the_space(restricted):
    space, allowed = restricted
    torch.manual_seed(0)
    rollout = rollout_of(Controller(1, 6, first_cell=0, space=space), sorted(allowed, key=str))
    assert rollout.log_probs.isfinite().all()
    assert rollout.log_probs.sum(1).exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_the_masked_probabilities_are_the_unmasked_ones_but_for_what_is_outside(restricted):
    """At each token the softmax is over the tokens inside: the ratio of two of them is as without a mask."""
    space, allowed = restricted
    allowed = sorted(allowed, key=str)
    torch.manual_seed(0)
    masked, free = Controller(1, 6, first_cell=0, space=space), Controller(1, 6, first_cell=0)
    free.load_state_dict(masked.state_dict())
    found, plain = rollout_of(masked, allowed).log_probs, rollout_of(free, allowed).log_probs
    rows = [each.tokens for each in allowed]
    for head in range(9):
        groups = {}
        for row, tokens in enumerate(rows):
            groups.setdefault(tokens[:head], {})[tokens[head]] = row
        for group in groups.values():
            members = list(group.values())
            shares = plain[members, head].exp() / plain[members, head].exp().sum()
            assert torch.allclose(found[members, head].exp(), shares, atol=1e-6)


def test_the_gradient_of_reinforce_is_that_of_the_masked_distribution(restricted):
    """Averaged over the space with its probabilities, the surrogate has the gradient of the expected reward
    plus entropy, as without a mask (tests/test_search_parts.py).
    """
    space, allowed = restricted
    torch.manual_seed(0)
    controller = Controller(1, 6, first_cell=0, space=space)
    allowed, weight = sorted(allowed, key=str), 0.3
    rewards = torch.rand(len(allowed))
    rollout = rollout_of(controller, allowed)
    p = rollout.log_probs.sum(1).exp()
    expected = (p * rewards).sum() - weight * (p * p.log()).sum()
    exact = torch.autograd.grad(expected, controller.parameters(), allow_unused=True)
    rollout = rollout_of(controller, allowed)
    total = rewards + weight * rollout.entropies.sum(1).detach() - 0.7  # any baseline
    surrogate = (p.detach() * (total * rollout.log_probs.sum(1) + weight * rollout.entropies.sum(1))).sum()
    found = torch.autograd.grad(surrogate, controller.parameters(), allow_unused=True)
    for a, b in zip(exact, found):
        assert (a is None and b is None) or (a.isfinite().all() and torch.allclose(a, b, atol=1e-5))


def test_the_controller_draws_every_architecture_of_the_space_and_none_outside(small):
    words, allowed = capped(small, max_params=0.2, max_macs=0.5)
    controller = Controller(1, 6, first_cell=0, space=space_of(2, words))
    with torch.no_grad():
        architectures, rollout = sample_architectures(controller, first_beam(6), 200 * len(allowed), drawn())
    assert set(architectures) == allowed
    assert rollout.entropies.isfinite().all()


def test_the_largest_random_numbers_do_not_lead_out_of_the_space(small):
    words, allowed = capped(small, max_params=0.0)
    almost_one = torch.full((3, 9), 1 - 2**-24)
    for number in (almost_one, torch.zeros(3, 9)):
        for controller in (
            Controller(1, 6, first_cell=0, space=space_of(2, words)),
            UniformController(1, 6, first_cell=0, space=space_of(2, words)),
        ):
            following = NextTokens(controller.space, [Architecture(())] * 3)
            state = (torch.zeros(3, 6), torch.zeros(3, 6))
            for row in controller(state, number, following=following).actions.tolist():
                assert Architecture.from_tokens(row) in allowed


def test_random_search_level_by_level_is_uniform_over_what_may_follow_the_beam(small):
    words, allowed = capped(small, max_params=0.3)
    space = space_of(2, words)
    parents = sorted({Architecture(each.cells[:1]) for each in allowed}, key=str)
    counts = {parent: sum(each.cells[:1] == parent.cells for each in allowed) for parent in parents}
    assert len(set(counts.values())) > 1  # the caps leave some parents more cells
    beam = [BeamEntry(parent, 0.0, (torch.zeros(6), torch.zeros(6))) for parent in parents]
    controller = UniformController(1, 6, space=space)
    found, rollout = sample_architectures(controller, beam, 100 * len(allowed), drawn())
    drawn_counts = dict.fromkeys(allowed, 0)
    for each in found:
        drawn_counts[each] += 1
    chi_square = sum((count - 100) ** 2 / 100 for count in drawn_counts.values())
    assert chi_square < len(allowed) + 4 * (2 * len(allowed)) ** 0.5
    first = [counts[Architecture(each.cells[:1])] for each in found]
    assert rollout.log_probs.sum(1).exp().tolist() == pytest.approx([1 / count for count in first])


# The searches


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


SEARCHES = {
    "autogan": "search", "random level by level": "search --controller random", "slas": "slas",
    "random_sharing": "random_sharing", "asha": "asha",
}  # fmt: skip


@pytest.mark.parametrize("name", SEARCHES)
def test_no_search_draws_an_architecture_outside(type_command, tmp_path, monkeypatch, pictures, small, name):
    use_tiny_net(monkeypatch)
    original, run_architectures = Generator.forward, set()

    def noting(self, z, architecture=None):
        if z.device.type != "meta":  # where sizes are counted, nothing is drawn
            run_architectures.add(architecture or self.architecture)
        return original(self, z, architecture)

    monkeypatch.setattr(Generator, "forward", noting)
    words, allowed = capped(small, max_params=0.1, max_macs=0.5)
    short, _, more = SEARCHES[name].partition(" ")
    command = short_run(short, pictures)
    if more:
        command = command.replace("--ctrl_step 3 ", "") + f" {more}"
    scores = "" if name == "asha" else " --score_freq 1 --score_imgs 6"
    type_command(f"{command} {words}{scores}")
    run = only_run(tmp_path, short)
    texts = {line["architecture"] for line in scored_lines(run)}
    texts |= {
        entry["architecture"] for entry in json.loads((run / "derived.json").read_text())["architectures"]
    }
    run_architectures |= set(map(Architecture.parse, texts))
    begun = {Architecture(each.cells[:1]) for each in allowed}
    assert run_architectures and run_architectures <= allowed | begun
    full = [line for line in scored_lines(run) if line["level"] == 2]
    assert max(line["parameters"] for line in full) <= max(small[each][0] for each in allowed)


def test_a_search_within_caps_that_is_killed_goes_on_within_them(
    type_command, tmp_path, monkeypatch, pictures, small
):
    use_tiny_net(monkeypatch)
    words, allowed = capped(small, max_params=0.1)
    command = f"{short_run('search', pictures)} {words}"
    type_command(command)
    unbroken = only_run(tmp_path, "search").rename(tmp_path / "unbroken")
    stops, heal = stop_at(9, monkeypatch, by_signal=False)
    with pytest.raises(stops):
        type_command(command)
    heal()
    run = only_run(tmp_path, "search")
    type_command(f"search --load_path {run}")
    assert scored_lines(run) == scored_lines(unbroken)
    assert (run / "derived.json").read_text() == (unbroken / "derived.json").read_text()


def test_an_older_run_goes_on_without_caps(type_command, tmp_path, monkeypatch, pictures):
    use_tiny_net(monkeypatch)
    stops, heal = stop_at(9, monkeypatch)
    with pytest.raises(stops):
        type_command(short_run("search", pictures))
    heal()
    run = only_run(tmp_path, "search")
    file = run / "Model" / "checkpoint.pth"
    saved = load_checkpoint(file)
    for name in ("only", "max_params", "max_macs", "cap_gf_dim", "reuse_rewards"):
        del saved["options"][name]
    save_checkpoint(file, saved)
    type_command(f"search --load_path {run}")
    assert (run / "results.json").is_file()


def test_an_older_run_that_was_interrupted_is_found(tmp_path):
    run = Run.create(tmp_path, "a", {"g_lr": 1.0})
    run.save({}, 1)
    run._lock.close()
    wanted = {"g_lr": 1.0, "only": None}
    assert find_interrupted(tmp_path, "a", wanted, set()) is None
    assert find_interrupted(tmp_path, "a", wanted, set(), {"only": None}) == str(run.folder)
    assert find_interrupted(tmp_path, "a", {**wanted, "only": ["up=deconv"]}, set(), {"only": None}) is None


@pytest.mark.parametrize("method", ["autogan", "slas", "random_sharing", "asha"])
def test_a_cap_below_every_architecture_names_the_smallest_possible(fail_command, method):
    line = fail_command(f"search --method {method} --max_params 5")
    assert (
        "--max_params: no architecture has 5 parameters or fewer; the smallest possible has 1,153,411" in line
    )


@pytest.mark.parametrize(
    "command, words",
    [
        ("--only norm", "--only: norm is none, batch, instance, self_modulated, adain, not ''"),
        ("--only norm=", "--only: norm is none, batch, instance, self_modulated, adain, not ''"),
        ("--only norm=group", "--only: norm is none, batch, instance, self_modulated, adain, not 'group'"),
        ("--only skip=0", "--only: 'skip=0' restricts none of conv, norm, up, shortcut"),
        ("--only norm=none norm=batch", "--only: norm is restricted twice; write it once"),
        ("--max_params 0", "--max_params: must be at least 1, not 0"),
        ("--max_macs 99999999999999999999", "--max_macs: must be at most 1000000000000000"),
        ("--max_macs 1.5e9", "--max_macs: invalid int value"),
        ("--cap_gf_dim 256", "--cap_gf_dim: without effect without --max_params or --max_macs"),
        ("--max_macs 9 --cap_gf_dim 256", "the smallest possible has 1,593,049,088 at --cap_gf_dim 256"),
        ("--max_params 1153411 --max_macs 400162816 --only shortcut=true", "--max_params: no architecture"),
        ("--method dggan --max_params 9", "--max_params: without effect with dggan"),
        ("--method proggan --only norm=none", "--only: without effect with proggan"),
        ("--max_params 9 --dry_run", "--max_params: no architecture has 9 parameters"),
    ],
)
def test_a_mistake_gets_one_line_that_names_the_option(fail_command, command, words):
    assert words in fail_command(f"search {command}")


def test_caps_that_only_together_leave_nothing_name_the_smallest_possible_of_the_second():
    """Today the smallest architecture has both the fewest parameters and MACs; another choice may end that."""
    message = _no_room({"max_params": 10, "max_macs": 10}, [(5, 20), (8, 15), (20, 5)], "at --gf_dim 4")
    assert "--max_macs: no architecture of 10 parameters or fewer has 10 MACs or fewer" in message
    assert "the smallest possible has 15 at --gf_dim 4" in message
