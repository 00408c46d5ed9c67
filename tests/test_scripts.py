"""The scripts as a user runs them: seed command lines, dry runs, mistakes, and runs that stop and go on."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from running import ROOT, assert_equal_states, load_script, only_run, read_metrics, scored_lines, stop_at

import cfg
import models_search.retraining.training
import utils.training.inputs
from models.growing.networks import GrowingGenerator
from models.growing.architecture import proggan_architecture
from models_search.autogan.plan import make_plan
from models_search.autogan.search import iteration_line
from utils.run.checkpoint import load_checkpoint, save_checkpoint
from utils.data.load import load_images
from utils.images import from_uint8
from utils.metrics.real_statistics import RealStatistics, save_statistics
from utils.run.save_point import SavePoint, StopRequested

TINY = "--dataset digits --feature_net efficientnet-lite0 --device cpu -gen_bs 8 -dis_bs 256 --latent_dim 8 --is_splits 1 --n_critic 2"
TINY_SEARCH = (
    f"search {TINY} --gf_dim 4 --df_dim 4 --shared_epoch 1 --max_search_iter 4 --grow_step1 1 --grow_step2 2 --ctrl_step 2 "
    "--ctrl_sample_batch 2 --rl_num_eval_img 4 --num_candidate 3 --topk 2 --val_freq 2 --print_freq 3 --hid_size 8 "
    "--dynamic_reset_window 6 --exp_name s"
)
TINY_TRAINING = (
    f"train_derived {TINY} --gf_dim 4 --df_dim 4 --gen_model autogan_cifar10_a --max_iter 10 --num_eval_imgs 8 --val_freq 1 "
    "--sample_freq 1 --print_freq 3 --lr_decay --score_start --exp_name t"
)


SEED_COMMANDS = [
    "train_derived -gen_bs 128 -dis_bs 64 --dataset cifar10 --bottom_width 4 --img_size 32 --max_iter 50000 --gen_model shared_gan "
    "--dis_model shared_gan --latent_dim 128 --gf_dim 256 --df_dim 128 --g_spectral_norm False --d_spectral_norm True --g_lr 0.0002 "
    "--d_lr 0.0002 --beta1 0.0 --beta2 0.9 --init_type xavier_uniform --n_critic 5 --val_freq 20 --arch 1 0 1 1 1 0 0 1 1 1 0 1 0 3 "
    "--exp_name derive",
    "test --dataset cifar10 --img_size 32 --bottom_width 4 --gen_model autogan_cifar10_a --latent_dim 128 --gf_dim 256 "
    "--g_spectral_norm False --exp_name test_autogan_cifar10_a",
]


@pytest.mark.parametrize("command", SEED_COMMANDS, ids=["train_derived", "test"])
def test_the_published_command_lines_resolve_to_the_published_network(type_command, capsys, command):
    type_command(command + " --dry_run")
    resolved = json.loads(capsys.readouterr().out)
    assert resolved["architecture"] == "1 0 1 1 | 1 0 0 1 1 | 1 0 1 0 3"
    assert (resolved["generator_parameters"], resolved["generator_macs"]) == (4_405_251, 1_765_015_552)
    assert (resolved["discriminator_parameters"], resolved["discriminator_macs"]) == (1_053_824, 272_072_832)
    assert resolved["options"]["exp_name"] in command


@pytest.mark.parametrize(
    "script",
    sorted(path.name for path in (ROOT / "exps").glob("auto*.sh"))
    + ["derive.sh", "slas_cifar10.sh", "random_sharing_cifar10.sh"],
)
def test_every_experiment_script_passes_options_that_exist(script, type_command, capsys):
    text = (ROOT / "exps" / script).read_text()
    _, command = text.split("python ", 1)
    words = command.replace("\\\n", " ").replace('"$@"', "").replace(".py", "", 1).split()
    type_command(" ".join(words) + " --dry_run")
    assert json.loads(capsys.readouterr().out)["options"]["gen_batch_size"] == 128


def test_the_searches_defaults_are_the_papers(type_command, capsys):
    type_command("search --dry_run")
    resolved = json.loads(capsys.readouterr().out)
    assert resolved["resolutions"] == [8, 16, 32] and resolved["grow_steps"] == [25, 55]
    assert resolved["scored_images"] == 90 * 30 * 5000 + 3 * 10 * 5000
    type_command("search --dry_run --bottom_width 6 --img_size 48")
    assert json.loads(capsys.readouterr().out)["resolutions"] == [12, 24, 48]
    type_command("search --dry_run --img_size 64 --grow_steps 20 40 60")
    assert json.loads(capsys.readouterr().out)["resolutions"] == [8, 16, 32, 64]


def test_both_protocols_are_one_flag(type_command, capsys):
    for arguments, expected in (
        ("", (50000, "train")),
        ("--protocol sngan", (5000, "test")),
        ("--protocol sngan --num_eval_imgs 70", (70, "test")),
    ):
        type_command(f"test --dry_run --gen_model autogan_cifar10_a {arguments}")
        options = json.loads(capsys.readouterr().out)["options"]
        assert (options["num_eval_imgs"], options["split"]) == expected


@pytest.mark.parametrize(
    "command, words",
    [
        ("search --foo 1", "--foo"),
        ("search --gf_dim 0", "--gf_dim: must be at least 1"),
        ("search --g_lr nan", "--g_lr"),
        ("search --img_size 33", "--img_size"),
        ("search --img_size 64", "--grow_steps (an iteration for each cell but the first)"),
        ("search --topk 11", "--topk"),
        ("search --gf_dim 100000000 --device cpu", "--gf_dim"),
        ("train_derived --arch 1 0 1 1 --img_size 8 --latent_dim 99999999999 --device cpu", "--latent_dim"),
        ("search --rl_num_eval_img 5", "--is_splits: 5 images (--rl_num_eval_img) have no 10 parts"),
        ("train_derived --gen_model autogan_cifar10_a --num_eval_imgs 5", "--is_splits"),
        ("search --grow_step1 60", "--grow_step1"),
        ("search --d_spectral_norm perhaps", "--d_spectral_norm"),
        ("search --dataset folder --data_path nowhere --feature_net efficientnet-lite0", "--data_path"),
        ("search --dataset folder --data_path nowhere --inception_path nowhere.pth", "--inception_path"),
        (
            "search --method dggan --dataset folder --data_path nowhere --inception_path nowhere.pth",
            "--inception_path",
        ),
        (
            "train_derived --gen_model sngan --dataset folder --data_path nowhere --inception_path nowhere.pth",
            "--inception_path",
        ),
        ("search --dataset digits --device tpu", "--device"),
        ("search --dataset digits --inception_path nowhere.pth", "--inception_path"),
        ("search --load_path nowhere", "--load_path"),
        ("search --exp_name=", "--exp_name: '' is not the name of a folder"),
        ("test --exp_name ../../x", "--exp_name: '../../x' is not the name of a folder"),
        ("train_derived", "--arch"),
        ("train_derived --arch 1 0 1", "--arch: cell 1 takes 4 tokens"),
        (
            "train_derived --arch extended 1 0 1 1",
            "takes 5 tokens, not 4; the first cell has 4 tokens and each "
            "further one 5 (after the word extended: 5 and 6)",
        ),
        ("train_derived --arch 1 0 1 1", "--img_size 8"),
        ("train_derived --arch_file nowhere.json", "--arch_file"),
        ("train_derived --gen_model autogan_cifar10_d", "--gen_model"),
        ("search --inception_backend both", "--inception_backend: invalid choice: 'both'"),
        ("test", "--load_path"),
        ("test --load_path nowhere.pth", "--load_path"),
    ],
)
def test_a_mistake_gets_one_line_that_names_the_option(fail_command, command, words):
    assert words in fail_command(command)


@pytest.mark.parametrize(
    "command",
    [
        "search",
        "search --method dggan",
        "train_derived --gen_model autogan_cifar10_a",
        "test --load_path NODE",
    ],
)
def test_one_image_is_refused_before_a_run_begins(fail_command, tmp_path, command):
    (tmp_path / "pictures").mkdir()
    load_images("digits").picture(0).save(tmp_path / "pictures" / "a.png")
    small = GrowingGenerator(proggan_architecture(4, 4), 8).state_dict()
    networks = {"generator": small, "discriminator": {}, "average": small}
    node = {"architecture": str(proggan_architecture(4, 4)), "gan": networks}
    save_checkpoint(tmp_path / "node.pth", node)
    command = command.replace("NODE", f"{tmp_path / 'node.pth'}")
    words = "holds 1 image, too few; give 2 at least"
    assert words in fail_command(
        f"{command} --dataset folder --data_path {tmp_path / 'pictures'} --device cpu --feature_net efficientnet-lite0"
    )


@pytest.fixture(scope="module")
def finished_runs(tmp_path_factory):
    """One uninterrupted search and one uninterrupted training."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        for command in (TINY_SEARCH, TINY_TRAINING):
            script, *arguments = command.split()
            monkeypatch.setattr(sys, "argv", [script, *arguments])
            load_script(script).main()
    return folder


