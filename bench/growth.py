"""How the cost of a training step grows with width, resolution, batch and beam, and where its limit lies: `python bench/growth.py`.

Each line is the fast way in a process of its own, so that its peak memory is its own. Beside the time of a step stands the least that
the device could take, found operation by operation: the time of its multiplications at the measured peak of a large matrix product, or
of reading its inputs and writing its outputs once at the measured bandwidth of a large copy, whichever is longer.
"""

import json
import subprocess
import sys
from functools import partial

import torch
from comparison import Spread, as_json, bench_parser, peak_mib, timed, warm_ups, write_rows
from steps import RandomImages, build, fast_steps, lower_beam
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from models_search.autogan.controller import Controller, sample_architectures
from utils.cli import run_script
from utils.precision import multiplying

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
        self.arithmetic = self.traffic = 0.0  # seconds of the operations that each of the two limits
        self.flops = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        if any(value.alias_info and not value.alias_info.is_write for value in function._schema.returns):
            return result  # a view moves nothing
        count = flop_registry.get(function._overloadpacket)
        flops = count(*arguments, **(keywords or {}), out_val=result) if count else 0
        tensors = [
            leaf for leaf in tree_leaves((arguments, keywords, result)) if isinstance(leaf, torch.Tensor)
        ]
        by_arithmetic = flops / self.flops_per_second
        by_traffic = sum(tensor.numel() * tensor.element_size() for tensor in tensors) / self.bytes_per_second
        self.flops += flops
        if by_arithmetic > by_traffic:
            self.arithmetic += by_arithmetic
        else:
            self.traffic += by_traffic
        return result


def measured_peaks(device, precision):
    """(floating-point operations a second of a matrix product, bytes a second of a copy): the best of some runs."""
    size = 8192 if device.type == "cuda" else 2048
    drawn, dtype = (
        torch.Generator(device).manual_seed(0),
        torch.bfloat16 if precision == "bfloat16" else torch.float32,
    )
    factors = torch.randn(2, size, size, generator=drawn, device=device, dtype=dtype)
    source = torch.empty(2**28 if device.type == "cuda" else 2**26, device=device)
    target = torch.empty_like(source)
    with multiplying(precision, device):
        product = min(timed(lambda: torch.mm(*factors), device)[0] for _ in range(6))
    copy = min(timed(lambda: target.copy_(source), device)[0] for _ in range(6))
    return 2 * size**3 / product, 2 * source.numel() * 4 / copy


def measure(setting, device, precision, steps, repeats):
    """The row of one setting, measured in this process."""
    level = setting["resolution"].bit_length() - 4
    width = setting["width"]
    gan = build(
        device, fast=True, gf_dim=width, df_dim=width // 2, levels=max(3, level + 1), precision=precision
    )
    images = RandomImages(steps * setting["batch"], setting["resolution"], device)
    beam = lower_beam(level, kept=setting["beam"])
    controller = Controller(level)
    run = partial(
        fast_steps,
        gan,
        images,
        steps,
        policy=(controller, beam),
        level=level,
        precision=precision,
        batch=setting["batch"],
    )
    for _ in range(max(1, warm_ups(device))):
        run()
    step = Spread.of([timed(run, device)[0] / steps for _ in range(repeats)])
    drawing = (
        timed(lambda: sample_architectures(controller, beam, 782, torch.Generator()), torch.device("cpu"))[0]
        / 782
    )
    peak = peak_mib(device)  # before the peaks are measured
    flops_per_second, bytes_per_second = measured_peaks(device, precision)
    gan.graphs = None
    with LeastTime(flops_per_second, bytes_per_second) as least:
        run()
    limit = (least.arithmetic + least.traffic) / steps
    return {
        **setting, "precision": precision, "step_ms": step.times(1000), "peak_mib": peak, "drawing_ms": 1000 * drawing,
        "gflop": least.flops / steps / 1e9, "gflop_per_second": least.flops / steps / step.median / 1e9,
        "peak_gflop_per_second": flops_per_second / 1e9, "gigabytes_per_second": bytes_per_second / 1e9,
        "least_ms": 1000 * limit, "bound_by_arithmetic": least.arithmetic / (least.arithmetic + least.traffic),
        "times_least": step.median / limit,
    }  # fmt: skip


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
        print(
            json.dumps(
                as_json(measure(json.loads(options.one), options.device, precision, options.steps, repeats))
            )
        )
        return
    rows = []
    for setting in settings():
        if options.quick:
            setting = {**setting, "width": setting["width"] // 4}
        command = [
            sys.executable,
            __file__,
            "--one",
            json.dumps(setting),
            "--device",
            options.device,
            "--precisions",
            precision,
        ]
        command += ["--repeats", repeats, "--steps", options.steps]
        output = subprocess.run(
            [str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        row = json.loads(output)
        rows.append({**row, "step_ms": Spread(**row["step_ms"])})
        print(
            "  ".join(
                f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                for name, value in rows[-1].items()
            ),
            flush=True,
        )
    write_rows(options.json, rows)


if __name__ == "__main__":
    run_script(main)
