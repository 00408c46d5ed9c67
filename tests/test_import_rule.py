"""Who may import whom: no circles, downwards in utils, strategies apart, scripts on top; no torch in cfg.

library opens what runs left, for the scripts and for other programs: it imports anything but them and cfg.
"""

import ast
import graphlib
import subprocess
import sys

import pytest
from running import ROOT

SCRIPTS = {"search", "train_derived", "test"}
FORBIDDEN = {  # {room: what its modules must not import}
    "models": {"utils", "models_search", "library", "cfg", "option_groups"},
    "models_search": {"library", "cfg", "option_groups"},
    "utils": {"models", "models_search", "library", "cfg", "option_groups"},
    "library": {"cfg", "option_groups"},
    "cfg": {"models_search", "library"},
    "option_groups": {"models_search", "library", "cfg"},
}
UTILS = [  # from the top down; a module imports from its own room and from lower rows
    {"fid_stats"},
    {"metrics"},
    {"inception"},
    {"training"},
    {"data"},
    {"run"},
    {
        "cli",
        "options",
        "option_types",
        "images",
        "randomness",
        "precision",
        "progress",
        "console",
        "distributed",
    },  # fmt: skip
]
SHARED_BY_SEARCHES = {"shared_gan", "retraining"}  # folders of models_search that are no strategies


def find_modules():
    """{module name: file}. The files of bench, exps and tests import each other by bare names."""
    folders = [ROOT / folder for folder in (".", "bench", "exps", "tests")]
    modules = {path.stem: path for folder in folders for path in folder.glob("*.py")}
    for room in ("models", "models_search", "utils", "library", "option_groups", "exps/reporting"):
        for path in (ROOT / room).rglob("*.py"):
            parts = path.relative_to((ROOT / room).parent).with_suffix("").parts
            modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


MODULES = find_modules()


def imported_by(path):
    """Full name of each import of a file, wherever in it: a module, or "module.name" for another object."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def to_module(name):
    """The module of this project that an imported name lies in, or None."""
    parts = name.split(".")
    candidates = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((candidate for candidate in candidates if candidate in MODULES), None)


IMPORTS = {  # {module: the modules of this project that it imports}
    module: {to_module(name) for name in imported_by(path)} - {None} for module, path in MODULES.items()
}


def arrows(room):
    """The (importer, imported) pairs whose importer lies in the room. Both are modules of this project."""
    found = [
        (module, other) for module in IMPORTS for other in IMPORTS[module] if module.split(".")[0] == room
    ]
    assert found, room
    return found


def utils_row(module):
    """The row of UTILS that a module of utils lies in."""
    return next(row for row, rooms in enumerate(UTILS) if module.split(".")[1] in rooms)


def strategy(module):
    """The search strategy that a module of models_search belongs to, or None if several share it."""
    folder = module.split(".")[1:2]
    if not folder or folder[0] in SHARED_BY_SEARCHES:
        return None
    return folder[0] if (ROOT / "models_search" / folder[0]).is_dir() else None


@pytest.mark.parametrize("room", FORBIDDEN)
def test_no_room_imports_what_it_must_not_know(room):
    for importer, imported in arrows(room):
        assert imported.split(".")[0] not in FORBIDDEN[room], f"{importer} imports {imported}"


def test_nobody_imports_a_script():
    for importer in IMPORTS:
        assert not SCRIPTS & IMPORTS[importer], f"{importer} imports {SCRIPTS & IMPORTS[importer]}"


def test_no_two_modules_import_each_other_not_even_through_others():
    try:
        graphlib.TopologicalSorter(IMPORTS).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imported by ".join(error.args[1]))


def test_inside_utils_imports_go_downwards():
    for importer, imported in arrows("utils"):
        same_room = importer.split(".")[1] == imported.split(".")[1]
        above, below = utils_row(importer), utils_row(imported)
        both_lowest = above == below == len(UTILS) - 1
        assert above < below or same_room or both_lowest, f"{importer} imports {imported}"


def test_no_search_strategy_imports_another_and_what_they_share_imports_none():
    strategies = {strategy(module) for module in IMPORTS if module.startswith("models_search.")} - {None}
    assert strategies >= {"asha", "autogan", "dggan", "random_sharing"}
    for importer, imported in arrows("models_search"):
        if imported.startswith("models_search."):
            assert strategy(imported) in (None, strategy(importer)), f"{importer} imports {imported}"


def test_what_cfg_imports_does_not_import_torch():
    seen, waiting = set(), ["cfg"]
    while waiting:
        module = waiting.pop()
        seen.add(module)
        waiting += IMPORTS[module] - seen
        names = {name.split(".")[0] for name in imported_by(MODULES[module])}
        assert not names & {"torch", "torchvision"}, module
    assert len(seen) > 2


def test_options_are_parsed_without_torch():
    code = "import sys, cfg; cfg.parse('search', []); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0
