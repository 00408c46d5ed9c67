"""Searches side by side (sections 4.3.2 to 4.3.5): python exps/compare_searches.py PLAN.json [options]

PLAN.json (exps/comparisons/) names the searches, the seeds and the options; further ones are those of both
scripts. For each seed every search runs, by its --budget_hours as long as the others; its best architecture
is then trained alone, all alike, and scored. logs/compare_PLAN/ gets comparison.json and comparison.md. The
same command goes on where it stopped.
"""

import json
import shlex
import subprocess
import sys
from pathlib import Path

from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from models_search.retraining.table import mean_and_spread  # noqa: E402
from utils.cli import Parser, UserError, run_script  # noqa: E402
from utils.run.derived import read_architecture  # noqa: E402
from utils.run.files import write_json, write_text  # noqa: E402

STRINGS, ALL = ("both", "search", "training"), ("both", "search", "training", "searches", "seeds")


def main():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("plan", metavar="PLAN.json", help="which searches, which seeds, which options")
    ours, further = parser.parse_known_args()
    plan = read_plan(ours.plan)
    folder = Path("logs") / f"compare_{Path(ours.plan).stem}"
    folder.mkdir(parents=True, exist_ok=True)
    rows = {name: [] for name in plan["searches"]}
    for seed in plan["seeds"]:
        for number, (name, options) in enumerate(plan["searches"].items(), 1):
            files = [folder / f"{number}_{part}_seed{seed}" for part in ("search", "training")]
            shared = [*shlex.split(plan["both"]), "--random_seed", str(seed), *further]
            words = [*shared, *shlex.split(plan["search"]), *shlex.split(options)]
            search = finished_run("search.py", words, files[0])
            words = [
                *shared,
                *shlex.split(plan["training"]),
                "--arch",
                read_architecture(search / "derived.json", 1),
            ]
            training = finished_run("train_derived.py", words, files[1])
            rows[name].append(comparison_row(seed, search, training))
            write_json(folder / "comparison.json", {"plan": plan, "further": further, "rows": rows})
            write_text(folder / "comparison.md", comparison_table(rows))
    print(comparison_table(rows))
    print(f"wrote {folder}/comparison.json and comparison.md")


def read_plan(path):
    """The plan in a JSON file; raises UserError where a part is missing or of the wrong kind."""
    try:
        plan = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"PLAN.json: {path} cannot be read ({error}); see exps/comparisons/") from None
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
    ):
        cure = "options are texts, searches {name: options}, seeds whole numbers"
        raise UserError(f"PLAN.json: {path} is no plan; {cure}")
    return plan


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
    if code:
        raise UserError(f"PLAN.json: {script} ended with exit code {code}; its lines stand above")
    return Path(folder_file.read_text(encoding="utf-8").strip())


def comparison_row(seed, search, training):
    """What a search and the training of its best architecture came to, as plain data."""
    found, trained = (
        json.loads((run / "results.json").read_text(encoding="utf-8")) for run in (search, training)
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
