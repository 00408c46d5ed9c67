"""The report: drawings, statistics, the page and what it refuses. tests/test_exps.py has the text tables."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import Browser, find_browser
from PIL import Image
from running import ROOT, load_script, only_run, short_run, use_tiny_net, write_pictures

import cfg
from models import architectures

sys.path.insert(0, str(ROOT / "exps"))
from reporting import pictures, scored, series  # noqa: E402
from reporting.architecture_svg import architecture_svg, lanes  # noqa: E402
from reporting.charts import pareto_front  # noqa: E402
from reporting.drawing import standalone_drawing  # noqa: E402
from reporting.growing_svg import growing_svg  # noqa: E402
from reporting.page import report_page  # noqa: E402
from reporting.read import groups_of_seeds, read_run, read_runs  # noqa: E402

A = "1 0 1 1 | 1 0 0 1 1 | 1 0 1 0 3"
DEFAULTS = cfg.parse("train_derived", ["--gen_model", "autogan_cifar10_a"]).flat()
SEARCH_DEFAULTS = cfg.parse("search", []).flat()


# Runs


def report(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "exps" / "report.py", *map(str, arguments)], capture_output=True, text=True
    )


def refusal(*arguments):
    """What the report refuses these arguments with: one line and exit code 2."""
    ended = report(*arguments)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1), ended.stderr
    return ended.stderr


def score(iteration, is_mean, fid, **more):
    return {
        "iteration": iteration,
        "is_mean": is_mean,
        "is_std": 0.1,
        "fid": fid,
        "feature_net": "inception",
        **more,
    }


def write_run(folder, options, results, metrics=(), scored=(), **files):
    """A run's folder by hand. files: {name of a JSON file: its content}."""
    for name in ("Log", "Samples"):
        (folder / name).mkdir(parents=True)
    files = {"config": {"options": options, "environment": {"commit": "abc"}}, "results": results, **files}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "Log" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    if scored:
        (folder / "scored.jsonl").write_text("".join(json.dumps(line) + "\n" for line in scored))
    return folder


def write_training(folder, is_mean=8.0, fid=15.0, architecture=A, **options):
    history = [score(0, 1.0, 400.0), score(100, is_mean, fid, num_fake=50000, split="train")]
    results = {"architecture": architecture, "history": history, "seconds": 60}
    return write_run(folder, {**DEFAULTS, **options}, results)


def write_search(folder, metrics=(), scored=(), kept=({"architecture": A, "reward": 2.0},), **options):
    return write_run(
        folder, {**SEARCH_DEFAULTS, **options}, {"hours": 2.0}, metrics, scored,
        derived={"architectures": list(kept)},
    )  # fmt: skip


def scored_line(architecture, iteration, value, purpose="reward", **more):
    level = architecture.count("|") + 1
    line = {
        "architecture": architecture,
        "level": level,
        "iteration": iteration,
        "purpose": purpose,
        "is": value,
    }
    return {**line, "fid": None, "parameters": 10, "macs": 20, "seconds": 60.0 * iteration, **more}


@pytest.fixture(scope="module")
def real_runs(tmp_path_factory):
    """Folders of runs that the scripts made with a tiny feature network: a search, two seeds, DGGAN."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "pictures").mkdir()
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        use_tiny_net(patch)
        commands = {
            name: short_run(name, write_pictures(folder / "pictures")) for name in ("search", "dggan")
        }
        for seed in (1, 2):
            command = short_run("train_derived", folder / "pictures")
            commands[f"seed_{seed}"] = f"{command} --exp_name seed_{seed} --random_seed {seed}"
        for name, command in commands.items():
            patch.setattr(sys, "argv", command.split())
            load_script(command.split()[0]).main()
            found.append(only_run(folder, name))
    return found


@pytest.fixture(scope="module")
def page_of_all(real_runs, tmp_path_factory):
    """The page of all these runs, with scores that a search keeps."""
    search = real_runs[0]
    lines = [scored_line("1 0 1 1 | 1 0 0 1 1", 3, 2.0 + k / 10, "reward") for k in range(4)]
    lines += [scored_line(f"{k % 2} 0 1 1", 1 + k // 2, 1.0 + k / 10) for k in range(4)]
    (search / "scored.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = tmp_path_factory.mktemp("page") / "report.html"
    page.write_text(report_page(read_runs(real_runs)), encoding="utf-8")
    return page


# Drawings


def texts(svg):
    """The words of a drawing's boxes, in the order drawn."""
    return re.findall(r'<text[^>]*central"[^>]*>([^<]*)</text>', svg)


