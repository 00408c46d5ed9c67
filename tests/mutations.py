"""Do the tests notice small faults? Changes one place of the code at a time, and runs the tests that know it.

pip install mutmut==3.8.1
python tests/mutations.py utils/run models_search --size 65

mutmut's operators make the mutants, in every function and method of the folders or files, in a clone of the last
commit.
Mutants of sentences (texts with a space) are left out. A mutant is killed if a test fails in a file that names
its module, or in one of ALWAYS. Prints the survivors as diffs: each is either a missing test, or changes
nothing that can be seen (docs/RELIABILITY.md).
"""

import argparse
import difflib
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import libcst
from libcst.metadata import MetadataWrapper
from mutmut.mutation import file_mutation
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

ALWAYS = ("tests/test_recorded_runs.py", "tests/test_seeds.py")
TIMEOUT = 600  # seconds; a mutant that never ends is killed, too


class Visitor(file_mutation.MutationVisitor):
    """mutmut's, but also for functions with a decorator, which it cannot exchange."""

    def _skip_node_and_children(self, node):
        is_function = isinstance(node, libcst.FunctionDef)
        return False if is_function else super()._skip_node_and_children(node)


def find_mutants(path):
    """[(path, module, mutation)] of a file; `changed` makes the text."""
    visitor = Visitor(mutation_operators, IgnoredCode(set(), set(), set()))
    module = MetadataWrapper(libcst.parse_module(path.read_text())).visit(visitor)
    return [(path, module, each) for each in visitor.mutations if is_mutated(each)]


def is_mutated(mutation):
    node = mutation.original_node
    is_sentence = isinstance(node, libcst.SimpleString) and " " in node.value
    return mutation.contained_by_top_level_function and not is_sentence


def changed(module, mutation):
    """The file's text with this mutation, or None if it is none or no Python."""
    text = file_mutation.deep_replace(module, mutation.original_node, mutation.mutated_node).code
    try:
        compile(text, "mutant", "exec")
    except SyntaxError:
        return None
    return text if text != module.code else None


def draw(root, folder, size, seed):
    """(all mutants, `size` of them as (path, text)) of a folder or a file."""
    paths = sorted((root / folder).rglob("*.py")) or [root / folder]
    mutants = [each for path in paths for each in find_mutants(path)]
    random.Random(f"{seed} {folder}").shuffle(mutants)
    texts = ((path, changed(module, mutation)) for path, module, mutation in mutants)
    return mutants, [each for each, _ in zip((each for each in texts if each[1]), range(size))]


def tests_of(root, path):
    """The test files that name a module."""
    name = str(path.relative_to(root).with_suffix("")).replace("/", ".")
    files = sorted((root / "tests").glob("test_*.py"))
    named = [str(file.relative_to(root)) for file in files if name in file.read_text()]
    return [*(file for file in named if file not in ALWAYS), *ALWAYS]


def survives(root, path, text):
    """Whether all tests pass with this text in the file's place."""
    before = path.read_text()
    path.write_text(text)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests_of(root, path)]
    try:
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, timeout=TIMEOUT)
        return done.returncode == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        path.write_text(before)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", help="of the code to change, such as utils/run, or files")
    parser.add_argument("--size", type=int, default=65, help="mutants of each folder or file")
    parser.add_argument("--seed", type=int, default=20261126, help="of the sample")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as clone:
        root = Path(clone)
        source = Path(__file__).resolve().parent.parent
        subprocess.run(["git", "clone", "--quiet", source, root], check=True)
        for folder in options.folders:
            mutants, sample = draw(root, folder, options.size, options.seed)
            left = [each for each in sample if survives(root, *each)]
            print(f"{folder}: {len(sample) - len(left)} of {len(sample)} killed, of {len(mutants)} in all")
            for path, text in left:
                lines = path.read_text().splitlines(), text.splitlines()
                diff = difflib.unified_diff(*lines, str(path.relative_to(root)), "mutant", lineterm="", n=0)
                print("\n".join(diff), flush=True)


if __name__ == "__main__":
    main()
