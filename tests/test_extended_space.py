"""The extended space (--space extended): its cells, layers, sizes, and what a search draws from it."""

import copy
import itertools
import json

import pytest
import torch
import torch.nn.functional as F
from running import (
    assert_equal_states, only_run, scored_lines, short_run, stop_at, use_tiny_net, write_pictures,
)  # fmt: skip
from test_conditional_runs import last_checkpoint
from test_fast import losses_of
from test_step_graphs import ReplayingRecorder, with_recorder

import cfg
from library.export import save_program
from library.generators import load_generator
from library.searches import open_search
from models.autogan.architecture import CHOICES, Architecture, parse_choice
from models.autogan.networks import Generator
from models.errors import ArchitectureError
from models.layers.attention import SelfAttention
from models.layers.fast_form import fast_form
from models.layers.init import initialise, prepare
from models.layers.resampled import upsample
from models.layers.spectral_norm import has_spectral_norm
from models.layers.style import AdaptiveInstanceNorm2d, ModulatedConv2d, SelfModulatedBatchNorm2d
from models_search.restrictions import restricted_space
from models_search.search_space import every_cell, number_of_architectures, random_architecture
from models_search.shared_gan.network import shared_generator
from models_search.sizes import generator_sizes, sizes_of_cells
from option_groups.shared import CellOptions
from utils.training.sizes import count_macs, count_parameters

EXACT = dict(rtol=1e-9, atol=1e-9)


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def random_cells(levels, seed):
    random = drawn(seed)
    picked = [
        int(torch.randint(180 << level if level else 180, (), generator=random)) for level in range(levels)
    ]
    return tuple(every_cell(level, "extended")[index] for level, index in enumerate(picked))


def space_of(levels, words=""):
    options = cfg.parse("search", f"--gf_dim 8 --latent_dim 8 --space extended {words}".split())
    return restricted_space(levels, options.space, options.network.latent_dim, options.cells)


def with_random_layers(generator):
    """Give biases, gains and styles, which start at or near 0, values that matter."""
    for name, parameter in generator.named_parameters():
        if name.endswith(("bias", "gain")) or ".style." in name:
            torch.nn.init.normal_(parameter)
    return generator


# Text


@pytest.mark.parametrize("level", [0, 1])
def test_every_cell_survives_a_round_trip_through_its_text(level):
    first = every_cell(0, "extended")[:level]
    cells = every_cell(level, "extended")
    assert len(set(cells)) == len(cells) == 180 << level
    for cell in cells:
        architecture = Architecture((*first, cell))
        assert (
            str(architecture).startswith("extended ")
            and Architecture.parse(str(architecture)) == architecture
        )
        vector = " ".join(map(str, architecture.tokens))
        assert (
            Architecture.parse(f"extended {vector}")
            == architecture
            == Architecture.parse(f"extended [{vector}]")
        )


def test_the_authors_vectors_are_of_the_authors_space_and_no_others():
    text = "1 0 1 1 | 1 0 0 1 1"
    both = [Architecture.parse(each) for each in (text, "extended 1 0 1 1 0 | 1 0 0 1 0 1")]
    assert [each.space for each in both] == ["authors", "extended"] and str(both[0]) == text
    assert both[0] != both[1] and len({*both}) == 2
    images = [Generator.of(each, latent_dim=4, gf_dim=4).state_dict().keys() for each in both]
    assert images[0] == images[1]  # of the same layers


@pytest.mark.parametrize(
    "text, problem",
    [
        ("extended", "cell 1 takes 5 tokens, not 0"),
        ("extended 1 0 1 1", "cell 1 takes 5 tokens, not 4"),
        ("extended 3 0 1 1 0", "conv is 0 to 2, not 3"),
        ("extended 1 0 1 1 2", "attention is 0 to 1, not 2"),
        ("1 3 1 1", "norm is 0 to 2, not 3"),
        ("extended autogan_cifar10_a", "is neither a vector"),
        ("Extended 1 0 1 1 0", "is neither a vector"),
    ],
)
def test_another_text_is_refused(text, problem):
    with pytest.raises(ArchitectureError, match=problem):
        Architecture.parse(text)


def test_a_choice_of_the_extended_space_is_none_of_the_authors():
    assert parse_choice("norm=adain,none", "extended") == ("norm", ("adain", "none"))
    for text in ("norm=adain", "attention=true"):
        with pytest.raises(ArchitectureError):
            parse_choice(text)


