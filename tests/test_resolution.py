"""64 and 128 px: more cells, a wider bottom, and architectures of small images carried on (--extend)."""

import json
from types import SimpleNamespace

import pytest
import torch
from running import SHORT, only_run, scored_lines, short_run, stop_at, use_tiny_net, write_pictures

from option_groups.shared import CellOptions
from option_groups.training import TrainingOptions
from models.autogan.architecture import EXTENSIONS, PUBLISHED, Architecture
from models.autogan.networks import Discriminator, Generator
from models.families import FAMILIES
from models_search.retraining.training import sample_grid
from models_search.search_space import every_cell, random_architecture
from models_search.shared_gan.network import shared_generator
from utils.run.derived import write_derived
from utils.training.memory import on_meta, training_memory

A = "1 0 1 1 | 1 0 0 1 1 | 1 0 1 0 3"
EXTENDED_A = {
    "last": f"{A} | 1 0 1 0 3 | 1 0 1 0 3",
    "repeat": f"{A} | 1 0 1 1 0 | 1 0 0 1 1",
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def training(monkeypatch, pictures):
    """The options of a training of a moment on 16 px pictures, scored by TinyNet."""
    use_tiny_net(monkeypatch)
    sizes = "--gf_dim 2 --df_dim 2 --max_iter 2 --n_critic 1 -gen_bs 2 -dis_bs 2 --num_eval_imgs 4 --eval_batch_size 4"
    return f"{SHORT} {sizes} --dataset folder --data_path {pictures}"


# What --extend means


@pytest.mark.parametrize("way", EXTENSIONS)
def test_the_added_cells_have_the_tokens_of_those_they_copy(way):
    assert str(Architecture.parse(A).extended(5, way)) == EXTENDED_A[way]
    assert Architecture.parse(EXTENDED_A[way]) == Architecture.parse(A).extended(5, way)
    assert str(Architecture.parse(A).extended(3, way)) == A


@pytest.mark.parametrize("way", EXTENSIONS)
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_skips_come_from_as_many_cells_below_as_those_of_the_original(way, levels):
    drawn = torch.Generator().manual_seed(levels)
    for _ in range(20):
        original = random_architecture(levels, drawn)
        extended = original.extended(7, way)
        assert extended.cells[:levels] == original.cells
        for level in range(levels, 7):
            copied = levels - 1 if way == "last" else level % levels
            cell, source = extended.cells[level], original.cells[copied]
            assert (cell.conv, cell.norm, cell.up, cell.shortcut) == (
                source.conv, source.norm, source.up, source.shortcut,
            )  # fmt: skip
            below = {level - index for index, skip in enumerate(cell.skips) if skip}
            assert below == {copied - index for index, skip in enumerate(source.skips) if skip}


# Networks of many cells


@pytest.mark.parametrize("level", [3, 4])
def test_cells_of_64_and_128_px_run_forward_and_backward(level):
    """Of the fourth and the fifth cell every choice next to every skip code."""
    lower = random_architecture(level, torch.Generator().manual_seed(level)).cells
    cells = every_cell(level)
    covering = [
        cells[index * 2**level + code] for code in range(2**level) for index in (code % 36, 35 - code % 36)
    ]
    for spec in covering:
        generator = Generator.of(Architecture((*lower, spec)), latent_dim=3, gf_dim=2, bottom_width=2)
        images = generator(torch.randn(2, 3))
        assert images.shape == (2, 3, 4 << level, 4 << level)
        images.square().sum().backward()
        assert all(parameter.grad is not None for parameter in generator.parameters()), spec


def test_the_shared_generator_of_five_cells_equals_the_derived_ones():
    shared = shared_generator(5, latent_dim=3, gf_dim=2).eval()
    noise = torch.randn(2, 3)
    for name in PUBLISHED:
        for way in EXTENSIONS:
            architecture = Architecture.parse(name).extended(5, way)
            images = Generator.from_state(architecture, shared.state_dict()).eval()(noise)
            assert images.shape[-1] == 128 and torch.equal(images, shared(noise, architecture))


@pytest.mark.parametrize(
    "levels, bottom_width, halvings", [(3, 4, 2), (4, 4, 3), (5, 4, 4), (3, 16, 3), (5, 4, 1)]
)
def test_the_discriminator_halves_as_often_as_it_should(levels, bottom_width, halvings):
    discriminator, sizes = Discriminator(levels, 2, halvings=halvings), []
    for block in discriminator.growing:
        block.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[-1]))
    for level in range(levels):
        sizes.clear()
        size = bottom_width << level + 1
        assert discriminator(torch.randn(2, 3, size, size), level).shape == (2, 1)
        assert sizes == [size >> min(block + 1, halvings) for block in range(level + 1)]


