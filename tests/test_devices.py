"""Where worker processes compute, and with how much memory."""

from types import SimpleNamespace

import pytest
import torch

from utils.run.machine import device_memory, worker_devices


@pytest.fixture
def three_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda device: SimpleNamespace(total_memory=(device.index + 1) << 30),
    )


@pytest.mark.parametrize(
    "device, expected",
    [
        ("cuda", "cuda:0 cuda:1 cuda:2 cuda:0"),
        ("cuda:1", " ".join(["cuda:1"] * 4)),
        ("cpu", " ".join(["cpu"] * 4)),
    ],
)
def test_workers_take_all_gpus_in_turn_unless_one_device_is_named(three_gpus, device, expected):
    assert worker_devices(torch.device(device), 4) == [torch.device(name) for name in expected.split()]
    assert worker_devices(torch.device(device), 1) == [torch.device(expected.split()[0])]


def test_a_devices_memory_is_a_gpus_own_or_the_machines(three_gpus):
    assert device_memory(torch.device("cuda:2")) == 3 << 30
    with open("/proc/meminfo") as lines:
        total = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal"))
    assert device_memory(torch.device("cpu")) == pytest.approx(total, rel=0.01)
