"""The rooms' import rule: models and utils never meet but in the scripts; nobody imports a script; cfg needs
no torch.
"""

import ast
import subprocess
import sys

import pytest
from running import ROOT

SCRIPTS = {"search", "train_derived", "test"}
FORBIDDEN = {
    "models": {"utils", "models_search", "cfg"} | SCRIPTS,
    "models_search": {"cfg"} | SCRIPTS,
    "utils": {"models", "models_search", "cfg"} | SCRIPTS,
    "search.py": SCRIPTS - {"search"},
    "train_derived.py": SCRIPTS - {"train_derived"},
    "test.py": SCRIPTS - {"test"},
    "cfg.py": SCRIPTS,
}


def imported_by(path):
    """Top-level names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("room", FORBIDDEN)
def test_no_room_imports_what_it_must_not_know(room):
    place = ROOT / room
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    assert files
    for file in files:
        assert not FORBIDDEN[room] & set(imported_by(file)), file


def test_options_are_parsed_without_torch():
    code = "import sys, cfg; cfg.parse('search', []); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0