# Cells


def covering(level):
    """Cells of a level in which every two options of different choices meet; all of them at low levels."""
    cells = every_cell(level, "extended")
    found = cells if level < 2 else cells[::7]
    choices = [*CHOICES["extended"], "skips"]
    for names in itertools.combinations(choices, 2):
        pairs = [{tuple(getattr(cell, name) for name in names) for cell in some} for some in (cells, found)]
        assert pairs[0] == pairs[1], names
    return found


@pytest.mark.parametrize("level", [0, 1, 2])
def test_cells_run_forward_and_backward_and_their_fast_form_computes_the_same(in_float64, level):
    """Every pair of choices; all cells of the first two levels. Images and all gradients, in training."""
    lower = random_cells(level, seed=level)
    noise = torch.randn(2, 3)
    for spec in covering(level):
        generator = Generator.of(Architecture((*lower, spec)), latent_dim=3, gf_dim=2, bottom_width=2)
        plain, fast = with_random_layers(generator), fast_form(copy.deepcopy(generator))
        images = [network(noise) for network in (plain, fast)]
        assert images[0].shape == (2, 3, 4 << level, 4 << level)
        torch.testing.assert_close(images[1], images[0], **EXACT)
        for each in images:
            (each * torch.linspace(-1, 1, each.numel()).view_as(each)).sum().backward()
        for (name, one), two in zip(plain.named_parameters(), fast.parameters()):
            assert one.grad is not None, (spec, name)
            torch.testing.assert_close(two.grad, one.grad, **EXACT, msg=f"{spec} {name}")


@pytest.mark.parametrize("classes", [3])
def test_the_shared_generator_equals_the_derived_one_with_its_weights(classes):
    widths = {"latent_dim": 4, "gf_dim": 3, "bottom_width": 2, "num_classes": classes}
    shared = with_random_layers(initialise(shared_generator(3, "extended", **widths))).eval()
    noise, labels = torch.randn(2, 4), torch.tensor([0, 2]) if classes else None
    for index in range(15):
        architecture = Architecture(random_cells(1 + index % 3, seed=index))
        derived = Generator.from_state(architecture, shared.state_dict()).eval()
        expected = shared(noise, architecture, labels=labels)
        assert torch.equal(derived(noise, labels=labels), expected), architecture


def test_untrained_attention_changes_nothing_and_a_trained_one_only_what_comes_after_its_cell(in_float64):
    without, with_it = (Architecture.parse(f"extended 1 1 1 1 {code} | 0 0 0 0 0 1") for code in (0, 1))
    shared = shared_generator(2, "extended", latent_dim=4, gf_dim=8).eval()
    noise = torch.randn(3, 4)
    assert torch.equal(shared(noise, with_it), shared(noise, without))
    before = shared(noise, without)
    torch.nn.init.ones_(shared.cells[0].attention.gain)
    assert torch.equal(shared(noise, without), before) and not torch.equal(shared(noise, with_it), before)


@pytest.mark.parametrize("text", ["extended 2 0 1 0 0", "extended 0 3 1 0 0", "extended 1 4 1 0 0"])
def test_styles_read_the_noise_and_the_class(in_float64, text):
    generator = with_random_layers(
        Generator.of(Architecture.parse(text), latent_dim=4, gf_dim=4, num_classes=3)
    )
    generator.eval()
    features, labels = torch.randn(2, 4, 4, 4), torch.tensor([0, 1])
    unit = generator.cells[0].first
    (unit,) = unit.values()
    noise = torch.randn(2, 4 + 128)
    norm = generator.architecture.cells[0].norm
    one, two = (unit(features, norm, "nearest", labels, each) for each in (noise, noise.flip(0)))
    assert not torch.allclose(one, two)
    images = [generator(noise[:, :4], labels=each) for each in (labels, labels.flip(0))]
    assert not torch.allclose(*images)


def extended_run(**run):
    """The arguments of test_fast.losses_of for 40 steps of 4 architectures: of each new choice."""
    texts = [f"extended {tokens}" for tokens in ("2 0 1 1 0", "0 3 1 0 1", "1 4 0 1 1", "2 1 2 0 1")]
    architectures = [Architecture.parse(text) for text in texts]
    return {"architectures": [*architectures * 10], "steps": 40, "space": "extended", **run}


