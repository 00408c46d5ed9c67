"""What the report says about several runs together, and beside published scores."""

from html import escape
from statistics import mean, stdev

from reporting import charts as draw
from reporting.one_run import protocol
from reporting.published import TABLES
from reporting.read import groups_of_seeds
from reporting.series import Curve, clock, hours_at, search_curves, training_curve
from reporting.sizes import generator_sizes
from reporting.svg import element
from reporting.tables import chart_grid, duration, figure, is_figure, number, spread, table

BANDS = "Lines are the means of seeds, bands reach from the lowest to the highest seed."


def comparison(runs, charts):
    """Sections on all runs together: a list of (title, content)."""
    trained = [run for run in runs if run.kind in ("training", "scoring")]
    searched = [run for run in runs if run.kind == "search"]
    grown = [run for run in runs if run.kind == "growth"]
    parts = [
        ("Trainings together", _trainings(trained, charts) if len(trained) > 1 else ""),
        ("Searches together", _searches(searched, charts) if len(searched) > 1 else ""),
        ("Growing searches together", _growths(grown) if len(grown) > 1 else ""),
    ]
    return [(title, content) for title, content in parts if content]


# Trainings


def _trainings(runs, charts):
    groups = groups_of_seeds(runs)
    rows = [[name, figure(len(group)), *_means(group)] for name, group in groups.items()]
    heads = ["setting", "seeds", "last IS", "last FID", "best FID"]
    rows.sort(key=lambda row: -(row[2][1] or 0))
    settings = table(
        "By setting: mean and standard deviation over seeds, the highest last IS first", heads, rows
    )
    curves = {
        label: {
            name: [training_curve(run, key) for run in group if run.kind == "training"]
            for name, group in groups.items()
        }
        for key, label in (("is_mean", "IS"), ("fid", "FID"))
    }
    figures = [
        draw.band_chart(charts, label, found, "generator iterations") for label, found in curves.items()
    ]
    points = {}
    for name, group in groups.items():
        sizes = group[0].architecture and generator_sizes(
            group[0].architecture, group[0].options, group[0].num_classes
        )
        if sizes:
            points[name] = [
                (sizes[1], run.last_score["is_mean"]) for run in group if run.last_score.get("is_mean")
            ]
    figures.append(draw.scatter_chart(charts, "MACs against IS", points, "IS"))
    note = _protocol_note(runs)
    return settings + element("p", BANDS, class_="note") + chart_grid(figures) + _run_table(runs) + note


def _means(group):
    """Cells of a table: last IS, last FID and best FID of some runs, as mean and standard deviation."""
    values = (
        [run.last_score.get("is_mean") for run in group],
        [run.last_score.get("fid") for run in group],
        [run.best_score.get("fid") for run in group],
    )
    return [_mean_cell([value for value in column if value is not None]) for column in values]


def _mean_cell(values):
    if not values:
        return figure(None)
    deviation = stdev(values) if len(values) > 1 else None
    return spread(mean(values), deviation), mean(values)


def _run_table(runs):
    rows = []
    for run in sorted(runs, key=lambda run: -(run.last_score.get("is_mean") or 0)):
        last, sizes = (
            run.last_score,
            generator_sizes(run.architecture, run.options, run.num_classes) or (None, None),
        )
        rows.append([
            run.label, run.architecture, figure(sizes[0]), figure(sizes[1]),
            is_figure(last), figure(last.get("fid")), figure(run.best_score.get("fid")),
            figure(last.get("num_fake")), (duration(run.seconds), run.seconds),
        ])  # fmt: skip
    heads = ["run", "architecture", "parameters", "MACs", "IS", "FID", "best FID", "images", "time"]
    return table("All runs by their last IS (± over the splits)", heads, rows)


def _protocol_note(runs):
    """A warning where runs were scored by different protocols."""
    protocols = {
        tuple(run.last_score.get(name) for name in ("num_fake", "splits", "split", "num_real"))
        for run in runs
    }
    if len(protocols) == 1:
        return ""
    words = (
        "These runs were not scored alike (number of images, splits or real images), and FID depends on that."
    )
    return element("p", words, class_="warning")


# Searches


