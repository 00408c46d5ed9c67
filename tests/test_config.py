"""Options that are read back from a run (--config, --arch_file RUN), and what --help and mistakes say."""

import json
import re
import subprocess
import sys

import pytest
from running import ROOT

import cfg
from utils.run.derived import write_derived


def write_config(folder, script, arguments=""):
    """FOLDER/config.json of a run that was started with these arguments."""
    options = cfg.parse(script, arguments.split()).flat()
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"options": options, "environment": {}}))
    return folder / "config.json"


CALLS = {
    "search": "--method dggan --topk 7 --kernels 3 5 --compile --data_path elsewhere --random_seed 7",
    "train_derived": "--arch 1 0 1 1 --img_size 8 --g_spectral_norm True --lr_decay --max_epoch 3 --num_workers 0",
    "test": "--gen_model sngan --metrics kid swd --protocol sngan --num_eval_imgs 70 --exp_name mine",
}


@pytest.mark.parametrize("script", CALLS)
def test_a_config_gives_back_every_option_of_its_run(tmp_path, script):
    file = write_config(tmp_path / "run", script, CALLS[script])
    for path in (file, tmp_path / "run"):
        again = cfg.parse(script, ["--config", str(path)])
        assert again.flat() == cfg.parse(script, CALLS[script].split()).flat()
        assert again.typed == {"config"}


@pytest.mark.parametrize("script", CALLS)
def test_what_is_typed_wins_over_a_config(tmp_path, script):
    file = write_config(tmp_path / "run", script, CALLS[script])
    options = cfg.parse(script, ["--config", str(file), "--is_splits", "1", "--latent_dim", "9"])
    assert (options.scoring.is_splits, options.network.latent_dim) == (1, 9)
    assert options.flat()["exp_name"] == cfg.parse(script, CALLS[script].split()).run.exp_name


@pytest.mark.parametrize(
    "script, saved, typed, expected",
    [
        ("train_derived", "--max_epoch 3", "--max_iter 9", {"max_epoch": None, "max_iter": 9}),
        ("search", "--grow_steps 2", "--grow_step1 3", {"grow_steps": None, "grow_step1": 3}),
        ("search", "--method dggan --actions double", "--kernels 5", {"actions": None, "kernels": (5,)}),
        (
            "train_derived",
            "--arch 1 0 1 1 --img_size 8",
            "--gen_model sngan",
            {"arch": None, "gen_model": "sngan"},
        ),
        ("train_derived", "--gen_model sngan", "--arch 1 0 1 1", {"arch": ("1", "0", "1", "1")}),
        ("search", "--dataset folder --data_path mine", "--dataset stl10", {"data_path": "./data"}),
        ("search", "--dataset folder --data_path mine", "--data_path a", {"dataset": "folder"}),
        ("search", "--inception_path a.pth", "--feature_net efficientnet-lite0", {"inception_path": None}),
        ("test", "--num_eval_imgs 70", "--protocol sngan", {"num_eval_imgs": 5000, "split": "test"}),
    ],
)
def test_a_typed_option_also_takes_back_what_it_replaces(tmp_path, script, saved, typed, expected):
    file = write_config(tmp_path / "run", script, saved)
    values = cfg.parse(script, ["--config", str(file), *typed.split()]).flat()
    assert {name: values[name] for name in expected} == expected


def test_a_config_by_hand_may_hold_a_few_options(tmp_path):
    (tmp_path / "config.json").write_text('{"options": {"gf_dim": 16, "grow_steps": [3], "img_size": 16}}')
    options = cfg.parse("search", ["--config", str(tmp_path / "config.json")])
    assert (options.cells.gf_dim, options.cells.df_dim, options.multi_level.grow_steps) == (16, 64, (3,))


