"""The report's page: one HTML file that loads nothing, in the reader's light or dark colours."""

import base64
import hashlib
from html import escape

from reporting.curves import Charts
from reporting.one_run import run_section
from reporting.pictures import Pictures
from reporting.several_runs import comparison
from reporting.svg import DRAWING_STYLE, FONT, element, variables
from reporting.tables import data_block

STYLE = (
    f":root{{color-scheme:light dark;{variables(dark=False)}--rule:#dcdfe5;--soft:#f5f6f8;--link:#1f5fa8}}"
    f"@media (prefers-color-scheme:dark){{:root{{{variables(dark=True)}"
    "--rule:#33373f;--soft:#1e2127;--link:#8ab8f0}}"
    f"body{{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 {FONT}}}"
    "main,header{max-width:1160px;margin:0 auto;padding:0 16px}header{padding-top:28px}"
    "h1{font-size:1.7rem;line-height:1.2;margin:0 0 6px}h2{font-size:1.3rem;line-height:1.3;margin:0 0 4px}"
    "h3{font-size:1.02rem;margin:30px 0 8px}h1,h2,td,dd,p{overflow-wrap:anywhere}"
    "section{border-top:1px solid var(--rule);margin-top:36px;padding-top:24px}.lead,.note{color:var(--quiet)}"
    ".note{font-size:.9rem}p{margin:6px 0 10px}a{color:var(--link)}nav ul{margin:10px 0 0;padding:0;list-style:none;"
    "display:flex;flex-wrap:wrap;gap:4px 18px}.warning{border-left:4px solid #d9772b;padding-left:10px}"
    ".scroll{overflow-x:auto;max-width:100%}.scroll:focus-visible{outline:2px solid var(--link)}"
    "table{border-collapse:collapse;font-size:.875rem;margin:10px 0 14px}caption{text-align:left;color:var(--quiet);"
    "padding-bottom:6px;font-size:.9rem}th,td{padding:5px 14px 5px 0;text-align:left;vertical-align:top;"
    "border-bottom:1px solid var(--rule)}th{font-weight:600;white-space:nowrap}td{min-width:3.2em}"
    ".number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    ".marked td{font-weight:600;background:var(--soft)}"
    "th button{font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer}"
    "th button::after{content:' \\2195';color:var(--quiet)}th[aria-sort=ascending] button::after{content:' \\2191'}"
    "th[aria-sort=descending] button::after{content:' \\2193'}"
    ".facts{display:flex;flex-wrap:wrap;gap:8px 26px;margin:12px 0}.facts dt{color:var(--quiet);font-size:.8rem}"
    ".facts dd{margin:0;font-variant-numeric:tabular-nums}figure{margin:0}"
    ".charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr));gap:20px 18px;"
    "align-items:start;margin:12px 0}.chart{width:100%;max-width:420px;height:auto;display:block}"
    ".drawn{margin:10px 0}.drawing{height:auto;display:block}.wide .drawing{width:100%;min-width:820px;"
    "max-width:1240px}.narrow{display:none}.narrow .drawing,.drawn>.drawing{max-width:100%}"
    ".tree{max-height:760px;overflow:auto}.tree .drawing{max-width:none}"
    ".samples{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));gap:14px}"
    "img.samples{display:block;width:100%;height:auto}.pixelated{image-rendering:pixelated}"
    "figcaption{color:var(--quiet);font-size:.85rem}pre,.code{font:13px/1.45 ui-monospace,Menlo,Consolas,monospace}"
    "pre{background:var(--soft);padding:10px 12px;border-radius:6px;white-space:pre-wrap;overflow-wrap:anywhere}"
    "details{margin:10px 0}summary{cursor:pointer;color:var(--link)}footer{color:var(--quiet);font-size:.85rem;"
    "max-width:1160px;margin:40px auto 24px;padding:0 16px}"
    "@media (max-width:700px){.wide{display:none}.narrow{display:block}body{font-size:14.5px}"
    "th,td{padding-right:10px}}"
    "@media print{:root{"
    + variables(dark=False)
    + "color-scheme:light}body{font-size:10.5pt}nav,summary{display:none}"
    "section{break-before:auto}figure,tr{break-inside:avoid}h2,h3{break-after:avoid}.scroll{overflow:visible}"
    ".tree{max-height:none}.wide{display:block}.narrow{display:none}.wide .drawing,.tree .drawing{min-width:0;"
    "max-width:100%}.charts{grid-template-columns:repeat(2,1fr)}th button::after{content:none!important}}"
    + DRAWING_STYLE
)
# Sorts a table by the column whose head is pressed.
SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const compare = (a, b) => isNaN(a - b) ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
      const rows = [...body.rows].sort((a, b) => compare(key(a), key(b)));
      heads.forEach(each => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...(down ? rows.reverse() : rows));
    };
  });
}
"""


def report_page(runs):
    """The HTML text of a report on RunDatas: the same for the same runs."""
    charts, pictures = Charts(), Pictures()
    together = [
        (f"together{place}", title, content)
        for place, (title, content) in enumerate(comparison(runs, charts), 1)
    ]
    single = [
        (f"run{place}", run.label, run_section(run, place, charts, pictures))
        for place, run in enumerate(runs, 1)
    ]
    sections = [
        element("section", element("h2", title), content, id=anchor) for anchor, title, content in together
    ]
    sections += [content for *_, content in single]
    links = [
        element("li", element("a", escape(title), href=f"#{anchor}"))
        for anchor, title, _ in together + single
    ]
    title = runs[0].label if len(runs) == 1 else f"{len(runs)} runs on {runs[0].options.get('dataset')}"
    lead = f"{runs[0].options.get('dataset')} at {runs[0].final_resolution} px. Scores of one page compare with each other."
    header = (
        [element("h1", escape(title)), element("p", escape(lead), class_="lead")]
        if len(runs) > 1
        else [element("h1", "Report of a run")]
    )
    nav = element("nav", element("ul", *links), aria_label="Contents") if len(links) > 1 else ""
    body = element("header", *header, nav) + element("main", *sections) + data_block(_data(runs))
    return pictures.fill(document(title, body))


def document(title, body):
    """A whole HTML file. Its policy lets a browser load nothing but what the file itself holds."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<link rel="icon" href="data:,">' + element("title", escape(title)) + f"<style>{STYLE}</style>"
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{body}<script>{SCRIPT}</script></body></html>\n'


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
