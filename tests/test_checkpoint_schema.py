"""Checkpoints with a valid digest that no run wrote: each is refused in one line, before anything is computed."""

import copy
import shutil
import zipfile

import pytest
import torch
from running import SHORT_RUNS, load_script, only_run, short_run, stop_at, use_tiny_net, write_pictures

import cfg
from models.autogan.architecture import Architecture
from models.autogan.networks import Generator
from models.errors import ArchitectureError
from models.growing.architecture import GrowingArchitecture
from models.growing.networks import GrowingGenerator
from utils.cli import UserError
from utils.run.checkpoint import DamagedCheckpoint, load_checkpoint, read_authors_weights, save_checkpoint
from utils.run.folder import POSITION
from utils.run.schema import COUNT, Each, Least, Some, refuse_other_parts

WEIGHT = torch.zeros(2, 3)
FITTING = [
    (3, int), (3, COUNT), (3, range(2, 4)), (True, bool), (None, (None, int)), (2.0, (None, int, float)), ("x", "x"),
    (WEIGHT, torch.ones(2, 3)), ({"a": 1}, {"a": int}), ({"a": 1}, Some(a=int, b=int)), ({"a": 1, "b": 2}, Least(a=int)),
    ({"a": 1, "b": 2}, {str: int}), ([1, 2], Each(int)), ((1, 2), Each(int, length=2)), ([], Each(int)),
]  # fmt: skip
OTHER = [
    (True, int), (True, COUNT), (-1, COUNT), (3.0, COUNT), (4, range(2, 4)), (1, bool), ("3", int), (None, int), ("y", "x"),
    (WEIGHT.double(), WEIGHT), (WEIGHT.T, WEIGHT), (3, WEIGHT), ({}, {"a": int}), ({"a": 1, "b": 2}, {"a": int}), ([1], {"a": int}),
    ({"b": "x"}, Some(a=int, b=int)), ({"c": 1}, Some(a=int)), ({"b": 2}, Least(a=int)), ({"a": "x"}, {str: int}),
    ({1: 1}, {str: int}), ([1, "x"], Each(int)), ((1, 2, 3), Each(int, length=2)), ("ab", Each(str)), ({"a": {"b": [1, -1]}}, {"a": {"b": Each(COUNT)}}),
]  # fmt: skip


@pytest.mark.parametrize("saved, schema", FITTING)
def test_what_is_as_its_schema_passes(saved, schema):
    refuse_other_parts(saved, schema, "--load_path: x")


@pytest.mark.parametrize("saved, schema", OTHER)
def test_what_is_not_as_its_schema_is_refused(saved, schema):
    with pytest.raises(UserError, match="^--load_path: x is no checkpoint to go on from: .*; use another"):
        refuse_other_parts(saved, schema, "--load_path: x")


def test_the_part_that_is_wrong_is_named():
    with pytest.raises(UserError, match=r"a/b\[1\] is -1, not one of 0"):
        refuse_other_parts({"a": {"b": [1, -1]}}, {"a": {"b": Each(COUNT)}}, "--load_path: x")


WORDS = [
    ({"a": torch.zeros(3)}, {"a": WEIGHT}, "a is a tensor (3,) of float32, not a tensor (2, 3) of float32"),
    ({"a": 7}, {"a": range(2, 5)}, "a is 7, not one of 2 to 4"),
    ({"a": "x"}, {"a": (None, int)}, "a is 'x', not of type int"),
    ({"a": [1, "x"]}, {"a": Each(int)}, "a[1] is 'x', not of type int"),
    ({"a": [1]}, {"a": Each(int, length=2)}, "a is no list of 2"), ({"a": 1}, {"a": Each(int)}, "a is no list"),
    (3, {"a": int}, "the file is 3, not named parts"), ({"a": [1, 2]}, {"a": {"b": int}}, "a is a list of 2, not named parts"),
    ({}, {"b": int, "a": int}, "a is missing"), ({"a": {"c": 1}}, {"a": Some(b=int)}, "a/c does not belong there"),
]  # fmt: skip


@pytest.mark.parametrize("saved, schema, words", WORDS)
def test_what_is_wrong_is_said_in_words(saved, schema, words):
    with pytest.raises(UserError) as error:
        refuse_other_parts(saved, schema, "--load_path: x")
    assert str(error.value).startswith(f"--load_path: x is no checkpoint to go on from: {words}; use another")


def containing_itself():
    cycle = {"list": []}
    cycle["list"].append(cycle)
    return cycle


def repeated():
    level = ["x"]
    for _ in range(40):
        level = [level, level]
    return level


def deep():
    inner = []
    for _ in range(100):
        inner = [inner]
    return inner


