"""Runs side by side: what a plan holds, its runs one after the other, and the figures of its table."""

import contextlib
import shlex
import subprocess
import sys
from pathlib import Path

from scipy import stats

import cfg
from models_search.retraining.table import mean_and_spread
from utils.cli import UserError
from utils.run.config import read_config
from utils.run.files import read_json

ROOT = Path(__file__).resolve().parents[2]
# Options that a comparison sets itself, or that would make no run, or several.
WITHOUT_EFFECT = ("derive", "dry_run", "estimate", "exp_name", "folder_file", "load_path", "resume")


def read_plan(path, texts, variants):
    """The plan in a JSON file; raises UserError where a part is missing or of the wrong kind.

    texts: the names of its parts that are options. variants: that of its {name: options}. It also has seeds.
    """
    plan = read_json(path, "PLAN.json", "see exps/comparisons/")
    parts = (*texts, variants, "seeds")
    if not isinstance(plan, dict) or set(plan) != set(parts):
        problem = f"must hold {', '.join(parts)} and nothing else"
        raise UserError(f"PLAN.json: {path} {problem}; see exps/comparisons/")
    named, seeds = plan[variants], plan["seeds"]
    is_right = all(isinstance(plan[name], str) for name in texts)
    is_right = is_right and isinstance(named, dict) and bool(named)
    is_right = is_right and all(isinstance(options, str) for options in named.values())
    is_right = is_right and isinstance(seeds, list) and bool(seeds)
    if not is_right or not all(type(seed) is int for seed in seeds) or len(set(seeds)) < len(seeds):
        cure = f"options are texts, {variants} {{name: options}}, seeds whole numbers, each once"
        raise UserError(f"PLAN.json: {path} is no plan; {cure}")
    for text in (*(plan[name] for name in texts), *named.values()):
        try:
            shlex.split(text)
        except ValueError as error:
            raise UserError(f"PLAN.json: {path}: {text} are no words ({error}); mend the quotes") from None
    return plan


def check_options(script, words, seed, also=()):
    """The Options of a call. A mistake in them ends the comparison with one line, before anything is begun.

    also: names of further options that the comparison sets itself. Raises UserError for a typed one.
    """
    options = cfg.parse(script, words)
    for name in (*WITHOUT_EFFECT, *also):
        if name in options.typed:
            raise UserError(f"--{name}: without effect in a comparison; leave it out")
    if options.run.random_seed != seed:
        raise UserError("--random_seed: the plan's seeds set it; leave it out")
    return options


@contextlib.contextmanager
def new_folder(plan_file):
    """The folder of a comparison, below the working directory. If an error leaves it empty, it goes."""
    folder = Path("logs") / f"compare_{Path(plan_file).stem}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cure = "run in a folder you may write to"
        raise UserError(f"PLAN.json: cannot write {folder} ({error.strerror}); {cure}") from None
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):  # it holds something
            folder.rmdir()
            folder.parent.rmdir()


def finished_run(script, words, folder_file):
    """The folder of a run of `script`, which goes on or begins unless it has ended already.

    folder_file: where its folder stands. A run that fails ends the comparison. Raises UserError if one of
    other options stands there.
    """
    if folder_file.exists():
        folder = Path(folder_file.read_text(encoding="utf-8").strip())
        if (folder / "results.json").exists():
            refuse_other_run(folder, script, words)
            return folder
    name = ["--exp_name", folder_file.name, "--folder_file", str(folder_file)]
    command = [sys.executable, str(ROOT / script), *words, *name]
    print("python", shlex.join([script, *command[2:]]), flush=True)
    code = subprocess.run(command).returncode
    if code == UserError.exit_code:
        sys.exit(code)  # its line names the mistake
    if code:
        raise UserError(f"PLAN.json: {script} ended with exit code {code}; its lines stand above")
    return Path(folder_file.read_text(encoding="utf-8").strip())


def refuse_other_run(folder, script, words):
    """Raise UserError if a run that has ended had other options than these words give."""
    name = Path(script).stem
    found = cfg.SCRIPTS[name].later_defaults() | read_config(folder, "PLAN.json")
    for option, value in cfg.parse(name, words).flat().items():
        if option not in cfg.FREE_ON_RESUME and option in found and found[option] != value:
            problem = f"{folder} has ended with --{option} {found[option]}, not {value}"
            raise UserError(f"PLAN.json: {problem}; give the file another name, or remove that folder")


def results(run):
    """What a run came to: its results.json."""
    return read_json(run / "results.json", "PLAN.json", "remove this run")


def score_cells(rows):
    """{name: [seeds, FID, IS, FID minus the first's]} of {name: rows}; each row has seed, fid and is.

    The differences from the first are by seed, with their 95 % t interval.
    """
    baseline, cells = next(iter(rows)), {}
    first = {row["seed"]: row["fid"] for row in rows[baseline]}
    for name, found in rows.items():
        differences = [row["fid"] - first[row["seed"]] for row in found if row["seed"] in first]
        scores = [spread([row[score] for row in found]) for score in ("fid", "is")]
        cells[name] = [
            str(len(found)),
            *scores,
            interval(differences) if differences and name != baseline else "",
        ]
    return cells


def markdown(head, rows):
    """A Markdown table of rows of texts."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def spread(values):
    """Mean +- standard deviation of a sample."""
    found = mean_and_spread(values)
    if found["mean"] is None:
        return ""
    return f"{found['mean']:.1f}" + (f" +- {found['spread']:.1f}" if found["spread"] is not None else "")


def interval(differences):
    """The mean of paired differences and its 95 % interval by Student's t."""
    if len(set(differences)) < 2:  # the interval needs a spread
        return f"{differences[0]:+.1f}"
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    return f"{sum(differences) / len(differences):+.1f} ({low:+.1f} to {high:+.1f})"
