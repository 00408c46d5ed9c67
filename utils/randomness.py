"""Random numbers that depend on their purpose, not on what was drawn before.

Every generator is seeded by (seed, purpose, counters). So a run draws the same numbers however often it stops
and resumes, scores or logs, and a checkpoint needs no random state, only the counters.
"""

import contextlib
import hashlib

import torch


def derived_seed(seed, *purpose):
    """A 63-bit seed from a seed and a purpose, which is any words and numbers."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def seed_after(rollbacks, seed):
    """The seed after this many rollbacks: the noise must differ from the noise that led to NaN."""
    return derived_seed(seed, "rollback", rollbacks) if rollbacks else seed


def random_generator(seed, *purpose, device="cpu"):
    """A torch.Generator for one purpose, such as random_generator(seed, "noise", step)."""
    return torch.Generator(device).manual_seed(derived_seed(seed, *purpose))


@contextlib.contextmanager
def global_seed(seed, *purpose):
    """Seed torch's global CPU generator inside the block, and restore its state afterwards.

    For code that can only draw from the global generator, such as torch.nn.init.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, *purpose))
        yield
