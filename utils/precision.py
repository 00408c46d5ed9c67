"""The precision of multiplications: exact float32, or something faster that changes results.

PyTorch's own defaults are not used, because on a GPU they compute float32 convolutions in TF32.
"""

from contextlib import contextmanager

import torch

from utils.cli import UserError

PRECISIONS = ("float32", "tf32", "bfloat16")


@contextmanager
def multiplying(precision, device, autocast=True):
    """Inside the block, convolutions and matrix products multiply in `precision`.

    "float32" is exact; "tf32" keeps 10 bits of each factor; "bfloat16" is autocast. With autocast=False,
    "bfloat16" only applies where `in_precision` is used. Global flags and autocast outside have no effect,
    and are restored afterwards.
    """
    older, newer = _older_flags(), [switch.fp32_precision for switch in _switches()]
    is_tf32, enabled = precision == "tf32", autocast and precision == "bfloat16"
    try:
        _set_flags(("high" if is_tf32 else "highest", is_tf32), ["tf32" if is_tf32 else "ieee"] * len(newer))
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=False):
            yield
    finally:
        _set_flags(older, newer)


# PyTorch has two generations of flags. The newer ones decide, but torch.compile (2.10) reads the older ones,
# and reading those fails if they contradict the newer ones. So set both.


def _switches():
    cuda, cudnn, mkldnn = torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
    return cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv


def _older_flags():
    """(precision of matrix products, whether convolutions may be TF32).

    None if the older flags cannot be read, because they contradict the newer ones.
    """
    try:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return None


def _set_flags(older, newer):
    if older:  # first, because they set the newer ones too
        torch.set_float32_matmul_precision(older[0])
        torch.backends.cudnn.allow_tf32 = older[1]
    for switch, flag in zip(_switches(), newer):
        switch.fp32_precision = flag


def in_precision(call, precision, device):
    """`call` under autocast if `precision` is "bfloat16". It always returns float32.

    Autocast's cache of weights is off. In nested contexts it outlives a step, and a recorded step would read
    it after it is freed.
    """
    if precision != "bfloat16":
        return call

    def in_bfloat16(*inputs, **options):
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            return call(*inputs, **options).float()

    return in_bfloat16


def fast_memory_format(precision, device):
    """The memory format for fast convolutions: channels last, except for exact float32 on a GPU.

    Others report that exact kernels on older GPUs prefer the usual order; it has not been measured here.
    """
    is_usual = device.type == "cuda" and precision == "float32"
    return torch.contiguous_format if is_usual else torch.channels_last


def check_precision(option, precision, device):
    """Raise UserError if the device cannot compute in this precision."""
    if precision == "tf32" and device.type != "cuda":
        reason = f"tf32 is arithmetic of NVIDIA GPUs, the device is {device}"
        raise UserError(f"{option}: {reason}; use float32 or bfloat16")
