"""test.py: which checkpoint it takes, and the images it writes without scoring."""

import json

import numpy as np
import pytest
from PIL import Image
from running import use_tiny_net

from library.generators import load_generator, sample
from utils.run.checkpoint import load_checkpoint

SCORING = "--num_eval_imgs 8 --is_splits 1 --device cpu"


def results_of(folder):
    (run,) = (folder / "logs_eval").iterdir()
    return json.loads((run / "results.json").read_text()), (run / "Log" / "log.txt").read_text()


@pytest.mark.parametrize(
    "words, kind", [("", "best"), ("--checkpoint best", "best"), ("--checkpoint last", "last")]
)
def test_a_run_is_scored_at_its_best_or_last_checkpoint_and_it_is_said_which(
    type_command, tmp_path, monkeypatch, short_runs, words, kind
):
    use_tiny_net(monkeypatch)
    run = short_runs / "logs" / "derive"
    type_command(f"test --load_path {run} {SCORING} {words}")
    trained, (scored, log) = json.loads((run / "results.json").read_text()), results_of(tmp_path)
    expected = trained["best" if kind == "best" else "final"]
    file = "checkpoint_best.pth" if kind == "best" else "checkpoint.pth"
    found = {"file": str(run / "Model" / file), "kind": kind, "iteration": expected["iteration"]}
    assert scored["checkpoint"] == found
    assert scored["scores"]["fid"] == pytest.approx(expected["fid"], rel=1e-6)
    assert f"loaded {found['file']} (the {kind} one, of iteration {found['iteration']}): " in log


def test_a_training_says_at_its_end_which_checkpoint_has_which_score(short_runs):
    run = short_runs / "logs" / "derive"
    results, log = json.loads((run / "results.json").read_text()), (run / "Log" / "log.txt").read_text()
    for name, entry in (("best", results["best"]), ("last", results["final"])):
        assert f"{name} checkpoint: iteration {entry['iteration']}, FID {entry['fid']:.2f}\n" in log


def test_images_are_written_without_scores_data_or_a_run(type_command, tmp_path, capsys, short_runs):
    run = short_runs / "logs" / "derive"
    type_command(
        f"test --load_path {run} --save_images new/samples --num_images 7 --random_seed 5 --device cpu"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    files = sorted((tmp_path / "new" / "samples").iterdir())
    assert [path.name for path in files] == [f"{number:06d}.png" for number in range(7)]
    expected = sample(load_generator(run).generator, 7, seed=5).permute(0, 2, 3, 1).numpy()
    images = np.stack([np.asarray(Image.open(file)) for file in files])
    assert np.abs(images.astype(int) - expected).max() <= 1  # the fast form rounds differently
    assert "wrote 7 images to new/samples" in capsys.readouterr().out


def test_64_images_are_written_if_nobody_says_how_many_and_the_runs_seed_draws_them(
    type_command, tmp_path, short_runs
):
    type_command(f"test --load_path {short_runs / 'logs' / 'derive'} --save_images a --device cpu")
    type_command(
        f"test --load_path {short_runs / 'logs' / 'derive'} --save_images b --random_seed 24 --device cpu"
    )
    assert len(list((tmp_path / "a").iterdir())) == 64
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize("name", ["derive", "dggan"])
def test_walks_are_a_grid_in_a_run_that_scores_nothing(type_command, tmp_path, short_runs, name):
    type_command(f"test --load_path {short_runs / 'logs' / name} --interpolate --exp_name walks --device cpu")
    (run,) = (tmp_path / "logs_eval").iterdir()
    picture = Image.open(run / "Samples" / "interpolation.png")
    assert picture.size == (4 * (10 * 17 + 1), 4 * (8 * 17 + 1))
    results = json.loads((run / "results.json").read_text())
    assert "scores" not in results and results["scored_images"] == 0
    assert results["checkpoint"]["kind"] == "best" and run.name.startswith("walks_")


def test_images_and_walks_can_be_asked_for_together(type_command, tmp_path, short_runs):
    type_command(
        f"test --load_path {short_runs / 'logs' / 'derive'} --interpolate --save_images a --num_images 3 --device cpu"
    )
    assert len(list((tmp_path / "a").iterdir())) == 3
    (run,) = (tmp_path / "logs_eval").iterdir()
    assert (run / "Samples" / "interpolation.png").is_file()


@pytest.mark.parametrize(
    "words, expected",
    [
        ("--num_images 3", "--num_images: no folder for 3 images; give --save_images FOLDER too"),
        ("--save_images a --num_images 0", "--num_images: must be at least 1"),
        ("--save_images full", "--save_images: full holds something already"),
        ("--save_images full/file", "--save_images: full/file holds something already"),
        ("--save_images full/file/a", "--save_images: 'full/file/a' cannot be made"),
        ("--save_images=", "--save_images: '' cannot be made"),
        ("--save_images a --metrics kid", "--metrics: without effect with --save_images"),
        ("--save_images a --num_eval_imgs 90", "--num_eval_imgs: without effect with --save_images"),
        ("--save_images a --exp_name x", "--exp_name: without effect with --save_images"),
        ("--interpolate --fid_stat x.npz", "--fid_stat: without effect with --interpolate"),
        ("--checkpoint lost", "--checkpoint: invalid choice"),
    ],
)
def test_what_cannot_be_written_or_has_no_effect_is_refused(
    fail_command, tmp_path, short_runs, words, expected
):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    assert expected in fail_command(f"test --load_path {short_runs / 'logs' / 'derive'} {words}")


def test_a_checkpoint_is_only_chosen_where_there_are_several(fail_command, short_runs):
    file = short_runs / "logs" / "derive" / "Model" / "checkpoint.pth"
    assert "--checkpoint: without effect on a file" in fail_command(
        f"test --load_path {file} --checkpoint last"
    )
    growth = short_runs / "logs" / "dggan"
    assert "is a search by growth" in fail_command(f"test --load_path {growth} --checkpoint last")
    assert "position" in load_checkpoint(file)


def test_a_search_that_has_ended_is_trained_from_its_folder_alone(
    type_command, tmp_path, monkeypatch, short_runs
):
    use_tiny_net(monkeypatch)
    sizes = "--gf_dim 4 --df_dim 4 --latent_dim 8 --max_iter 2 --num_eval_imgs 8 --is_splits 1 -gen_bs 4 -dis_bs 4"
    type_command(f"train_derived --arch_file {short_runs / 'logs' / 'search'} {sizes} --device cpu")
    (run,) = (tmp_path / "logs").iterdir()
    options = json.loads((run / "config.json").read_text())["options"]
    assert (options["dataset"], options["data_path"]) == ("folder", str(short_runs / "pictures"))
    assert (options["img_size"], options["feature_net"]) == (16, "efficientnet-lite0")
    type_command(f"train_derived --load_path {run}")  # a finished one goes on to its end again
    type_command(f"train_derived --config {run / 'config.json'} --exp_name again")
    (again,) = (tmp_path / "logs").glob("again_*")
    first, second = (json.loads((each / "results.json").read_text()) for each in (run, again))
    assert first["final"] == second["final"]