def _searches(runs, charts):
    groups = groups_of_seeds(runs)
    curves = {name: [search_curves(run) for run in group] for name, group in groups.items()}
    clocks = {name: [clock(run) for run in group] for name, group in groups.items()}
    shown = (
        ("reward", "Reward"),
        ("is_score", "IS of sampled architectures"),
        ("fid_score", "FID of sampled architectures"),
    )
    figures, known = [], [hours.y[-1] for found in clocks.values() for hours in found if hours]
    unit = "hours" if max(known, default=1) >= 0.5 else "minutes"
    for key, title in shown:
        if key == "reward" and len({run.reward for run in runs}) > 1:
            continue  # IS and 1/FID have no common axis
        over_iterations = {name: [getattr(each, key) for each in found] for name, found in curves.items()}
        over_time = {
            name: [_over_time(curve, hours, unit) for curve, hours in zip(found, clocks[name]) if hours]
            for name, found in over_iterations.items()
        }
        figures += [
            draw.band_chart(charts, title, over_iterations, "search iterations"),
            draw.band_chart(charts, f"{title}, by time", over_time, unit),
        ]
    rows = []
    for run in runs:
        best, results = run.kept[0], run.results
        rows.append([
            run.label, str(run.options.get("method")), run.reward.upper(), best["architecture"],
            figure(best["reward"], 3), figure(results.get("resets")), figure(results.get("scored_images")),
            (duration(run.seconds), run.seconds),
        ])  # fmt: skip
    heads = [
        "run",
        "method",
        "reward by",
        "best architecture",
        "its reward",
        "resets",
        "scored images",
        "time",
    ]
    note = element("p", BANDS, class_="note") if any(figures) else ""
    return chart_grid(figures) + note + table("Searches", heads, rows)


def _over_time(curve, hours, unit):
    """The curve over time instead of iterations."""
    factor = {"hours": 1, "minutes": 60}[unit]
    return Curve(tuple((factor * hours_at(hours, curve.x)).tolist()) if curve else (), curve.y)


def _growths(runs):
    resolutions = sorted({int(each) for run in runs for each in run.results["resolutions"]})
    rows = []
    for resolution in resolutions:
        row = [(f"{resolution} px", resolution)]
        for run in runs:
            entry = run.results["resolutions"].get(str(resolution))
            cell = f"{number(entry['fid'])} ({number(entry['training_images'])})" if entry else "–"
            row.append((cell, entry and entry["fid"]))
        rows.append(row)
    heads = ["resolution", *(f"{run.options.get('method')}: {run.label}" for run in runs)]
    return table(
        "FID of each resolution's best network, in brackets the training images on the path to it",
        heads,
        rows,
    )


# Published


def published(runs):
    """The paper's table for these images, with these runs among its rows, or why there is none."""
    runs = [run for run in runs if run.last_score and run.last_score.get("is_mean") is not None]
    if not runs:
        return ""
    first = runs[0]
    place = (first.options.get("dataset"), first.final_resolution)
    if place not in TABLES or first.feature_net != "inception":
        words = (
            f"{place[0]} at {place[1]} px scored by {first.feature_net} compares with no published score. "
            "The paper's tables 1 and 2 are CIFAR-10 at 32 px and STL-10 at 48 px, scored by Inception."
        )
        return element("p", escape(words), class_="note")
    title, printed = TABLES[place]
    rows = [
        [each.method, _published_cell(each.is_text), _published_cell(each.fid_text), each.source]
        for each in printed
    ]
    for name, group in groups_of_seeds(runs).items():
        score, seeds = group[0].last_score, f"{len(group)} seeds" if len(group) > 1 else "one seed"
        is_cell, fid_cell, _ = _means(group)
        if len(group) == 1:
            is_cell = spread(score.get("is_mean"), score.get("is_std")), score.get("is_mean")
        counted = f"{number(score.get('num_fake'))} images, {score.get('split', 'unknown')} split"
        rows.append([name, is_cell, fid_cell, f"this report: {seeds}, {counted}"])
    own = range(len(printed), len(rows))
    note = element("p", escape(f"This report's rows: {protocol(first.last_score)}"), class_="note")
    return table(title, ["method", "IS", "FID", "source"], rows, marked=own) + note


def _published_cell(text):
    return (text, float(text.split()[0])) if text else ("–", None)
