"""Every test runs on one CPU thread, with a cache folder of its own and the project on the path."""

import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
torch.set_num_threads(1)  # the networks here are tiny, and test processes share the machine


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory, monkeypatch):
    """Statistics of real images are cached for the whole test session, never in the user's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
