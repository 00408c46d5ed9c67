"""DGGAN's and ProgGAN's runs as a user types them: growth, workers, runs that stop and go on, mistakes, and
what comes of the winner.
"""

import json
import re
import shutil
import sys
from dataclasses import replace

import pytest
import torch
from PIL import Image
from running import (
    ROOT, assert_equal_states, load_script, only_run, read_metrics, scored_lines, stop_at, write_pictures,
)  # fmt: skip

import cfg
import models_search.dggan.pair
import utils.progress
from models.growing.architecture import GrowingArchitecture, proggan_architecture
from models_search.dggan.actions import GrowResolution, GrowthError, every_action, legal_actions
from models_search.dggan.fade import Fade
from models_search.dggan.plan import check_steps, make_plan
from models_search.dggan.search import search
from models_search.dggan.tree import path_actions, planted, tree_from_json
from utils.run.checkpoint import load_checkpoint, save_checkpoint
from utils.training.losses import loss_schedule
from utils.training.loop import Diverged

SCORING = "--feature_net efficientnet-lite0 --device cpu --is_splits 1 --img_size 16 --num_workers 0 --random_seed 24"
GROWTH = "-gen_bs 8 -dis_bs 8 --latent_dim 8 --growth_width 4 --growth_iterations 4 --print_freq 2 --rl_num_eval_img 6"
DGGAN = f"search --method dggan {SCORING} {GROWTH} --growing_steps 2 --topk 2 --kernels 3 --filters 4 8 --action_probability 0.5 --exp_name d"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return f"--dataset folder --data_path {write_pictures(tmp_path_factory.mktemp('pictures'))}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pictures):
    """The folder of an uninterrupted search."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", f"{DGGAN} {pictures}".split())
        load_script("search").main()
    return only_run(folder, "d")


def tree_of(run):
    return tree_from_json((run / "growth_tree.json").read_text())


def assert_equal_searches(run, other):
    assert tree_of(run) == tree_of(other)
    assert (run / "derived.json").read_text() == (other / "derived.json").read_text()
    assert scored_lines(run) == scored_lines(other)
    names = sorted(path.name for path in (run / "Model").glob("node_*"))
    assert names == sorted(path.name for path in (other / "Model").glob("node_*")) and "node_000.pth" in names
    for name in names:
        assert_equal_states(*(load_checkpoint(folder / "Model" / name) for folder in (run, other)))


def test_a_search_grows_prunes_and_reaches_the_final_resolution(finished):
    tree = tree_of(finished)
    assert max(node.step for node in tree) == 2
    for step in (1, 2):
        scores = sorted((node.score for node in tree if node.step == step), reverse=True)
        assert (
            sorted((node.score for node in tree if node.step == step and node.kept), reverse=True)
            == scores[:2]
        )
    assert all(
        GrowingArchitecture.parse(node.architecture).resolution == 16 for node in tree if node.step == 2
    )
    assert all(node.score == -node.figures["fid"] for node in tree)

    results = json.loads((finished / "results.json").read_text())
    for resolution, entry in results["resolutions"].items():
        fids = [
            n.figures["fid"]
            for n in tree
            if GrowingArchitecture.parse(n.architecture).resolution == int(resolution)
        ]
        assert entry["fid"] == min(fids) and entry["training_images"] == 4 * 8 * (1 + len(entry["actions"]))
    assert list(results["resolutions"]) == ["8", "16"]
    ranked = json.loads((finished / "derived.json").read_text())["architectures"]
    assert [entry["reward"] for entry in ranked] == sorted(
        (entry["reward"] for entry in ranked), reverse=True
    )
    assert all(
        load_checkpoint(finished / entry["weights"])["architecture"] == entry["architecture"]
        for entry in ranked
    )


def test_a_search_leaves_pictures_of_the_tree_of_every_node_and_of_every_steps_best(finished):
    tree = tree_of(finished)
    names = [f"node_{index:03d}.png" for index in range(len(tree))] + [
        f"best_of_step_{step:02d}.png" for step in range(3)
    ]
    assert sorted(names) == sorted(path.name for path in (finished / "Samples").iterdir())
    columns, rows = 3, max(sum(node.step == step for node in tree) for step in range(3))
    picture = Image.open(finished / "growth_tree.png")
    assert picture.width > 200 * columns and picture.height > 40 * rows
    best = max((node for node in tree if node.step == 2), key=lambda node: node.score)
    assert (finished / "Samples" / f"node_{tree.index(best):03d}.png").read_bytes() == (
        finished / "Samples/best_of_step_02.png"
    ).read_bytes()


def test_a_networks_file_is_scored_on_the_images_of_its_run_at_its_own_resolution(
    type_command, tmp_path, finished
):
    type_command(
        f"test --load_path {finished}/Model/node_000.pth --device cpu --is_splits 1 --num_eval_imgs 6 --random_seed 24 --num_workers 0"
    )
    (scored,) = (tmp_path / "logs_eval").iterdir()
    scores = json.loads((scored / "results.json").read_text())["scores"]
    assert scores["resolution"] == 8 and scores["fid"] == pytest.approx(
        tree_of(finished)[0].figures["fid"], rel=1e-6
    )


def test_every_score_in_the_log_carries_the_networks_name(finished):
    log = (finished / "Log" / "log.txt").read_text()
    assert (
        log.count("FID ") == log.count("efficientnet-lite0 FID ") == len(tree_of(finished)) + 2
    )  # and the best at 8 and at 16 px
    assert log.count("IS ") == log.count("efficientnet-lite0 IS ") == len(tree_of(finished))


def test_a_long_training_tells_where_it_stands_without_a_terminal(
    type_command, pictures, capsys, monkeypatch
):
    for name in ("FIRST_PAUSE", "SHORT"):
        monkeypatch.setattr(utils.progress, name, -1)
    type_command(f"search --method proggan {pictures} {SCORING} {GROWTH} --exp_name p")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("node_001, 16 px: ")]
    assert lines[0].startswith("node_001, 16 px: 1 of 4 steps") and len(lines) == 4
    assert re.search(r": 4 of 4 steps: d_loss \S+, g_loss \S+, about 00:00 left$", lines[-1]), lines


def test_the_weights_of_pruned_networks_are_removed(finished):
    kept = {f"node_{index:03d}.pth" for index, node in enumerate(tree_of(finished)) if node.kept}
    assert kept == {path.name for path in (finished / "Model").glob("node_*")}


# Save points come after 2 and 4 of a network's 4 steps and, those of the search itself, after each network.
@pytest.mark.parametrize("call, by_signal", [(8, True), (12, False)])
def test_a_search_that_stops_goes_on_without_training_a_finished_network_again(
    type_command, tmp_path, pictures, monkeypatch, finished, call, by_signal
):
    trained, original = [], models_search.dggan.pair._train

    def counting(training, node, *rest):
        networks = original(training, node, *rest)
        trained.append(node.file.name)
        return networks

    monkeypatch.setattr(models_search.dggan.pair, "_train", counting)
    stops, heal = stop_at(call, monkeypatch, by_signal)
    with pytest.raises(stops):
        type_command(f"{DGGAN} {pictures}")
    heal()
    run, before = only_run(tmp_path, "d"), len(trained)
    partial = list((run / "Model").glob("node_*_partial.pth"))
    assert bool(partial) == (by_signal and call % 3 != 0)
    type_command(f"search --load_path {run}")
    assert 0 < len(trained) == len(set(trained)) == len(tree_of(finished)) and before < len(trained)
    assert_equal_searches(run, finished)
    assert not list((run / "Model").glob("*_partial*"))
    assert read_metrics(run) == read_metrics(finished)


def test_a_network_depends_on_its_path_and_not_on_its_siblings(type_command, tmp_path, pictures, finished):
    torch.manual_seed(99)
    type_command(f"{DGGAN} {pictures} --action_probability 1 --growing_steps 1 --topk 1")
    scores = {
        path_actions(tree_of(finished), index): node.score for index, node in enumerate(tree_of(finished))
    }
    tree = tree_of(only_run(tmp_path, "d"))
    shared = [index for index in range(len(tree)) if path_actions(tree, index) in scores]
    assert shared and all(tree[index].score == scores[path_actions(tree, index)] for index in shared)
    assert [node.action for node in tree[1:]] == [
        "double"
    ]  # one growing step is only enough for the doubling


def test_a_network_that_diverges_is_recorded_and_the_search_goes_on(
    type_command, tmp_path, pictures, monkeypatch
):
    original = models_search.dggan.pair.train

    def diverging(gan, *arguments, **options):
        if gan.generator.architecture == proggan_architecture(8, width=4):
            raise Diverged("the loss of the generator is nan at step 1")
        return original(gan, *arguments, **options)

    monkeypatch.setattr(models_search.dggan.pair, "train", diverging)
    command = (
        f"{DGGAN} {pictures} --start_resolution 4 --img_size 8 --filters 4 --action_probability 1 --topk 1"
    )
    type_command(command)
    run = only_run(tmp_path, "d")
    (failed,) = (node for node in tree_of(run) if node.failure)
    assert (
        failed.action == "double"
        and failed.step == 1
        and failed.score is None
        and not failed.kept
        and "nan" in failed.failure
    )
    assert json.loads((run / "results.json").read_text())["failed"] == 1
    with pytest.raises(Diverged, match="no network of growing step 1 could be trained: .* nan"):
        type_command(f"{command} --growing_steps 1 --exp_name none")


def test_proggan_is_the_list_of_doublings(type_command, tmp_path, pictures):
    type_command(f"search --method proggan {pictures} {SCORING} {GROWTH} --exp_name p")
    run = only_run(tmp_path, "p")
    assert [(node.action, node.kept) for node in tree_of(run)] == [(None, True), ("double", True)]
    assert json.loads((run / "derived.json").read_text())["architectures"][0]["architecture"] == str(
        proggan_architecture(16, width=4)
    )


def test_a_run_that_goes_on_may_be_told_again_what_it_was_started_with(
    type_command, fail_command, tmp_path, finished
):
    """By a list as by its default, a tuple."""
    run = tmp_path / "copy"
    shutil.copytree(finished, run)
    type_command(f"search --load_path {run} --kernels 3 --filters 4 8 --growing_steps 2 --dry_run")
    assert "--filters: the run was started with (4, 8), not (4, 9)" in fail_command(
        f"search --load_path {run} --filters 4 9"
    )
    state = load_checkpoint(run / "Model" / "checkpoint.pth")
    save_checkpoint(
        run / "Model" / "checkpoint.pth", {**state, "options": {**state["options"], "kernels": [3, 7]}}
    )
    type_command(f"search --load_path {run} --kernels 3 7 --dry_run")


def test_the_winner_is_scored_continued_and_trained_from_scratch(
    type_command, fail_command, tmp_path, pictures, finished
):
    best = json.loads((finished / "derived.json").read_text())["architectures"][0]
    shared = f"{pictures} {SCORING} --num_eval_imgs 6"

    def fid_of_test(path):
        type_command(
            f"test {shared} --load_path {path} --exp_name t{len(list(tmp_path.glob('logs_eval/*')))}"
        )
        run = max((tmp_path / "logs_eval").iterdir(), key=lambda folder: folder.name)
        return json.loads((run / "results.json").read_text())["scores"]["fid"]

    assert fid_of_test(finished / best["weights"]) == pytest.approx(-best["reward"], rel=1e-6)
    training = f"train_derived {shared} --arch_file {finished / 'derived.json'} -gen_bs 8 -dis_bs 8 --latent_dim 8 --max_iter 6 --score_start"
    type_command(f"{training} --init_from {finished / best['weights']} --exp_name continued")
    type_command(f"{training} --exp_name scratch")
    histories = {
        name: json.loads((only_run(tmp_path, name) / "results.json").read_text())["history"]
        for name in ("continued", "scratch")
    }
    assert histories["continued"][0]["fid"] == pytest.approx(-best["reward"], rel=1e-6)
    assert histories["scratch"][0]["fid"] != histories["continued"][0]["fid"]
    assert fid_of_test(only_run(tmp_path, "scratch")) == pytest.approx(
        min(entry["fid"] for entry in histories["scratch"]), rel=1e-6
    )

    root = finished / "Model" / "node_000.pth"
    assert "--init_from" in fail_command(f"{training} --init_from {root}")
    assert "--latent_dim" in fail_command(
        f"test {shared} --load_path {finished / best['weights']} --latent_dim 9"
    )
    assert "--img_size 16" in fail_command(
        f"test {shared} --load_path {finished / best['weights']} --img_size 32"
    )
    assert fid_of_test(finished) == pytest.approx(
        -best["reward"], rel=1e-6
    )  # a folder means its best network


@pytest.mark.parametrize("method, growing_steps, kept", [("dggan", 8, 20), ("proggan", 2, 1)])
def test_the_defaults_of_growing_methods_are_the_papers(type_command, capsys, method, growing_steps, kept):
    type_command(f"search --method {method} --dry_run")
    resolved = json.loads(capsys.readouterr().out)
    options = resolved["options"]
    assert (resolved["resolutions"], resolved["growing_steps"], resolved["kept"]) == (
        [8, 16, 32],
        growing_steps,
        kept,
    )
    assert len(resolved["actions"]) == (25 if method == "dggan" else 2)
    assert (options["loss"], options["beta1"], options["beta2"], options["g_lr"], options["d_lr"]) == (
        "wgan-gp",
        0.0,
        0.99,
        1e-3,
        1e-3,
    )
    assert (options["latent_dim"], options["growth_width"], options["n_critic"], options["reward"]) == (
        512,
        512,
        1,
        "fid",
    )
    assert resolved["training_images_per_network"] == 1_600_000
    type_command(f"search --method {method} --dry_run --latent_dim 7 --loss hinge --g_lr 0.5")
    options = json.loads(capsys.readouterr().out)["options"]
    assert (options["latent_dim"], options["loss"], options["g_lr"], options["d_lr"]) == (
        7,
        "hinge",
        0.5,
        1e-3,
    )


def test_a_growing_architecture_is_trained_as_proggan_is_and_a_cell_one_as_autogan_is(type_command, capsys):
    text = str(proggan_architecture(32, width=16))
    for arguments, loss, beta2, latent_dim in (
        (f"--arch {text}", "wgan-gp", 0.99, 512),
        ("--gen_model autogan_cifar10_a", "hinge", 0.9, 128),
    ):
        type_command(f"train_derived {arguments} --dry_run")
        resolved = json.loads(capsys.readouterr().out)
        assert (
            resolved["options"]["loss"],
            resolved["options"]["beta2"],
            resolved["options"]["latent_dim"],
        ) == (loss, beta2, latent_dim)
    type_command(f"test --arch {text} --dry_run")
    assert json.loads(capsys.readouterr().out)["architecture"] == text


@pytest.mark.parametrize("script", ["dggan_cifar10.sh", "proggan_cifar10.sh"])
def test_the_growing_experiments_pass_options_that_exist(script, type_command, capsys):
    _, command = (ROOT / "exps" / script).read_text().split("python ", 1)
    type_command(
        " ".join(command.replace("\\\n", " ").replace('"$@"', "").replace(".py", "", 1).split())
        + " --dry_run"
    )
    options = json.loads(capsys.readouterr().out)["options"]
    assert (options["growth_iterations"], options["dis_batch_size"], options["start_resolution"]) == (
        100_000,
        16,
        8,
    )


@pytest.mark.parametrize(
    "arguments, words",
    [
        ("--method dggan --topk 0", "--topk: must be at least 1"),
        ("--method dggan --action_probability 0", "--action_probability"),
        ("--method dggan --action_probability 1.5", "--action_probability"),
        ("--method dggan --fade_share 2", "--fade_share"),
        ("--method dggan --img_size 48", "--img_size: doubling never leads from 8 to 48"),
        ("--method dggan --start_resolution 12", "--start_resolution"),
        ("--method dggan --growing_steps 1", "--growing_steps: from 8 to 32 pixels takes 2 growing steps"),
        (
            "--method dggan --actions double",
            "--growing_steps: 'double' alone makes 2 growing steps from 8 to 32 pixels, not 8",
        ),
        ("--method dggan --actions double --img_size 8", "set --growing_steps 0 or add actions"),
        ("--method dggan --actions G_3x8", "--actions"),
        ("--method dggan --kernels 2", "--kernels"),
        ("--method dggan --filters 32 32", "--filters: an action is listed twice"),
        ("--method dggan --filters 900000", "--growth_width, --filters, --latent_dim: the run takes"),
        ("--method dggan --growth_width 400000", "--growth_width"),
        ("--method proggan --growth_width 400000", "--growth_width"),
        ("--method proggan --actions double", "--actions: the list doubles 1 times"),
        ("--method proggan --workers 0", "--workers"),
        (
            "--method proggan --feature_net efficientnet-lite0 --dataset folder --data_path nowhere",
            "--data_path",
        ),
        ("--method growing", "--method"),
        ("--reward swd", "--reward"),
    ],
)
def test_a_mistake_about_growth_gets_one_line_that_names_the_option(fail_command, arguments, words):
    assert words in fail_command(f"search {arguments}")


class PretendTrainer:
    """Every node gets the score 1."""

    def __init__(self):
        self.saved = []

    def train(self, tree, step):
        return tuple(replace(node, score=1.0) if node.step == step else node for node in tree)

    def save(self, tree):
        self.saved.append(tree)

    def is_out_of_time(self):
        return False


def test_a_search_ends_where_no_parent_has_an_action_left():
    command = (
        "--method dggan --img_size 16 --growth_width 4 --growing_steps 3 --topk 1 --action_probability 1"
    )
    actions = ["--actions", "double", "G 3x4"]
    plan = make_plan(cfg.parse("search", [*command.split(), *actions]))
    plan, trainer = replace(plan, actions=(GrowResolution(),)), PretendTrainer()
    tree = search(planted(plan.root), plan, trainer)
    assert [node.action for node in tree] == [None, "double"] and tree[-1].kept and trainer.saved[-1] == tree


def test_a_growth_fades_in_along_a_line_and_then_stays():
    cpu = torch.device("cpu")
    assert [Fade(4, cpu).at(step) for step in range(7)] == [0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert Fade(0, cpu).at(0) == 1


def test_where_only_enough_steps_are_left_for_doublings_only_doublings_are_legal():
    root, actions = proggan_architecture(8, width=4), every_action((3,), (4,))
    assert legal_actions(actions, root, 32, steps_left=3) == actions
    assert legal_actions(actions, root, 32, steps_left=2) == (GrowResolution(),)
    assert GrowResolution() not in legal_actions(actions, root, 8, steps_left=1)
    assert len(legal_actions(actions, root, 8, steps_left=1)) == 2
    with pytest.raises(GrowthError, match="takes 2 growing steps, not 1"):
        check_steps(1, 8, 32)


def test_the_gradient_penaltys_random_places_depend_on_the_step_alone():
    real, fake = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.zeros(4, 3, 8, 8)
    losses = loss_schedule("wgan-gp", 1, device=torch.device("cpu"))

    def value(step):
        loss = losses(step)
        return loss.discriminator(
            lambda images: images.square().sum((1, 2, 3))[:, None], real, fake, *loss.draw(real)
        ).item()

    first = value(5)
    torch.rand(3)
    assert value(5) == first != value(6)
