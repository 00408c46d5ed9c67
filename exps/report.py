"""Print a table of finished runs: `python exps/report.py RUN [RUN ...] [--minutes M | --seconds S]`.

One run of train_derived.py gives a summary, several are ranked by their Inception score. Runs of search.py
--method dggan or proggan are compared at each resolution. Only results.json is read, never a checkpoint.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from utils.cli import Parser, UserError, run_script  # noqa: E402


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


def main():
    parser = Parser(description="Print a table of finished runs of train_derived.py, DGGAN or ProgGAN.")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a run's folder")
    time = parser.add_mutually_exclusive_group()
    time.add_argument(
        "--minutes", type=float, default=argparse.SUPPRESS, help="print this time below the table"
    )
    time.add_argument("--seconds", type=float, default=argparse.SUPPRESS, help="the same, in seconds")
    arguments = vars(parser.parse_args())
    print(f"\n{report_text(read_comparable_runs(arguments['runs']))}")
    if "seconds" in arguments or "minutes" in arguments:
        minutes = arguments["minutes"] if "minutes" in arguments else arguments["seconds"] / 60
        print(f"\ntime  {minutes:.1f} min")


if __name__ == "__main__":
    run_script(main)
