"""What the report says about one run."""

import re
from html import escape

import cfg
from option_groups.shared import CellOptions
from models import architectures
from models.errors import ArchitectureError
from reporting import charts as draw
from reporting.architecture_svg import architecture_svg
from reporting.growing_svg import growing_svg
from reporting.one_search import beams_part, choices_part, growth_part, search_part
from reporting.pictures import over_time
from reporting.series import training_curve, training_losses
from reporting.sizes import generator_sizes
from reporting.svg import element
from reporting.tables import (
    chart_grid,
    duration,
    facts,
    figure,
    is_figure,
    number,
    option_text,
    spread,
    table,
)

METHODS = {
    "autogan": "AutoGAN: cell by cell in a shared GAN",
    "slas": "Single-level search in a shared GAN",
    "random_sharing": "Random search with weight sharing",
    "asha": "Random search without weight sharing (ASHA)",
    "dggan": "DGGAN: both networks grow",
    "proggan": "ProgGAN: a fixed list of growths",
}


def run_section(run, charts, pictures):
    """The content of a run's section."""
    parts = [
        element("h2", escape(run.label)),
        element("p", escape(headline(run)), class_="lead"),
        facts(_facts(run)),
        _block("Architecture", _architectures(run)),
        _block("Scores", _scores(run, charts)),
        _block("What the search did", search_part(run, charts)),
        _block("Growth tree", growth_part(run, charts)),
        _block("Kept at each level", beams_part(run)),
        _block("Choices", choices_part(run, charts)),
        _block("Samples", _samples(run, pictures)),
        _block("Options", _options(run)),
        _block("Environment", _environment(run)),
    ]
    return "".join(parts)


def _block(title, content):
    return element("h3", title) + content if content else ""


def headline(run):
    """What the run was, in one line."""
    options = run.options
    kinds = {"training": "Training of one architecture", "scoring": "Scoring of a checkpoint"}
    method = options.get("method")
    what = kinds.get(run.kind) or METHODS.get(method, str(method))
    return f"{what}. {options.get('dataset')}, {run.final_resolution} px, scored by {run.feature_net}."


def _facts(run):
    results, last, best = run.results, run.last_score, run.best_score
    pairs = [("Architecture", run.architecture)]
    sizes = run.architecture and generator_sizes(run.architecture, run.options, run.num_classes)
    if sizes:
        pairs += [("Parameters", number(sizes[0])), ("MACs", number(sizes[1]))]
    if last:
        pairs += [("IS", spread(last.get("is_mean"), last.get("is_std"))), ("FID", number(last.get("fid")))]
        if best is not last:
            pairs.append(("Best FID", f"{number(best['fid'])} at iteration {best['iteration']:,}"))
    if run.kept:
        pairs.append(("Best reward", f"{number(run.kept[0]['reward'], 3)}, by {run.reward.upper()}"))
    pairs += [
        ("Resets", results.get("resets")),
        ("Networks", results.get("networks")),
        ("Seed", run.options.get("random_seed")),
        ("Time", duration(run.seconds) if run.seconds is not None else None),
    ]
    return pairs


# Architecture


def _architectures(run):
    if not run.architecture:
        return ""
    words = _reward_words(run.kept[0]) if run.kept else ""
    content = drawing_of(run.architecture, run.options, words, run.num_classes)
    others = run.kept[1:5]
    if others:
        more = "".join(
            element("p", escape(f"{entry.get('rank', '')}. {entry['architecture']}"), class_="code")
            + drawing_of(entry["architecture"], run.options, _reward_words(entry), run.num_classes)
            for entry in others
        )
        words = "Other kept architectures, drawn" if others == run.kept[1:] else "The next four, drawn"
        content += element("details", element("summary", words), more)
    return content


def _reward_words(entry):
    return f"reward {number(entry['reward'], 3)}"


def drawing_of(text, options, words="", num_classes=0):
    """The drawing of an architecture, for wide and for narrow pages; nothing for a text that is none."""
    try:
        architecture = architectures.parse(text)
    except ArchitectureError:
        return ""
    caption = size_words(text, options, num_classes) + (f", {words}" if words else "")
    if architecture.family == "growing":
        return element("figure", growing_svg(architecture, caption), class_="drawn")
    bottom = options.get("bottom_width") or CellOptions().bottom_width
    wide = element("div", architecture_svg(architecture, bottom, caption), class_="scroll wide", tabindex=0,
                   role="group", aria_label="architecture")  # fmt: skip
    narrow = element("div", architecture_svg(architecture, bottom, caption, upright=True), class_="narrow")
    return element("figure", wide, narrow, class_="drawn")