def test_what_dry_run_prints_is_a_config(type_command, tmp_path, capsys):
    type_command("search --topk 3 --dry_run")
    printed = capsys.readouterr().out
    (tmp_path / "plan.json").write_text(printed)
    type_command("search --config plan.json --dry_run")
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    "script, options, words",
    [
        ("search", {"gf_dim": 0}, "--gf_dim: must be at least 1"),
        ("search", {"gf_dim": "wide"}, "--gf_dim: invalid int value"),
        ("search", {"gf_dim": 4.5}, "--gf_dim: invalid int value"),
        ("search", {"gf_dim": None}, "--gf_dim has no value"),
        ("search", {"gf_dim": True}, "--gf_dim: invalid int value"),
        ("search", {"gf_dim": [1, 2]}, "unrecognized arguments: 2"),
        ("search", {"compile": "yes"}, "--compile is neither true nor false"),
        ("search", {"dataset": "imagenet"}, "--dataset: invalid choice"),
        ("search", {"g_lr": float("nan")}, "--g_lr: nan is not a finite number"),
        ("search", {"exp_name": "../x"}, "--exp_name: '../x' is not the name of a folder"),
        ("search", {"learning": 3}, "search.py has no option --learning"),
        ("test", {"max_iter": 3}, "is of train_derived.py; type python train_derived.py --config"),
        ("train_derived", {"method": "dggan"}, "is of search.py; type python search.py --config"),
        ("search", {"protocol": "sngan"}, "is of test.py; type python test.py --config"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_in_one_line(fail_command, tmp_path, script, options, words):
    (tmp_path / "config.json").write_text(json.dumps({"options": options}))
    line = fail_command(f"{script} --config config.json")
    assert line.startswith("error: --config: config.json") and words in line


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", '{"options": 3}', '{"other": {}}', "[" * 100_000, "\udcff"]
)
def test_what_is_no_config_is_refused_in_one_line(fail_command, tmp_path, content):
    (tmp_path / "file").write_bytes(content.encode(errors="surrogateescape"))
    assert "--config: file is not a config.json" in fail_command("search --config file")
    assert "--config: no file nowhere" in fail_command("search --config nowhere")


def test_a_config_and_an_option_that_contradicts_its_method_are_refused(fail_command, tmp_path):
    write_config(tmp_path / "run", "search", "--method dggan")
    assert "--method: run is of --method dggan, not autogan" in fail_command(
        "search --config run --method autogan"
    )
    assert "--config: without effect on a run" in fail_command("search --config run --load_path x")
    assert "--config: without effect on a run" in fail_command("search --config run --resume x")


@pytest.fixture
def search_folder(tmp_path):
    """The folder of a search that has ended."""
    arguments = "--dataset folder --data_path mine --img_size 16 --bottom_width 8 --grow_steps --latent_dim 9"
    arguments += " --feature_net efficientnet-lite0 --feature_precision bfloat16 --is_splits 1"
    write_config(tmp_path / "search", "search", arguments)
    ranked = [{"architecture": "1 0 1 1", "reward": 2.0}, {"architecture": "0 0 1 1", "reward": 1.0}]
    write_derived(tmp_path / "search" / "derived.json", "is", "efficientnet-lite0", ranked)
    return tmp_path / "search"


def test_a_searchs_folder_names_architecture_data_resolution_and_feature_network(search_folder):
    options = cfg.parse("train_derived", ["--arch_file", str(search_folder), "--rank", "2"])
    assert str(cfg.generator_architecture(options)) == "0 0 1 1"
    values = options.flat()
    names = ("dataset", "data_path", "img_size", "bottom_width", "feature_net")
    assert [values[name] for name in names] == ["folder", "mine", 16, 8, "efficientnet-lite0"]
    # What the search did cheaply is not taken over, nor anything else.
    for name in ("feature_precision", "is_splits", "latent_dim", "gf_dim", "df_dim"):
        assert values[name] == cfg.parse("train_derived", []).flat()[name]


def test_what_is_typed_wins_over_a_searchs_folder(search_folder):
    typed = ["--dataset", "digits", "--feature_net", "inception"]
    values = cfg.parse("train_derived", ["--arch_file", str(search_folder), *typed]).flat()
    names = ("dataset", "data_path", "img_size", "feature_net")
    assert [values[name] for name in names] == ["digits", "./data", 16, "inception"]


def test_the_file_of_a_search_names_its_architectures_alone(search_folder):
    values = cfg.parse("train_derived", ["--arch_file", str(search_folder / "derived.json")]).flat()
    assert (values["dataset"], values["img_size"]) == ("cifar10", 32)


def test_a_folder_without_derived_json_is_refused(fail_command, tmp_path):
    (tmp_path / "unfinished").mkdir()
    line = fail_command("train_derived --arch_file unfinished")
    assert "--arch_file: unfinished holds no derived.json; give the folder of a search that has ended" in line


@pytest.mark.parametrize(
    "command, meant",
    [
        ("search --seed 3", "--random_seed"),
        ("search --epochs=3", "--shared_epoch or --max_search_iter"),
        ("search --method dggan --epochs 3", "--growth_iterations"),
        ("train_derived --epochs 3", "--max_epoch"),
        ("train_derived --batch-size 3", "--gen_batch_size or --dis_batch_size or --eval_batch_size"),
        ("train_derived --gfdim 3", "--gf_dim"),
        ("search --lr 3", "--g_lr or --d_lr or --ctrl_lr"),
        ("test --load 3", "--load_path"),
        ("test --gpu 3", "--device"),
        ("test --resume 3", "--load_path"),
    ],
)
def test_an_unknown_option_is_met_with_the_one_that_is_meant(fail_command, command, meant):
    word = command.split("--")[-1].split()[0].split("=")[0]
    assert fail_command(command).startswith(f"error: --{word}: no such option; did you mean {meant}? (")


def test_an_option_unlike_any_other_gets_no_suggestion(fail_command):
    assert fail_command("search --qqq 1") == "error: --qqq: no such option (--help lists the options)\n"
    assert "did you mean" not in fail_command("search --fid_sta 1")  # only an option that is refused


def test_every_alias_means_options_that_exist():
    known = {name for script in cfg.SCRIPTS.values() for name in script.known()}
    for word, names in cfg.help_texts.ALIASES.items():
        assert set(names) <= known and word not in {"method", *names}


def read_help(script, *arguments):
    return subprocess.run(
        [sys.executable, ROOT / f"{script}.py", *arguments, "--help"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("method", sorted(cfg.METHOD_DEFAULTS.keys() - {"growing"}))
def test_help_of_a_method_has_its_groups_and_its_defaults(method):
    parts = re.split(
        r"^  (?:-\w+ \w+, )?--(\w+)", read_help("search", "--method", method), flags=re.MULTILINE
    )
    said = {name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2])}
    script, options = cfg.SCRIPTS["search"], cfg.parse("search", ["--method", method])
    offered = {
        name
        for name, (group_class, _) in script.known().items()
        if name not in script.refused and (not group_class.methods or method in group_class.methods)
    }
    assert said.keys() == offered
    values = {**options.flat(), **vars(options.run), **vars(options.resuming), **vars(options.estimating)}
    for name in offered - {"method", *script.tolerated}:
        assert f"(default: {values[name]})" in said[name]


@pytest.mark.parametrize(
    "command", ["search", "search --method slas", "search --method dggan", "train_derived", "test"]
)
def test_help_ends_with_two_examples_that_are_understood(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    write_config(tmp_path / "logs" / "search_TIME", "search")
    write_derived(
        tmp_path / "logs" / "search_TIME" / "derived.json", "is", "tiny", [{"architecture": "1 0 1 1"}]
    )
    script, *arguments = command.split()
    examples = re.findall(r"^  python (\w+)\.py (.*)$", read_help(script, *arguments), re.MULTILINE)
    assert len(examples) == 2
    for named, line in examples:
        assert named == script
        assert cfg.parse(script, line.split()).typed


@pytest.mark.parametrize("script", cfg.SCRIPTS)
def test_help_and_mistakes_do_not_wait_for_torch(script):
    for arguments, code in ((["--help"], 0), (["--seed", "3"], 2), (["--is_splits", "99999999"], 2)):
        program = (
            f"import runpy, sys; sys.modules['torch'] = None; sys.argv = {[f'{script}.py', *arguments]!r}; "
        )
        program += f"runpy.run_path({str(ROOT / f'{script}.py')!r}, run_name='__main__')"
        ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60)
        assert ended.returncode == code, ended.stderr