@pytest.mark.parametrize(
    "cell, boxes",
    [
        ("1 1 0 0", "batch norm, ReLU, bilinear ×2, conv 3×3, batch norm, ReLU, conv 3×3"),
        ("0 2 1 0", "nearest ×2, conv 3×3, instance norm, ReLU, conv 3×3, instance norm, ReLU"),
        ("1 0 2 0", "ReLU, deconv ×2, conv 3×3, ReLU, conv 3×3"),
    ],
)
def test_the_boxes_of_a_cell_stand_in_the_order_of_computing(cell, boxes):
    drawn = texts(architecture_svg(architectures.parse(cell)))
    assert ", ".join(drawn[2:-6]) == boxes
    assert drawn[-6:-1] == ["batch norm", "ReLU", "conv to RGB", "tanh", "image"]


def test_shortcuts_and_skips_are_drawn_with_their_upsampling():
    drawing = architecture_svg(architectures.parse("1 0 1 1 | 1 0 0 1 1 | 1 0 2 0 3"))
    labels = [text for text in texts(drawing) if text.endswith("conv 1×1")]
    shortcuts, skips = ["nearest ×2", "bilinear ×2"], ["bilinear ×2", "deconv ×4", "deconv ×2"]
    assert labels == [f"{up}, conv 1×1" for up in shortcuts + skips]
    assert drawing.count('class="line skip"') == 3


def test_skips_that_overlap_get_lanes_of_their_own():
    assert lanes([(0, 10), (10, 20), (0, 20)]) == {(0, 10): 0, (10, 20): 0, (0, 20): 1}


def test_both_ways_of_drawing_show_the_same_boxes():
    architecture = architectures.parse(A)
    assert texts(architecture_svg(architecture)) == texts(architecture_svg(architecture, upright=True))


def test_a_growing_architecture_is_drawn_as_two_columns_from_the_deep_end():
    drawn = texts(growing_svg(architectures.parse("4: G 3x8 D 3x8 | 8: G 3x8 7x4 D 3x8")))
    boxes = [text for text in drawn if "conv" in text or "×2" in text or "÷2" in text or "deviation" in text]
    assert boxes == [
        "minibatch deviation", "conv 3×3, 8", "conv 3×3, 8", "nearest ×2", "average pool ÷2",
        "conv 3×3, 8", "conv 3×3, 8", "conv 7×7, 4",
    ]  # fmt: skip


def test_an_architecture_alone_becomes_an_svg_file(tmp_path):
    ended = report("--arch", *A.replace("|", "").split(), "--output", tmp_path / "a.svg")
    assert (ended.returncode, ended.stderr) == (0, "")
    drawing = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert 'xmlns="http://www.w3.org/2000/svg"' in drawing
    assert "4,405,251 parameters, 1.77 G MACs at 32 px" in drawing
    assert drawing == standalone_drawing(architectures.parse("autogan_cifar10_a"))


# Statistics


