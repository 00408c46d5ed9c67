"""Conditional runs of the scripts: every search that draws cells, retraining, scoring, drawing, mistakes."""

import json
import shutil
import sys

import pytest
import torch
from running import (
    ROOT, assert_equal_states, only_run, read_metrics, short_run, stop_at, use_tiny_net, write_pictures,
)  # fmt: skip

from library.generators import load_generator
from library.searches import open_search
from utils.data.labels import read_label_file
from utils.run.checkpoint import load_checkpoint

NAMES = ("even", "odd", "ten")  # and more of 0 to 9 than of 10 to 19


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """20 digits of 16 px in three class folders, 5 even, 5 odd and 10."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, path in enumerate(sorted(write_pictures(folder).iterdir())):
        name = "ten" if index > 9 else NAMES[index % 2]
        (folder / name).mkdir(exist_ok=True)
        path.rename(folder / name / path.name)
    return folder


@pytest.fixture
def short(monkeypatch, pictures):
    use_tiny_net(monkeypatch)
    return lambda name: f"{short_run(name, pictures)} --conditional"


def last_checkpoint(run):
    return load_checkpoint(run / "Model" / "checkpoint.pth")


@pytest.mark.parametrize(
    "name, call", [("train_derived", 2), ("search", 7), ("slas", 4), ("random_sharing", 3), ("asha", 2)]
)
def test_a_conditional_run_that_stops_and_goes_on_equals_the_uninterrupted_one(
    type_command, tmp_path, monkeypatch, short, name, call
):
    type_command(short(name))
    through = only_run(tmp_path, name).rename(tmp_path / "through")
    stops, heal = stop_at(call, monkeypatch)
    with pytest.raises(stops):
        type_command(short(name))
    heal()
    stopped = only_run(tmp_path, name)
    type_command(short(name))
    assert only_run(tmp_path, name) == stopped and read_metrics(stopped) == read_metrics(through)
    runs = [stopped, through]
    if name == "asha":
        runs = [run / "trials" / "trial_0000" for run in runs]
    first, second = map(last_checkpoint, runs)
    assert_equal_states(first, second)
    assert first["classes"] == {"names": list(NAMES), "counts": [5, 5, 10]}
    assert " 3 classes: even 5, odd 5, ten 10\n" in (through / "Log" / "log.txt").read_text()


def test_a_searched_architecture_is_retrained_with_the_searchs_classes_and_opened(
    type_command, tmp_path, short, capsys
):
    type_command(short("random_sharing"))
    run = only_run(tmp_path, "random_sharing")
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  python train"))
    assert " --conditional " in line
    search = open_search(run)
    assert (
        search.classes.names == NAMES and search.generator(search.ranked[0]["architecture"]).num_classes == 3
    )
    widths = "--gf_dim 4 --df_dim 4 --latent_dim 8 --max_iter 4 --num_eval_imgs 8 --is_splits 1 -gen_bs 4 -dis_bs 4"
    type_command(f"train_derived --arch_file {run} {widths} --device cpu --exp_name found")
    loaded = load_generator(only_run(tmp_path, "found"))
    assert loaded.classes == search.classes and loaded.generator.num_classes == 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory, pictures, private_cache):
    """The folder of a conditional training."""
    from conftest import load_script  # as short_runs does

    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        use_tiny_net(monkeypatch)
        script, *arguments = f"{short_run('train_derived', pictures)} --conditional".split()
        monkeypatch.setattr("sys.argv", [f"{script}.py", *arguments])
        load_script(script).main()
    return only_run(folder, "train_derived")


def test_scoring_by_class_writes_every_class_and_their_mean(
    type_command, tmp_path, monkeypatch, trained, capsys
):
    use_tiny_net(monkeypatch)
    type_command(
        f"test --load_path {trained} --num_eval_imgs 8 --is_splits 1 --metrics intra_fid --intra_fid_imgs 6"
    )
    (results,) = (tmp_path / "logs_eval").glob("*/results.json")
    results = json.loads(results.read_text())
    found = results["intra_fid"]
    assert list(found["classes"]) == list(NAMES) and found["images_per_class"] == 6
    assert found["mean"] == pytest.approx(sum(found["classes"].values()) / 3)
    assert results["scored_images"] == 8 + 3 * 6 and results["scores"]["fid"] > 0
    assert "tiny intra-FID" in capsys.readouterr().out


def test_one_class_is_drawn_by_name_or_number_with_a_list_of_what_was_drawn(type_command, tmp_path, trained):
    type_command(f"test --load_path {trained} --save_images all --num_images 30")
    listed = read_label_file(tmp_path / "all" / "labels.csv")
    assert len(listed) == 30 and set(listed.values()) == set(NAMES)
    for folder, wanted in (("named", "odd"), ("numbered", "1")):
        type_command(f"test --load_path {trained} --save_images {folder} --num_images 5 --class {wanted}")
        assert set(read_label_file(tmp_path / folder / "labels.csv").values()) == {"odd"}
    pixels = [(tmp_path / folder / "000004.png").read_bytes() for folder in ("named", "numbered")]
    assert pixels[0] == pixels[1]
    type_command(f"test --load_path {trained} --interpolate --class ten")
    assert list((tmp_path / "logs_eval").glob("*/Samples/interpolation.png"))


def test_an_exported_conditional_generator_knows_its_classes(type_command, tmp_path, monkeypatch, trained):
    use_tiny_net(monkeypatch)
    type_command(f"test --load_path {trained} --num_eval_imgs 8 --is_splits 1 --export c.safetensors")
    assert (tmp_path / "c.png").is_file()
    type_command("test --load_path c.safetensors --save_images made --num_images 4 --class even")
    assert set(read_label_file(tmp_path / "made" / "labels.csv").values()) == {"even"}


def test_the_report_counts_a_conditional_generators_parameters(trained):
    sys.path.insert(0, str(ROOT / "exps"))
    from reporting.sizes import generator_sizes

    results = json.loads((trained / "results.json").read_text())
    options = json.loads((trained / "config.json").read_text())["options"]
    assert results["classes"] == list(NAMES)
    parameters, macs = generator_sizes(results["architecture"], options, len(results["classes"]))
    assert (parameters, macs) == (results["generator_parameters"], results["generator_macs"])


def test_a_checkpoint_goes_on_with_its_own_classes_only(
    type_command, fail_command, tmp_path, monkeypatch, short, pictures
):
    stops, heal = stop_at(2, monkeypatch)
    with pytest.raises(stops):
        type_command(short("train_derived"))
    heal()
    run = only_run(tmp_path, "train_derived")
    other = shutil.copytree(pictures, tmp_path / "other")
    (other / "ten").rename(other / "unknown")
    line = fail_command(f"train_derived --load_path {run} --data_path {other}")
    assert "is of the classes even, odd, ten, the data have even, odd, unknown" in line


# Mistakes

TRAIN = (
    "train_derived --arch 1 0 1 1 --img_size 8 --gf_dim 4 --df_dim 4 --dataset folder --data_path pictures"
)
MISTAKES = {
    "flat": (f"{TRAIN} --conditional", "no labels: pictures has no class folders"),
    "lonely class": (f"{TRAIN} --conditional", "the class b has 1 of 3 images of pictures, too few"),
    "stray": (f"{TRAIN} --conditional", "1 of 5 images of pictures have no label"),
    "one class": (f"{TRAIN} --conditional --labels one.csv", "are all of the class 7; give two or more"),
    "list of others": (f"{TRAIN} --conditional --labels other.csv", "other.csv lists 1 of 2 files"),
    "short list": (f"{TRAIN} --conditional --labels short.csv", "2 of 4 images of pictures have no label"),
    "no list": (f"{TRAIN} --conditional --labels none.csv", "--labels: no file none.csv"),
    "no flag": (f"{TRAIN} --labels one.csv", "--labels: without effect without --conditional"),
    "list of digits": (
        "train_derived --arch 1 0 1 1 --img_size 8 --dataset digits --conditional --labels one.csv",
        "--labels: without effect with --dataset digits",
    ),
    "growing search": ("search --method dggan --conditional", "--conditional: without effect with dggan"),
    "proggan": ("search --method proggan --labels a", "--labels: without effect with proggan"),
    "growing": ("train_derived --conditional --arch 4: G 3x4 D 3x4", "--conditional: without effect with growing"),
}  # fmt: skip


def lay_out(folder, name):
    """The pictures of a mistake: four in two classes, but for what is wrong."""
    places = {
        "flat": "abcd",
        "lonely class": ("a/1", "a/2", "b/1"),
        "stray": ("a/1", "a/2", "b/1", "b/2", "c"),
    }
    from PIL import Image

    for place in places.get(name, ("a/1", "a/2", "b/1", "b/2")):
        path = folder / "pictures" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 9).save(path)
    (folder / "one.csv").write_text("".join(f"{place}.png,7\n" for place in ("a/1", "a/2", "b/1", "b/2")))
    (folder / "other.csv").write_text("a/1.png,7\nz.png,8\n")
    (folder / "short.csv").write_text("a/1.png,7\na/2.png,8\n")


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("dry_run", ["", " --dry_run"])
def test_a_mistake_about_classes_gets_one_line_before_anything_is_computed(
    fail_command, tmp_path, name, dry_run
):
    command, words = MISTAKES[name]
    lay_out(tmp_path, name)
    assert words in fail_command(command + dry_run)


@pytest.mark.parametrize("method", ["autogan", "slas", "random_sharing", "asha"])
def test_every_search_of_cells_refuses_an_unlabelled_set(fail_command, tmp_path, method):
    lay_out(tmp_path, "flat")
    assert "no class folders" in fail_command(
        f"search --method {method} --dataset folder --data_path pictures --conditional"
    )


def test_classes_of_a_generator_without_are_refused(fail_command, short_runs):
    run = short_runs / "logs" / "derive"
    for options, words in (
        ("--class 3 --save_images new", "--class: the generator was not trained with --conditional"),
        ("--metrics intra_fid", "--metrics: intra_fid compares classes, and the generator knows none"),
        ("--metrics kid --intra_fid_imgs 9", "--intra_fid_imgs: without effect without --metrics intra_fid"),
        ("--metrics kid --labels a.csv", "--labels: without effect without --metrics intra_fid"),
    ):
        assert words in fail_command(f"test --load_path {run} {options}")


def test_an_unknown_class_and_data_without_the_classes_are_refused(
    fail_command, tmp_path, trained, monkeypatch
):
    use_tiny_net(monkeypatch)
    line = fail_command(f"test --load_path {trained} --class seven --interpolate")
    assert "--class: no class seven; give one of even, odd, ten, or a number from 0 to 2" in line
    lay_out(tmp_path, "two classes")
    line = fail_command(
        f"test --load_path {trained} --metrics intra_fid --data_path pictures --num_eval_imgs 8 --is_splits 1"
    )
    assert (
        "--metrics: intra_fid: the generator has a class even, the train images of pictures have none" in line
    )


def test_a_dry_run_counts_the_classes_of_a_published_set_without_reading_it(type_command, capsys):
    sizes = []
    for more in ("", " --conditional"):
        type_command(f"train_derived --gen_model autogan_cifar10_a --dry_run{more}")
        sizes.append(json.loads(capsys.readouterr().out)["generator_parameters"])
    assert sizes[0] == 4_405_251
    assert sizes[1] - sizes[0] == 10 * 128 + 128 * 256 * 16 + 2 * 10 * 256 - 2 * 256


@pytest.mark.parametrize(
    "damage", [{}, {"names": ["a"], "counts": [1, 2]}, {"names": ["a", "b"], "counts": [3, 4]}]
)
def test_a_checkpoint_with_other_classes_than_its_generators_is_not_loaded(tmp_path, trained, damage):
    from utils.cli import UserError
    from utils.run.checkpoint import save_checkpoint

    saved = last_checkpoint(trained)
    save_checkpoint(tmp_path / "c.pth", {**saved, "classes": damage})
    with pytest.raises(UserError, match="^--load_path: .*c.pth"):
        load_generator(tmp_path / "c.pth")
    del saved["classes"]
    save_checkpoint(tmp_path / "d.pth", saved)
    with pytest.raises(UserError, match="names 0 classes for a generator of 3"):
        load_generator(tmp_path / "d.pth")
    assert isinstance(saved["gan"]["average"]["embedding.weight"], torch.Tensor)
