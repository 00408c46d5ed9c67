"""The options of python -m utils.metrics and python -m utils.fid_stats: defaults, bounds, choices, help."""

from pathlib import Path

import pytest
import torch
from running import TinyNet

import utils.metrics.generator
from utils import fid_stats
from utils.cli import Parser, run_script
from utils.metrics import __main__ as metrics
from utils.metrics.network_options import load_networks

NETWORK = {
    "feature_net": "inception", "inception_path": None, "inception_backend": "torch", "tf_python": None,
    "feature_precision": "float32", "compile": False, "batch_size": 100, "num_workers": 8,
    "device": torch.device("cpu"),
}  # fmt: skip
COMMANDS = {
    "utils.metrics": (
        metrics.parse, "--real a --fake b",
        {
            "real": "a", "fake": "b", "img_size": None, "metrics": ("is", "fid", "kid", "precision_recall"),
            "splits": 10, "shuffle_seed": None, "json": False, **NETWORK,
        },
    ),
    "utils.fid_stats": (
        fid_stats.parse, "--dataset digits --output c.npz",
        {
            "dataset": "digits", "data_path": "./data", "img_size": 32, "split": "train",
            "output": Path("c.npz"), "with_features": False, **NETWORK,
        },
    ),
}  # fmt: skip


@pytest.fixture
def parse(monkeypatch):
    """parse(command, text) -> its options."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def parsed(command, text):
        monkeypatch.setattr("sys.argv", [command, *text.split()])
        return vars(COMMANDS[command][0]())

    return parsed


@pytest.mark.parametrize("command", COMMANDS)
def test_the_defaults_are_the_published_protocol(parse, command):
    _, needed, defaults = COMMANDS[command]
    assert parse(command, needed) == defaults


TAKEN = {
    "utils.metrics": [
        "--img_size 1", "--img_size 16384", "--splits 1", "--splits 10000", "--shuffle_seed 0",
        "--shuffle_seed 4294967295", "--batch_size 1", "--num_workers 0", "--num_workers 1024",
        "--metrics is fid kid precision_recall swd", "--inception_backend both", "--feature_precision tf32",
        "--feature_precision bfloat16", "--feature_net efficientnet-lite0", "--inception_backend tf",
    ],
    "utils.fid_stats": ["--img_size 1", "--img_size 16384", "--split test", "--dataset stl10", "--num_workers 0"],
}  # fmt: skip
REFUSED = {
    "utils.metrics": [
        "--img_size 0", "--img_size 16385", "--splits 0", "--splits 10001", "--shuffle_seed -1",
        "--shuffle_seed 4294967296", "--batch_size 0", "--num_workers -1", "--num_workers 1025",
        "--metrics fod", "--inception_backend jax", "--feature_precision float16", "--feature_net vgg",
        "--device tpu",
    ],
    "utils.fid_stats": ["--img_size 0", "--img_size 16385", "--split valid", "--dataset lsun", "--num_workers 1025"],
}  # fmt: skip


@pytest.mark.parametrize("command, text", [(name, text) for name, texts in TAKEN.items() for text in texts])
def test_what_is_within_the_bounds_is_taken(parse, command, text):
    _, needed, defaults = COMMANDS[command]
    name, *words = text.removeprefix("--").split()
    found = parse(command, f"{needed} {text}")
    assert found == defaults | {name: found[name]}
    value = found[name]
    assert list(map(str, value if isinstance(value, list) else [value])) == words


@pytest.mark.parametrize("command, text", [(name, text) for name, texts in REFUSED.items() for text in texts])
def test_what_is_beyond_the_bounds_is_one_line_that_names_the_option(parse, capsys, command, text):
    with pytest.raises(SystemExit) as ending:
        run_script(lambda: parse(command, f"{COMMANDS[command][1]} {text}"))
    line = capsys.readouterr().err
    assert ending.value.code == 2
    assert line.startswith(f"error: {text.split()[0]}: ") and line.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("index", [0, 2])
def test_what_must_be_given_is_asked_for(parse, capsys, command, index):
    words = COMMANDS[command][1].split()
    missing = words[index]
    del words[index : index + 2]
    with pytest.raises(SystemExit) as ending:
        parse(command, " ".join(words))
    assert ending.value.code == 2 and missing in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_is_for(parse, monkeypatch, command):
    described = []
    original = Parser.add_argument

    def added(self, *names, **options):
        described.append((names[-1], options.get("help")))
        return original(self, *names, **options)

    monkeypatch.setattr(Parser, "add_argument", added)
    parse(command, COMMANDS[command][1])
    assert len(described) > len(NETWORK) and all(text and "XX" not in text for _, text in described)


def test_every_option_of_the_network_reaches_it(parse, monkeypatch):
    asked = []

    def load(name, **options):
        asked.append((name, options))
        return TinyNet()

    monkeypatch.setattr(utils.metrics.generator, "load_feature_net", load)
    command = "--inception_path P --tf_python T --feature_precision tf32 --compile --inception_backend"
    for backend in ("torch", "both"):
        options = parse("utils.metrics", f"--real a --fake b {command} {backend}")
        load_networks(type("Options", (), options))
    given = {"inception_path": "P", "tf_python": "T", "precision": "tf32", "compiled": True}
    given["device"] = torch.device("cpu")
    assert asked == [("inception", given | {"backend": backend}) for backend in ("torch", "torch", "tf")]