def test_the_grid_at_the_end_of_a_level_shows_the_level_that_was_trained(finished_runs):
    """Iteration 2 is the second level's last: ten images of 16 px, each with a border and pixels four wide."""
    assert Image.open(only_run(finished_runs, "s") / "Samples" / "iteration_002.png").width == 4 * (
        10 * (16 + 1) + 1
    )


def assert_equal_runs(run, finished):
    first, second = (load_checkpoint(folder / "Model" / "checkpoint.pth") for folder in (run, finished))
    assert_equal_states(first, second)
    assert read_metrics(run) == read_metrics(finished)
    if (finished / "scored.jsonl").exists():
        assert scored_lines(run) == scored_lines(finished)


@pytest.mark.parametrize(
    "call, by_signal", [(2, True), (3, False), (6, True), (8, True), (14, False), (17, True)]
)
def test_a_search_that_stops_and_goes_on_equals_the_uninterrupted_one(
    type_command, tmp_path, monkeypatch, finished_runs, call, by_signal
):
    stops, heal = stop_at(call, monkeypatch, by_signal)
    with pytest.raises(stops):
        type_command(TINY_SEARCH)
    heal()
    run = only_run(tmp_path, "s")
    if (
        run / "Model" / "checkpoint.pth"
    ).is_file():  # a power cut before the first checkpoint leaves nothing to go on from
        type_command(f"search --load_path {run}")
        assert_equal_runs(run, only_run(finished_runs, "s"))
        assert (run / "derived.json").read_text() == (
            only_run(finished_runs, "s") / "derived.json"
        ).read_text()
    else:
        assert not by_signal and call < 6


