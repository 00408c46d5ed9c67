"""Options keep their promise: each one is read by the scripts and methods that offer it, and refused or
marked where it is not.
"""

import json

import pytest
import torch
from PIL import Image

import cfg

SCORING = "--dataset folder --data_path pictures --img_size 8 --feature_net efficientnet-lite0 --device cpu --is_splits 1"
GROWTH = "--growth_width 4 --growth_iterations 2 --rl_num_eval_img 4"
BATCHES = "--latent_dim 8 -gen_bs 4 -dis_bs 4"
TRAINING = f"train_derived {SCORING} {BATCHES} --max_iter 4 --num_eval_imgs 4 --rank 1 --exp_name t"
COMMANDS = {
    (
        "search",
        "autogan",
    ): f"search {SCORING} {BATCHES} --gf_dim 4 --df_dim 4 --shared_epoch 1 --max_search_iter 1 --ctrl_step 1 "
    "--num_candidate 2 --topk 1 --rl_num_eval_img 4 --hid_size 4 --val_freq 1",
    (
        "search",
        "dggan",
    ): f"search --method dggan {SCORING} {BATCHES} {GROWTH} --growing_steps 1 --topk 1 --kernels 3 --filters 4",
    ("search", "proggan"): f"search --method proggan {SCORING} {BATCHES} {GROWTH} --start_resolution 4",
    ("train_derived", "autogan"): f"{TRAINING} --gf_dim 4 --df_dim 4 --arch_file cells.json",
    ("train_derived", "growing"): f"{TRAINING} --arch_file growing.json",
    (
        "test",
        "autogan",
    ): f"test {SCORING} --num_eval_imgs 4 --latent_dim 8 --gf_dim 4 --bottom_width 4 --load_path ",
    ("test", "growing"): f"test {SCORING} --num_eval_imgs 4 --latent_dim 8 --load_path ",
}
READ_WHILE_PARSING = {"protocol"}  # it sets other options


@pytest.fixture
def read(monkeypatch):
    """The names of the options that are read, but for those that only `flat` reads, to write them down."""
    read, flat = set(), cfg.Options.flat

    def noting(group, name):
        read.add(name)
        return object.__getattribute__(group, name)

    def unnoted(options):
        before = set(read)
        values = flat(options)
        read.intersection_update(before)
        return values

    for group in cfg.GROUPS.values():
        monkeypatch.setattr(group, "__getattribute__", noting)
    monkeypatch.setattr(cfg.Options, "flat", unnoted)
    return read


@pytest.mark.parametrize("script, method", COMMANDS)
def test_every_option_is_read_or_marked_as_unread(type_command, tmp_path, read, script, method):
    random = torch.Generator().manual_seed(0)
    (tmp_path / "pictures").mkdir()
    for index in range(8):
        Image.fromarray(torch.randint(256, (8, 8, 3), generator=random).byte().numpy()).save(
            tmp_path / "pictures" / f"{index}.png"
        )
    for name, text in (("cells", "1 0 1 1"), ("growing", "4: G 3x4 D 3x4 | 8: G 3x4 3x4 D 3x4 3x4")):
        (tmp_path / f"{name}.json").write_text(json.dumps({"architectures": [{"architecture": text}]}))
    command = COMMANDS[script, method]
    if script == "test":
        type_command(COMMANDS["train_derived", method])
        read.clear()
        command += str(next((tmp_path / "logs").iterdir()))
    type_command(command)
    fields = [
        field for group in cfg.SCRIPTS[script][1] for field in cfg.dataclasses.fields(cfg.GROUPS[group])
    ]
    promised = {field.name for field in fields if cfg.is_read(field, script, method)}
    assert read & {field.name for field in fields} == promised - READ_WHILE_PARSING


@pytest.mark.parametrize(
    "command, words",
    [
        (
            "search --method dggan --gf_dim 7",
            "--gf_dim: without effect with dggan; leave it out or set --method autogan",
        ),
        (
            "search --growing_steps 3",
            "--growing_steps: without effect with autogan; leave it out or set --method dggan",
        ),
        ("search --method proggan --topk 3", "--topk"),
        ("search --reward fid --fid_stat FILE", "--fid_stat: without effect in search.py"),
        ("search --gen_model sngan", "--gen_model"),
        ("search --grow_steps 3 9 --grow_step1 3", "--grow_step1: without effect beside --grow_steps"),
        ("search --method dggan --actions double --kernels 3", "--kernels: without effect beside --actions"),
        ("search --channels 1", "--channels"),
        ("search --controller random --ctrl_step 3", "--ctrl_step: without effect with --controller random"),
        (
            "search --img_size 8 --grow_step1 20 --max_search_iter 30",
            "--grow_step1: without effect at --img_size 8",
        ),
        (
            "search --img_size 16 --grow_step1 5 --grow_step2 7 --max_search_iter 30",
            "--grow_step2: without effect at --img_size 16",
        ),
        (
            "train_derived --gen_model sngan --max_iter 9 --max_epoch 3",
            "--max_iter: without effect beside --max_epoch",
        ),
        (
            "train_derived --gen_model sngan --arch 1 0 1 1",
            "--gen_model: sngan is not the architecture of --arch",
        ),
        ("train_derived --gen_model sngan --rank 2", "--rank: without effect without --arch_file"),
        (
            "train_derived --arch 4:G_3x4_D_3x4 --init_type orth",
            "--init_type: without effect with growing; leave it out",
        ),
        ("test --gen_model sngan --dry_run --precision bfloat16", "--precision: without effect in test.py"),
    ],
)
def test_an_option_without_effect_is_refused(fail_command, command, words):
    assert words in fail_command(command)


def test_the_authors_spellings_are_understood(type_command, capsys):
    for word, value in (("t", True), ("Y", True), ("1", True), ("f", False), ("N", False), ("no", False)):
        type_command(f"search --dry_run --channels 3 --dis_model shared_gan --d_spectral_norm {word}")
        assert json.loads(capsys.readouterr().out)["options"]["d_spectral_norm"] is value


@pytest.mark.parametrize("script", cfg.SCRIPTS)
def test_help_offers_what_the_script_reads_and_marks_what_it_only_accepts(type_command, capsys, script):
    with pytest.raises(SystemExit):
        type_command(f"{script} --help")
    said = " ".join(capsys.readouterr().out.split())
    assert ("--precision" in said, "--fid_stat" in said) == (script != "test", script != "search")
    assert (
        said.count("without effect here") == {"search": 3, "train_derived": 2, "test": 3}[script]
    )  # channels, dis_model and one
