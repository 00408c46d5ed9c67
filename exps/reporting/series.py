"""Curves of a run as numbers: {x: value} over search iterations, and when each iteration was reached."""

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

SCORES = {"is": "IS", "fid": "FID"}


@dataclass(frozen=True)
class Curve:
    """Points of a curve. x: iterations; y: values."""

    x: tuple
    y: tuple

    @classmethod
    def of(cls, points):
        points = sorted(points)
        return cls(tuple(x for x, _ in points), tuple(y for _, y in points))

    def __bool__(self):
        return bool(self.x)

    def parts(self, count=60):
        """The points in at most `count` parts of the x axis: (x, mean, lowest, highest), or None if there are

        no more points than that."""
        if len(self.x) <= count:
            return None
        x, y = np.array(self.x), np.array(self.y)
        edges = np.linspace(x[0], x[-1], count + 1)
        part = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, count - 1)
        members = [part == index for index in np.unique(part)]
        return [np.array([function(values[each]) for each in members]) for function, values in
                ((np.mean, x), (np.mean, y), (np.min, y), (np.max, y))]  # fmt: skip

    def smooth(self, count=60):
        """The means of at most `count` parts of the x axis."""
        parts = self.parts(count)
        return self if parts is None else Curve(tuple(parts[0].tolist()), tuple(parts[1].tolist()))

    def at(self, places):
        """Its values at these x, by straight lines; NaN outside."""
        return np.interp(places, self.x, self.y, left=math.nan, right=math.nan)


@dataclass(frozen=True)
class SearchCurves:
    """What a search in a shared GAN recorded, over its iterations (1.0 is the end of the first)."""

    reward: Curve
    entropy: Curve
    d_loss: Curve
    g_loss: Curve
    is_score: Curve  # periodic scores
    fid_score: Curve
    growths: tuple  # x at which a level began, but the first
    resets: tuple  # x of the ends of the iterations in which training stopped early


def search_curves(run):
    """The SearchCurves of a run of AutoGAN's search or another one that trains a shared GAN."""
    per_iteration = max(1, run.options.get("ctrl_step") or 1)
    total, ends = _shared_steps(run, per_iteration)

    def controller(name):
        return Curve.of(
            ((line["step"] + 1) / per_iteration, value) for line, value in run.figures(f"controller/{name}")
        )

    def shared(name):
        figures = run.figures(f"shared_gan/{name}") if total else []
        return Curve.of((line["step"] / total, value) for line, value in figures)

    def periodic(name):
        return Curve.of(
            (line.get("score/iteration", line["step"]), value) for line, value in run.figures(f"score/{name}")
        )

    levels = Curve.of(
        ((line["step"] + 1) / per_iteration, value) for line, value in run.figures("controller/level")
    )
    growths = tuple(
        math.floor(x - 1e-9)
        for x, level, before in zip(levels.x[1:], levels.y[1:], levels.y)
        if level > before
    )
    resets = tuple(line["step"] for line, _ in run.figures("reset/resets"))  # where the search records them
    resets = resets or tuple(index + 1 for index, step in ends.items() if step < (index + 1) * total)
    if len(resets) > run.results.get("resets", len(resets)):
        resets = ()  # they ended early for want of time
    return SearchCurves(
        controller("reward"), controller("entropy"), shared("d_loss"), shared("g_loss"), periodic("is"),
        periodic("fid"), growths, resets,
    )  # fmt: skip


def _shared_steps(run, per_iteration):
    """(steps of the shared GAN in an iteration, {iteration from 0 on: its last step}).

    The number is not recorded. An iteration's shared steps stand before its controller's and its periodic
    score, and without a reset the last of them is the iteration's number times the steps of one.
    """
    ends, last = {}, None
    for line in run.metrics:
        if "shared_gan/d_loss" in line:
            last = line["step"]
        elif last is not None and "controller/reward" in line:
            ends.setdefault(line["step"] // per_iteration, last)
        elif last is not None and line.get("score/iteration"):
            ends.setdefault(line["score/iteration"] - 1, last)
    if ends:
        return max(end / (index + 1) for index, end in ends.items()), ends
    iterations = max((line.get("iteration") or 0 for line in run.scored), default=0)
    iterations = iterations or run.options.get("max_search_iter")
    return (last / iterations if last and iterations else None), {}


def clock(run):
    """A Curve of hours over iterations, or None where no times are recorded."""
    points = {0: 0.0}
    for line in run.scored:
        if line.get("seconds") is not None and line.get("iteration") is not None:
            points[line["iteration"]] = line["seconds"] / 3600
    for line, seconds in run.figures("score/seconds"):
        points[line.get("score/iteration", line["step"])] = seconds / 3600
    curve = Curve.of(points.items())
    return curve if len(curve.x) > 2 and curve.y[-1] > 0 else None


def hours_at(hours, x):
    """The hours of a `clock` at some iterations, within what it has seen."""
    return np.interp(x, hours.x, hours.y)


def training_curve(run, name):
    """The Curve of a score of a training, such as "fid", over its generator iterations."""
    return Curve.of((score["iteration"], score[name]) for score in run.history if score.get(name) is not None)


def training_losses(run, name):
    """The Curve of "d_loss" or "g_loss" of a training, over its generator iterations."""
    critic = max(1, run.options.get("n_critic") or 1)
    return Curve.of((line["step"] / critic, value) for line, value in run.figures(f"train/{name}"))


def path_losses(run, name):
    """(Curve of a loss along the path to a growth tree's best network, its steps one after the other; where

    each node of the path but the first began)."""
    points, starts, before = [], [], 0
    for place, node in enumerate(run.best_path):
        figures = run.figures(f"node_{node:03d}/{name}")
        starts += [before] * (place > 0)
        points += [(before + line["step"], value) for line, value in figures]
        before += max((line["step"] for line, _ in figures), default=0)
    return Curve.of(points), tuple(starts)


def band(curves):
    """(x, mean, lowest, highest) of several curves where all of them have values."""
    start, end = max(curve.x[0] for curve in curves), min(curve.x[-1] for curve in curves)
    places = sorted({x for curve in curves for x in curve.x if start <= x <= end})
    if not places:
        return None
    if len(places) > 200:
        places = [places[bisect_left(places, x)] for x in np.linspace(places[0], places[-1], 200)]
    values = np.array([curve.at(places) for curve in curves])
    return places, values.mean(0), values.min(0), values.max(0)