@pytest.mark.parametrize("call, by_signal", [(1, True), (4, True), (5, False), (8, True)])
def test_a_training_that_stops_and_goes_on_equals_the_uninterrupted_one(
    type_command, tmp_path, monkeypatch, finished_runs, call, by_signal
):
    stops, heal = stop_at(call, monkeypatch, by_signal)
    with pytest.raises(stops):
        type_command(TINY_TRAINING)
    heal()
    run = only_run(tmp_path, "t")
    type_command(f"train_derived --load_path {run}")
    assert_equal_runs(run, only_run(finished_runs, "t"))


@pytest.mark.parametrize(
    "command, call", [(TINY_SEARCH, 2), (TINY_SEARCH, 7), (TINY_TRAINING, 1), (TINY_TRAINING, 3)]
)
def test_a_stop_while_images_are_scored_is_heard_there_and_they_are_scored_again(
    type_command, tmp_path, monkeypatch, finished_runs, command, call
):
    original, calls = SavePoint.stop_if_asked, []

    def asked(self):
        calls.append(self)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGINT)  # SIGTERM ends pytest
        original(self)

    monkeypatch.setattr(SavePoint, "stop_if_asked", asked)
    with pytest.raises(StopRequested):
        type_command(command)
    name = command.split()[-1]
    run, batches_before = only_run(tmp_path, name), len(calls)
    assert batches_before == call
    type_command(f"{command.split()[0]} --load_path {run}")
    assert len(calls) > batches_before
    assert_equal_runs(run, only_run(finished_runs, name))


def test_a_run_that_goes_on_counts_the_time_of_all_its_sessions(type_command, tmp_path, monkeypatch):
    stops, heal = stop_at(4, monkeypatch)
    with pytest.raises(stops):
        type_command(TINY_TRAINING)
    heal()
    run = only_run(tmp_path, "t")
    file = run / "Model" / "checkpoint.pth"
    save_checkpoint(file, {**load_checkpoint(file), "seconds": 5000.0})
    type_command(f"train_derived --load_path {run}")
    assert 5000 < json.loads((run / "results.json").read_text())["seconds"] < 5100
    assert 5000 < load_checkpoint(file)["seconds"] < 5100


