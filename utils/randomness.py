"""Random numbers that depend on what they are for, not on what was drawn before.

Every draw comes from a generator seeded by (seed, purpose, counters). A run that stops and goes on, scores more or less often or logs
more or less therefore draws the same numbers; its position is all the random state there is.
"""

import contextlib
import hashlib

import torch


def derived_seed(seed, *purpose):
    """A 63-bit seed from a seed and any words and numbers."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def seed_after(rollbacks, seed):
    """The seed to go on with once a run has gone back so many times: other noise than that which led to NaN."""
    return derived_seed(seed, "rollback", rollbacks) if rollbacks else seed


def random_generator(seed, *purpose, device="cpu"):
    """A torch.Generator for one purpose: random_generator(seed, "noise", step)."""
    return torch.Generator(device).manual_seed(derived_seed(seed, *purpose))


@contextlib.contextmanager
def global_seed(seed, *purpose):
    """Seed torch's global CPU generator inside the block (torch.nn.init draws from it), and give it back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, *purpose))
        yield
