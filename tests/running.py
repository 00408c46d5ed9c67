"""What tests of the scripts share: running them, stopping them, comparing what they leave."""

import importlib.util
import signal
import sys
from pathlib import Path

import torch

from utils.run import SafePoint, StopRequested

ROOT = Path(__file__).resolve().parent.parent


def load_script(name):
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def only_run(tmp_path, name):
    (run,) = (tmp_path / "logs").glob(f"{name}_2*")
    return run


def stop_at(call, monkeypatch, by_signal=True):
    """Make the n-th safe point find a SIGTERM waiting, or raise as a power cut would, saving nothing."""
    original, calls = SafePoint.__call__, []

    class PowerCut(Exception):
        pass

    def counted(self, due=False):
        calls.append(due)
        if len(calls) == call:
            if not by_signal:
                raise PowerCut
            self.signal_number = signal.SIGTERM
        original(self, due)

    monkeypatch.setattr(SafePoint, "__call__", counted)
    return (StopRequested, PowerCut), lambda: monkeypatch.setattr(SafePoint, "__call__", original)


def assert_equal_states(first, second, path=""):
    assert type(first) is type(second), path
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), path
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), path
        for key in first:
            assert_equal_states(first[key], second[key], f"{path}/{key}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), path
        for index, pair in enumerate(zip(first, second)):
            assert_equal_states(*pair, f"{path}/{index}")
    else:
        assert first == second, (path, first, second)