def test_a_search_logs_a_line_an_iteration_and_rewards_with_the_networks_name(finished_runs):
    log = (only_run(finished_runs, "s") / "Log" / "log.txt").read_text()
    for iteration in range(1, 5):
        time_left = (
            r", about \S+ left" if iteration > 2 else ""
        )  # the first two levels have one iteration each
        assert re.search(
            rf" iteration {iteration} of 4: d_loss \S+, g_loss \S+, mean reward \(efficientnet-lite0 IS\) [\d.]+{time_left}\n",
            log,
        )
    assert len(re.findall(r"   reward \S+ \(efficientnet-lite0 IS\)\n", log)) == 2 + 2 + 2


def test_a_search_ends_with_a_grid_however_short_it_is(type_command, tmp_path):
    type_command(
        TINY_SEARCH.replace(
            "--max_search_iter 4 --grow_step1 1 --grow_step2 2",
            "--max_search_iter 1 --grow_steps --img_size 8",
        )
    )
    assert [path.name for path in (only_run(tmp_path, "s") / "Samples").iterdir()] == ["iteration_001.png"]


def test_a_training_logs_a_line_every_minute(tmp_path, monkeypatch):
    script = load_script("train_derived")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models_search.retraining.training, "SECONDS_PER_LINE", -1)
    monkeypatch.setattr(sys, "argv", TINY_TRAINING.replace("--score_start", "--val_freq 9").split())
    script.main()
    log = (only_run(tmp_path, "t") / "Log" / "log.txt").read_text()
    assert re.findall(r" iteration (\d+) of 10: d_loss", log)[-1] == "10"


def test_a_dynamic_reset_stops_at_the_step_of_the_rule_however_often_the_losses_are_looked_at(
    type_command, tmp_path
):
    """A threshold that any losses fall below: the reset comes at the same step with another --print_freq, and
    the run is the same.
    """
    for name, print_freq in (("often", 1), ("seldom", 100)):
        command = TINY_SEARCH.replace("--print_freq 3", f"--print_freq {print_freq}").replace(
            "--exp_name s", f"--exp_name {name}"
        )
        type_command(command + " --dynamic_reset_threshold 1e6 --dynamic_reset_window 3")
    first, second = (
        load_checkpoint(only_run(tmp_path, name) / "Model" / "checkpoint.pth") for name in ("often", "seldom")
    )
    assert first["counters"]["resets"] > 0
    for state in (first, second):
        state.pop("metrics_bytes")
        state["options"] = {**state["options"], "print_freq": None, "exp_name": None}
    assert_equal_states(first, second)


def test_another_seed_gives_another_run(type_command, tmp_path, finished_runs):
    type_command(TINY_TRAINING + " --random_seed 7")
    mine, other = (
        load_checkpoint(only_run(folder, "t") / "Model" / "checkpoint.pth")
        for folder in (tmp_path, finished_runs)
    )
    assert not torch.equal(
        mine["gan"]["generator"]["linear.weight"], other["gan"]["generator"]["linear.weight"]
    )


def test_what_a_run_computes_cannot_be_changed_when_it_goes_on(fail_command, finished_runs):
    assert "--gf_dim: the run was started with 4" in fail_command(
        f"search --load_path {only_run(finished_runs, 's')} --gf_dim 8"
    )


@pytest.mark.parametrize(
    "wrong, right, name", [("search", "train_derived", "t"), ("train_derived", "search", "s")]
)
def test_a_run_of_the_other_script_is_refused_with_the_command_that_goes_on_with_it(
    fail_command, finished_runs, wrong, right, name
):
    run = only_run(finished_runs, name)
    assert f"go on with it by: python {right}.py --load_path {run}" in fail_command(
        f"{wrong} --load_path {run}"
    )


def test_a_search_goes_on_by_its_own_method_only(fail_command, finished_runs):
    assert "--method: the run was started with autogan" in fail_command(
        f"search --method dggan --load_path {only_run(finished_runs, 's')}"
    )


def test_a_finished_training_goes_on_to_more_iterations_as_if_they_had_been_asked_for_at_once(
    type_command, tmp_path
):
    command = TINY_TRAINING.replace("--lr_decay --score_start", "--val_freq 9")
    type_command(
        command.replace("--max_iter 10", "--max_iter 6").replace("--exp_name t", "--exp_name longer")
    )
    type_command(f"train_derived --load_path {only_run(tmp_path, 'longer')} --max_iter 10")
    type_command(command)
    first, second = (
        load_checkpoint(only_run(tmp_path, name) / "Model" / "checkpoint.pth") for name in ("longer", "t")
    )
    assert_equal_states(first["gan"], second["gan"])
    assert first["options"]["max_iter"] == 10