def test_fast_and_plain_losses_agree():
    plain, fast = (losses_of(**extended_run(fast=fast, dtype=torch.float64))[0] for fast in (False, True))
    for mine, theirs in zip(fast, plain):
        mine, theirs = ([loss for loss in losses if loss is not None] for losses in (mine, theirs))
        assert mine == pytest.approx(theirs, abs=1e-5) and len(mine) >= 8


def test_recorded_steps_equal_the_steps_themselves(monkeypatch):
    plain, plain_gan = losses_of(**extended_run(fast=True))
    recorder = ReplayingRecorder()
    with_recorder(monkeypatch, recorder)
    recorded, gan = losses_of(**extended_run(fast=True))
    assert recorded == plain and recorder.recorded >= 4 and recorder.replayed > 20
    assert_equal_states(gan.generator.state_dict(), plain_gan.generator.state_dict())
    assert gan.generator.cells[0].attention.gain != 0


# Layers against formulas written anew


def test_attention_is_its_formula(in_float64):
    layer = SelfAttention(16).eval()
    torch.nn.init.constant_(layer.gain, 0.7)
    x = torch.randn(2, 16, 4, 6)
    query, key, value, out = (
        getattr(layer, name).weight.flatten(1) for name in ("query", "key", "value", "out")
    )
    for weight in (query, key, value, out):
        assert torch.linalg.svdvals(weight)[0].item() == pytest.approx(1, abs=0.05)  # spectral norm
    assert [tuple(weight.shape) for weight in (query, key, value, out)] == [
        (2, 16),
        (2, 16),
        (8, 16),
        (16, 8),
    ]
    expected = x.clone()
    for image in range(2):
        windows = [(slice(i, i + 2), slice(j, j + 2)) for i in (0, 2) for j in (0, 2, 4)]
        keys, values = (
            torch.stack(
                [(weight @ x[image].flatten(1)).view(-1, 4, 6)[:, r, c].amax((1, 2)) for r, c in windows]
            )
            for weight in (key, value)
        )
        for row, column in itertools.product(range(4), range(6)):
            scores = torch.stack([(query @ x[image, :, row, column]) @ each for each in keys])
            shares = scores.exp() / scores.exp().sum()
            attended = sum(share * each for share, each in zip(shares, values))
            expected[image, :, row, column] += 0.7 * (out @ attended)
    torch.testing.assert_close(layer(x), expected, **EXACT)


def style_by_hand(style, noise):
    hidden = (noise @ style.hidden.weight.T + style.hidden.bias).clamp(min=0)
    return hidden @ style.out.weight.T + style.out.bias


@pytest.mark.parametrize(
    "kind, axes", [(SelfModulatedBatchNorm2d, (0, 2, 3)), (AdaptiveInstanceNorm2d, (2, 3))]
)
def test_a_styled_norm_is_its_formula(in_float64, kind, axes):
    layer, x, noise = (
        with_random_layers(torch.nn.ModuleDict({"style": kind(5, 4)})),
        *map(torch.randn, [(3, 5, 4, 4), (3, 4)]),
    )
    layer = layer["style"]
    gain, shift = style_by_hand(layer.style, noise)[:, :, None, None].split(5, dim=1)
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    expected = (x - mean) / (variance + 1e-5).sqrt() * (1 + gain) + shift
    torch.testing.assert_close(layer(x, noise), expected, **EXACT)
    assert style_by_hand(kind(5, 4).style, noise).abs().max() < 0.1  # an untrained one hardly modulates


