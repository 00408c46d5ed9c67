"""What a search did: curves, growth tree, beams, what it drew. A part is HTML, empty where there is none."""

from html import escape

from reporting import charts as draw
from reporting import scored as statistics
from reporting.growth_svg import fate, growth_svg
from reporting.series import clock, path_losses, search_curves
from reporting.sizes import generator_sizes
from reporting.svg import element
from reporting.tables import chart_grid, figure, table

NO_SCORED = (
    "This run has no scored.jsonl, the list of all architectures that a search scored. So the beams of its "
    "earlier levels, the frequency and effect of each choice, and MACs against score cannot be shown."
)


def search_part(run, charts):
    if run.kind != "search":
        return ""
    curves, hours = search_curves(run), clock(run)
    lines = {"hours": hours, "growths": curves.growths, "resets": curves.resets}
    reward = {"is": "IS", "fid": "1 / FID"}.get(run.reward, run.reward)
    axis = "search iterations"
    figures = [
        draw.line_chart(charts, f"Reward ({reward})", {"reward": curves.reward}, axis, **lines),
        draw.line_chart(charts, "Entropy of the controller", {"entropy": curves.entropy}, axis, **lines),
        draw.line_chart(
            charts, "Losses", {"discriminator": curves.d_loss, "generator": curves.g_loss}, axis, **lines
        ),
        draw.line_chart(charts, "IS of sampled architectures", {"IS": curves.is_score}, axis, **lines),
        draw.line_chart(charts, "FID of sampled architectures", {"FID": curves.fid_score}, axis, **lines),
    ]
    words = ""
    if any(figures):
        words = "Of many points the line is the mean and the band reaches from the lowest to the highest. "
        words += reset_words(len(curves.resets), run.results.get("resets") or 0)
        if hours is None:
            words += "Elapsed time was not recorded, so there is no axis in hours."
    return chart_grid(figures) + element("p", escape(words), class_="note") if words else ""


def reset_words(shown, happened):
    """What to say where not every reset is known: it shows as an iteration whose training ended early."""
    if shown == happened:
        return ""
    return f"Of {happened} resets {shown} are marked: one in the last steps of an iteration does not show. "


def growth_part(run, charts):
    if not run.tree:
        return ""
    figure_name, name = ("is_mean", "IS") if run.reward == "is" else ("fid", "FID")
    if run.reward == "swd":
        figure_name, name = "swd", "SWD"
    groups, best = {"kept": [], "pruned": []}, []
    for index, node in enumerate(run.tree):
        value, kind = node["figures"].get(figure_name), fate(node, index, ())
        if value is not None:
            groups[kind].append((node["step"], value))
        if value is not None and index in run.best_path:
            best.append((node["step"], value))
    losses = {}
    for loss, label in (("d_loss", "discriminator"), ("g_loss", "generator")):
        losses[label], starts = path_losses(run, loss)
    figures = [
        draw.tree_chart(charts, f"{name} of all networks", groups, name, best),
        draw.line_chart(
            charts,
            "Losses on the path to the best",
            losses,
            "training steps",
            growths=starts,
            growth="growth",
        ),
    ]
    tree = growth_svg(run.tree, run.best_path, figure_name, name)
    box = element("div", tree, class_="scroll tree", tabindex=0, role="group", aria_label="growth tree")
    rows = [
        [f"{resolution} px", *(figure(entry.get(name)) for name in ("fid", "is_mean", "training_images"))]
        + [", ".join(entry.get("actions", ())) or "the start"]
        for resolution, entry in run.results.get("resolutions", {}).items()
    ]
    heads = ["resolution", "FID", "IS", "training images", "growth"]
    best_table = table("The best network at each resolution", heads, rows, sortable=False) if rows else ""
    return element("figure", box, class_="drawn") + chart_grid(figures) + best_table


def beams_part(run):
    found = statistics.beams(run) if run.kept else {}
    rows = []
    for level, entries in found.items():
        for rank, (text, reward) in enumerate(entries, 1):
            sizes = generator_sizes(text, run.options, run.num_classes) or (None, None)
            rows.append([level, figure(rank), text, figure(reward, 3), figure(sizes[0]), figure(sizes[1])])
    heads = ["level", "rank", "architecture", "reward", "parameters", "MACs"]
    return (
        table("Architectures that the search kept, with the sizes of their generators", heads, rows)
        if rows
        else ""
    )


def choices_part(run, charts):
    """What was drawn over time, the effect of each choice, and MACs against score."""
    if run.kind not in ("search", "growth"):
        return ""
    scored = statistics.scored_architectures(run)
    if not scored:
        return element("p", NO_SCORED, class_="note") if run.kind == "search" else ""
    drawn, score = statistics.drawn(scored), "IS" if run.reward == "is" else "FID"
    options, effects = statistics.all_options(drawn), statistics.effects(scored)
    bins = statistics.iteration_bins(drawn)
    axis = "search iterations" if run.kind == "search" else "growing steps"
    frequency, effect = [], []
    for title, names in statistics.by_cell(options).items():
        chosen = {name: options[name] for name in names}
        of_cell = {name: effects[name] for name in names if effects.get(name)}
        frequency.append(draw.shares_chart(charts, f"{title}: draws", drawn, chosen, bins, axis))
        effect.append(draw.effects_chart(charts, title, of_cell, f"difference in {score}"))
    effect.append(
        draw.scatter_chart(charts, f"MACs against {score}", _sizes(run, scored), score, score == "FID")
    )
    often = f"How often each choice was drawn among {len(drawn):,} architectures, over time:"
    words = (
        f"Effect of each choice on {score} over everything scored, against the mean of what was scored in "
        "the same iteration for the same purpose, with 95 % intervals; in brackets the number of scores. "
        "MACs are those of the last level's architectures:"
    )
    return element("p", often) + chart_grid(frequency) + element("p", escape(words)) + chart_grid(effect)


def _sizes(run, scored):
    """{purpose: [(MACs, score)]} of the architectures of the final resolution: others do not compare."""
    last, groups = max(each.resolution for each in scored), {}
    for each in scored:
        macs = (
            each.macs or (generator_sizes(each.architecture, run.options, run.num_classes) or (None, None))[1]
        )
        if each.score is not None and macs and each.resolution == last:
            groups.setdefault(each.purpose, []).append((macs, each.score))
    return groups
