"""The report's page: one HTML file that loads nothing, in the reader's light or dark colours."""

import base64
import hashlib
from html import escape
from pathlib import Path

from reporting.curves import Charts
from reporting.one_run import run_section
from reporting.pictures import Pictures
from reporting.several_runs import comparison, published
from reporting.svg import DRAWING_STYLE, FONT, element, variables
from reporting.tables import data_block

HERE = Path(__file__).parent
SCRIPT = (HERE / "sort.js").read_text(encoding="utf-8")


def report_page(runs):
    """The HTML text of a report on RunDatas: the same for the same runs."""
    charts, pictures = Charts(), Pictures()
    found, beside = comparison(runs, charts), published(runs)
    if beside:
        found.append(("Beside published scores", beside))
    together = [
        (f"together{place}", title, element("h2", escape(title)) + content)
        for place, (title, content) in enumerate(found, 1)
    ]
    single = [
        (f"run{place}", run.label, run_section(run, charts, pictures)) for place, run in enumerate(runs, 1)
    ]
    last = together[-1:] if beside and "<table" not in beside else []
    parts, first = [each for each in together if each not in last] + single + last, runs[0]
    images = f"{first.options.get('dataset')} at {first.final_resolution} px"
    links = [element("li", element("a", escape(title), href=f"#{anchor}")) for anchor, title, _ in parts]
    title = first.label if len(runs) == 1 else f"{len(runs)} runs on {images}"
    body = element(
        "header",
        element("h1", "Report of a run" if len(runs) == 1 else escape(title)),
        element("nav", element("ul", *links), aria_label="Contents") if len(links) > 1 else "",
    )
    body += element("main", *(element("section", content, id=anchor) for anchor, _, content in parts))
    body += element(
        "footer", "Written by exps/report.py. The figures are also in this file as JSON, id “data”."
    )
    return pictures.fill(document(title, body + data_block(_data(runs))))


def document(title, body):
    """A whole HTML file. Its policy lets a browser load nothing but what the file itself holds."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><link rel="icon" href="data:,">'
        f"{element('title', escape(title))}<style>{style()}</style>"
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{body}\n'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def style():
    """The page's CSS: its colours, light, dark and printed, then page.css and what drawings need."""
    light = f":root{{color-scheme:light dark;--font:{FONT};{variables(dark=False)}}}"
    dark = f"@media screen and (prefers-color-scheme:dark){{:root{{{variables(dark=True)}}}}}"
    return f"{light}\n{dark}\n{(HERE / 'page.css').read_text(encoding='utf-8')}\n{DRAWING_STYLE}"


def _data(runs):
    """What other programs may want of the page."""
    return [
        {
            "run": run.label,
            "options": run.options,
            "environment": run.environment,
            "results": run.results,
            "architectures": run.kept,
        }
        for run in runs
    ]
