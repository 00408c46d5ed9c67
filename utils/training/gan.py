"""Two networks and their optimisers, and the moving average of the generator."""

import copy
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch

from utils.precision import fast_memory_format
from utils.training.cuda_graphs import CudaRecorder, StepGraphs


@dataclass
class Gan:
    """Two networks and their optimisers: what is trained, saved and reset together; `average` is the moving average generator, if kept.

    `graphs` records training steps, on a GPU.
    """

    generator: torch.nn.Module
    discriminator: torch.nn.Module
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    average: torch.nn.Module = None
    graphs: StepGraphs = None

    def parts(self):
        """{name: part} of what has a state."""
        return {name: part for name, part in vars(self).items() if part is not None and name != "graphs"}

    def state_dict(self):
        """State of every part; the tensors are the live ones."""
        return {name: part.state_dict() for name, part in self.parts().items()}

    def load_state_dict(self, state):
        """Take over a state of the same networks; how the optimisers compute stays as it is here."""
        for name, part in self.parts().items():
            if isinstance(part, torch.optim.Optimizer):
                _load_optimizer(part, state[name])
            else:
                part.load_state_dict(state[name])
        self.forget_recordings()

    def forget_recordings(self):
        """Free what recorded steps hold: those to come are others."""
        if self.graphs:
            self.graphs.clear()

    def snapshot(self, earlier=None):
        """A copy of the state, to load after further steps; written over an `earlier` one if that has the same tensors."""
        state = self.state_dict()
        live, kept = [], []
        _map_tensors(live.append, state)
        _map_tensors(kept.append, earlier)
        if [tensor.shape for tensor in kept] != [tensor.shape for tensor in live]:
            kept = [torch.empty_like(tensor) for tensor in live]
        for like in {(tensor.device, tensor.dtype) for tensor in live}:  # one call for all tensors of a kind
            torch._foreach_copy_(
                *([t for t in tensors if (t.device, t.dtype) == like] for tensors in (kept, live))
            )
        copies = iter(kept)
        return _map_tensors(lambda tensor: next(copies), state)

    def scale_learning_rates(self, factor):
        """Set both learning rates to `factor` times the initial ones."""
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                _set_lr(group, group["initial_lr"] * factor)

    def stream(self):
        """A context for `run`."""
        return self.graphs.stream() if self.graphs else nullcontext()

    def run(self, update, setting, optimizer, *inputs):
        """update(setting, *inputs), a loss; recorded and replayed if there are graphs and the setting's key names what it does."""
        update_here = partial(update, setting)
        if self.graphs is None or setting.key is None:
            return update_here(*inputs)
        # An architecture that is the first to use a parameter makes the optimiser, from there on, update that one too.
        return self.graphs.run((update.__name__, setting.key, len(optimizer.state)), update_here, *inputs)


def new_gan(
    generator, discriminator, device, *, g_lr, d_lr, betas, with_average=False, fast=True, precision="float32"
):
    """A Gan of two networks, moved to the device, with Adam; the average generator begins as a copy.

    `fast` places the networks so, updates all parameters in one kernel, and records steps on a GPU; the same results to rounding.
    """
    generator, discriminator = (
        placed(network, device, fast, precision) for network in (generator, discriminator)
    )
    average = copy.deepcopy(generator).requires_grad_(False) if with_average else None
    recorded = fast and device.type == "cuda"
    adams = [
        torch.optim.Adam(
            [{"params": list(network.parameters()), "initial_lr": lr}],
            lr=torch.tensor(lr, device=device) if recorded else lr,  # a recorded step reads a rate that changes from the device
            betas=betas, fused=fast, capturable=recorded,
        )
        for network, lr in ((generator, g_lr), (discriminator, d_lr))
    ]  # fmt: skip
    for adam in adams:
        adam._warned_capturable_if_run_uncaptured = True  # a step's first run is not recorded, on purpose
    return Gan(
        generator, discriminator, *adams, average, StepGraphs(CudaRecorder(device)) if recorded else None
    )


def placed(network, device, fast, precision="float32"):
    """The network on the device; if `fast`, with images in the order that convolutions of this precision like best.

    A generator is scored as it was trained: another order of sums moves values over the edge where they are truncated to pixels.
    """
    return network.to(device).to(
        memory_format=fast_memory_format(precision, device) if fast else torch.contiguous_format
    )


def _map_tensors(change, state):
    """Nested dicts and lists with change(tensor) in the place of each tensor, in their order."""
    if torch.is_tensor(state):
        return change(state)
    if isinstance(state, dict):
        return {name: _map_tensors(change, part) for name, part in state.items()}
    return [_map_tensors(change, part) for part in state] if isinstance(state, list) else state


def _set_lr(group, lr):
    if torch.is_tensor(group["lr"]):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr


def _load_optimizer(optimizer, state):
    """Take over averages and learning rate, whatever device and way of computing they were saved with."""
    own = [
        {name: group[name] for name in ("lr", "fused", "foreach", "capturable")}
        for group in optimizer.param_groups
    ]
    saved_groups = [{**saved, **mine} for saved, mine in zip(state["param_groups"], own)]
    optimizer.load_state_dict({**state, "param_groups": saved_groups})
    with torch.no_grad():
        for parameter, averages in optimizer.state.items():
            for name in (
                "exp_avg",
                "exp_avg_sq",
            ):  # fused Adam reads them in the parameter's memory format, whatever theirs is
                averages[name] = torch.empty_like(parameter).copy_(averages[name])
    for group, saved in zip(optimizer.param_groups, state["param_groups"]):
        _set_lr(group, float(saved["lr"]))
        for parameter in group[
            "params"
        ]:  # what has been trained before has a gradient of zero now: see generator_step
            parameter.grad = torch.zeros_like(parameter) if parameter in optimizer.state else None


@torch.no_grad()
def update_average(average, network, decay=0.999):
    """Move the average generator a step towards the trained one: its parameters and batch norm's running statistics.

    Other buffers (batch norm's step counter, spectral norm's vectors) are copied: their average means nothing.
    """
    mine, theirs = list(average.parameters()), list(network.parameters())
    for (name, mine_now), theirs_now in zip(average.named_buffers(), network.buffers()):
        if name.endswith(("running_mean", "running_var")):
            mine.append(mine_now)
            theirs.append(theirs_now)
        else:
            mine_now.copy_(theirs_now)
    torch._foreach_lerp_(mine, theirs, 1 - decay)
