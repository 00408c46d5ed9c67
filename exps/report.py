"""Finished runs as a table, as a page to look at, or as CSV; and drawings of architectures.

python exps/report.py RUN [RUN ...] [--minutes M | --seconds S]      print a table
python exps/report.py RUN [RUN ...] --output report.html             write one self-contained HTML file
python exps/report.py RUN [RUN ...] --csv scored.csv                 write all architectures that were scored
python exps/report.py --arch "1 0 1 1 | 1 0 0 1 1" --output a.svg    draw an architecture

The table: one run of train_derived.py gives a summary, several are ranked by their Inception score; runs of
search.py --method dggan or proggan are compared at each resolution. The page shows runs of any kind
(exps/reporting/). Only JSON and pictures are read, never a checkpoint.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from utils.cli import Parser, UserError, run_script  # noqa: E402
from utils.option_types import output_file  # noqa: E402
from utils.run.files import write_text  # noqa: E402


# Reading


@dataclass(frozen=True)
class Training:
    """A finished run of train_derived.py.

    A score is a dict: iteration, is_mean, is_std, fid, feature_net.
    """

    folder: Path
    architecture: str
    parameters: int
    macs: int
    history: list
    final: dict

    @classmethod
    def from_results(cls, folder, results):
        sizes = (results["generator_parameters"], results["generator_macs"])
        return cls(folder, results["architecture"], *sizes, results["history"], results["final"])

    @property
    def feature_net(self):
        return self.final["feature_net"]

    @property
    def untrained(self):
        """The score before training; None without --score_start."""
        first = self.history[0]
        return first if first["iteration"] == 0 and first != self.final else None

    @property
    def samples(self):
        return self.folder / "Samples" / f"iteration_{self.final['iteration']:06d}.png"


@dataclass(frozen=True)
class GrowingSearch:
    """A finished run of search.py --method dggan or proggan. best: {resolution: its best network}."""

    folder: Path
    method: str
    feature_net: str
    reward: str
    best: dict

    @classmethod
    def from_results(cls, folder, results):
        best = {int(resolution): network for resolution, network in results["resolutions"].items()}
        return cls(folder, results["method"], results["feature_net"], results["reward"], best)


def read_run(folder):
    """The Training or GrowingSearch in a run's folder; raises UserError if there is none."""
    try:
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        kind, key = (GrowingSearch, "resolutions") if "resolutions" in results else (Training, "history")
        if not results[key]:
            raise ValueError(f"no {key}")
        return kind.from_results(folder, results)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        kinds = "train_derived.py or of search.py --method dggan or proggan"
        raise UserError(f"{folder} is not the folder of a finished run of {kinds}") from None


def read_comparable_runs(folders):
    """The runs in these folders. Raises UserError if their kinds or feature networks differ."""
    runs = [read_run(folder) for folder in folders]
    if len({type(run) for run in runs}) > 1:
        raise UserError("runs of train_derived.py and of search.py do not compare; give runs of one of them")
    networks = sorted({run.feature_net for run in runs})
    if len(networks) > 1:
        scores = "FIDs" if isinstance(runs[0], GrowingSearch) else "scores"
        names = ", ".join(networks)
        raise UserError(f"the runs are scored by different networks ({names}), whose {scores} do not compare")
    return runs


# Text


def summary_text(run):
    """Architecture, size, scores and pictures of one training."""

    def before_and_after(name, form):
        before = f"{run.untrained[name]:{form}} untrained, " if run.untrained else ""
        return f"{before}{run.final[name]:{form}} trained"

    rows = {
        "architecture": run.architecture,
        "parameters": f"{run.parameters:,}",
        "MACs": f"{run.macs:,}",
        f"IS ({run.feature_net})": before_and_after("is_mean", ".2f"),
        f"FID ({run.feature_net})": before_and_after("fid", ".1f"),
        "samples": run.samples,
        "training as GIF": run.samples.with_name("training.gif"),
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())


def ranking_text(runs):
    """A line for each training, the highest Inception score first."""
    lines = [f"IS and FID ({runs[0].feature_net}) of the trained generators, the highest IS first"]
    for run in sorted(runs, key=lambda run: -run.final["is_mean"]):
        scores = "IS {is_mean:6.2f} +- {is_std:.2f}   FID {fid:8.2f}".format(**run.final)
        lines.append(f"  {scores}   {run.architecture}   {run.folder}")
    return "\n".join(lines)