ODD = {
    "expanded": lambda: torch.zeros(1).expand(2**40),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "compressed rows": lambda: torch.eye(3).to_sparse_csr(),
    "meta": lambda: torch.zeros(3, device="meta"),
    "complex": lambda: torch.zeros(3, dtype=torch.complex64),
    "quantised": lambda: torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8),
    "of eight bits": lambda: torch.zeros(3).to(torch.float8_e4m3fn),
    "itself": containing_itself,
    "repeated": repeated,
    "deep": deep,
    "a number of 10,000 digits": lambda: 10**10000,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_what_is_not_plain_is_refused_wherever_weights_are_read(tmp_path, odd):
    try:
        torch.save(
            {"format": 2, "sha256": "", "state": {"gan": odd()}, "l1.weight": odd()}, tmp_path / "odd.pth"
        )
    except (RuntimeError, NotImplementedError):
        pytest.skip("torch does not save it")
    for load in (load_checkpoint, read_authors_weights):
        with pytest.raises(DamagedCheckpoint, match="^--load_path: .*(holds|cannot be read)"):
            load(tmp_path / "odd.pth")


def test_compressed_data_are_not_unpacked(tmp_path):
    torch.save({"weight": torch.zeros(10**6)}, tmp_path / "good.pth")
    with zipfile.ZipFile(tmp_path / "good.pth") as good, zipfile.ZipFile(tmp_path / "bomb.pth", "w") as bomb:
        for name in good.namelist():
            bomb.writestr(name, good.read(name), zipfile.ZIP_DEFLATED)
    with pytest.raises(DamagedCheckpoint, match="holds compressed data"):
        load_checkpoint(tmp_path / "bomb.pth")


@pytest.mark.parametrize("key", [1, None, (1, 2), b"x"])
def test_authors_files_with_odd_keys_are_refused(tmp_path, key):
    for content in (
        {"l1.weight": torch.zeros(2), key: torch.zeros(2)},
        {"avg_gen_state_dict": {"l1.weight": torch.zeros(2), key: 3}},
    ):
        torch.save(content, tmp_path / "odd.pth")
        with pytest.raises(DamagedCheckpoint, match="holds no AutoGAN generator"):
            read_authors_weights(tmp_path / "odd.pth")


CELLS, GROWN = Architecture.parse("1 1 1 1"), GrowingArchitecture.parse("4: G 3x4 D 3x4")
WEIGHTS = {
    "a norm of a million channels": (CELLS, {"to_rgb.0.weight": torch.zeros(10**6)}),
    "a norm without channels": (CELLS, {"to_rgb.0.weight": torch.zeros(0)}),
    "a flat linear layer": (CELLS, {"linear.weight": torch.zeros(4)}),
    "a number for a linear layer": (CELLS, {"linear.weight": torch.zeros(())}),
    "another name": (CELLS, {"x": torch.zeros(3)}),
    "a flat first layer": (GROWN, {"layers.latent.weight": torch.zeros(3)}),
    "a first layer of a million inputs": (GROWN, {"layers.latent.weight": torch.zeros(1, 10**6, 1, 1)}),
}


@pytest.mark.parametrize("architecture, change", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_of_another_network_are_refused_without_building_it(architecture, change):
    made = (
        Generator.of(architecture, latent_dim=4, gf_dim=2)
        if architecture is CELLS
        else GrowingGenerator(architecture, 4)
    )
    made.__class__.from_state(architecture, made.state_dict())
    with pytest.raises(ArchitectureError, match="the weights are not of architecture"):
        made.__class__.from_state(architecture, made.state_dict() | change)


STOPS = {"search": 13, "train_derived": 3, "dggan": 2, "random_sharing": 16}
REPLACED = {
    "nothing": None, "text": "x", "a negative number": -7, "a list": [], "a dict": {}, "a tensor": torch.zeros(13), "a huge number": 10**30,
}  # fmt: skip
HARMLESS = {"param_groups", "history", "beam", "options", "generator_optimizer", "collapse"}  # may be shorter
HARMLESS |= {"cheap", "in_full"}


@pytest.fixture
def stopped_run(type_command, tmp_path_factory, tmp_path, monkeypatch):
    """Function name -> (folder, state) of one of SHORT_RUNS that was stopped early, in the current folder."""

    def run(name):
        use_tiny_net(monkeypatch)
        pictures = write_pictures(tmp_path_factory.mktemp("pictures"))
        stops, heal = stop_at(STOPS[name], monkeypatch)
        with pytest.raises(stops):
            type_command(short_run(name, pictures))
        heal()
        folder = only_run(tmp_path, name)
        return folder, load_checkpoint(folder / "Model" / "checkpoint.pth")

    return run


def places(part, at=()):
    """Every place in a state, but only the first three of many alike."""
    yield at
    items = (
        part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, (list, tuple)) else ()
    )
    for key, inner in list(items)[: None if isinstance(part, dict) and len(at) < 2 else 3]:
        yield from places(inner, (*at, key))