def size_words(text, options, num_classes=0):
    """A line on the size of a generator."""
    sizes = generator_sizes(text, options, num_classes)
    return f"{sizes[0]:,} parameters, {mac_words(sizes[1])}" if sizes else ""


def mac_words(macs):
    """1.77 G MACs."""
    return f"{macs / 1e9:.2f} G MACs" if macs >= 1e8 else f"{macs / 1e6:.2f} M MACs"


# Scores


def _scores(run, charts):
    if not run.history:
        return ""
    heads = ["iteration", "IS", "FID"]
    more = {"kid_mean": "KID", "precision": "precision", "recall": "recall", "swd": "SWD"}
    shown = [name for name in more if any(score.get(name) is not None for score in run.history)]
    rows = [
        [figure(score.get("iteration")), is_figure(score), figure(score.get("fid"))]
        + [figure(score.get(name), 4) for name in shown]
        for score in over_time(run.history, 12)
    ]
    content = element("p", escape(protocol(run.last_score)))
    heads += [more[name] for name in shown]
    if run.kind == "training" and len(run.history) > 1:
        figures = [
            draw.line_chart(charts, label, {label: training_curve(run, name)}, "generator iterations")
            for name, label in (("is_mean", "IS"), ("fid", "FID"))
        ]
        losses = {
            label: training_losses(run, name)
            for name, label in (("d_loss", "discriminator"), ("g_loss", "generator"))
        }
        figures.append(draw.line_chart(charts, "Losses", losses, "generator iterations"))
        content += chart_grid(figures)
    best = run.best_score
    marked = [
        index for index, score in enumerate(over_time(run.history, 12)) if score is best and len(rows) > 1
    ]
    return content + table(
        "Scores; the lowest FID is marked" if marked else "Scores", heads, rows, marked=marked
    )


def protocol(score):
    """How a score was measured, as a sentence."""
    known = {name: value for name, value in score.items() if value is not None}
    words = f"{number(known.get('num_fake'))} generated images" if "num_fake" in known else "Generated images"
    if "splits" in known:
        words += f" (IS in {known['splits']} split{'s' * (known['splits'] != 1)})"
    if "data" in known or "num_real" in known:
        real = [number(known["num_real"])] if "num_real" in known else []
        words += f" against {' '.join([*real, 'real images'])} of {known.get('data', 'the data')}"
        words += f", {known['split']} split" if "split" in known else ""
        words += f", at {known['resolution']} px" if "resolution" in known else ""
    words += f"; network {known.get('feature_net')}"
    words += f" ({known['backend']})" if "backend" in known else ""
    if "weights_sha256" in known:
        words += f", weights sha256 {str(known['weights_sha256'])[:12]}"
    words += f"; images {known['rounding']}" if "rounding" in known else ""
    words += f"; seed {known['seed']}" if "seed" in known else ""
    return words + "."


# Samples, options


def _samples(run, pictures):
    shown = over_time(run.pictures)
    if not shown:
        return ""
    figures = []
    for path in shown:
        words = re.sub(r"\b0+(?=[0-9])", "", path.stem.replace("_", " "))
        place = pictures.place(path, f"samples, {words}")
        figures.append(element("figure", place, element("figcaption", escape(words))))
    return element("div", *figures, class_="samples")


def _options(run):
    try:
        changed = cfg.changed_options(run.options, run.architecture or "")
        command = cfg.started_by(run.options, run.architecture or "")
    except (KeyError, TypeError, ValueError):
        return ""
    rows = [
        [f"--{name}", option_text(value), option_text(default)] for name, (value, default) in changed.items()
    ]
    listed = (
        table("Options that differ from their defaults", ["option", "value", "default"], rows) if rows else ""
    )
    return (
        listed + element("p", "The command line that starts this run anew:") + element("pre", escape(command))
    )


def _environment(run):
    known = {
        "commit": "not recorded",
        **{name: value for name, value in run.environment.items() if value is not None},
    }
    return facts((name.replace("_", " "), value) for name, value in known.items())
