"""Several processes that do one run together: who takes which rows, and the sums over all of them.

With one process everything here is the identity: no process group is needed and no bit changes. torchrun
starts several; utils.run.together forms their group. All of them run the same code on the same random
numbers, so what is not said here needs no saying: each knows the others' rows, architectures and steps.
"""

import contextlib
import datetime
import os
import time

import torch
import torch.distributed as dist

from utils.cli import Ending, UserError

TIMEOUT = datetime.timedelta(minutes=30)  # one may read images or write a checkpoint while the others wait
SECONDS_PER_POLL = 0.5  # of the question whether a process was asked to stop


class Lost(Ending):
    """Another process has ended, so no sum can be formed any more."""


class _Group:
    """The processes of this run, and what they share besides sums: a few words in torchrun's store."""

    size, rank, store = 1, 0, None
    polled, is_stop_asked = 0.0, False


def begin():
    """Form the group of the processes that torchrun has started; returns the store that they share."""
    store, _Group.rank, _Group.size = next(dist.rendezvous("env://", timeout=TIMEOUT))
    has_gpus = torch.cuda.is_available() and dist.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if has_gpus else "gloo"
    dist.init_process_group(backend, store=store, rank=_Group.rank, world_size=_Group.size, timeout=TIMEOUT)
    _Group.store, _Group.is_stop_asked = dist.PrefixStore("run", store), False
    return _Group.store


def end():
    """Leave the group. Those that wait for this process then know that it is gone."""
    _Group.size, _Group.rank, _Group.store = 1, 0, None
    if not torch.cuda.is_available():  # NCCL's might wait here for a process that is gone
        dist.destroy_process_group()


def size():
    """The number of processes."""
    return _Group.size


def rank():
    """The number of this process, from 0 on."""
    return _Group.rank


def is_first():
    """Whether this process is the one that writes."""
    return _Group.rank == 0


def processes_here():
    """The number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", size())) if size() > 1 else 1


# Shares


def own_rows(count):
    """The rows of a batch of `count` that this process takes, as a slice: all for one process."""
    return slice(rank() * count // size(), (rank() + 1) * count // size())


def batches(count, batch_size, first=0):
    """Yield (start, length, whether this process takes it) of the batches of images first to count - 1.

    The processes take them in turn. A batch is the same for any number of them, so its images are equal to
    the bit.
    """
    for number, start in enumerate(range(first, count, batch_size)):
        yield start, min(batch_size, count - start), number % size() == rank()


def own_order(order, batch_size):
    """Of the images `order` (n,), those that this process takes as `batches` says."""
    parts = order.split(batch_size)
    return order if size() == 1 else torch.cat([order[:0], *parts[rank() :: size()]])


# Sums


@contextlib.contextmanager
def _losses_reported():
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        cure = "type the command again to go on"
        raise Lost(
            f"another of the {size()} processes has ended or is out of reach; {cure} ({reason})"
        ) from None


def _all_reduce(tensor, operation=dist.ReduceOp.SUM):
    with _losses_reported():
        dist.all_reduce(tensor, operation)


def add_up(tensors):
    """Replace each tensor by its sum over the processes, in one message for those of a kind."""
    if size() == 1:
        return
    kinds = {(tensor.dtype, tensor.device): None for tensor in tensors}
    for kind in kinds:
        alike = [tensor for tensor in tensors if (tensor.dtype, tensor.device) == kind]
        flat = torch.cat([tensor.reshape(-1) for tensor in alike])
        _all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in alike])
        with torch.no_grad():
            for tensor, part in zip(alike, parts):
                tensor.copy_(part.view(tensor.shape))


class _Sum(torch.autograd.Function):
    """The sum over the processes, and its gradient. All losses count, so the gradient is their sum, too."""

    @staticmethod
    def forward(ctx, tensor):
        total = tensor.clone(memory_format=torch.contiguous_format)
        _all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient):
        return _Sum.apply(gradient)


def gather_rows(x):
    """(the rows of all processes in their order, the slice of this one's): differentiable, also twice."""
    counts = torch.zeros(size(), dtype=torch.int64)
    counts[rank()] = len(x)
    _all_reduce(counts)
    before, after = int(counts[: rank()].sum()), int(counts[rank() + 1 :].sum())
    shape = x.shape[1:]
    padded = torch.cat([x.new_zeros(before, *shape), x, x.new_zeros(after, *shape)])
    return _Sum.apply(padded), slice(before, before + len(x))


def highest(value):
    """The highest of the processes' numbers."""
    if size() == 1:
        return value
    found = torch.tensor(float(value), dtype=torch.float64)
    _all_reduce(found, dist.ReduceOp.MAX)
    return type(value)(found.item())


def from_first(compute, *arguments, **options):
    """What compute(...) returns in the first process; the others do not call it. It is pickled."""
    if size() == 1:
        return compute(*arguments, **options)
    result = [compute(*arguments, **options) if rank() == 0 else None]
    with _losses_reported():
        dist.broadcast_object_list(result, device=torch.device("cpu"))
    return result[0]


def refuse_differences(value, problem):
    """Raise UserError in every process if `value` is not the same in all of them.

    value: plain data. problem(number of the first process that differs, its value, the first one's): the
    message.
    """
    if size() == 1:
        return
    values = [None] * size()
    with _losses_reported():
        dist.all_gather_object(values, value)
    for number, other in enumerate(values):
        if other != values[0]:
            raise UserError(problem(number, other, values[0]))


# Stopping


def ask_all_to_stop():
    """Tell the other processes that this one was asked to stop."""
    if _Group.store:
        with contextlib.suppress(RuntimeError):  # torchrun has ended
            _Group.store.set("stop", "asked")


def is_stop_asked():
    """Whether some process was asked to stop, as far as this one knows by now. Cheap."""
    now = time.monotonic()
    if _Group.store and not _Group.is_stop_asked and now - _Group.polled > SECONDS_PER_POLL:
        _Group.polled = now
        with _losses_reported():
            _Group.is_stop_asked = _Group.store.check(["stop"])
    return _Group.is_stop_asked
