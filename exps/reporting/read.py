"""Runs as the report sees them: what stands in a run's folder, read once. No torch.

config.json and results.json are there for every finished run; derived.json, Log/metrics.jsonl, scored.jsonl,
growth_tree.json and Samples/*.png where the run's script writes them.
"""

import json
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cfg
from reporting.growth_svg import path_to
from utils.cli import UserError

# What repetitions of one experiment may differ in.
FREE = cfg.FREE_ON_RESUME | {"random_seed", "arch_file", "rank", "arch", "gen_model", "init_from", "fast"}


@dataclass(frozen=True)
class RunData:
    """A finished run. label: its name in this report."""

    folder: Path
    label: str
    options: dict
    environment: dict
    results: dict
    derived: dict
    metrics: tuple  # the lines of metrics.jsonl
    tree: tuple  # the nodes of growth_tree.json
    scored: tuple  # the lines of scored.jsonl

    @property
    def kind(self):
        """What ran: "training", "scoring", "growth" (of DGGAN or ProgGAN), or another "search"."""
        if "history" in self.results:
            return "training"
        if "scores" in self.results:
            return "scoring"
        return "growth" if "resolutions" in self.results else "search"

    @property
    def architecture(self):
        """The text of what was trained, or of the best that a search found; None if there is none."""
        kept = self.kept
        return self.results.get("architecture") or (kept[0]["architecture"] if kept else None)

    @property
    def kept(self):
        """[{"architecture", "reward", ...}] that a search kept, best first."""
        return self.derived.get("architectures", [])

    @property
    def num_classes(self):
        """Of a conditional run; 0 of others."""
        return len(self.results.get("classes", ()))

    @property
    def history(self):
        """The scores of a training, in order; of a scoring, that one."""
        if self.kind == "scoring":
            return [self.results["scores"]]
        return self.results.get("history", [])

    @property
    def last_score(self):
        return self.history[-1] if self.history else None

    @property
    def best_score(self):
        """The score of the lowest FID."""
        known = [score for score in self.history if score.get("fid") is not None]
        return min(known, key=lambda score: score["fid"]) if known else self.last_score

    @property
    def feature_net(self):
        """The network behind the scores."""
        return (self.last_score or self.results).get("feature_net") or self.options.get("feature_net")

    @property
    def reward(self):
        """What a search was rewarded by: "is", "fid" or "swd"."""
        return self.options.get("reward", "is")

    @property
    def seconds(self):
        """How long the run took; None if that is not recorded."""
        hours = self.results.get("hours")
        return self.results.get("seconds", None if hours is None else 3600 * hours)

    @property
    def final_resolution(self):
        return self.options.get("img_size")

    @cached_property
    def best_path(self):
        """The nodes from the root of the growth tree to the best network of the final resolution."""
        if not self.tree:
            return ()
        best = self.results.get("resolutions", {}).get(str(self.final_resolution), {}).get("node")
        return tuple(path_to(self.tree, best)) if best is not None else ()

    @cached_property
    def pictures(self):
        """Sample grids over time, in order; without those of single nodes of a growth tree."""
        names = "best_of_step_*.png" if self.tree else "*.png"
        return sorted((self.folder / "Samples").glob(names))

    def figures(self, name):
        """[(line of metrics.jsonl, value)] of a figure such as "controller/reward"."""
        return [(line, line[name]) for line in self.metrics if isinstance(line.get(name), (int, float))]

    @property
    def setting(self):
        """What repetitions of one experiment have in common, as something hashable."""
        options = {name: value for name, value in self.options.items() if name not in FREE}
        trained = self.architecture if self.kind in ("training", "scoring") else None
        return json.dumps([self.kind, trained, options], sort_keys=True)


def read_run(folder):
    """The RunData of a folder; raises UserError if it does not hold a finished run."""
    folder = Path(folder)
    try:
        config, results = _read_json(folder / "config.json"), _read_json(folder / "results.json")
        run = RunData(
            folder, folder.resolve().name, config["options"], config.get("environment", {}), results,
            _read_json(folder / "derived.json", {}), _read_lines(folder / "Log" / "metrics.jsonl"),
            tuple(_read_json(folder / "growth_tree.json", ())), _read_lines(folder / "scored.jsonl"),
        )  # fmt: skip
        if not run.options or not (run.history or run.kept or run.results.get("resolutions")):
            raise ValueError("nothing to show")
        _check(run)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        cure = "give one with config.json and results.json, such as logs/EXP_NAME_TIME"
        raise UserError(f"{folder} is not the folder of a finished run; {cure}") from None
    return run


