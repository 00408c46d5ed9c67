"""How the cost of a training step grows, and its limit: `python bench/growth.py [--quick]`.

It grows with width, resolution, batch and beam. Each line is the fast way in a process of its own, so that
its peak memory is its own. Beside the time of a step stands the least time that the device could take,
operation by operation: that of its multiplications at the measured peak of a large matrix product, or that of
reading its inputs and writing its outputs once at the measured bandwidth of a large copy, whichever is
longer.
"""

import json
import subprocess
import sys
from functools import partial

import torch
from comparison import (
    Spread, as_json, bench_parser, gpu_warm_ups, peak_mib, print_figures, timed, write_rows
)  # fmt: skip
from networks import search_plan
from steps import Workload, fast_steps
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from utils.cli import run_script
from utils.precision import multiplying
from utils.training.cuda_graphs import NoGraphs

BASE = {"width": 128, "resolution": 32, "batch": 64, "beam": 5}
VARIED = {
    "width": (32, 64, 128, 256),
    "resolution": (8, 16, 32, 64),
    "batch": (16, 32, 64, 128),
    "beam": (1, 5, 20),
}


class LeastTime(TorchDispatchMode):
    """Adds up, over the operations inside, the least seconds that arithmetic and memory traffic allow."""

    def __init__(self, flops_per_second, bytes_per_second):
        super().__init__()
        self.flops_per_second, self.bytes_per_second = flops_per_second, bytes_per_second
        self.arithmetic = self.traffic = 0.0  # seconds of the operations that are limited by each
        self.flops = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        result = function(*arguments, **keywords)
        if any(value.alias_info and not value.alias_info.is_write for value in function._schema.returns):
            return result  # a view moves nothing
        count = flop_registry.get(function._overloadpacket)
        flops = count(*arguments, **keywords, out_val=result) if count else 0
        leaves = tree_leaves((arguments, keywords, result))
        sizes = [leaf.numel() * leaf.element_size() for leaf in leaves if isinstance(leaf, torch.Tensor)]
        by_arithmetic, by_traffic = flops / self.flops_per_second, sum(sizes) / self.bytes_per_second
        self.flops += flops
        if by_arithmetic > by_traffic:
            self.arithmetic += by_arithmetic
        else:
            self.traffic += by_traffic
        return result


def measured_peaks(device, precision):
    """(FLOP per second of a matrix product, bytes per second of a copy): the best of six runs."""
    size = 8192 if device.type == "cuda" else 2048
    random = torch.Generator(device).manual_seed(0)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    factors = torch.randn(2, size, size, generator=random, device=device, dtype=dtype)
    source = torch.empty(2**28 if device.type == "cuda" else 2**26, device=device)
    target = torch.empty_like(source)
    with multiplying(precision, device):
        product = min(timed(lambda: torch.mm(*factors), device)[0] for _ in range(6))
    copy = min(timed(lambda: target.copy_(source), device)[0] for _ in range(6))
    return 2 * size**3 / product, 2 * source.numel() * 4 / copy


def measure(setting, device, precision, steps, repeats):
    """The row of one setting, a dict such as BASE, measured in this process."""
    width, resolution, batch, beam = (setting[name] for name in BASE)
    level = resolution.bit_length() - 4
    plan = search_plan(width, levels=max(3, level + 1), batch=batch, beam=beam, precision=precision)
    workload = Workload.search(plan, device, level, steps)
    run = partial(fast_steps, workload)
    for _ in range(max(1, gpu_warm_ups(device))):
        run()
    step = Spread.of([timed(run, device)[0] / steps for _ in range(repeats)])
    count, random = 782, torch.Generator()  # the steps of one epoch of CIFAR-10
    sampling = timed(lambda: workload.sample(count, random), torch.device("cpu"))[0] / count
    peak = peak_mib(device)  # before the peaks are measured

    # The limit; operations inside a recorded step would not be seen.
    workload.gan.graphs = NoGraphs()
    flops_per_second, bytes_per_second = measured_peaks(device, precision)
    with LeastTime(flops_per_second, bytes_per_second) as least:
        run()
    limit = (least.arithmetic + least.traffic) / steps
    return {
        **setting, "precision": precision, "step_ms": step.times(1000), "peak_mib": peak,
        "drawing_ms": 1000 * sampling, "gflop": least.flops / steps / 1e9,
        "gflop_per_second": least.flops / steps / step.median / 1e9,
        "peak_gflop_per_second": flops_per_second / 1e9, "gigabytes_per_second": bytes_per_second / 1e9,
        "least_ms": 1000 * limit, "times_least": step.median / limit,
        "bound_by_arithmetic": least.arithmetic / (least.arithmetic + least.traffic),
    }  # fmt: skip


def measure_in_process(setting, options, repeats):
    """The row of one setting, measured in a new process."""
    command = [sys.executable, __file__, "--one", json.dumps(setting), "--device", options.device]
    command += ["--precisions", options.precisions[0], "--repeats", repeats, "--steps", options.steps]
    output = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True).stdout
    row = json.loads(output)
    return {**row, "step_ms": Spread(**row["step_ms"])}


def settings():
    """Every setting once: the base, and the base with one thing changed."""
    varied = [{**BASE, name: value} for name, values in VARIED.items() for value in values]
    return list({json.dumps(setting): setting for setting in varied}.values())


def main():
    parser = bench_parser(__doc__)
    parser.add_argument("--steps", type=int, default=10, help="steps in a run")
    parser.add_argument("--one", help="measure this setting alone (JSON) and print its row as JSON")
    options = parser.parse_args()
    precision, repeats = options.precisions[0], 1 if options.quick else options.repeats
    if options.one:
        row = measure(json.loads(options.one), options.device, precision, options.steps, repeats)
        print(json.dumps(as_json(row)))
        return
    rows = []
    for setting in settings():
        if options.quick:
            setting = {**setting, "width": setting["width"] // 4}
        rows.append(measure_in_process(setting, options, repeats))
        print_figures(rows[-1])
    write_rows(options.json, rows)


if __name__ == "__main__":
    run_script(main)