def test_steps_become_iterations_and_an_iteration_that_ended_early_a_reset(tmp_path):
    metrics = []
    for iteration, last in enumerate((40, 60, 120)):  # of 40 steps each; the second ended after 20
        metrics += [{"step": step, "shared_gan/d_loss": 1.0} for step in (last - 10, last)]
        metrics += [
            {"step": 2 * iteration + k, "controller/reward": 1.0, "controller/level": min(iteration, 1)}
            for k in range(2)
        ]
    curves = series.search_curves(read_run(write_search(tmp_path / "s", metrics, ctrl_step=2)))
    assert curves.d_loss.x == (0.75, 1.0, 1.25, 1.5, 2.75, 3.0)
    assert curves.reward.x == (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
    assert (curves.resets, curves.growths) == ((2,), (1,))
    recorded = [*metrics, {"step": 3, "reset/resets": 1}]
    assert series.search_curves(read_run(write_search(tmp_path / "r", recorded, ctrl_step=2))).resets == (3,)


def test_hours_are_read_off_what_was_scored(tmp_path):
    lines = [scored_line("1 0 1 1", iteration, 1.0, seconds=3600 * iteration**2) for iteration in (1, 2, 4)]
    run = read_run(write_search(tmp_path / "s", scored=lines))
    assert list(series.hours_at(series.clock(run), [0, 2, 3])) == [0, 4, 10]
    assert series.clock(read_run(write_search(tmp_path / "t"))) is None


def test_a_band_is_the_mean_and_the_extremes_where_all_seeds_have_values():
    first, second = series.Curve((0, 1, 2), (0.0, 1.0, 2.0)), series.Curve((1, 2, 3), (3.0, 4.0, 9.0))
    places, mean, lowest, highest = series.band([first, second])
    assert (places, list(mean), list(lowest), list(highest)) == ([1, 2], [2, 3], [1, 2], [3, 4])


def test_effects_compare_within_an_iteration_only(tmp_path):
    lines = [scored_line("0 0 1 1", 1, 1.0), scored_line("1 0 1 1", 1, 2.0)]
    lines += [
        scored_line("0 0 1 1", 9, 11.0),
        scored_line("1 0 1 1", 9, 12.0),
        scored_line("1 0 1 1", 5, 99.0),
    ]
    found = scored.effects(scored.scored_architectures(read_run(write_search(tmp_path / "s", scored=lines))))
    effects = found["cell 1 conv"]
    assert {word: (effect.mean, effect.count) for word, effect in effects.items()} == {
        "post": (-0.5, 2),
        "pre": (0.5, 2),
    }


def test_the_interval_of_an_effect_is_a_confidence_interval_of_the_mean():
    effect = scored._effect([1.0, 2.0, 3.0, 4.0])
    assert effect.half == pytest.approx(1.96 * np.std([1, 2, 3, 4], ddof=1) / 2)


def test_shares_count_what_the_policy_drew_and_no_candidates(tmp_path):
    lines = [scored_line(f"{conv} 0 1 1", 1 + k, 1.0) for k, conv in enumerate((0, 1, 1, 1))]
    lines.append(scored_line("0 0 1 1", 4, 1.0, "candidate"))
    drawn = scored.drawn(scored.scored_architectures(read_run(write_search(tmp_path / "s", scored=lines))))
    shares = scored.shares(drawn, "cell 1 conv", ["post", "pre"], [(1, 2), (3, 4)])
    assert shares == {"post": [0.5, 0.0], "pre": [0.5, 1.0]}


def test_the_beam_of_an_earlier_level_is_the_best_distinct_candidates(tmp_path):
    cells = [("1 0 1 1", 2.0), ("0 0 1 1", 1.0), ("1 0 1 1", 1.9), ("1 1 1 1", 1.5)]
    lines = [scored_line(text, 1, value, "candidate") for text, value in cells]
    lines.append(scored_line("1 0 1 1 | 1 0 1 1 0", 2, 3.0, "candidate"))
    kept = [{"architecture": "1 0 1 1 | 1 0 1 1 0", "reward": 3.0}]
    run = read_run(write_search(tmp_path / "s", scored=lines, kept=kept, topk=2))
    assert scored.beams(run) == {
        "level 1": [("1 0 1 1", 2.0), ("1 1 1 1", 1.5)],
        "level 2": [("1 0 1 1 | 1 0 1 1 0", 3.0)],
    }


def test_the_front_is_what_no_smaller_network_beats():
    points = [(3, 5.0), (1, 4.0), (2, 3.0), (2, 6.0)]
    assert pareto_front(points, lower_is_better=False) == [(1, 4.0), (2, 6.0)]
    assert pareto_front(points, lower_is_better=True) == [(1, 4.0), (2, 3.0)]


def test_runs_of_other_seeds_are_one_group_and_other_options_make_another(tmp_path):
    runs = [
        read_run(write_training(tmp_path / f"{seed}_{loss}", random_seed=seed, loss=loss))
        for seed, loss in ((1, "hinge"), (2, "hinge"), (1, "wgan-gp"))
    ]
    assert {name: len(group) for name, group in groups_of_seeds(runs).items()} == {
        "loss hinge": 2,
        "loss wgan-gp": 1,
    }
    searches = [
        read_run(write_search(tmp_path / method, method=method, ctrl_step=number))
        for number, method in enumerate(("autogan", "proggan"))
    ]
    assert set(groups_of_seeds(searches)) == {"autogan", "proggan"}


def test_the_printed_command_line_starts_the_same_run_anew(tmp_path):
    for script, typed in (
        ("train_derived", ["--arch", *A.replace("|", "").split(), "--lr_decay", "--d_spectral_norm", "False"]),
        ("search", ["--grow_steps", "2", "5", "--max_search_iter", "9", "--exp_name", "a b"]),
        ("search", ["--method", "dggan", "--actions", "G 3x64", "double"]),
    ):  # fmt: skip
        options = cfg.parse(
            script, [word for word in typed if not (word == "--kernels" or word == "3")]
        ).flat()
        saved = json.loads(json.dumps(options))
        command = shlex.split(cfg.started_by(saved, A if script == "train_derived" else ""))
        assert command[:2] == ["python", f"{script}.py"]
        assert cfg.parse(script, command[2:]).flat() == options


# The page


class Reader(HTMLParser):
    """What an HTML file holds."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.references, self.addresses, self.tags, self.words = [], set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        for name, value in attributes:
            value = value or ""
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src"):
                self.references |= {value[1:]} if value.startswith("#") else set()
                self.addresses += [] if value.startswith("#") else [value]
            self.references |= set(re.findall(r"url\(#([^)]*)\)", value))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_ids_are_unique_references_are_met_and_nothing_is_loaded_from_outside(page_of_all):
    text = page_of_all.read_text(encoding="utf-8")
    page = Reader(text)
    assert len(page.ids) == len(set(page.ids)) > 50
    assert page.references and page.references <= set(page.ids)
    assert all(address.startswith("data:") for address in page.addresses)
    assert not re.search(r"https?:|@import|@font-face", text)
    assert all(image["alt"] for image in page.all("img")) and page.all("img")
    assert all(svg["aria-label"] for svg in page.all("svg"))


def test_a_page_of_all_kinds_of_runs_has_all_parts(page_of_all):
    titles = re.findall(r"<h[23]>([^<]*)</h[23]>", page_of_all.read_text(encoding="utf-8"))
    wanted = {"Trainings together", "Architecture", "Scores", "What the search did", "Growth tree", "Choices"}
    assert wanted | {"Kept at each level", "Samples", "Options", "Environment"} <= set(titles)


def test_names_from_outside_are_text_and_never_markup(tmp_path):
    name = "<script>alert(1)<b>&"
    run = write_training(tmp_path / name, exp_name="</script><script>alert(2)</script>", dataset="<i>x")
    other = write_training(tmp_path / "_other", loss="<u>$x$", dataset="<i>x")
    page = Reader(report_page(read_runs([run, other])))
    assert len(page.all("script")) == 2 and not {"b", "i", "u"} & {tag for tag, _ in page.tags}
    assert name in page.words


def test_the_same_run_gives_the_same_bytes(real_runs, tmp_path):
    command = [sys.executable, ROOT / "exps" / "report.py", real_runs[0], "--output", tmp_path / "page.html"]
    ended = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == report_page(read_runs(real_runs[:1]))


def test_runs_like_the_papers_stand_in_its_table_and_others_do_not(tmp_path):
    runs = [write_training(tmp_path / f"s{seed}", 8.0 + seed, random_seed=seed) for seed in (0, 1)]
    page = report_page(read_runs(runs))
    assert "Table 1: CIFAR-10, 32 px" in page and "8.55 ± 0.10" in page
    assert "8.50 ± 0.71" in page and "2 seeds, 50,000 images, train split" in page
    digits = write_training(tmp_path / "digits", dataset="digits")
    page = report_page(read_runs([digits]))
    assert "Table 1: CIFAR-10" not in page and "compares with no published score" in page


def test_a_page_of_large_pictures_stays_under_five_megabytes(tmp_path):
    run = write_training(tmp_path / "t")
    noise = np.random.default_rng(0)
    for number in range(3):
        picture = Image.fromarray(noise.integers(0, 256, (950, 950, 3), dtype=np.uint8))
        picture.save(run / "Samples" / f"iteration_{number:06d}.png")
    page = report_page(read_runs([run]))
    assert page.count("<img") == 3 and len(page.encode()) < 5_000_000


def test_a_sample_grid_is_shown_at_the_size_of_its_images(tmp_path):
    tiles = np.random.default_rng(0).integers(0, 256, (3 * 33 + 1, 10 * 33 + 1, 3), dtype=np.uint8)
    Image.fromarray(tiles.repeat(2, 0).repeat(2, 1)).save(tmp_path / "grid.png")
    content, width = pictures.sample_png(tmp_path / "grid.png", 10**6)
    (tmp_path / "shown.png").write_bytes(content)
    assert width == 331 and (np.array(Image.open(tmp_path / "shown.png")) == tiles).all()


def test_scored_architectures_are_exported_as_csv(tmp_path):
    lines = [scored_line("1 0 1 1", 1, 2.0), scored_line("1 0 1 1 | 1 0 1 1 0", 2, 3.0, "candidate", swd=1.5)]
    ended = report(write_search(tmp_path / "s", scored=lines), "--csv", tmp_path / "out.csv")
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [(row["run"], row["architecture"], row["purpose"], row["swd"]) for row in rows] == [
        ("s", "1 0 1 1", "reward", ""), ("s", "1 0 1 1 | 1 0 1 1 0", "candidate", "1.5"),
    ]  # fmt: skip
    assert list(rows[0])[1:7] == ["architecture", "level", "iteration", "purpose", "is", "fid"]


# Refusals


def test_what_cannot_be_reported_is_one_line_and_nothing_is_written(tmp_path):
    out = tmp_path / "r.html"
    run = write_training(tmp_path / "cifar")
    digits = write_training(tmp_path / "digits", dataset="digits")
    larger = write_training(tmp_path / "larger", img_size=64)
    lite = write_training(tmp_path / "lite")
    (tmp_path / "empty").mkdir()
    results = json.loads((lite / "results.json").read_text().replace("inception", "efficientnet-lite0"))
    (lite / "results.json").write_text(json.dumps(results))
    assert "empty is not the folder of a finished run" in refusal(tmp_path / "empty", "--output", out)
    assert "different images (cifar10 at 32 px, digits at 32 px)" in refusal(run, digits, "--output", out)
    assert "different images (cifar10 at 32 px, cifar10 at 64 px)" in refusal(run, larger, "--output", out)
    assert "different networks (efficientnet-lite0, inception)" in refusal(run, lite, "--output", out)
    assert "a run is given twice" in refusal(run, run, "--output", out)
    assert "--output" in refusal(run, "--output", tmp_path / "nowhere" / "r.html")
    assert "neither .html" in refusal(run, "--output", tmp_path / "r.pdf")
    assert "--csv: none of these runs" in refusal(run, "--csv", tmp_path / "r.csv", "--output", out)
    assert "--arch" in refusal("--arch", "9 9", "--output", tmp_path / "a.svg")
    assert "--arch: draws one" in refusal(run, "--arch", "1", "0", "--output", tmp_path / "a.svg")
    assert "--arch: draws one" in refusal("--arch", A, "--output", out)
    assert "--output: an .svg" in refusal(run, "--output", tmp_path / "a.svg")
    assert "--seconds" in refusal(run, "--output", out, "--seconds", 3)
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_files_that_are_damaged_are_refused(tmp_path):
    for number, (name, content) in enumerate(
        {
            "config.json": "{", "results.json": "[]", "scored.jsonl": '{"level": 1}\n', "derived.json": "[]",
            "growth_tree.json": '[{"step": 0}]', "Log/metrics.jsonl": '{"loss": 1}\n',
        }.items()
    ):  # fmt: skip
        run = write_training(tmp_path / str(number))
        (run / name).write_text(content)
        assert "is not the folder of a finished run" in refusal(run, "--output", tmp_path / "r.html"), name


# A browser

needs_browser = pytest.mark.skipif(
    find_browser() is None, reason="no Chromium here to open the report in: apt-get install chromium"
)


@needs_browser
def test_a_browser_shows_the_page_without_complaint_request_or_sideways_scrolling(page_of_all, tmp_path):
    with Browser(tmp_path) as browser:
        for width in (360, 1280):
            browser.show(page_of_all, width, dark=width == 360)
            assert browser.evaluate("innerWidth") == width
            assert browser.evaluate("document.scrollingElement.scrollWidth") <= width
            loaded = browser.evaluate(
                "[...document.images].map(image => image.complete && image.naturalWidth > 0)"
            )
            assert loaded and all(loaded)
            tall = "[...document.querySelectorAll('svg')].filter(svg => svg.getClientRects().length).length"
            assert browser.evaluate(tall) > 10
        background = "getComputedStyle(document.body).backgroundColor"
        assert browser.evaluate(background) == "rgb(255, 255, 255)"
        browser.show(page_of_all, 1280, dark=True)
        assert browser.evaluate(background) != "rgb(255, 255, 255)"
        assert browser.problems == []
        asked = [address for address in browser.requests if not address.startswith("data:")]
        assert set(asked) == {page_of_all.resolve().as_uri()}


@needs_browser
def test_a_press_on_a_head_sorts_the_table_by_number(page_of_all, tmp_path):
    with Browser(tmp_path) as browser:
        browser.show(page_of_all, 1280)
        table = "[...document.querySelectorAll('table')].find(t => t.className && t.caption.innerText.startsWith('Architectures that'))"
        column = f"[...{table}.tBodies[0].rows].map(row => +row.cells[3].dataset.value)"
        press = f"{table}.tHead.rows[0].cells[3].firstChild.click()"
        browser.evaluate(press)
        first = browser.evaluate(column)
        browser.evaluate(press)
        assert first == sorted(first) and browser.evaluate(column) == sorted(first, reverse=True)
        assert len(set(first)) > 1


# The quickstarts

FAKE_PYTHON = """#!/usr/bin/env bash
[ "$1" != exps/report.py ] || echo "report ${*:2}"
while [ $# -gt 0 ]; do
    [ "$1" != --folder_file ] || echo "logs/$(basename "$2")" >"$2"
    shift
done
"""


@pytest.mark.parametrize(
    "script, runs",
    [("quickstart", "logs/search logs/training"), ("dggan_quickstart", "logs/proggan logs/dggan")],
)
def test_a_quickstart_ends_with_the_report_on_its_runs(tmp_path, script, runs):
    (tmp_path / "python").write_text(FAKE_PYTHON)
    (tmp_path / "python").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "VIRTUAL_ENV": "active"}
    ended = subprocess.run(
        ["bash", ROOT / "exps" / f"{script}.sh"], env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines()[-1] == f"report {runs} --output {runs.split()[-1]}/report.html"
