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
from utils.run.folder import environment, pick_device  # noqa: E402

COLUMNS = (
    "name", "level", "resolution", "width", "precision", "plain_ms", "fast_ms", "ratio", "ratio_min", "ratio_max",
    "plain_busy", "fast_busy", "peak_mib",
)  # fmt: skip


def bench_parser(description):
    """The options every benchmark has."""
    parser = Parser(description=description.splitlines()[0])
    parser.add_argument("--device", type=pick_device, default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of runs")
    parser.add_argument(
        "--quick", action="store_true", help="small widths and few repeats: about two minutes"
    )
    parser.add_argument(
        "--precisions", nargs="+", choices=PRECISIONS, default=["float32", "bfloat16"], help="of the fast way"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the figures there")
    return parser


def warm_ups(device):
    """How often a GPU's fast way does all its runs before it is timed: until Adam's state is complete, unrecorded, and recorded."""
    return 3 if device.type == "cuda" else 0


def compare(name, plain, fast, *, steps, repeats, device, **described):
    """Time plain() and fast(), each doing `steps` steps, `repeats` times in turn after one warm-up of each; returns a row.

    plain_busy and fast_busy: the share of the time that the device computes. On a CPU it counts as computing if it is in the process.
    """
    times = {plain: [], fast: []}
    busy = {plain: [], fast: []}
    for repeat in range(repeats + 1):
        for work in (plain, fast):
            seconds, share = timed(work, device)
            if repeat:
                times[work].append(seconds / steps * 1000)
                busy[work].append(share)
    if device.type == "cuda":
        busy = {work: [kernel_share(work, steps * statistics.median(times[work]) / 1000)] for work in busy}
    ratios = [a / b for a, b in zip(times[plain], times[fast])]
    row = {
        "name": name,
        **described,
        "plain_ms": statistics.median(times[plain]),
        "fast_ms": statistics.median(times[fast]),
    }
    row.update(ratio=statistics.median(ratios), ratio_min=min(ratios), ratio_max=max(ratios))
    return {
        **row,
        "plain_busy": statistics.median(busy[plain]),
        "fast_busy": statistics.median(busy[fast]),
        "peak_mib": peak_mib(device),
    }


class Spread(NamedTuple):
    """The median of some runs, and their least and greatest; of a sum of measured times those are bounds."""

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
    """(seconds, share of the time that the processor's threads worked) of work(), the GPU's part awaited."""
    start, worked = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - start
    return seconds, min(1.0, (time.process_time() - worked) / seconds / torch.get_num_threads())


def kernel_share(work, seconds):
    """The share of the `seconds` that work() takes in which a kernel runs on the GPU, by PyTorch's profiler, itself not counted."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    kernels = [
        event for event in profile.key_averages() if event.device_type == torch.autograd.DeviceType.CUDA
    ]
    return min(1.0, sum(event.self_device_time_total for event in kernels) / 1e6 / seconds)


def peak_mib(device):
    """Peak memory: what a GPU has given out, PyTorch's caches and recorded steps included, or of the whole process so far on a CPU."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return (total - free) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_row(row):
    """One line of the table; the header comes before the first."""
    if not print_row.has_header:
        print("  ".join(f"{column:>10}" for column in COLUMNS))
        print_row.has_header = True
    cells = (row.get(column) for column in COLUMNS)
    print(
        "  ".join(f"{f'{cell:.2f}' if isinstance(cell, float) else cell!s:>10}" for cell in cells), flush=True
    )


print_row.has_header = False


def as_json(row):
    """A row with its Spreads as {"median": ..., "least": ..., "greatest": ...}."""
    return {name: value._asdict() if isinstance(value, Spread) else value for name, value in row.items()}


def write_rows(path, rows, **more):
    """The environment and the rows as JSON."""
    if path:
        found = {"environment": environment(), "rows": [as_json(row) for row in rows], **more}
        Path(path).write_text(json.dumps(found, indent=2) + "\n")
        print(f"wrote {path}")