@pytest.mark.parametrize("more", [20, 5])
def test_a_training_whose_learning_rate_falls_keeps_its_length(fail_command, finished_runs, more):
    assert "--max_iter: the run was started with 10" in fail_command(
        f"train_derived --load_path {only_run(finished_runs, 't')} --max_iter {more}"
    )


def test_two_processes_never_write_to_one_run(fail_command, finished_runs):
    run = only_run(finished_runs, "t")
    holding = "import fcntl, sys; file = open(sys.argv[1], 'a'); fcntl.lockf(file, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holding, run / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        assert "another process is writing" in fail_command(f"train_derived --load_path {run}")
        other.stdin.close()


def test_a_search_prints_how_to_train_without_what_only_makes_rewards_cheap(
    type_command, tmp_path, finished_runs
):
    log = (only_run(finished_runs, "s") / "Log" / "log.txt").read_text()
    (training,) = [line for line in log.splitlines() if "python train_derived.py" in line]
    (all_of_them,) = [line for line in log.splitlines() if "exps/retrain_topk.sh" in line]
    for line in (training, all_of_them):
        assert (
            "--gen_batch_size 8 --dis_batch_size 256" in line
            and "--n_critic 2" in line
            and "--latent_dim 8" in line
        )
        assert "--is_splits" not in line and "--gf_dim" not in line
    assert f"writing to {only_run(finished_runs, 's').relative_to(finished_runs)}" in log.splitlines()[0]


def test_the_time_left_is_told_level_by_level():
    plan = make_plan(cfg.parse("search", "--max_search_iter 6 --grow_steps 3 --img_size 16".split()))
    lines = [iteration_line(plan, iteration, {"d_loss": 1.0}, 60) for iteration in range(6)]
    assert lines[0] == "iteration 1 of 6: d_loss 1, about 02:00 left at 8 px"
    assert lines[2] == "iteration 3 of 6: d_loss 1"
    assert lines[3] == "iteration 4 of 6: d_loss 1, about 02:00 left"
    assert lines[5].endswith("about 00:00 left")


def test_random_search_scores_candidates_alone(type_command, capsys):
    type_command("search --controller random --dry_run")
    resolved = json.loads(capsys.readouterr().out)
    assert (resolved["controller_steps"], resolved["scored_images"]) == (0, 3 * 10 * 5000)


def test_a_searchs_result_is_trained_and_scored(type_command, tmp_path, finished_runs, fail_command, capsys):
    derived = only_run(finished_runs, "s") / "derived.json"
    ranked = json.loads(derived.read_text())["architectures"]
    assert [entry["rank"] for entry in ranked] == [1, 2] and ranked[0]["reward"] >= ranked[1]["reward"]
    type_command(
        f"{TINY_TRAINING} --arch_file {derived} --rank 2 --exp_name r".replace(
            "--gen_model autogan_cifar10_a", ""
        )
    )
    run = only_run(tmp_path, "r")
    results = json.loads((run / "results.json").read_text())
    assert results["architecture"] == ranked[1]["architecture"]
    assert [entry["iteration"] for entry in results["history"]][0] == 0
    assert results["final"]["feature_net"] == "efficientnet-lite0"
    assert (run / "Samples" / "training.gif").stat().st_size > 0
    assert list((run / "Log").glob("events*")) and (run / "Log" / "log.txt").is_file()

    type_command(f"test --device cpu --is_splits 1 --num_eval_imgs 8 --load_path {run}")
    (scored,) = (tmp_path / "logs_eval").iterdir()
    best = load_checkpoint(run / "Model" / "checkpoint_best.pth")["best"]
    scores = json.loads((scored / "results.json").read_text())["scores"]
    assert scores["fid"] == pytest.approx(best["fid"], rel=1e-6) and scores["is_mean"] == pytest.approx(
        best["is_mean"], rel=1e-6
    )
    for rank in (3, 0, -5):
        assert "--rank: " in fail_command(f"train_derived --arch_file {derived} --rank {rank}")
    assert "--gf_dim" in fail_command(f"test --load_path {run} --gf_dim 8")
    assert "search" in fail_command(
        f"test --load_path {only_run(finished_runs, 's') / 'Model' / 'checkpoint.pth'}"
    )


