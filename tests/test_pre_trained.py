"""Weights at hand: files that state what they are, and those in pre_trained_models/."""

import hashlib
import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from running import ROOT, use_tiny_net
from safetensors.torch import save_file

import cfg
from library.export import fits_half, save_safetensors, save_strip
from library.generators import load_generator
from library.headers import OF_A_SCORE, read_header, without_folders
from models.autogan.architecture import Architecture
from models.autogan.networks import Generator
from utils.cli import UserError

FOLDER = ROOT / "pre_trained_models"
FILES = sorted(FOLDER.glob("*.safetensors"))
TABLE = dict(
    re.findall(r"^\| `(\S+\.safetensors)` \| `([0-9a-f]{64})` \|", (FOLDER / "README.md").read_text(), re.M)
)
LARGEST = 4 * 10**6


def as_images(picture):
    """(R, 8 R, 3) -> (8, R, R, 3), as signed numbers."""
    pixels = np.asarray(Image.open(picture)).astype(int)
    return pixels.reshape(len(pixels), 8, len(pixels), 3).swapaxes(0, 1)


def assert_same_picture(found, stored):
    """Of the same images up to the rounding of another processor: few of their pixels are a level apart."""
    differences = np.abs(as_images(found) - as_images(stored))
    assert differences.mean() < 0.05 * as_images(stored).std() and np.mean(differences > 8) < 0.01


# The folder


