"""The machine a run is on: devices, memory, versions, the commit of the code."""

import os
import platform
import re
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import torch

from utils.cli import UserError
from utils.distributed import processes_here, size


def pick_device(name):
    """The torch.device of --device: `auto` takes a CUDA device if there is one.

    Several processes have a CUDA device each.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    match = re.fullmatch(r"cpu|cuda(?::(0|[1-9]\d{0,2}))?", name, re.ASCII)
    if not match:
        raise UserError(f"--device: '{name}' is no device to run on; use auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count()
    if name != "cpu" and int(match[1] or 0) >= count:  # torch.device would take 256 for 0
        raise UserError(f"--device: there is no {name} here ({count} CUDA devices); use auto or cpu")
    return _own_gpu(name) if size() > 1 and name != "cpu" else torch.device(name)


def _own_gpu(name):
    """The GPU of this process, one of several on this machine."""
    here, count = processes_here(), torch.cuda.device_count()
    if name != "cuda":
        raise UserError(
            f"--device: {name} for {size()} processes; use cuda, which gives each its own, or cpu"
        )
    if here > count:
        cure = "start as many as there are GPUs, or use cpu"
        raise UserError(f"--device: {here} processes on a machine of {count} CUDA devices; {cure}")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    torch.cuda.set_device(device)
    return device


def worker_devices(device, workers):
    """The device of each worker process: `device`.

    For "cuda" without an index, workers take all GPUs in turn.
    """
    is_any_gpu = device.type == "cuda" and device.index is None
    devices = (
        [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
        if is_any_gpu
        else [device]
    )
    return [devices[worker % len(devices)] for worker in range(workers)]


def device_memory(device):
    """Bytes of memory of a device; of the CPU at most what the container may use."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(installed, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no control group, or its limit is "max"
        return installed


def environment(device=None):
    """Versions and machine, for config.json.

    device: what computes, by default that of --device auto.
    """
    device = device or pick_device("auto")
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{package: version(package) for package in ("torchvision", "numpy", "Pillow")},
        "commit": code_commit(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cpu_threads": torch.get_num_threads(),
        "processes": size(),
        "system": f"{platform.system()} {platform.machine()}",
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def code_commit(folder=Path(__file__).resolve().parents[2]):
    """The git commit of the code, with "(modified)" if files differ from it.

    None for a copy without git history.
    """
    command = ["git", f"--git-dir={folder / '.git'}", f"--work-tree={folder}", "describe"]
    command += ["--always", "--abbrev=40", "--exclude=*", "--dirty= (modified)"]
    try:
        return subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True).strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or no repository
        return None