def test_a_checkpoint_is_scored_as_training_has_scored_it(type_command, tmp_path):
    """Enough images that another order of sums would move some value over the edge where it is truncated."""
    scoring = (
        "--dataset digits --feature_net efficientnet-lite0 --device cpu --is_splits 1 --num_eval_imgs 200"
    )
    type_command(
        f"train_derived {scoring} -gen_bs 16 -dis_bs 16 --latent_dim 8 --gf_dim 16 --df_dim 4 --gen_model e2gan_cifar10 --max_iter 8 "
        "--random_seed 7"
    )
    log = (only_run(tmp_path, "derive") / "Log" / "log.txt").read_text()
    printed = (
        log[log.index("python test.py") :].splitlines()[0].removeprefix("python ").replace("test.py", "test")
    )
    type_command(f"{printed} --device cpu")
    trained = json.loads((only_run(tmp_path, "derive") / "results.json").read_text())
    (scored,) = (tmp_path / "logs_eval").iterdir()
    results = json.loads((scored / "results.json").read_text())
    scores, final = results["scores"], trained["final"]
    assert (scores["fid"], scores["is_mean"]) == pytest.approx((final["fid"], final["is_mean"]), rel=1e-9)
    assert [results["options"][name] for name in ("gf_dim", "df_dim", "latent_dim", "random_seed")] == [
        16,
        4,
        8,
        7,
    ]
    assert (
        results["generator_parameters"] == trained["generator_parameters"]
        and results["discriminator_parameters"] < 10_000
    )


SCORING = "--feature_net efficientnet-lite0 --device cpu --is_splits 1 --num_eval_imgs 4"


def statistics_file(folder, **provenance):
    """A file for --fid_stat, of images that nobody has."""
    known = {
        "feature_net": "efficientnet-lite0",
        "data": "STL-10",
        "split": "train",
        "resolution": 32,
        "num_images": 7,
        **provenance,
    }
    save_statistics(RealStatistics(np.zeros(1280), np.eye(1280), **known), folder / "real.npz")
    return folder / "real.npz"


class Unavailable:
    """A data set that can neither be found nor downloaded."""

    base_folder = "none"

    def __init__(self, **options):
        raise OSError("no network")


def test_with_statistics_of_the_real_images_no_data_set_is_needed(
    type_command, tmp_path, monkeypatch, finished_runs
):
    monkeypatch.setattr("utils.data.published.STL10", Unavailable)
    file = statistics_file(tmp_path)
    type_command(
        f"test {SCORING} --load_path {only_run(finished_runs, 't')} --dataset stl10 --data_path nowhere --fid_stat {file}"
    )
    (scored,) = (tmp_path / "logs_eval").iterdir()
    assert "4 generated against 7 real images (STL-10, train): " in (scored / "Log" / "log.txt").read_text()


@pytest.mark.parametrize(
    "arguments, provenance, words",
    [
        ("", {"resolution": 16}, "the resolution 16, the images are scored with 32"),
        ("", {"data": "CIFAR-10"}, "the data set CIFAR-10, the images are scored with STL-10"),
        ("--split test", {}, "the split train, the images are scored with test"),
        ("--metrics kid", {}, "holds no features"),
        ("--metrics swd", {}, "--data_path"),
    ],
)
def test_statistics_of_other_images_than_those_to_compare_with_are_refused(
    fail_command, tmp_path, monkeypatch, finished_runs, arguments, provenance, words
):
    monkeypatch.setattr("utils.data.published.STL10", Unavailable)
    file = statistics_file(tmp_path, **provenance)
    command = f"test {SCORING} --load_path {only_run(finished_runs, 't')} --dataset stl10 --data_path nowhere --fid_stat {file}"
    assert words in fail_command(f"{command} {arguments}")


def test_a_run_is_scored_on_its_own_data_unless_the_command_line_names_other(
    type_command, capsys, finished_runs
):
    def resolved(arguments):
        type_command(f"test --dry_run --load_path {only_run(finished_runs, 't')} {arguments}")
        options = json.loads(capsys.readouterr().out)["options"]
        return [options[name] for name in ("dataset", "data_path", "feature_net", "inception_path")]

    assert resolved("") == ["digits", "./data", "efficientnet-lite0", None]
    assert resolved("--data_path elsewhere") == ["digits", "elsewhere", "efficientnet-lite0", None]
    assert resolved("--dataset stl10 --inception_path a.pth") == ["stl10", "./data", "inception", "a.pth"]