def test_the_table_lists_each_file_in_the_folder():
    assert FILES and TABLE.keys() == {file.name for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_is_small_and_has_the_sha256_of_the_table(file):
    content = file.read_bytes()
    assert len(content) < LARGEST and hashlib.sha256(content).hexdigest() == TABLE[file.name]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_states_what_it_is_and_nothing_of_the_machine_that_made_it(file):
    header = read_header(file)
    assert (
        header["scores"]["feature_net"] and header["command"].startswith("python ") and header["iterations"]
    )
    assert header["seed"] is not None and header["scores"]["num_fake"] == header["options"]["num_eval_imgs"]
    assert not re.search(r'(^|[ "])/', json.dumps(header)), "an absolute path"
    assert f"{header['scores']['fid']:.2f}" in (FOLDER / "README.md").read_text()
    assert load_generator(file).generator.resolution == header["resolution"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_makes_the_images_of_the_stored_picture(file, tmp_path):
    loaded = load_generator(file)
    assert_same_picture(
        save_strip(loaded.generator, tmp_path / "now.png", loaded.classes), file.with_suffix(".png")
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_is_sampled_without_further_options(type_command, tmp_path, file):
    type_command(f"test --load_path {file} --save_images made --num_images 3")
    assert len(list((tmp_path / "made").glob("*.png"))) == 3


def test_a_picture_of_other_images_is_not_the_same(tmp_path):
    (file, *_) = FILES
    generator = load_generator(file).generator
    with torch.no_grad():
        generator.to_rgb[2].weight.mul_(1.2)
    with pytest.raises(AssertionError):
        assert_same_picture(save_strip(generator, tmp_path / "now.png"), file.with_suffix(".png"))


# Writing and reading


def written(type_command, short_runs, tmp_path, monkeypatch, options=""):
    use_tiny_net(monkeypatch)
    run = short_runs / "logs" / "derive"
    type_command(
        f"test --load_path {run} --num_eval_imgs 12 --is_splits 2 --eval_batch_size 5 --export w.safetensors {options}"
    )
    return run, tmp_path / "w.safetensors"


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
def test_a_written_file_is_scored_again_as_it_states_without_options(
    type_command, short_runs, tmp_path, monkeypatch, half
):
    run, file = written(type_command, short_runs, tmp_path, monkeypatch, "--half" if half else "")
    header = read_header(file)
    pictures = run.parent.parent / "pictures"
    type_command(f"test --load_path {file} --data_path {pictures} --exp_name again")
    (again,) = (tmp_path / "logs_eval").glob("again_*")
    results = json.loads((again / "results.json").read_text())
    assert results["options"]["num_eval_imgs"] == results["scores"]["num_fake"] == 12
    assert (results["options"]["is_splits"], results["options"]["eval_batch_size"]) == (2, 5)
    assert results["checkpoint"]["iteration"] == header["iterations"] == load_generator(run).iteration
    close = {"rel": 0.05} if half else {"abs": 1e-9}
    for name in ("is_mean", "fid"):
        assert results["scores"][name] == pytest.approx(header["scores"][name], **close)
    assert "the file states tiny: is_mean" in (again / "Log" / "log.txt").read_text()
    dtypes = {tensor.dtype for tensor in load_generator(file).generator.state_dict().values()}
    assert torch.float16 not in dtypes


@pytest.mark.parametrize("method", ["autogan", "dggan", "asha"])
def test_a_command_names_only_what_differs_from_the_defaults(method):
    """Checkpoints hold tuples, JSON lists."""
    saved = cfg.parse(
        "search", ["--method", method, "--gf_dim", "8"] if method != "dggan" else ["--method", method]
    )
    words = {"autogan": "--gf_dim 8", "dggan": "--method dggan", "asha": "--gf_dim 8 --method asha"}[method]
    assert cfg.started_by(saved.flat()) == f"python search.py {words}"


def test_the_header_has_a_command_that_trains_it_anew(type_command, short_runs, tmp_path, monkeypatch):
    run, file = written(type_command, short_runs, tmp_path, monkeypatch)
    header = read_header(file)
    assert header["options"].keys() <= set(OF_A_SCORE) and header["options"]["data_path"] == "pictures"
    assert (
        header["command"].startswith("python train_derived.py")
        and "--data_path pictures " in header["command"]
    )
    assert "--max_iter 8" in header["command"] and str(tmp_path.parent) not in json.dumps(header)
    text = header["command"].split("--arch ")[1].split(" --")[0].replace("'", "")
    assert Architecture.parse(text) == load_generator(run).architecture


def test_half_precision_takes_half_the_space(tmp_path):
    generator = Generator.of(Architecture.parse("1 0 1 1"), latent_dim=16, gf_dim=32)
    for half in (False, True):
        save_safetensors(generator, tmp_path / f"{half}", half=half)
    sizes = [(tmp_path / f"{half}").stat().st_size for half in (False, True)]
    assert 0.45 < sizes[1] / sizes[0] < 0.55 and fits_half(generator)
    with torch.no_grad():
        generator.linear.weight[0, 0] = 1e5
    assert not fits_half(generator)


def test_of_a_path_only_the_name_goes_into_a_file():
    options = {
        "data_path": "/home/me/images/",
        "init_from": None,
        "tf_python": "/usr/bin/python",
        "arch": "/x",
    }
    stripped = {"data_path": "images", "init_from": None, "tf_python": "python", "arch": "/x"}
    assert without_folders(options) == stripped and without_folders({"data_path": "./data"}) == {
        "data_path": "./data"
    }


@pytest.mark.parametrize(
    "options, words",
    [
        ("--export w.pth", "--export: w.pth must end in .safetensors"),
        ("--export no/w.safetensors", "--export: no/w.safetensors cannot be written"),
        ("--half", "--half: without effect without --export"),
        ("--export w.safetensors --save_images s", "--export: without effect with --save_images"),
        ("--export w.safetensors --interpolate", "--export: without effect with --interpolate"),
        ("--gf_dim 8", "--gf_dim: the checkpoint has 16, not 8"),
    ],
)
def test_a_mistake_at_writing_is_told_in_one_line(fail_command, options, words):
    assert words in fail_command(f"test --load_path {FOLDER}/digits_a_gf16.safetensors {options}")


def test_a_file_is_not_replaced_by_what_is_read_from_it(fail_command, tmp_path):
    shutil.copy(FOLDER / "digits_a_gf16.safetensors", tmp_path / "w.safetensors")
    (tmp_path / "link.safetensors").symlink_to("w.safetensors")
    for name in ("w.safetensors", "./w.safetensors", "link.safetensors"):
        line = fail_command(f"test --load_path w.safetensors --export {name} --num_eval_imgs 8 --is_splits 1")
        assert f"--export: {name} is the file of --load_path; give another name" in line


@pytest.mark.parametrize(
    "about",
    ["{", "[1]", "1", '{"format": 2}', '{"format": 1, "widths": {}}', "[" * 10**5],
    ids=lambda text: text[:20],
)
def test_a_damaged_header_is_told_in_one_line(tmp_path, about):
    generator = Generator.of(Architecture.parse("1 0 1 1"), latent_dim=4, gf_dim=2)
    weights = {name: tensor.contiguous() for name, tensor in generator.state_dict().items()}
    save_file(weights, tmp_path / "w.safetensors", metadata={"architecture": "1 0 1 1", "about": about})
    with pytest.raises(UserError, match="--load_path: .*w.safetensors"):
        load_generator(tmp_path / "w.safetensors")