def growth_text(runs):
    """FID of the best network at each resolution, a column for each search; then what it grew by."""
    rewards = " or ".join(sorted({run.reward.upper() for run in runs}))
    lines = [
        f"FID ({runs[0].feature_net}) of the best networks by {rewards}, "
        "in brackets the training images on the path to them",
        "resolution" + "".join(f"{run.method:>24}" for run in runs),
    ]
    for resolution in sorted({resolution for run in runs for resolution in run.best}):
        networks = [run.best.get(resolution) for run in runs]
        cells = [
            "{fid:.2f} ({training_images:,})".format(**network) if network else "-" for network in networks
        ]
        lines.append(f"{resolution:>7} px" + "".join(f"{cell:>24}" for cell in cells))
    for run in runs:
        largest = run.best[max(run.best)]
        lines += [
            f"\n{run.method}: {', '.join(largest['actions']) or 'the root'}",
            f"  architecture  {largest['architecture']}",
            f"  growth tree   {run.folder / 'growth_tree.png'}",
            f"  samples       {run.folder / 'Samples' / 'node_{:03d}.png'.format(largest['node'])}",
        ]
    return "\n".join(lines)


def report_text(runs):
    """The table that fits these runs."""
    if isinstance(runs[0], GrowingSearch):
        return growth_text(runs)
    return summary_text(runs[0]) if len(runs) == 1 else ranking_text(runs)


# Command line


def _output(text):
    """An argparse type: a file to write, by its ending .html or .svg."""
    if Path(text).suffix not in (".html", ".svg"):
        raise argparse.ArgumentTypeError(f"{text} is neither .html (a report) nor .svg (a drawing)")
    return output_file(text)


def parse_arguments():
    """The command line; a mistake ends the program with one line and exit code 2."""
    parser = Parser(
        description="Print a table of finished runs, write a report on them, or draw an architecture.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="a run's folder")
    parser.add_argument(
        "--output", type=_output, metavar="FILE",
        help="of RUNs: an .html file with curves, drawings, tables and samples; of --arch: an .svg file",
    )  # fmt: skip
    parser.add_argument(
        "--csv",
        type=output_file,
        metavar="FILE",
        help="write all architectures that the runs' searches scored",
    )
    parser.add_argument(
        "--arch",
        nargs="+",
        help="the architecture to draw: a vector, a published name, or '4: G 3x512 D 3x512'",
    )
    time = parser.add_mutually_exclusive_group()
    time.add_argument("--minutes", type=float, help="print this time below the table")
    time.add_argument("--seconds", type=float, help="the same, in seconds")
    arguments = parser.parse_args()
    given, runs = vars(arguments), getattr(arguments, "runs", [])
    ending = Path(given["output"]).suffix if "output" in given else None
    if "arch" in given and (runs or ending != ".svg"):
        parser.error("--arch: draws one architecture; give --output FILE.svg and no RUN")
    if "arch" not in given and ending == ".svg":
        parser.error("--output: an .svg file is a drawing of --arch; give FILE.html for a report on runs")
    for name in {"minutes", "seconds"} & given.keys():
        if given.keys() & {"output", "csv", "arch"}:
            parser.error(f"--{name}: is printed below the table; leave it out beside --output and --csv")
    if "arch" not in given and not runs:
        parser.error("RUN: no run is given; give the folders of finished runs, or --arch")
    return given


def write_drawing(words, path):
    """Draw the architecture that the words of --arch describe."""
    from models import architectures
    from models.errors import ArchitectureError
    from reporting.drawing import standalone_drawing

    try:
        architecture = architectures.parse(" ".join(words))
    except ArchitectureError as error:
        raise UserError(f"--arch: {error}; give such as '1 0 1 1 | 1 0 0 1 1'") from None
    write_text(path, standalone_drawing(architecture))
    print(f"wrote {path}")


def write_report(folders, page_path, csv_path):
    """Write the HTML report and the CSV of scored architectures that are asked for."""
    from reporting.curves import refuse_without_matplotlib
    from reporting.page import report_page
    from reporting.read import read_runs
    from reporting.scored import to_csv

    if page_path:
        refuse_without_matplotlib()
    runs = read_runs(folders)
    table = to_csv(runs) if csv_path else None
    if page_path:
        write_text(page_path, report_page(runs))
        print(f"report  {page_path}")
    if csv_path:
        write_text(csv_path, table)
        print(f"scored architectures  {csv_path}")


def main():
    arguments = parse_arguments()
    if "arch" in arguments:
        write_drawing(arguments["arch"], arguments["output"])
        return
    page_path, csv_path = arguments.get("output"), arguments.get("csv")
    if page_path or csv_path:
        write_report(arguments["runs"], page_path, csv_path)
        return
    print(f"\n{report_text(read_comparable_runs(arguments['runs']))}")
    if "seconds" in arguments or "minutes" in arguments:
        minutes = arguments["minutes"] if "minutes" in arguments else arguments["seconds"] / 60
        print(f"\ntime  {minutes:.1f} min")


if __name__ == "__main__":
    run_script(main)
