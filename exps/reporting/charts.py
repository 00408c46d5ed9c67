"""The report's charts: what a search did and drew, and how several runs compare. Each returns SVG text."""

import math

import numpy as np

from reporting.curves import COLOURS, QUIET, legend_below, mark
from reporting.scored import shares
from reporting.series import band, hours_at


def line_chart(charts, title, lines, xlabel, *, hours=None, growths=(), resets=(), growth="next level"):
    """A chart of {name: Curve} over iterations; of many points the means and, as a band, the extremes.

    hours: a Curve of hours over iterations, for a second axis above. growths, resets: x of upright lines.
    """
    curves = {name: curve for name, curve in lines.items() if curve}
    if not curves:
        return ""
    with charts.figure(title, 2.5 + 0.25 * (hours is not None)) as (axes, found):
        for number, (name, curve) in enumerate(curves.items()):
            colour = COLOURS[number % len(COLOURS)]
            parts = curve.parts() or (curve.x, curve.y)
            if len(parts) > 2:
                axes.fill_between(parts[0], *parts[2:], color=colour, alpha=0.18, linewidth=0)
            points = "o" if len(parts[0]) < 25 else None
            axes.plot(*parts[:2], color=colour, label=name, marker=points, markersize=3)
        mark(axes, growths, QUIET, growth, (0, (4, 3)))
        mark(axes, resets, "#cf4b4b", "reset", (0, (1, 1.5)))
        axes.set_title(title)
        axes.set_xlabel(xlabel)
        add_hours(axes, hours)
        legend_below(axes, 3)
    return found[0]


def add_hours(axes, hours):
    """A second x axis above, in hours. hours: a Curve of hours over x; None adds nothing."""
    if hours is None:
        return
    steps = np.maximum.accumulate(np.array(hours.y) + 1e-9 * np.arange(len(hours.y)))
    second = axes.secondary_xaxis(
        "top", functions=(lambda x: np.interp(x, hours.x, steps), lambda y: np.interp(y, steps, hours.x))
    )
    last = hours_at(hours, axes.get_xlim()[1])
    unit, factor = ("hours", 1) if last >= 0.3 else ("minutes", 60)
    step = nice_step(last * factor)
    ticks = np.arange(0, last * factor + 1e-9, step)
    second.set_xticks(ticks / factor, [f"{tick:g}" for tick in ticks])
    second.set_xlabel(unit)
    axes.title.set_y(1.0)


def nice_step(length, most=6):
    """1, 2 or 5 times a power of ten, of which at most so many fit into a length."""
    raw = max(length, 1e-9) / most
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)


def band_chart(charts, title, groups, xlabel, smooth=True):
    """A chart of {name: [Curve of a seed]}: the seeds' mean, and a band from the lowest to the highest.

    A group has the same colour in all charts of these groups, also where another one has no curve.
    """
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(groups)}
    groups = {name: [curve for curve in curves if curve] for name, curves in groups.items()}
    groups = {name: curves for name, curves in groups.items() if curves}
    if not groups:
        return ""
    with charts.figure(title, 2.6 + 0.16 * len(groups)) as (axes, found):
        for name, curves in groups.items():
            curves = [curve.smooth(40) for curve in curves] if smooth else curves
            made = band(curves)
            if made is None:
                continue
            x, mean, low, high = made
            count = f" ({len(curves)} seeds)" if len(curves) > 1 else ""
            points = "o" if len(x) < 25 else None
            axes.plot(x, mean, color=colours[name], label=short(name) + count, marker=points, markersize=3)
            if len(curves) > 1:
                axes.fill_between(x, low, high, color=colours[name], alpha=0.2, linewidth=0)
        axes.set_title(title)
        axes.set_xlabel(xlabel)
        legend_below(axes, 1)
    return found[0]


def short(name, most=52):
    """A name that fits into a legend."""
    name = name.replace("$", r"\$")  # matplotlib would read a formula
    name = f" {name}" if name.startswith("_") else name  # which matplotlib would leave out
    return name if len(name) <= most else name[: most - 1] + "…"