def test_random_search_runs_with_fid_rewards_at_another_bottom_width(type_command, tmp_path):
    search = TINY_SEARCH.replace("--ctrl_step 2 --ctrl_sample_batch 2", "")
    type_command(
        f"{search} --controller random --reward fid --exp_name random --bottom_width 3 --img_size 24"
    )
    rewards = json.loads((only_run(tmp_path, "random") / "results.json").read_text())["rewards"]
    assert all(0 < reward < 1 for reward in rewards)
    log = (only_run(tmp_path, "random") / "Log" / "log.txt").read_text()
    assert all(f"reward {reward:.4g} (efficientnet-lite0 1/FID)" in log for reward in rewards)


def test_spectral_norm_in_the_generator_is_trained_saved_and_loaded(type_command, tmp_path):
    type_command(
        TINY_TRAINING.replace("--score_start", "--g_spectral_norm True").replace(
            "--val_freq 1", "--val_freq 9"
        )
    )
    run = only_run(tmp_path, "t")
    average = load_checkpoint(run / "Model" / "checkpoint.pth")["gan"]["average"]
    assert "cells.0.first.pre.conv.parametrizations.weight.original" in average
    type_command(f"test --device cpu --is_splits 1 --num_eval_imgs 8 --load_path {run}")
    (scored,) = (tmp_path / "logs_eval").iterdir()
    final = json.loads((run / "results.json").read_text())["final"]
    assert json.loads((scored / "results.json").read_text())["scores"]["fid"] == pytest.approx(
        final["fid"], rel=1e-6
    )


def test_a_training_updates_its_generator_max_iter_times_and_its_discriminator_n_critic_times_as_often(
    finished_runs,
):
    gan = load_checkpoint(only_run(finished_runs, "t") / "Model" / "checkpoint.pth")["gan"]
    updates = [
        max(int(state["step"]) for state in gan[f"{name}_optimizer"]["state"].values())
        for name in ("generator", "discriminator")
    ]
    assert updates == [10, 20]


@pytest.fixture
def in_both_ways(type_command, tmp_path, monkeypatch, in_float64):
    """in_both_ways(command) -> results.json of the plain way and of the fast way, whose optimisers alone are fused.

    In float64: in float32 rounding, which is the processor's, parts the two until rewards differ by up to a percent and what
    training changes of the FID by 8. So the real images are float64 too; they are float32 whatever the default.
    """
    monkeypatch.setattr(utils.training.inputs, "from_uint8", lambda images: from_uint8(images).double())

    def run(command):
        results = []
        for way, is_fused in (("off", False), ("on", True)):
            type_command(f"{command} --fast {way} --exp_name {way}")
            run = only_run(tmp_path, way)
            gan = load_checkpoint(run / "Model" / "checkpoint.pth")["gan"]
            for network in ("generator", "discriminator"):
                assert gan[f"{network}_optimizer"]["param_groups"][0]["fused"] == is_fused
                assert {tensor.dtype for tensor in gan[network].values()} - {torch.int64} == {torch.float64}
            results.append(json.loads((run / "results.json").read_text()))
        assert results[0].keys() == results[1].keys()
        return results

    return run


def test_the_plain_way_of_searching_finds_what_the_fast_way_does(in_both_ways):
    plain, fast = in_both_ways(f"{TINY_SEARCH} --max_search_iter 3")
    assert plain["architectures"] == fast["architectures"]
    assert plain["rewards"] == pytest.approx(fast["rewards"], rel=1e-6)


def test_the_plain_way_of_training_ends_where_the_fast_way_does(in_both_ways):
    plain, fast = in_both_ways(
        f"{TINY_TRAINING} -dis_bs 32 --max_iter 4 --ema_decay 0 --num_eval_imgs 64 --val_freq 9 --sample_freq 9"
    )
    assert plain["architecture"] == fast["architecture"] and plain["final"].keys() == fast["final"].keys()
    moved = abs(fast["final"]["fid"] - fast["history"][0]["fid"])
    assert abs(plain["final"]["fid"] - fast["final"]["fid"]) < 1e-4 * moved


def test_runs_train_in_float32(finished_runs):
    for name in ("s", "t"):
        gan = load_checkpoint(only_run(finished_runs, name) / "Model" / "checkpoint.pth")["gan"]
        for network in ("generator", "discriminator"):
            assert {tensor.dtype for tensor in gan[network].values()} - {torch.int64} == {torch.float32}
