"""Each option is read by the scripts and methods that offer it, and refused or marked where it is not."""

import dataclasses
import json

import pytest
import torch
from PIL import Image

import cfg
from option_groups.scripts import GROUPS

SCORING = (
    "--dataset folder --data_path pictures --img_size 8 --feature_net efficientnet-lite0 --device cpu "
    "--is_splits 1"
)
GROWTH = "--growth_width 4 --growth_iterations 2 --rl_num_eval_img 4"
BATCHES = "--latent_dim 8 -gen_bs 4 -dis_bs 4"
TRAINING = f"train_derived {SCORING} {BATCHES} --max_iter 4 --num_eval_imgs 4 --rank 1 --exp_name t"
SEARCH = (
    "--shared_epoch 1 --max_search_iter 2 --num_candidate 2 --topk 1 --val_freq 1 --score_freq 2 "
    "--score_imgs 4"
)
CONTROLLER = "--ctrl_step 1 --hid_size 4"
CELLS = f"{SCORING} {BATCHES} --gf_dim 4 --df_dim 4 {SEARCH} --rl_num_eval_img 4"
TEST = f"test {SCORING} --num_eval_imgs 4 --latent_dim 8"
COMMANDS = {
    ("search", "autogan"): f"search {CELLS} {CONTROLLER}",
    ("search", "slas"): f"search --method slas {CELLS} {CONTROLLER}",
    ("search", "random_sharing"): f"search --method random_sharing {CELLS} --random_candidates 3 "
    "--cheap_eval_imgs 2",
    ("search", "asha"): f"search --method asha {SCORING} {BATCHES} --gf_dim 4 --df_dim 4 --rungs 1 2 --eta 2 "
    "--max_trials 2 --topk 1 --rl_num_eval_img 4 --budget_hours 9",
    ("search", "dggan"): f"search --method dggan {SCORING} {BATCHES} {GROWTH} --growing_steps 1 --topk 1 "
    "--kernels 3 --filters 4",
    ("search", "proggan"): f"search --method proggan {SCORING} {BATCHES} {GROWTH} --start_resolution 4",
    ("train_derived", "autogan"): f"{TRAINING} --gf_dim 4 --df_dim 4 --arch_file cells.json",
    ("train_derived", "growing"): f"{TRAINING} --arch_file growing.json",
    ("test", "autogan"): f"{TEST} --gf_dim 4 --bottom_width 4 --load_path ",
    ("test", "growing"): f"{TEST} --load_path ",
}
READ_WHILE_PARSING = {"protocol", "config"}  # they set other options


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

    for group in GROUPS.values():
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
    type_command(f"{command} --folder_file folder.txt")
    folder = tmp_path / (tmp_path / "folder.txt").read_text().removesuffix("\n")
    assert folder.parent.name == ("logs_eval" if script == "test" else "logs")
    assert (folder / "results.json").is_file()
    known = cfg.SCRIPTS[script].known()
    offered = {
        name: field for name, (group, field) in known.items() if cfg.SCRIPTS[script].reads(group, method)
    }
    promised = {name for name, field in offered.items() if not field.metadata["needs"]}
    assert promised - READ_WHILE_PARSING <= read & known.keys() <= offered.keys() | READ_WHILE_PARSING


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
        (
            "search --method slas --grow_step1 3",
            "--grow_step1: without effect with slas; leave it out or set --method autogan",
        ),
        ("search --method slas --controller random", "--controller: without effect with slas"),
        ("search --method random_sharing --ctrl_step 3", "--ctrl_step: without effect with random_sharing"),
        ("search --method slas --random_candidates 3", "--random_candidates: without effect with slas"),
        ("search --score_imgs 30", "--score_imgs: without effect without --score_freq"),
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
            "train_derived --arch 4: G 3x4 D 3x4 --init_type orth",
            "--init_type: without effect with growing; leave it out",
        ),
        ("test --gen_model sngan --dry_run --precision bfloat16", "--precision: without effect in test.py"),
    ],
)
def test_an_option_without_effect_is_refused(fail_command, command, words):
    assert words in fail_command(command)


def test_an_option_names_itself_with_its_long_spelling_only(fail_command):
    assert fail_command("search -gen_bs 0").startswith("error: --gen_batch_size: must be at least 1, not 0")


def test_what_is_typed_is_known_however_it_is_spelled():
    options = cfg.parse(
        "search", "-gen_bs=7 --dis_batch_size=128 --n_critic 5 --grow_steps --compile".split()
    )
    assert options.typed == {"gen_batch_size", "dis_batch_size", "n_critic", "grow_steps", "compile"}
    assert options.multi_level.grow_steps == () and options.training.n_critic == 5


def test_what_is_typed_wins_over_what_a_method_or_protocol_sets():
    options = cfg.parse("search", "--method dggan --topk 5 --n_critic 5 --exp_name search".split())
    assert (options.beam.topk, options.training.n_critic, options.run.exp_name) == (5, 5, "search")
    assert options.training.loss == "wgan-gp"
    options = cfg.parse("test", "--protocol sngan --split train".split())
    assert (options.test.split, options.evaluation.num_eval_imgs) == ("train", 5000)


def test_a_script_has_the_groups_that_name_it():
    for script in cfg.SCRIPTS:
        options = cfg.parse(script, [])
        for title, group in GROUPS.items():
            assert (getattr(options, title) is not None) == (script in group.scripts), (script, title)


def test_no_two_groups_of_a_script_have_an_option_of_one_name():
    for script in cfg.SCRIPTS.values():
        groups = [group for group in GROUPS.values() if script.name in group.scripts]
        names = [field.name for group in groups for field in dataclasses.fields(group)]
        assert len(names) == len(set(names))
        assert not set(names) & {*script.tolerated, *script.refused}


def test_what_belongs_to_one_call_is_never_saved(tmp_path):
    arguments = ["--load_path", "x", "--dry_run", "--folder_file", str(tmp_path / "folder")]
    assert not cfg.parse("test", arguments).flat().keys() & {"load_path", "dry_run", "folder_file"}


@pytest.mark.parametrize("command", ["search", "search --method dggan", "train_derived --arch 1 0 1 1"])
def test_a_folder_file_that_cannot_be_written_is_refused_before_a_run_begins(fail_command, command):
    assert "--folder_file: nowhere/file cannot be written" in fail_command(
        f"{command} --folder_file nowhere/file"
    )


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
    marked = {"search": 3, "train_derived": 2, "test": 3}[script]  # channels, dis_model and one
    assert said.count("without effect here") == marked


@pytest.mark.parametrize(
    "command, words",
    [
        (
            "search",
            "base width of the generator (--method autogan, slas, random_sharing, asha) (default: 128)",
        ),
        ("search --method dggan", "(--method dggan) (default: (3, 7))"),
        ("search", "(instead of --grow_step1 and --grow_step2) (default: None)"),
        ("train_derived", "base width of the generator (default: 256)"),
        ("train_derived", "real images in a discriminator step (default: 64)"),
        ("test", "images to score (default: 50000)"),
    ],
)
def test_help_states_the_defaults_of_the_script(type_command, capsys, command, words):
    with pytest.raises(SystemExit):
        type_command(f"{command} --help")
    assert words in " ".join(capsys.readouterr().out.split())