def test_two_halvings_are_the_authors_discriminator():
    with torch.device("meta"):
        state = Discriminator(5, 4).state_dict()
        assert [name for name in state if "shortcut.weight" in name] == [
            "growing.0.shortcut.weight", "growing.1.shortcut.weight",
        ]  # fmt: skip
        assert len(Discriminator(5, 4, halvings=4).state_dict()) == len(state) + 4


def test_the_estimated_memory_is_what_the_steps_of_larger_images_keep():
    for levels, halvings in ((4, 2), (5, 4)):
        architecture, size = Architecture.parse(A).extended(levels, "last"), 4 << levels
        cells = CellOptions(gf_dim=8, df_dim=8, df_halvings=halvings)
        training = TrainingOptions(gen_batch_size=2, dis_batch_size=2)
        with on_meta("--x"):
            networks = FAMILIES["autogan"].networks(architecture, 8, cells)
            batches = training_memory(networks, training, 1, size, widths="--x").batches
        generator, discriminator = (network.to_empty(device="cpu") for network in networks)
        judged = kept_bytes(lambda: [discriminator(torch.zeros(2, 3, size, size)) for _ in range(2)])
        assert 0.8 * judged < batches["--dis_batch_size"] < 1.2 * judged
        made = kept_bytes(lambda: generator(torch.zeros(2, 8)))
        assert 0.8 * made < batches["--gen_batch_size"] < 1.2 * made


