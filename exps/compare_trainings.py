"""Trainings side by side: python exps/compare_trainings.py PLAN.json [options]

PLAN.json (exps/comparisons/) names the trainings, the seeds and the options of train_derived.py; further ones
go to all of them. The first training is the baseline. logs/compare_PLAN/ gets comparison.json and
comparison.md. The same command goes on where it stopped.
"""

import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from reporting.comparison import (  # noqa: E402
    check_options, finished_run, markdown, new_folder, read_plan, results, score_cells, spread,
)  # fmt: skip
from utils.cli import Parser, run_script  # noqa: E402
from utils.run.files import write_json, write_text  # noqa: E402

PARTS = ("training",), "trainings"
HEAD = ["training", "seeds", "FID", "IS", "FID minus the first's", "parameters", "minutes"]


def main():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("plan", metavar="PLAN.json", help="which trainings, which seeds, which options")
    ours, further = parser.parse_known_args()
    plan = read_plan(ours.plan, *PARTS)
    for seed in plan["seeds"]:
        for options in plan["trainings"].values():
            check_options("train_derived", training_words(plan, options, seed, further), seed)
    with new_folder(ours.plan) as folder:
        compare(plan, further, folder)


def training_words(plan, options, seed, further):
    """The arguments of train_derived.py. options: of this training, a text. further: words for all."""
    return [*shlex.split(plan["training"]), "--random_seed", str(seed), *further, *shlex.split(options)]


def compare(plan, further, folder):
    """Do all trainings of a plan, or go on with them."""
    rows = {name: [] for name in plan["trainings"]}
    for seed in plan["seeds"]:
        for number, (name, options) in enumerate(plan["trainings"].items(), 1):
            words, file = training_words(plan, options, seed, further), folder / f"{number}_seed{seed}"
            rows[name].append(comparison_row(seed, finished_run("train_derived.py", words, file)))
            write_json(folder / "comparison.json", {"plan": plan, "further": further, "rows": rows})
            write_text(folder / "comparison.md", comparison_table(rows))
    print(comparison_table(rows))
    print(f"wrote {folder}/comparison.json and comparison.md")


def comparison_row(seed, training):
    """What a training came to, as plain data."""
    found = results(training)
    row = {"seed": seed, "architecture": found["architecture"], "training": str(training)}
    row |= {"parameters": found["generator_parameters"], "seconds": found["seconds"]}
    return row | {"is": found["final"]["is_mean"], "fid": found["final"]["fid"]}


def comparison_table(rows):
    """A Markdown table of {training: rows}."""
    scores, lines = score_cells(rows), []
    for name, found in rows.items():
        parameters = ", ".join(sorted({f"{row['parameters']:,}" for row in found}))
        minutes = spread([row["seconds"] / 60 for row in found])
        lines.append([name, *scores[name], parameters, minutes])
    return markdown(HEAD, lines)


if __name__ == "__main__":
    run_script(main)
