"""Every switch of a recipe reaches the trainings that offer it, and a run with them that is stopped goes on."""

import pytest
import torch
from running import (
    assert_equal_states, only_run, read_metrics, short_run, stop_at, use_tiny_net, write_pictures,
)  # fmt: skip
from test_training import digits, search, train  # noqa: F401  (a fixture)

from utils.run.checkpoint import load_checkpoint

QUICK = "--d_lr 0.01"  # the discriminator soon takes real images for real
ADA = f"{QUICK} --ada_target -0.5 --ada_kimg 1 --ada_interval 1"
SWITCHES = [
    "--loss non-saturating",
    "--loss relativistic-hinge",
    "--loss r3gan -gen_bs 150",
    "--loss mmd",
    "--df_depth 1",
]
SWITCHES += [
    "--r1_gamma 5 --r1_interval 2",
    "--augment color",
    "--augment translation,cutout",
    ADA,
    "--bcr 10",
    "--zcr 20",
]
SWITCHES += ["--generator_topk 0.5 --generator_topk_decay 0.1"]  # fmt: skip


@pytest.mark.parametrize("script", [search, train])
@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_changes_what_is_trained(digits, script, switch):  # noqa: F811
    """Beside the training with the same batches."""
    base = "-gen_bs 150" if "-gen_bs" in switch else QUICK if switch == ADA else ""
    length = "--max_epoch 1" if script is train else ""  # the first pass of top-k is that of all images
    length = "--max_epoch 2" if script is train and "topk" in switch else length
    if script is search and "topk" in switch:
        length = "--shared_epoch 2"
    (plain, _), (switched, _) = (script(f"{length} {options}", digits) for options in (base, switch))
    pairs = zip(plain.generator.parameters(), switched.generator.parameters())
    assert any(not torch.equal(mine, theirs) for mine, theirs in pairs)


@pytest.mark.parametrize("script", [search, train])
def test_ada_raises_its_probability_where_the_discriminator_is_sure(digits, script):  # noqa: F811
    gan, _ = script(f"{ADA} --max_epoch 1" if script is train else ADA, digits)
    assert 0 < gan.adaptive.probability.item() <= 1
    assert script("", digits)[0].adaptive is None


FAST_ADA = f"{QUICK} --ada_target -0.9 --ada_kimg 1 --ada_interval 2"
RUNS = {
    "train_derived of mmd": (
        "train_derived", 2,
        "--loss mmd --augment color,cutout --ema_halflife 20 --df_depth 1 --lr_warmup 3 --zcr 20",
    ),
    "train_derived with ADA": (
        "train_derived", 3,
        f"{FAST_ADA} --bcr 10 --generator_topk 0.5 --generator_topk_decay 0.5 --r1_gamma 1 --r1_interval 3 --ema_start 3",
    ),
    "search": (
        "search", 13, f"--loss non-saturating {FAST_ADA} --r1_gamma 1 --r1_interval 3 --df_depth 1 --accumulate 2 --dynamic_reset_threshold 0",
    ),
    "slas": ("slas", 7, "--loss r3gan --augment translation --zcr 20"),
    "random_sharing": ("random_sharing", 3, "--loss mmd --bcr 10"),
    "asha": ("asha", 5, "--loss relativistic-hinge --ema_halflife 9 --augment cutout --zcr 20 --df_depth 1 --max_trials 3"),
    "dggan": ("dggan", 5, f"--loss hinge {FAST_ADA} --accumulate 2 --ema_halflife 30 --r1_gamma 1"),
}  # fmt: skip


@pytest.mark.parametrize("name, call, switches", RUNS.values(), ids=RUNS)
def test_a_run_with_switches_that_stops_goes_on_to_the_same_end(
    type_command, tmp_path, monkeypatch, name, call, switches
):
    use_tiny_net(monkeypatch)
    (tmp_path / "pictures").mkdir()
    plain = short_run(name, write_pictures(tmp_path / "pictures"))
    command = f"{plain.replace('--ema_decay 0.9', '')} {switches}"
    type_command(command)
    through = only_run(tmp_path, name).rename(tmp_path / "through")
    stops, heal = stop_at(call, monkeypatch)
    with pytest.raises(stops):
        type_command(command)
    heal()
    type_command(command)
    stopped = only_run(tmp_path, name)
    assert read_metrics(stopped) == read_metrics(through)
    for path in sorted(through.rglob("*.pth")):
        mine = stopped / path.relative_to(through)
        if path.name in ("checkpoint.pth", "checkpoint_best.pth") or path.name.startswith("node"):
            assert_equal_states(load_checkpoint(mine), load_checkpoint(path))
    saved = load_checkpoint(through / "Model" / "checkpoint.pth")
    if name != "dggan" and FAST_ADA in switches:  # DGGAN's nodes keep the networks alone
        assert saved["gan"]["adaptive"]["probability"] > 0


@pytest.mark.parametrize("part", ["probability", "signs", "count"])
def test_a_checkpoint_without_adas_state_is_refused(type_command, fail_command, tmp_path, monkeypatch, part):
    from utils.run.checkpoint import save_checkpoint

    use_tiny_net(monkeypatch)
    (tmp_path / "pictures").mkdir()
    command = f"{short_run('train_derived', write_pictures(tmp_path / 'pictures'))} {FAST_ADA}"
    stops, heal = stop_at(2, monkeypatch)
    with pytest.raises(stops):
        type_command(command)
    heal()
    run = only_run(tmp_path, "train_derived")
    saved = load_checkpoint(run / "Model" / "checkpoint.pth")
    del saved["gan"]["adaptive"][part]
    save_checkpoint(run / "Model" / "checkpoint.pth", saved)
    assert "adaptive" in fail_command(f"train_derived --load_path {run}")