@pytest.mark.parametrize("up", [None, "nearest", "bilinear", "deconv"])
@pytest.mark.parametrize("merged", [False, True])
def test_a_modulated_convolution_is_the_grouped_one_of_modulated_kernels(in_float64, up, merged):
    layer = with_random_layers(torch.nn.ModuleDict({"style": ModulatedConv2d(3, 5, 4)}))["style"]
    x, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 4)
    deconvs = [torch.nn.ConvTranspose2d(3, 3, 2, stride=2)]
    kernels = layer.weight * (1 + style_by_hand(layer.style, noise))[:, None, :, None, None]
    kernels = kernels * torch.rsqrt(kernels.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    taken = x if up is None else upsample(x, up, deconvs)
    rows = taken.reshape(1, 6, *taken.shape[2:])
    expected = F.conv2d(rows, kernels.flatten(0, 1), padding=1, groups=2).view(2, 5, *taken.shape[2:])
    found = layer(x, noise, up, deconvs, merged=merged)
    torch.testing.assert_close(found, expected + layer.bias[:, None, None], **EXACT)


def test_spectral_norm_is_in_attention_always_and_never_in_a_modulated_convolution():
    architecture = Architecture.parse("extended 2 0 1 1 1")
    networks = [
        prepare(Generator.of(architecture, gf_dim=8), with_spectral_norm=wanted) for wanted in (False, True)
    ]
    for generator in networks:
        names = generator.state_dict()
        assert "cells.0.attention.out.parametrizations.weight.original" in names
        assert "cells.0.first.modulated.conv.weight" in names
        assert sum(name.startswith("cells.0.attention.out.parametrizations.weight.") for name in names) == 3
    assert ["linear.weight" in generator.state_dict() for generator in networks] == [True, False]
    assert not has_spectral_norm(Generator.of(Architecture.parse("extended 2 0 1 1 0"), gf_dim=8))


def test_initialisation_draws_modulated_convolutions_and_leaves_attention(in_float64):
    generator = Generator.of(Architecture.parse("extended 2 0 1 0 1"), gf_dim=64)
    attention = copy.deepcopy(generator.cells[0].attention.state_dict())
    prepare(generator, "normal")
    assert generator.cells[0].first["modulated"].conv.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert_equal_states(generator.cells[0].attention.state_dict(), attention)


# Sizes


def test_parameters_and_macs_of_the_new_layers_are_exact():
    channels, size = 256, 16
    with torch.device("meta"):
        attention = SelfAttention(channels).eval()
        image = torch.zeros(1, channels, size, size)
        assert count_parameters(attention) == 81_921  # SAGAN's at this width
        positions, keys = size**2, size**2 // 4
        macs = positions * (2 * channels * channels // 8 + 2 * channels * channels // 2)
        macs += positions * keys * (channels // 8 + channels // 2)
        assert count_macs(attention, image) == macs == 23_592_960
        style = (128 + 1) * 32 + 33 * 2 * channels
        for kind in (SelfModulatedBatchNorm2d, AdaptiveInstanceNorm2d):
            layer = kind(channels, 128).eval()
            assert count_parameters(layer) == style
            assert count_macs(layer, image, torch.zeros(1, 128)) == 128 * 32 + 32 * 2 * channels
        layer = ModulatedConv2d(channels, channels, 128)
        assert count_parameters(layer) == 9 * channels**2 + channels + (128 + 1) * 32 + 33 * channels
        macs = positions * 9 * channels**2 + 128 * 32 + 32 * channels + channels**2
        assert count_macs(layer, image, torch.zeros(1, 128)) == macs


@pytest.mark.parametrize("levels", [1, 3])
def test_the_sizes_of_a_generator_are_the_sums_over_its_cells(levels):
    cells = CellOptions(gf_dim=8, bottom_width=2)
    rows = [sizes_of_cells(level, 8, 2, noise_dim=8, space="extended") for level in range(levels)]
    rests = set()
    for seed in range(12):
        architecture = Architecture(random_cells(levels, seed))
        whole = generator_sizes(str(architecture), 8, cells)
        parts = [
            row[every_cell(level, "extended").index(cell)]
            for level, (row, cell) in enumerate(zip(rows, architecture.cells))
        ]
        rests.add(tuple(total - sum(part[which] for part in parts) for which, total in enumerate(whole)))
    assert len(rests) == 1


# What a search draws


def test_attention_stays_at_small_outputs_unless_told_otherwise():
    counts = {}
    for words in ("", "--attention_size 8", "--attention_size 32", "--only attention=false"):
        space = space_of(3, words)
        found = [random_architecture(3, drawn(seed), space) for seed in range(60)]
        assert all(architecture.space == "extended" and space.has(architecture) for architecture in found)
        having = [any(architecture.cells[level].attention for architecture in found) for level in range(3)]
        counts[words] = number_of_architectures(3, space), having
    assert counts == {
        "": (180 * 360 * 360, [True, True, False]),
        "--attention_size 8": (180 * 180 * 360, [True, False, False]),
        "--attention_size 32": (180 * 360 * 720, [True, True, True]),
        "--only attention=false": (90 * 180 * 360, [False, False, False]),
    }


def test_a_space_has_no_architecture_of_the_other():
    cell = "1 0 1 1"
    assert not space_of(1).has(Architecture.parse(cell)) and space_of(1).has(
        Architecture.parse(f"extended {cell} 0")
    )


MISTAKES = {  # {words of search.py: what the line says}
    "--only norm=adain": "--only: norm is none, batch, instance, not 'adain' (further ones: --space extended)",
    "--only attention=true": "--only: 'attention=true' restricts none of conv, norm, up, shortcut;",
    "--attention_size 8": "--attention_size: without effect without --space extended",
    "--space extended --only attention=true": "--attention_size: 16 leaves no cell of 32 px with --only",
    "--space extended --only norm=adian": "--only: norm is none, batch, instance, self_modulated, adain, not",
    "--space extended --max_params 10": "--max_params: no architecture has 10 parameters or fewer",
    "--space larger": "--space",
    "--space extended --method dggan": "--space",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_gets_one_line_that_names_the_option(fail_command, words):
    assert MISTAKES[words] in fail_command(f"search {words} --dataset digits --dry_run")


# Runs


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.mark.parametrize("name", ["search", "random_sharing"])
def test_a_search_of_extended_cells_that_stops_and_goes_on_equals_the_uninterrupted_one(
    type_command, tmp_path, monkeypatch, pictures, name
):
    use_tiny_net(monkeypatch)
    line = f"{short_run(name, pictures)} --space extended"
    monkeypatch.chdir(tmp_path)
    type_command(line)
    whole = only_run(tmp_path, name)
    entries = json.loads((whole / "derived.json").read_text())["architectures"]
    assert all(entry["architecture"].startswith("extended ") for entry in entries)
    (tmp_path / "again").mkdir()
    monkeypatch.chdir(tmp_path / "again")
    stops, heal = stop_at(5, monkeypatch, by_signal=True)
    with pytest.raises(stops):
        type_command(line)
    heal()
    again = only_run(tmp_path / "again", name)
    type_command(f"search --load_path {again}")
    assert scored_lines(again) == scored_lines(whole)
    assert_equal_states(last_checkpoint(again), last_checkpoint(whole))


ALL_NEW = "extended 2 3 2 1 1 1 4 1 1 1 1"  # modulated and self-modulated, then AdaIN, both with attention


def test_an_extended_architecture_is_trained_stopped_scored_opened_and_exported(
    type_command, tmp_path, monkeypatch, pictures, capsys
):
    use_tiny_net(monkeypatch)
    line = short_run("train_derived", pictures).replace("--arch 1 0 1 1 0 1 2 1 1", f"--arch {ALL_NEW}")
    assert ALL_NEW in line
    runs = []
    for folder, extra in (("one", ""), ("two", ""), ("plain", "--fast off")):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        if folder == "two":
            stops, heal = stop_at(5, monkeypatch, by_signal=True)
            with pytest.raises(stops):
                type_command(line)
            heal()
            type_command(f"train_derived --load_path {only_run(tmp_path / folder, 'train_derived')}")
        else:
            type_command(f"{line} {extra}")
        runs.append(only_run(tmp_path / folder, "train_derived"))
    assert_equal_states(*map(last_checkpoint, runs[:2]))
    weights = [last_checkpoint(run)["gan"]["generator"] for run in runs]
    assert weights[0].keys() == weights[2].keys()
    assert weights[0]["cells.0.attention.gain"] != 0  # it was trained

    loaded = load_generator(runs[0])
    assert str(loaded.architecture) == str(Architecture.parse(ALL_NEW))
    save_program(loaded.generator, tmp_path / "g.pt2")
    noise = torch.randn(3, 8)
    program = torch.export.load(tmp_path / "g.pt2").module()
    torch.testing.assert_close(program(noise), loaded.generator(noise), rtol=1e-3, atol=1e-4)
    type_command(f"test --load_path {runs[0]} --num_eval_imgs 8 --is_splits 1")
    assert "tiny FID" in capsys.readouterr().out


def test_a_finished_search_opens_with_any_architecture_of_its_space(
    type_command, tmp_path, monkeypatch, pictures
):
    use_tiny_net(monkeypatch)
    type_command(f"{short_run('random_sharing', pictures)} --space extended")
    search = open_search(only_run(tmp_path, "random_sharing"))
    for text in (search.ranked[0]["architecture"], ALL_NEW, "1 0 1 1 | 1 0 0 1 1"):
        assert search.generator(text)(torch.randn(2, 8)).shape == (2, 3, 16, 16)
