"""A GAN in training: two networks, their optimisers and the moving average of the generator.

They are trained, saved and reset together.
"""

import copy
from dataclasses import dataclass, field

import torch

from utils.distributed import size
from utils.precision import fast_memory_format
from utils.run.schema import Each, Least, Some
from utils.training.adaptive import Adaptive
from utils.training.cuda_graphs import CudaRecorder, NoGraphs, StepGraphs
from utils.training.whole_batch import share_batches


@dataclass
class Gan:
    """The state of a GAN in training.

    average: the moving average generator, or None. graphs: the training steps recorded on a GPU, which are
    not saved. adaptive: the state of ADA, or None.
    """

    generator: torch.nn.Module
    discriminator: torch.nn.Module
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    average: torch.nn.Module | None = None
    graphs: StepGraphs | NoGraphs = field(default_factory=NoGraphs)
    adaptive: Adaptive | None = None

    def networks(self):
        """{name: network}."""
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        return networks if self.average is None else {**networks, "average": self.average}

    def optimizers(self):
        """{name: optimiser}."""
        return {
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def figures(self):
        """{name: number} for the log: ADA's probability, if there is one. Waits for the device."""
        return {"ada_p": float(self.adaptive.probability)} if self.adaptive else {}

    def state_dict(self):
        """The state of every part; its tensors are the live ones, not copies."""
        parts = {**self.networks(), **self.optimizers()}
        parts |= {"adaptive": self.adaptive} if self.adaptive else {}
        return {name: part.state_dict() for name, part in parts.items()}

    def schema(self, all_trained=False):
        """What `load_state_dict` reads, see utils.run.schema. all_trained: every parameter has been."""
        networks = {name: dict(network.state_dict()) for name, network in self.networks().items()}
        adaptive = {"adaptive": self.adaptive.state_dict()} if self.adaptive else {}
        adams = {name: adam_schema(adam, all_trained) for name, adam in self.optimizers().items()}
        return networks | adams | adaptive

    def load_state_dict(self, state):
        """Load the state of networks with the same shapes.

        How the optimisers compute (fused, recorded) stays as it is.
        """
        for name, network in self.networks().items():
            network.load_state_dict(state[name])
        for name, optimizer in self.optimizers().items():
            load_adam(optimizer, state[name])
        if self.adaptive:
            self.adaptive.load_state_dict(state["adaptive"])
        self.graphs.clear()

    def snapshot(self, earlier=None):
        """A copy of the state, to go back to.

        Reuses the memory of an `earlier` snapshot if its tensors have the same shapes.
        """
        state = self.state_dict()
        live, kept = [], []
        _map_tensors(live.append, state)
        _map_tensors(kept.append, earlier)
        if [tensor.shape for tensor in kept] != [tensor.shape for tensor in live]:
            kept = [torch.empty_like(tensor) for tensor in live]
        for kind in {(tensor.device, tensor.dtype) for tensor in live}:  # one call for all tensors of a kind
            torch._foreach_copy_(
                *([t for t in tensors if (t.device, t.dtype) == kind] for tensors in (kept, live))
            )
        copies = iter(kept)
        return _map_tensors(lambda tensor: next(copies), state)

    def scale_learning_rates(self, factor):
        """Set both learning rates to `factor` times the initial ones."""
        for optimizer in self.optimizers().values():
            for group in optimizer.param_groups:
                _set_lr(group, group["initial_lr"] * factor)


def new_gan(generator, discriminator, device, training, *, recipe=None, with_average=False, fast=True):
    """A Gan of two networks, moved to the device, with Adam. The average generator starts as a copy.

    training: the training options; learning rates, Adam's betas and the precision are read here. recipe: the
    option group of this name, read for ADA; None: without it.
    fast: use a faster memory format and fused Adam, and record steps on a GPU; equal up to rounding. Steps of
    several processes are not recorded.
    """
    if size() > 1:
        share_batches(generator)
        share_batches(discriminator)
    generator = place(generator, device, fast, training.precision)
    discriminator = place(discriminator, device, fast, training.precision)
    average = copy.deepcopy(generator).requires_grad_(False) if with_average else None
    recorded = fast and device.type == "cuda" and size() == 1
    optimizers = []
    for network, lr in ((generator, training.g_lr), (discriminator, training.d_lr)):
        group = {"params": list(network.parameters()), "initial_lr": lr}
        # The rate may change, so a recorded step reads it from the device.
        rate = torch.tensor(lr, device=device) if recorded else lr
        betas = (training.beta1, training.beta2)
        adam = torch.optim.Adam([group], lr=rate, betas=betas, fused=fast, capturable=recorded)
        # The first run of a step is deliberately not recorded: do not warn of that.
        adam._warned_capturable_if_run_uncaptured = True
        optimizers.append(adam)
    graphs = StepGraphs(CudaRecorder(device)) if recorded else NoGraphs()
    adaptive = Adaptive(recipe, device) if recipe and recipe.ada_target is not None else None
    return Gan(generator, discriminator, *optimizers, average, graphs, adaptive)


def place(network, device, fast, precision="float32"):
    """Move a network to the device and return it.

    If `fast`, it gets the memory format in which convolutions of this precision are fastest. A generator must
    be scored in the format it was trained in: another order of sums changes pixels where values are
    truncated.
    """
    memory_format = fast_memory_format(precision, device) if fast else torch.contiguous_format
    return network.to(device).to(memory_format=memory_format)


def adam_schema(adam, all_trained=False):
    """The schema (utils.run.schema) of an Adam optimiser's state: averages of any, or all, parameters."""
    parameters = [parameter for group in adam.param_groups for parameter in group["params"]]
    step = torch.zeros(())
    averages = (
        {"step": step, "exp_avg": parameter.detach(), "exp_avg_sq": parameter.detach()}
        for parameter in parameters
    )
    group = Least(params=list(range(len(parameters))), lr=(float, step))
    state = dict(enumerate(averages)) if all_trained else Some(enumerate(averages))
    return {"state": state, "param_groups": Each(group, length=1)}


def _map_tensors(change, state):
    """Nested dicts and lists with change(tensor) in place of each tensor."""
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


def load_adam(optimizer, state):
    """Load averages and learning rate, from whatever device or form of Adam they were saved."""
    pairs = zip(state["param_groups"], optimizer.param_groups)
    groups = [{**mine, "params": saved["params"]} for saved, mine in pairs]
    optimizer.load_state_dict({**state, "param_groups": groups})
    with torch.no_grad():
        for parameter, averages in optimizer.state.items():
            for name in ("exp_avg", "exp_avg_sq"):  # fused Adam reads them in the parameter's memory format
                averages[name] = torch.empty_like(parameter).copy_(averages[name])
    for group, saved in zip(optimizer.param_groups, state["param_groups"]):
        _set_lr(group, float(saved["lr"]))
        # Parameters that were trained before have a gradient of zero, see generator_step.
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter) if parameter in optimizer.state else None


@torch.no_grad()
def update_average(average, network, decay=0.999):
    """Move the average generator a step: average = decay * average + (1 - decay) * trained.

    decay: a number, or a 0-d tensor of the networks' device, which a recorded step reads each time.
    Parameters and batch norm's running statistics are averaged. Other buffers (batch norm's step counter,
    spectral norm's vectors) are copied, because their average means nothing.
    """
    averages, values = list(average.parameters()), list(network.parameters())
    for (name, buffer), value in zip(average.named_buffers(), network.buffers()):
        if name.endswith(("running_mean", "running_var")):
            averages.append(buffer)
            values.append(value)
        else:
            buffer.copy_(value)
    if torch.is_tensor(decay):
        torch._foreach_add_(averages, torch._foreach_mul(torch._foreach_sub(values, averages), 1 - decay))
    else:
        torch._foreach_lerp_(averages, values, 1 - decay)
