"""Searches side by side (sections 4.3.2 to 4.3.5): python exps/compare_searches.py PLAN.json [options]

PLAN.json (exps/comparisons/) names the searches, the seeds and the options; further ones are those of both
scripts. For each seed every search runs, by its --budget_hours as long as the others; its best architecture
is then trained alone, all alike, and scored. logs/compare_PLAN/ gets comparison.json and comparison.md. The
same command goes on where it stopped.
"""

import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from reporting.comparison import (  # noqa: E402
    check_options, finished_run, markdown, new_folder, read_plan, results, score_cells, spread,
)  # fmt: skip
from utils.cli import Parser, run_script  # noqa: E402
from utils.run.derived import read_architecture  # noqa: E402
from utils.run.files import write_json, write_text  # noqa: E402

PARTS = ("both", "search", "training"), "searches"
HEAD = ["search", "seeds", "FID", "IS", "FID minus the first's", "minutes", "images scored", "resets"]


def main():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("plan", metavar="PLAN.json", help="which searches, which seeds, which options")
    ours, further = parser.parse_known_args()
    plan = read_plan(ours.plan, *PARTS)
    check(plan, further)
    with new_folder(ours.plan) as folder:
        compare(plan, further, folder)


def check(plan, further):
    """End with one line for options that a script refuses. further: words for both scripts."""
    for seed in plan["seeds"]:
        for options in plan["searches"].values():
            searched = check_options("search", search_words(plan, options, seed, further), seed)
            # What a growth finds is trained with other options, and known only when it has ended.
            if searched.search.method not in ("dggan", "proggan"):
                words = training_words(plan, seed, further)
                check_options("train_derived", words, seed, also=("arch", "arch_file", "gen_model"))


def search_words(plan, options, seed, further):
    """The arguments of search.py. options: of this search, a text."""
    shared = [*shlex.split(plan["both"]), "--random_seed", str(seed), *further]
    return [*shared, *shlex.split(plan["search"]), *shlex.split(options)]


def training_words(plan, seed, further):
    """The arguments of train_derived.py, but for the architecture."""
    shared = [*shlex.split(plan["both"]), "--random_seed", str(seed), *further]
    return [*shared, *shlex.split(plan["training"])]


def compare(plan, further, folder):
    """Do all runs of a plan, or go on with them."""
    rows = {name: [] for name in plan["searches"]}
    for seed in plan["seeds"]:
        for number, (name, options) in enumerate(plan["searches"].items(), 1):
            files = [folder / f"{number}_{part}_seed{seed}" for part in ("search", "training")]
            search = finished_run("search.py", search_words(plan, options, seed, further), files[0])
            best = ["--arch", read_architecture(search / "derived.json", 1)]
            words = [*training_words(plan, seed, further), *best]
            training = finished_run("train_derived.py", words, files[1])
            rows[name].append(comparison_row(seed, search, training))
            write_json(folder / "comparison.json", {"plan": plan, "further": further, "rows": rows})
            write_text(folder / "comparison.md", comparison_table(rows))
    print(comparison_table(rows))
    print(f"wrote {folder}/comparison.json and comparison.md")


def comparison_row(seed, search, training):
    """What a search and the training of its best architecture came to, as plain data."""
    found, trained = results(search), results(training)
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
    """A Markdown table of {search: rows}."""
    scores, lines = score_cells(rows), []
    for name, found in rows.items():
        cells = [name, *scores[name], spread([60 * row["hours"] for row in found])]
        for count in ("scored_images", "resets"):
            values = [row[count] for row in found if row[count] is not None]
            cells.append(f"{sum(values) / len(values):,.1f}" if values else "")
        lines.append(cells)
    return markdown(HEAD, lines)


if __name__ == "__main__":
    run_script(main)
