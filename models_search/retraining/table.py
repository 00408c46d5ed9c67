"""The table of a derivation (section 3.3.3): several architectures, several trainings of each."""

import statistics

from utils.metrics.scores import figure_name
from utils.run.files import write_json, write_text

FIGURES = {"is": "is_mean", "fid": "fid"}
BEST = {"is": max, "fid": min}


def training_row(seed, folder, result):
    """What the table keeps of one training: {"seed", "folder", "last", "best", "seconds"}.

    last: {"is", "fid"} at the end. best: the highest IS and the lowest FID of all its scorings. A training
    that failed has "failure" instead of scores.
    """
    row = {"seed": seed, "folder": str(folder)}
    if "failure" in result:
        return {**row, "failure": result["failure"]}
    last = {name: result["final"][figure] for name, figure in FIGURES.items()}
    best = {
        name: BEST[name](score[figure] for score in result["history"]) for name, figure in FIGURES.items()
    }
    return {**row, "last": last, "best": best, "seconds": result["seconds"]}


def architecture_row(entry, trainings):
    """A row of the table: an entry of derived.json, and the mean and spread over its trainings."""
    row = {
        "architecture": entry["architecture"],
        "search_rank": entry["rank"],
        "search_reward": entry.get("reward"),
    }
    scored = [each for each in trainings if "last" in each]
    for when in ("last", "best"):
        row[when] = {name: mean_and_spread([each[when][name] for each in scored]) for name in FIGURES}
    return {**row, "failed": len(trainings) - len(scored), "trainings": trainings}


def mean_and_spread(values):
    """{"mean", "spread"}; the spread is the standard deviation of a sample, None for fewer than two."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values) if values else None, "spread": spread}


def ranked_rows(rows, rank_by):
    """The rows, best first, by the mean of the last IS or FID; those without a score come last."""
    sign = 1 if rank_by == "fid" else -1

    def key(row):
        mean = row["last"][rank_by]["mean"]
        return (mean is None, 0 if mean is None else sign * mean, row["search_rank"])

    return [{"rank": rank, **row} for rank, row in enumerate(sorted(rows, key=key), 1)]


def best_training(row, rank_by):
    """The training of a row with the best last score."""
    scored = [each for each in row["trainings"] if "last" in each]
    return BEST[rank_by](scored, key=lambda each: each["last"][rank_by])


def write_table(folder, rows, rank_by, feature_net):
    """Write derive.json and derive.md. Returns the text of the latter. rows: those of `ranked_rows`."""
    winner = rows[0]
    content = {
        "rank_by": rank_by,
        "feature_net": feature_net,
        "winner": {
            "architecture": winner["architecture"],
            "folder": best_training(winner, rank_by)["folder"],
        },
        "architectures": rows,
    }
    text = table_text(rows, rank_by, feature_net)
    write_json(folder / "derive.json", content)
    write_text(folder / "derive.md", text)
    return text


def table_text(rows, rank_by, feature_net):
    """The table as Markdown."""
    names = [figure_name(name, feature_net) for name in ("IS", "FID")]
    head = ["rank", "architecture", "rank in the search", "trainings"]
    head += [f"{when} {name}" for name in names for when in ("last", "best")]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        count, failed = len(row["trainings"]), row["failed"]
        trainings = f"{count}, {failed} failed" if failed else str(count)
        cells = [
            str(row["rank"]),
            row["architecture"].replace("|", "\\|"),
            str(row["search_rank"]),
            trainings,
        ]
        cells += [score_text(row[when][name]) for name in FIGURES for when in ("last", "best")]
        lines.append(cells)
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    note = (
        f"Ranked by the mean of the last {figure_name(rank_by.upper(), feature_net)}. "
        "After +-: standard deviation over the seeds."
    )
    return f"{table}\n\n{note}\n"


def score_text(score):
    """A score such as 8.41 +- 0.11, without the spread where there is none."""
    if score["mean"] is None:
        return "-"
    spread = "" if score["spread"] is None else f" +- {score['spread']:.2f}"
    return f"{score['mean']:.2f}{spread}"
