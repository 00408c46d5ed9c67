"""The precision of multiplications: exact float32, or what is faster and moves results. In one place, because PyTorch's own defaults
differ: on a GPU its float32 convolutions are TF32.
"""

from contextlib import contextmanager

import torch

from utils.cli import UserError

PRECISIONS = ("float32", "tf32", "bfloat16")


@contextmanager
def multiplying(precision, device, autocast=True):
    """Inside, whatever the global flags and autocast say, convolutions and matrix products multiply in `precision`; then all is as before.

    "float32" is exact; "tf32" keeps 10 bits of each factor; "bfloat16" is autocast, left to `in_precision` if not `autocast`.
    """
    older, newer = _older_flags(), [switch.fp32_precision for switch in _switches()]
    try:
        _set_flags(
            ("high", True) if precision == "tf32" else ("highest", False),
            ["tf32" if precision == "tf32" else "ieee"] * len(newer),
        )
        with torch.autocast(
            device.type, torch.bfloat16, enabled=autocast and precision == "bfloat16", cache_enabled=False
        ):
            yield
    finally:
        _set_flags(older, newer)


# PyTorch has two generations of flags for this. The newer ones decide, but torch.compile reads the older ones (2.10), and reading them
# fails where they contradict the newer. So both are set.


def _switches():
    backends = torch.backends
    return (
        backends.cuda.matmul,
        backends.cudnn.conv,
        backends.cudnn.rnn,
        backends.mkldnn.matmul,
        backends.mkldnn.conv,
    )


def _older_flags():
    """(precision of matrix products, whether convolutions may be TF32), or None where somebody has set the newer flags alone."""
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
    """`call` under autocast if `precision` is "bfloat16"; it returns float32 all the same.

    Without autocast's cache of weights: it outlives a step where contexts are nested, and a recorded step would read it after its end.
    """
    if precision != "bfloat16":
        return call

    def in_bfloat16(*inputs):
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            return call(*inputs).float()

    return in_bfloat16


def fast_memory_format(precision, device):
    """How images lie in memory where convolutions are fast: channels last, but for a GPU's exact float32 kernels, which are made for the
    usual order (reported by others for older GPUs, not measured here)."""
    is_usual = device.type == "cuda" and precision == "float32"
    return torch.contiguous_format if is_usual else torch.channels_last


def check_precision(option, precision, device):
    """Refuse a precision that the device does not have."""
    if precision == "tf32" and device.type != "cuda":
        raise UserError(
            f"{option}: tf32 is arithmetic of NVIDIA GPUs, the device is {device}; use float32 or bfloat16"
        )