def _check(run):
    """Raise KeyError or TypeError where a run's files do not hold what this report reads."""
    for score in run.history:
        score["feature_net"], run.kind == "scoring" or int(score["iteration"])
    for entry in (*run.kept, *run.scored):
        entry["architecture"].split()
    for node in run.tree:
        for name in ("step", "architecture", "parent", "action", "score", "kept", "failure", "figures"):
            node[name]
    for line in run.metrics:
        line["step"] + 0


def _read_json(path, otherwise=None):
    """What a JSON file holds; `otherwise`, if that is given, where there is no such file."""
    if otherwise is not None and not path.is_file():
        return otherwise
    return _parse(path.read_text(encoding="utf-8"))


def _read_lines(path):
    """The objects of a file of JSON lines; none without the file."""
    if not path.is_file():
        return ()
    return tuple(_parse(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def _parse(text):
    """What JSON says. NaN and infinity, which Python writes, become None."""
    return json.loads(text, parse_constant=lambda name: None)


def read_runs(folders):
    """The runs of these folders, with distinct labels; raises UserError if their scores do not compare."""
    runs = [read_run(folder) for folder in folders]
    if len({run.folder.resolve() for run in runs}) < len(runs):
        raise UserError("a run is given twice; give every folder once")
    refuse_incomparable(runs)
    counts, seen, labelled = Counter(run.label for run in runs), Counter(), []
    for run in runs:
        seen[run.label] += 1
        number = f" ({seen[run.label]})" if counts[run.label] > 1 else ""
        labelled.append(replace(run, label=run.label + number))
    return labelled


def refuse_incomparable(runs):
    """Raise UserError if runs were scored by different networks or on different images."""
    networks = sorted({run.feature_net for run in runs if run.last_score})
    networks = (
        networks if len(networks) > 1 else sorted({str(run.options.get("feature_net")) for run in runs})
    )
    if len(networks) > 1:
        names = ", ".join(networks)
        raise UserError(f"the runs are scored by different networks ({names}), whose scores do not compare")
    images = sorted({_image_set(run) for run in runs})
    if len(images) > 1:
        names = ", ".join(images)
        raise UserError(f"the runs are on different images ({names}), whose scores do not compare")


def _image_set(run):
    """The images that a run learns, in words."""
    options, dataset = run.options, run.options.get("dataset")
    place = f" {Path(str(options.get('data_path')))}" if dataset == "folder" else ""
    return f"{dataset}{place} at {run.final_resolution} px"


def groups_of_seeds(runs):
    """{name: runs} of runs that differ in nothing but the seed and what does not change the result.

    The name says in what the groups differ, in as few words as tell them apart.
    """
    groups = {}
    for run in runs:
        groups.setdefault(run.setting, []).append(run)
    names = _distinct_names([group[0] for group in groups.values()])
    return dict(zip(names, groups.values()))


def _distinct_names(runs):
    """A name for each run, distinct: its architecture and options, as far as they tell the runs apart."""
    trained = {run.kind for run in runs} <= {"training", "scoring"}
    options = sorted(set().union(*(run.options for run in runs)) - FREE - {"method", "reward"})
    words = [[run.architecture for run in runs]] if trained else [[run.kind for run in runs]]
    words.append([run.options.get("method") for run in runs])
    words += [[f"{name} {run.options.get(name)}" for run in runs] for name in ("reward", *options)]
    chosen = []
    for column in words:
        if len(set(zip(*chosen, column))) > (len(set(zip(*chosen))) if chosen else 1):
            chosen.append(column)
    if not chosen:
        return ["all"] * len(runs)
    names = [", ".join(map(str, row)) for row in zip(*chosen)]
    return [name if names.count(name) == 1 else f"{name} ({run.label})" for name, run in zip(names, runs)]
