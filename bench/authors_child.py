"""The authors' code of 2019, as a child process of bench/authors.py.

It imports nothing of this project, whose packages have the same names.

What is changed so that their files run as they are:

- Modules they import and no training step calls are empty: utils.inception_score and utils.fid_score
  (TensorFlow 1), dateutil.
- ReLU in the shared generator's blocks is torch.threshold, which is what PyTorch 1.1 ran. Their cells add
  shortcuts and skips in place to a ReLU's output, and today ReLU's gradient needs that output ("modified by
  an inplace operation").
- On a CPU, `.cuda()` changes nothing and torch.cuda.FloatTensor is torch.FloatTensor.

Two things that today's PyTorch does otherwise than theirs stay. zero_grad drops gradients, so their Adam
passes over whatever the sampled architecture does not use; ours does not (docs/DIFFERENCES.md). And on a GPU
their float32 convolutions multiply in TF32.
"""

import importlib
import json
import sys
import types

import torch
from torch.utils.data import DataLoader, TensorDataset


def serve(workload):
    """Build the authors' networks and print their sizes. Then train once for each line of stdin.

    A line is printed when a run is done. A line of stdin holds the architectures of the steps as lists of
    tokens, or null for retraining.
    """
    answers, sys.stdout = sys.stdout, sys.stderr
    device = torch.device(workload["device"])
    torch.set_num_threads(workload["threads"])
    if device.type == "cuda":
        torch.cuda.set_device(device)
    make_importable(workload["authors"], on_cpu=device.type == "cpu")
    sys.argv = ["authors", *workload["options"]]
    arguments = importlib.import_module("cfg").parse_args()
    if workload["level"] is None:
        parameters, train = retraining(arguments)
    else:
        parameters, train = search(arguments, workload["level"])
    batch_size = arguments.dis_batch_size
    loader = random_loader(workload["steps"] * batch_size, workload["resolution"], batch_size)
    print(json.dumps(parameters), file=answers, flush=True)
    for line in sys.stdin:
        train(loader, json.loads(line))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        print("{}", file=answers, flush=True)


def make_importable(folder, on_cpu):
    """Put the clone on the path, and change what this file's docstring lists."""
    sys.dont_write_bytecode = True  # the clone stays as it is
    sys.path[0] = folder
    for name in ("utils.inception_score", "utils.fid_score", "dateutil", "dateutil.tz"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__getattr__ = lambda attribute: None
    if on_cpu:
        torch.Tensor.cuda = torch.nn.Module.cuda = lambda self: self
        torch.cuda.FloatTensor = torch.FloatTensor
    blocks = importlib.import_module("models_search.building_blocks_search")
    blocks.nn = types.SimpleNamespace(**{**vars(torch.nn), "ReLU": ThresholdReLU})


class ThresholdReLU(torch.nn.Module):
    """ReLU whose gradient needs its input and not its output."""

    def forward(self, x):
        return torch.threshold(x, 0.0, 0.0)


def random_loader(count, resolution, batch_size):
    """Batches of random images and labels, in a new order each time."""
    images = torch.rand(count, 3, resolution, resolution) * 2 - 1
    return DataLoader(TensorDataset(images, torch.zeros(count)), batch_size=batch_size, shuffle=True)


def search(arguments, level):
    """(numbers of parameters, train(loader, architectures)) of shared-GAN training at `level`."""
    modules = ("search", "functions", "utils.utils")
    script, functions, helpers = map(importlib.import_module, modules)
    generator, discriminator, *optimizers = script.create_shared_gan(arguments, keep_weights)
    beam = {"prev_archs": None, "prev_hiddens": None}
    for stage in range(level + 1):
        controller, _ = script.create_ctrler(arguments, stage, keep_weights)
        if stage < level:
            sampled, _, _, states = controller.sample(arguments.topk, with_hidden=True, **beam)
            beam = {"prev_archs": list(sampled), "prev_hiddens": [list(state.detach()) for state in states]}

    def train(loader, architectures):
        histories = [helpers.RunningStats(arguments.dynamic_reset_window) for _ in range(2)]
        replay = ReplayController(controller, architectures)
        functions.train_shared(
            arguments, generator, discriminator, *histories, replay, *optimizers, loader, **beam
        )

    return count_parameters(generator, discriminator), train


class ReplayController:
    """The authors' controller as train_shared uses it.

    It samples in every step, but returns the next of `architectures`.
    """

    def __init__(self, controller, architectures):
        self.controller, self.cur_stage, self.eval = controller, controller.cur_stage, controller.eval
        # On their device: their set_arch fetches each architecture from there.
        device = next(controller.parameters()).device
        self.architectures = iter(torch.tensor(architectures, device=device).split(1))

    def sample(self, count, **beam):
        _, *others = self.controller.sample(count, **beam)
        return next(self.architectures), *others


def retraining(arguments):
    """(numbers of parameters, train(loader, None)) of training architecture a."""
    importlib.import_module("train")  # for its settings of cuDNN
    functions, networks = map(importlib.import_module, ("functions", "models.autogan_cifar10_a"))
    generator, discriminator = networks.Generator(arguments).cuda(), networks.Discriminator(arguments).cuda()
    optimizers = [
        torch.optim.Adam(network.parameters(), lr, (arguments.beta1, arguments.beta2))
        for network, lr in ((generator, arguments.g_lr), (discriminator, arguments.d_lr))
    ]
    average = functions.copy_params(generator)

    def train(loader, _):
        writer = types.SimpleNamespace(add_scalar=lambda *figure: None)
        progress = {"writer": writer, "train_global_steps": 0}
        functions.train(arguments, generator, discriminator, *optimizers, average, loader, 0, progress)

    return count_parameters(generator, discriminator), train


def keep_weights(module):
    """Instead of their weight initialisation, which cannot be imported; time does not depend on it."""


def count_parameters(generator, discriminator):
    """{network: its number of parameters}."""
    networks = {"generator": generator, "discriminator": discriminator}
    return {name: sum(map(torch.Tensor.numel, network.parameters())) for name, network in networks.items()}


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