def kept_bytes(forward):
    """The bytes that autograd keeps of what a forward pass makes."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward()
    assert result is not None
    return sum(kept.values())


def test_a_grid_takes_no_more_memory_than_scoring():
    average, seen, shown = Generator.of(Architecture.parse("1 0 1 1"), latent_dim=3, gf_dim=2), [], []
    average.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    options = {"run": {"random_seed": 1}, "scoring": {"eval_batch_size": 30}, "training": {"n_critic": 1}}
    plan = SimpleNamespace(
        classes=None, **{name: SimpleNamespace(**values) for name, values in options.items()}
    )
    run = SimpleNamespace(grid=lambda name, images, step, rows: shown.append(images))
    sample_grid(SimpleNamespace(gan=SimpleNamespace(average=average), step=0), plan, run)
    assert seen == [30, 30, 30, 10] and len(shown[0]) == 100


# Searches

SEARCHES = {
    "search": "--img_size 64 --df_halvings 3",
    "slas": "--img_size 64",
    "random_sharing": "--img_size 128 --bottom_width 8 --df_halvings 4",
    "asha": "--img_size 64 --bottom_width 8",
}


@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_of_cells_makes_larger_images(type_command, tmp_path, monkeypatch, pictures, name):
    use_tiny_net(monkeypatch)
    small = "--gf_dim 2 --df_dim 2 --shared_epoch 1 --ctrl_step 1 --eval_batch_size 8"
    known = {"slas": small, "search": small, "random_sharing": small.replace("--ctrl_step 1 ", "")}
    less = known.get(name, "--gf_dim 2 --df_dim 2 --rungs 1 --max_trials 2 --topk 1")
    command = short_run(name, pictures).replace("--grow_step1 2", "--grow_steps 1 2 3")
    type_command(f"{command} {less} {SEARCHES[name]}")
    run = only_run(tmp_path, name)
    cells = 3 if "--bottom_width 8" in SEARCHES[name] and name == "asha" else 4
    entry = json.loads((run / "derived.json").read_text())["architectures"][0]
    assert Architecture.parse(entry["architecture"]).levels == cells
    assert max(line["level"] for line in scored_lines(run)) == cells


def test_a_search_at_128_px_grows_five_cells(type_command, capsys):
    type_command("search --dry_run --img_size 128 --grow_steps 10 20 30 40 --gf_dim 4 --df_dim 4")
    plan = json.loads(capsys.readouterr().out)
    assert plan["resolutions"] == [8, 16, 32, 64, 128] and plan["grow_steps"] == [10, 20, 30, 40]


# Trainings


def test_an_architecture_of_a_search_is_trained_at_64_px_and_scored(
    type_command, tmp_path, training, pictures, monkeypatch
):
    type_command(f"{short_run('asha', pictures)} --rungs 1 --max_trials 2 --topk 1")
    search = only_run(tmp_path, "asha")
    found = json.loads((search / "derived.json").read_text())["architectures"][0]["architecture"]
    options = training.replace(
        "--img_size 16", f"--img_size 64 --arch_file {search} --extend last --df_halvings 3"
    )
    stops, heal = stop_at(2, monkeypatch)
    with pytest.raises(stops):
        type_command(f"train_derived {options} --exp_name large")
    heal()
    run = only_run(tmp_path, "large")
    type_command(f"train_derived --load_path {run}")
    results = json.loads((run / "results.json").read_text())
    assert results["architecture"] == str(Architecture.parse(found).extended(4, "last"))
    assert results["resolution"] == 64
    type_command(f"test --load_path {run} --num_eval_imgs 4 --is_splits 1 --eval_batch_size 4")
    (scored,) = (tmp_path / "logs_eval").iterdir()
    described = json.loads((scored / "results.json").read_text())
    assert described["resolution"] == 64 and described["architecture"] == results["architecture"]
    assert described["options"]["df_halvings"] == 3


def test_the_table_of_a_derivation_names_what_was_trained(type_command, tmp_path, training):
    write_derived(
        tmp_path / "derived.json", "is", "tiny", [{"architecture": "1 0 1 1 | 0 1 2 1 1", "reward": 3.0}]
    )
    options = training.replace("--img_size 16", "--img_size 32 --extend repeat")
    type_command(f"train_derived --derive derived.json {options}")
    (row,) = json.loads(next(tmp_path.glob("logs/*/derive.json")).read_text())["architectures"]
    assert row["architecture"] == "1 0 1 1 | 0 1 2 1 1 | 1 0 1 1 0" and row["search_reward"] == 3.0


MISTAKES = [
    ("--extend last", "--extend: the cells of --gen_model make 32 px images already; set a larger --img_size"),
    ("--extend last --img_size 48", "--img_size: --extend makes 64, 128, 256, ... px of the 32 of --gen_model, not 48"),
    ("--extend repeat --img_size 16", "--img_size: --extend makes 64, 128, 256, ... px of the 32 of --gen_model, not 16"),
    ("--extend both --img_size 64", "--extend: invalid choice"),
    ("--img_size 64", "--img_size: 3 cells (--gen_model) on --bottom_width 4 make 32 px images, not 64; set --img_size 32, "
     "change the cells or --bottom_width, or add --extend"),
    ("--df_halvings 4", "--df_halvings: 3 cells bring as many blocks that can halve, not 4; give 3 or less"),
    ("--df_halvings 0", "--df_halvings: must be at least 1"),
    ("--extend last --img_size 16384 --bottom_width 1", "GiB"),
]  # fmt: skip


@pytest.mark.parametrize("options, words", MISTAKES, ids=[options for options, _ in MISTAKES])
def test_a_mistake_is_told_in_one_line(fail_command, options, words):
    assert words in fail_command(f"train_derived --gen_model autogan_cifar10_a --dry_run {options}")


@pytest.mark.parametrize(
    "command, words",
    [
        ("train_derived --dry_run --arch 4: G 3x4 D 3x4 --img_size 8 --extend last", "--extend: without effect with growing"),
        ("search --dry_run --method slas --df_halvings 4", "--df_halvings: 3 cells bring as many"),
        ("search --dry_run --method asha --img_size 64 --df_halvings 5", "--df_halvings: 4 cells bring as many"),
        ("search --dry_run --img_size 64", "--img_size: 3 cells (--grow_step1, --grow_step2) on --bottom_width 4"),
        ("test --dry_run --gen_model sngan --extend last", "--extend"),
        ("search --dry_run --method dggan --df_halvings 3", "--df_halvings: without effect with dggan"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_told_in_one_line(fail_command, command, words):
    assert words in fail_command(command)