def scatter_chart(charts, title, groups, ylabel, lower_is_better=False):
    """MACs against score. groups: {name: [(MACs, score)]}; the best for their MACs are joined by a line."""
    groups = {name: points for name, points in groups.items() if points}
    if not groups:
        return ""
    with charts.figure(title, 2.6 + 0.16 * len(groups)) as (axes, found):
        for number, (name, points) in enumerate(groups.items()):
            x, y = zip(*points)
            axes.plot(
                np.array(x) / 1e6, y, "o", color=COLOURS[number % len(COLOURS)], label=short(name),
                markersize=4, alpha=0.75, markeredgewidth=0,
            )  # fmt: skip
        front = pareto_front([point for points in groups.values() for point in points], lower_is_better)
        if len(front) > 1:
            x, y = zip(*front)
            axes.step(
                np.array(x) / 1e6, y, where="post", color=QUIET, linewidth=0.9, label="best for its MACs"
            )
        axes.set_title(title)
        axes.set_xlabel("million MACs of the generator")
        axes.set_ylabel(ylabel)
        legend_below(axes, 2 if len(groups) < 5 and max(map(len, groups)) < 20 else 1)
    return found[0]


def pareto_front(points, lower_is_better):
    """The (MACs, score) that no other beats in both."""
    front, sign = [], -1 if lower_is_better else 1
    for macs, score in sorted(points, key=lambda point: (point[0], -sign * point[1])):
        if not front or sign * score > sign * front[-1][1]:
            front.append((macs, score))
    return front


def shares_chart(charts, title, scored, choices, bins, xlabel):
    """Stacked bars: how often each option of each choice was drawn. choices: {choice: its options}."""
    with charts.figure(title, 0.55 + 0.92 * len(choices), rows=len(choices), sharex=True, squeeze=False) as (
        grid,
        found,
    ):
        edges = [bins[0][0] - 1, *(last for _, last in bins)]
        for axes, (name, options) in zip(grid[:, 0], choices.items()):
            rows, bottom = shares(scored, name, options, bins), np.zeros(len(edges))
            for number, option in enumerate(options):
                heights = [share or 0.0 for share in rows[option]]
                top = bottom + np.array([*heights, heights[-1]])
                colour = COLOURS[number % len(COLOURS)]
                axes.fill_between(
                    edges,
                    bottom,
                    top,
                    step="post",
                    color=colour,
                    alpha=0.85,
                    linewidth=0,
                    label=short(option, 18),
                )
                bottom = top
            axes.set_xlim(edges[0], edges[-1])
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set_ylim(0, 1)
            axes.set_yticks([0, 1], ["0", "1"])
            axes.set_title(name.capitalize(), fontsize=9.5)
            axes.grid(False)
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.4, handlelength=0.9,
                        labelspacing=0.15, borderpad=0, reverse=True)  # fmt: skip
        grid[-1, 0].set_xlabel(xlabel)
    return found[0]


def effects_chart(charts, title, effects, xlabel):
    """The effect of each option: a point, its 95 % interval, and the number of scores. effects: {choice:

    {option: Effect}}."""
    rows = [
        (choice, option, effect) for choice, options in effects.items() for option, effect in options.items()
    ]
    if not rows:
        return ""
    with charts.figure(title, 0.75 + 0.185 * len(rows)) as (axes, found):
        labels, before = [], None
        for place, (choice, option, effect) in enumerate(rows):
            colour = COLOURS[list(effects).index(choice) % len(COLOURS)]
            axes.plot([effect.mean], [place], "o", color=colour, markersize=4)
            if effect.half is not None:
                axes.plot([effect.mean - effect.half, effect.mean + effect.half], [place] * 2, color=colour)
            word = choice.split()[-1] if choice.startswith("cell ") else choice
            labels.append(f"{word}: {short(option, 16)} ({effect.count})")
            if before not in (None, choice):
                axes.axhline(place - 0.5, color=QUIET, linewidth=0.4, alpha=0.5)
            before = choice
        axes.axvline(0, color=QUIET, linewidth=0.8)
        axes.set_yticks(range(len(rows)), labels)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(False)
        axes.set_title(title)
        axes.set_xlabel(xlabel)
    return found[0]


def tree_chart(charts, title, groups, ylabel, best):
    """Scores over growing steps. groups: {fate: [(step, score)]}; best: [(step, score)] of the best path."""
    groups = {fate: points for fate, points in groups.items() if points}
    with charts.figure(title, 2.6) as (axes, found):
        for fate, points in groups.items():
            x, y = zip(*points)
            axes.plot(
                x, y, "o", color={"pruned": "#9aa0aa"}.get(fate, COLOURS[2]), label=fate, markersize=4.5
            )
        if best:
            axes.plot(*zip(*best), color=COLOURS[1], marker="o", markersize=4.5, label="path to the best")
        axes.set_title(title)
        axes.set_xlabel("growing step")
        axes.set_ylabel(ylabel)
        axes.xaxis.get_major_locator().set_params(integer=True)
        legend_below(axes, 3)
    return found[0]
