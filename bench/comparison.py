"""Timing two ways of doing the same work in one process, in turn, and showing the ratio with its spread."""

import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from utils.cli import Parser  # noqa: E402
from utils.precision import PRECISIONS  # noqa: E402
from utils.run.machine import environment, pick_device  # noqa: E402

COLUMNS = (
    "name", "level", "resolution", "width", "precision", "plain_ms", "fast_ms", "ratio", "ratio_min",
    "ratio_max", "plain_busy", "fast_busy", "peak_mib",
)  # fmt: skip


def bench_parser(description):
    """The options every benchmark has."""
    parser = Parser(description=description.splitlines()[0])
    parser.add_argument("--device", type=pick_device, default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of runs")
    parser.add_argument("--quick", action="store_true", help="small widths and few repeats: two minutes")
    parser.add_argument(
        "--precisions", nargs="+", choices=PRECISIONS, default=["float32", "bfloat16"], help="of the fast way"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the figures there")
    return parser


def gpu_warm_ups(device):
    """How often a GPU does every run before it is timed.

    The first makes Adam's state complete, the second is a step's first occurrence with it, the third records
    it.
    """
    return 3 if device.type == "cuda" else 0


def warm_up(device, repeats, *ways):
    """Let a GPU do all runs that `compare` is going to time."""
    for _ in range(gpu_warm_ups(device)):
        for seed in range(repeats + 1):
            for way in ways:
                way(seed)


def compare(name, plain, fast, *, steps, repeats, device, **columns):
    """Time plain(seed) and fast(seed), each of `steps` steps, in turn. Returns a row of the table.

    Seed 0 is not timed; seeds 1 to `repeats` are. columns: further columns of the row. plain_busy and
    fast_busy are the share of the time that the device computes; a CPU does as long as the process runs on
    it.
    """
    times, busy = {plain: [], fast: []}, {plain: [], fast: []}
    for seed in range(repeats + 1):
        for way in (plain, fast):
            seconds, share = timed(lambda: way(seed), device)
            if seed > 0:
                times[way].append(seconds / steps * 1000)
                busy[way].append(share)
    plain_ms, fast_ms = (statistics.median(times[way]) for way in (plain, fast))
    if device.type == "cuda":
        for way, ms in ((plain, plain_ms), (fast, fast_ms)):
            busy[way] = [kernel_share(lambda: way(0), steps * ms / 1000)]
    ratios = Spread.of([slow / quick for slow, quick in zip(times[plain], times[fast])])
    return {
        "name": name, **columns, "plain_ms": plain_ms, "fast_ms": fast_ms,
        "ratio": ratios.median, "ratio_min": ratios.least, "ratio_max": ratios.greatest,
        "plain_busy": statistics.median(busy[plain]), "fast_busy": statistics.median(busy[fast]),
        "peak_mib": peak_mib(device),
    }  # fmt: skip


class Spread(NamedTuple):
    """The median of some measurements, the least and the greatest. Of a sum the last two are bounds."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values):
        return cls(statistics.median(values), min(values), max(values))

    @classmethod
    def sum(cls, spreads):
        return cls(*map(sum, zip(*spreads)))

    def times(self, factor):
        return Spread(*(factor * value for value in self))

    def __str__(self):
        return f"{self.median:.4g} ({self.least:.4g} to {self.greatest:.4g})"


def timed(work, device):
    """(seconds that work() takes on the device, share of them that the process's CPU threads computed)."""
    start, worked = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - start
    return seconds, min(1.0, (time.process_time() - worked) / seconds / torch.get_num_threads())


def kernel_share(work, seconds):
    """The share of `seconds`, which work() takes unprofiled, that GPU kernels run, by PyTorch's profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    events = (
        event for event in profile.key_averages() if event.device_type == torch.autograd.DeviceType.CUDA
    )
    return min(1.0, sum(event.self_device_time_total for event in events) / 1e6 / seconds)


def peak_mib(device):
    """Memory in MiB.

    GPU: all that is taken now, PyTorch's caches and recorded steps included. CPU: the process's peak.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return (total - free) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_rows(rows):
    """Print a table's rows as they come from `compare`, the header first. Returns them as a list."""
    printed = []
    for row in rows:
        if not printed:
            print("  ".join(f"{column:>10}" for column in COLUMNS))
        cells = (row.get(column) for column in COLUMNS)
        texts = (f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells)
        print("  ".join(f"{text:>10}" for text in texts), flush=True)
        printed.append(row)
    return printed


def print_figures(figures):
    """Print {name: figure} in one line."""
    texts = (f"{value:.4g}" if isinstance(value, float) else value for value in figures.values())
    print("  ".join(f"{name} {text}" for name, text in zip(figures, texts)), flush=True)


def as_json(row):
    """A row with its Spreads as {"median": ..., "least": ..., "greatest": ...}."""
    return {name: value._asdict() if isinstance(value, Spread) else value for name, value in row.items()}


def write_rows(path, rows, **more):
    """Write the environment and the rows as JSON, if a path is given."""
    if path:
        found = {"environment": environment(), "rows": [as_json(row) for row in rows], **more}
        Path(path).write_text(json.dumps(found, indent=2) + "\n")
        print(f"wrote {path}")
