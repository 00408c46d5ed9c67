"""Statistics over the architectures that a search scored: the beam, what it drew, each choice's effect."""

import csv
import io
import math
from collections import Counter
from dataclasses import dataclass

from models import architectures
from models.autogan.architecture import CHOICES, Architecture
from models.errors import ArchitectureError
from utils.cli import UserError

COLUMNS = ("run", "architecture", "level", "iteration", "purpose", "is", "fid", "images")
COLUMNS += ("parameters", "macs", "seconds")
# Purposes for which a search draws by its policy, best first.
DRAWN = ("reward", "trial", "cheap", "node", "score")
ALL_CHOICES = CHOICES["extended"]  # it has all that the authors' space has


@dataclass(frozen=True)
class Scored:
    """An architecture that was scored. choices: {choice: option}, both as words."""

    architecture: str
    level: int
    resolution: int  # how far it has grown: its cells, or the size of its images
    iteration: float
    purpose: str
    score: float | None
    parameters: int | None
    macs: int | None
    choices: dict


def scored_architectures(run):
    """The Scored of a run: from the growth tree if it has one, or else from scored.jsonl."""
    if run.tree:
        return [_scored_node(run, node) for node in run.tree if node["action"]]
    name, other = ("fid", "is") if run.reward == "fid" else ("is", "fid")
    if not any(line.get(name) is not None for line in run.scored):
        name = other
    return [_scored_line(line, name) for line in run.scored]


def _scored_line(line, name):
    """The Scored of a line of scored.jsonl. name: which of its scores."""
    text, figures = line["architecture"], (line.get(key) for key in (name, "parameters", "macs"))
    place = (line.get("level") or 0, text.count("|"), line.get("iteration") or 0)
    return Scored(text, *place, line.get("purpose", ""), *figures, _choices(text))


def _scored_node(run, node):
    """The Scored of a node of the growth tree: its choice is the action."""
    text, score = node["architecture"], node["figures"].get("is_mean" if run.reward == "is" else "fid")
    place = (node["step"], text.count("|"), node["step"])
    return Scored(text, *place, "node", score, None, None, {"action": node["action"]})


def _choices(text):
    """{"cell 1 conv": "pre", ...} of cells; {} of another architecture."""
    try:
        architecture = architectures.parse(text)
    except ArchitectureError:
        return {}
    if not isinstance(architecture, Architecture):
        return {}
    found = {}
    for level, cell in enumerate(architecture.cells):
        for choice in CHOICES[cell.space]:
            found[f"cell {level + 1} {choice}"] = _word(getattr(cell, choice))
        if level:
            found[f"cell {level + 1} skip"] = skip_word(cell.skips)
    return found


def _word(option):
    return {True: "yes", False: "no"}.get(option, option)


def skip_word(skips):
    """Which cells a cell adds: "none", "1", "1+2"."""
    return "+".join(str(source + 1) for source, is_added in enumerate(skips) if is_added) or "none"


def all_options(scored):
    """{choice: its options} of all that was scored, in the order of the space."""
    names = dict.fromkeys(name for each in scored for name in each.choices)
    found = {name: {each.choices.get(name) for each in scored} - {None} for name in names}
    return {
        name: sorted(found[name], key=lambda option: _place(name, option))
        for name in sorted(names, key=_cell)
    }


def _cell(name):
    """Cells in order, and the choices in a cell's."""
    parts = name.split()
    order = [*ALL_CHOICES, "skip"]
    return (int(parts[1]), order.index(parts[2])) if len(parts) == 3 else (0, 0)


def _place(name, option):
    """The place of an option in its choice, as the space has it."""
    parts = name.split()
    words = [_word(each) for each in ALL_CHOICES.get(parts[-1], ())]
    return (words.index(option), "") if option in words else (0 if option == "none" else len(option), option)


def by_cell(names):
    """{"Cell 1": the choices of that cell, ...}; a choice of no cell stands for itself."""
    found = {}
    for name in names:
        parts = name.split()
        found.setdefault(" ".join(parts[:2] if parts[0] == "cell" else parts).capitalize(), []).append(name)
    return found


