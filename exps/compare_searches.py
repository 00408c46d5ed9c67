"""Searches side by side (sections 4.3.2 to 4.3.5): python exps/compare_searches.py PLAN.json [options]

PLAN.json (exps/comparisons/) names the searches, the seeds and the options; further ones are those of both
scripts. For each seed every search runs, by its --budget_hours as long as the others; its best architecture
is then trained alone, all alike, and scored. logs/compare_PLAN/ gets comparison.json and comparison.md. The
same command goes on where it stopped.
"""

import contextlib
import shlex
import subprocess
import sys
from pathlib import Path

from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import cfg  # noqa: E402
from models_search.retraining.table import mean_and_spread  # noqa: E402
from utils.cli import Parser, UserError, run_script  # noqa: E402
from utils.run.derived import read_architecture  # noqa: E402
from utils.run.files import read_json, write_json, write_text  # noqa: E402

# Options that this script sets, or that would make no run.
WITHOUT_EFFECT = ("arch", "config", "dry_run", "estimate", "exp_name", "folder_file", "load_path", "resume")
STRINGS, ALL = ("both", "search", "training"), ("both", "search", "training", "searches", "seeds")


def main():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("plan", metavar="PLAN.json", help="which searches, which seeds, which options")
    ours, further = parser.parse_known_args()
    plan = read_plan(ours.plan)
    check_options(plan, further)
    with new_folder(Path("logs") / f"compare_{Path(ours.plan).stem}") as folder:
        compare(plan, further, folder)


def compare(plan, further, folder):
    """Do all runs of a plan, or go on with them. further: words for both scripts."""
    rows = {name: [] for name in plan["searches"]}
    for seed in plan["seeds"]:
        for number, (name, options) in enumerate(plan["searches"].items(), 1):
            files = [folder / f"{number}_{part}_seed{seed}" for part in ("search", "training")]
            search = finished_run("search.py", search_words(plan, options, seed, further), files[0])
            architecture = read_architecture(search / "derived.json", 1)
            words = [*training_words(plan, seed, further), "--arch", architecture]
            training = finished_run("train_derived.py", words, files[1])
            rows[name].append(comparison_row(seed, search, training))
            write_json(folder / "comparison.json", {"plan": plan, "further": further, "rows": rows})
            write_text(folder / "comparison.md", comparison_table(rows))
    print(comparison_table(rows))
    print(f"wrote {folder}/comparison.json and comparison.md")


def read_plan(path):
    """The plan in a JSON file; raises UserError where a part is missing or of the wrong kind."""
    plan = read_json(path, "PLAN.json", "see exps/comparisons/")
    if not isinstance(plan, dict) or set(plan) != set(ALL):
        raise UserError(
            f"PLAN.json: {path} must hold {', '.join(ALL)} and nothing else; see exps/comparisons/"
        )
    searches, seeds = plan["searches"], plan["seeds"]
    is_right = (
        all(isinstance(plan[name], str) for name in STRINGS) and isinstance(searches, dict) and searches
    )
    is_right = is_right and all(isinstance(options, str) for options in searches.values())
    if (
        not is_right
        or not isinstance(seeds, list)
        or not all(type(seed) is int for seed in seeds)
        or not seeds
        or len(set(seeds)) < len(seeds)
    ):
        cure = "options are texts, searches {name: options}, seeds whole numbers, each once"
        raise UserError(f"PLAN.json: {path} is no plan; {cure}")
    for text in (*(plan[name] for name in STRINGS), *searches.values()):
        try:
            shlex.split(text)
        except ValueError as error:
            raise UserError(f"PLAN.json: {path}: {text} are no words ({error}); mend the quotes") from None
    return plan


def search_words(plan, options, seed, further):
    """The arguments of search.py. options: of this search, a text."""
    return [
        *training_words({**plan, "training": ""}, seed, further),
        *shlex.split(f"{plan['search']} {options}"),
    ]


def training_words(plan, seed, further):
    """The arguments of train_derived.py, but for the architecture."""
    return [*shlex.split(plan["both"]), "--random_seed", str(seed), *further, *shlex.split(plan["training"])]


def check_options(plan, further):
    """Raise UserError, or end with one line, for options that a script refuses. Nothing is begun before."""
    for seed in plan["seeds"]:
        for options in plan["searches"].values():
            found = cfg.parse("search", search_words(plan, options, seed, further))
            refuse_unread(found, seed)
            # An architecture of the searched family; that of a growth is known only when it has ended.
            if found.search.method not in ("dggan", "proggan"):
                words = [*training_words(plan, seed, further), "--gen_model", "autogan_cifar10_a"]
                refuse_unread(cfg.parse("train_derived", words), seed)


def refuse_unread(options, seed):
    """Raise UserError for typed options that a comparison sets itself."""
    for name in WITHOUT_EFFECT:
        if name in options.typed:
            raise UserError(f"--{name}: without effect in a comparison; leave it out")
    if options.run.random_seed != seed:
        raise UserError("--random_seed: the plan's seeds set it; leave it out")


@contextlib.contextmanager
def new_folder(folder):
    """Make a folder, which may exist. If an error leaves it empty, it goes."""
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

    folder_file: where its folder stands. A run that fails ends the comparison.
    """
    if folder_file.exists():
        folder = Path(folder_file.read_text(encoding="utf-8").strip())
        if (folder / "results.json").exists():
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


def comparison_row(seed, search, training):
    """What a search and the training of its best architecture came to, as plain data."""
    found, trained = (
        read_json(run / "results.json", "PLAN.json", "remove this run") for run in (search, training)
    )
    row = {
        "seed": seed,
        "architecture": trained["architecture"],
        "search": str(search),
        "training": str(training),
    }
    row |= {name: found.get(name) for name in ("hours", "scored_images", "resets")}
    row |= {"parameters": trained["generator_parameters"], "macs": trained["generator_macs"]}
    return row | {"is": trained["final"]["is_mean"], "fid": trained["final"]["fid"]}


def comparison_table(rows):
    """A Markdown table; the differences from the first search are by seed, with their 95 % t interval."""
    lines = ["| search | seeds | FID | IS | FID minus the first's | minutes | images scored | resets |"]
    lines.append("|" + "---|" * 8)
    first = {row["seed"]: row["fid"] for row in next(iter(rows.values()))}
    for name, found in rows.items():
        differences = [row["fid"] - first[row["seed"]] for row in found if row["seed"] in first]
        cells = [name, str(len(found)), *(_spread([row[score] for row in found]) for score in ("fid", "is"))]
        cells += [_interval(differences) if any(differences) else ""]
        cells += [_spread([60 * row["hours"] for row in found])]
        for count in ("scored_images", "resets"):
            values = [row[count] for row in found if row[count] is not None]
            cells.append(f"{sum(values) / len(values):,.1f}" if values else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _spread(values):
    """Mean +- standard deviation of a sample."""
    found = mean_and_spread(values)
    if found["mean"] is None:
        return ""
    return f"{found['mean']:.1f}" + (f" +- {found['spread']:.1f}" if found["spread"] is not None else "")


def _interval(differences):
    """The mean of paired differences and its 95 % interval by Student's t."""
    if len(differences) < 2:
        return f"{differences[0]:+.1f}"
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    return f"{sum(differences) / len(differences):+.1f} ({low:+.1f} to {high:+.1f})"


if __name__ == "__main__":
    run_script(main)
