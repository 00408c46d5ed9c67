"""Files of torch.save, read without running anything, and only if what they hold is plain.

Plain are ordinary tensors, and containers that end. A file may also hold tensors without values of their own,
and lists that contain themselves, or each other so often that nobody could walk through them.
"""

import os
import warnings
import zipfile

import torch

DTYPES = {
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
}  # fmt: skip
DEEPEST = 50  # containers within each other
MOST_REPEATED = 100  # times as many values as there are in the file, as containers may occur more than once
LARGEST_INT = 2**128


class NotPlain(Exception):
    """Says what the file holds that is not plain."""


def load_plain(file):
    """What torch.save wrote to an open file, on the CPU. Raises NotPlain, for damaged bytes anything."""
    size = os.fstat(file.fileno()).st_size
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if sum(member.file_size for member in archive.infolist()) > size:
                raise NotPlain("compressed data")  # torch.save compresses nothing
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd tensors: the error says it
        content = torch.load(file, map_location="cpu", weights_only=True)
    check_plain(content)
    return content


def check_plain(content):
    """Raise NotPlain unless `content` is plain."""
    sizes = {}  # of the containers seen, by identity; None: the walk is inside
    total = _walk(content, sizes, DEEPEST)
    distinct = 1000 + sum(count for _, count in sizes.values())
    if total > MOST_REPEATED * distinct:
        raise NotPlain("the same parts again and again")


def _walk(value, sizes, depth):
    """The number of values in `value`, itself included, each as often as it occurs. Raises NotPlain."""
    if isinstance(value, torch.Tensor):
        _refuse_odd_tensor(value)
    if isinstance(value, int) and abs(value) > LARGEST_INT:
        raise NotPlain("a number of more than 128 bits")
    if not isinstance(value, (dict, list, tuple)):
        return 1
    if id(value) in sizes:
        if sizes[id(value)] is None:
            raise NotPlain(f"a {type(value).__name__} that contains itself")
        return sizes[id(value)][0]
    if not depth:
        raise NotPlain(f"more than {DEEPEST} containers within each other")
    sizes[id(value)] = None
    parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    total = 1 + sum(_walk(part, sizes, depth - 1) for part in parts)
    sizes[id(value)] = total, len(parts)
    return total


def _refuse_odd_tensor(tensor):
    """Raise NotPlain for a tensor whose values are not ordinary numbers, all of them in memory."""
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise NotPlain(f"a tensor of the type {type(tensor).__name__}")
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        kind = "quantised" if tensor.is_quantized else str(tensor.layout).removeprefix("torch.")
        raise NotPlain(f"a tensor that is not plain ({kind}, on {tensor.device.type})")
    if tensor.dtype not in DTYPES:
        raise NotPlain(f"a tensor of {str(tensor.dtype).removeprefix('torch.')}")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise NotPlain(f"a tensor {tuple(tensor.shape)} with fewer values than that")