def drawn(scored):
    """Those that the search's policy drew; the candidates at a level's end only where there are no others."""
    by_purpose = ([each for each in scored if each.purpose == purpose] for purpose in DRAWN)
    return next(filter(None, by_purpose), scored)


def shares(scored, name, options, bins):
    """{option: its share of a choice in each of the bins (first, last iteration)}; None where nothing is."""
    rows = {option: [] for option in options}
    for first, last in bins:
        counts = Counter(
            each.choices[name] for each in scored if name in each.choices and first <= each.iteration <= last
        )
        total = sum(counts.values())
        for option in options:
            rows[option].append(counts[option] / total if total else None)
    return rows


def iteration_bins(scored, most=30):
    """At most so many (first, last) of consecutive iterations."""
    iterations = sorted({each.iteration for each in scored})
    size = math.ceil(len(iterations) / most)
    return [
        (part[0], part[-1]) for part in (iterations[at : at + size] for at in range(0, len(iterations), size))
    ]


@dataclass(frozen=True)
class Effect:
    """How an option moves the score, compared with what was scored in the same iteration and for the same

    purpose: mean difference, half of its 95 % interval (None for one score), number of scores."""

    mean: float
    half: float | None
    count: int


def effects(scored):
    """{choice: {option: Effect}} over everything that has a score."""
    known = [each for each in scored if each.score is not None and each.choices]
    places = {}
    for each in known:
        places.setdefault((each.level, each.iteration, each.purpose), []).append(each)
    differences = {}
    for group in places.values():
        mean = sum(each.score for each in group) / len(group)
        for each in group if len(group) > 1 else ():
            for name, option in each.choices.items():
                differences.setdefault((name, option), []).append(each.score - mean)
    return {
        name: {
            option: _effect(differences[name, option]) for option in options if (name, option) in differences
        }
        for name, options in all_options(known).items()
    }


def _effect(values):
    count, mean = len(values), sum(values) / len(values)
    if count < 2:
        return Effect(mean, None, count)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    return Effect(mean, 1.96 * deviation / math.sqrt(count), count)


def beams(run):
    """{name of a level: [(architecture, reward as text)], best first}: what a search kept at each level.

    The last level's is derived.json's; those before follow from the candidates in scored.jsonl, or from the
    growth tree.
    """
    found, topk = {}, run.options.get("topk", len(run.kept))
    if run.tree:
        for step in sorted({node["step"] for node in run.tree}):
            nodes = [
                node
                for node in run.tree
                if node["step"] == step and node["kept"] and node["score"] is not None
            ]
            kept = sorted(nodes, key=lambda node: -node["score"])
            found["start" if step == 0 else f"growing step {step}"] = [
                (node["architecture"], node["score"]) for node in kept
            ]
        return found
    candidates = [each for each in scored_architectures(run) if each.purpose == "candidate" and each.score]
    for level in sorted({each.level for each in candidates}):
        best = {}
        for each in candidates:
            reward = 1 / each.score if run.reward == "fid" else each.score
            if each.level == level:
                best[each.architecture] = max(reward, best.get(each.architecture, -math.inf))
        ranked = sorted(best.items(), key=lambda item: -item[1])
        found[f"level {level}"] = ranked[:topk]
    last = f"level {max((each.level for each in candidates), default=0)}"
    kept = [(entry["architecture"], entry["reward"]) for entry in run.kept]
    return {**found, (last if candidates else "kept"): kept}


def to_csv(runs):
    """All scored architectures of runs as CSV; raises UserError if there is none."""
    rows = [{"run": run.label, **line} for run in runs for line in run.scored]
    if not rows:
        raise UserError("--csv: none of these runs has a scored.jsonl; give runs of search.py that wrote one")
    text = io.StringIO()
    names = [*COLUMNS, *sorted({name for row in rows for name in row} - set(COLUMNS))]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