def replaced(state, at, value):
    state = copy.deepcopy(state)
    inner = state
    for key in at[:-1]:
        if isinstance(inner[key], tuple):
            inner[key] = list(inner[key])
        inner = inner[key]
    if value is None and isinstance(inner, dict):
        del inner[at[-1]]
    else:
        inner[at[-1]] = value
    return state


def restorer(name, folder, saved):
    """A function that restores a state as the script does."""
    script = SHORT_RUNS[name].split()[0]
    options = cfg.resumed(cfg.parse(script, ["--load_path", str(folder)]), saved["options"])
    if script == "search":
        method = load_script(script).METHODS[options.search.method]
        plan = method.make_plan(options)
        return lambda state: method.new_state(plan, state)
    module, device = load_script(script), torch.device("cpu")
    training = module.new_state(module.training_plan(options, cfg.generator_architecture(options)), device)
    return lambda state: training.restore(state, "--load_path: x")


@pytest.mark.parametrize("name", STOPS)
def test_no_part_of_a_checkpoint_may_be_missing_or_of_another_type(stopped_run, name):
    folder, good = stopped_run(name)
    restore = restorer(name, folder, good)
    restore(good)
    good = {part: value for part, value in good.items() if part not in POSITION}
    tried = [(at, kind) for at in places(good) if at for kind in REPLACED]
    taken = []
    whole = [(at, kind) for at, kind in tried if len(at) == 1]
    for at, kind in [*whole, *tried[:: max(1, len(tried) // 60)]]:
        try:
            restore(replaced(good, at, REPLACED[kind]))
        except UserError as error:
            assert str(error).startswith("--load_path: "), (at, kind)
        else:
            taken.append((at, kind))
    harmless = HARMLESS | (
        {"state"} if name in ("search", "random_sharing") else set()
    )  # not all of a shared GAN is trained yet
    assert [(at, kind) for at, kind in taken if not harmless & set(at)] == []
    assert len(taken) <= 12


@pytest.mark.parametrize("length", [1, 3])
def test_an_lstm_state_of_other_than_two_tensors_is_refused(stopped_run, length):
    folder, good = stopped_run("search")
    restore = restorer("search", folder, good)
    (hidden, _) = good["beam"][0]["state"]
    with pytest.raises(UserError, match="beam"):
        restore(replaced(good, ("beam", 0, "state"), (hidden,) * length))


@pytest.mark.parametrize("part", [*POSITION, "gan"])
def test_a_run_whose_checkpoint_lacks_a_part_is_not_gone_on_with(stopped_run, fail_command, part):
    folder, good = stopped_run("train_derived")
    for value in (None, "x", -1.5, []):
        save_checkpoint(folder / "Model" / "checkpoint.pth", replaced(good, (part,), value))
        if (part, value) not in (("seconds", -1.5), ("scored_bytes", None)):
            assert fail_command(f"train_derived --load_path {folder}").startswith("error: --load_path: ")


def test_options_that_do_not_fit_the_weights_are_refused(stopped_run, fail_command):
    folder, good = stopped_run("train_derived")
    for name, value in (("gf_dim", 8), ("df_dim", 8), ("latent_dim", 9), ("d_spectral_norm", False)):
        good["options"][name], before = value, good["options"][name]
        save_checkpoint(folder / "Model" / "checkpoint.pth", good)
        assert "error: --load_path: " in fail_command(f"train_derived --load_path {folder}")
        good["options"][name] = before


@pytest.mark.parametrize(
    "command",
    [
        "test --load_path",
        "train_derived --arch 1 0 1 1 0 1 2 1 1 --gf_dim 4 --df_dim 4 --latent_dim 8 --img_size 16 --init_from",
    ],
)
def test_a_generators_file_without_a_part_is_refused(stopped_run, fail_command, tmp_path, command):
    folder, good = stopped_run("train_derived")
    shutil.move(folder / "Model" / "checkpoint.pth", tmp_path / "file.pth")
    for at in (("architecture",), ("gan",), ("gan", "average"), ("gan", "generator")):
        for value in (None, "x", 3, {}, {"x": 3}):
            save_checkpoint(tmp_path / "file.pth", replaced(good, at, value))
            (tmp_path / "file_previous.pth").unlink(missing_ok=True)
            if at != ("gan", "generator") or value != {} or "init_from" in command:
                assert fail_command(f"{command} file.pth").startswith("error: --")
