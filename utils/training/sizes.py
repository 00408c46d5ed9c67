"""How large a network is: parameters and multiply-accumulates."""

import torch
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(network):
    """Number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network, *inputs):
    """Multiply-accumulates of one forward pass, which the paper calls FLOPs.

    Convolutions and linear layers count. `torch.utils.flop_counter` counts a multiply and an add as two.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*inputs, **example_labels(network, len(inputs[0]), inputs[0].device))
    return counter.get_total_flops() // 2


def example_labels(network, count, device):
    """{"labels": some}, for a call of a conditional network on so many images; else {}."""
    if not getattr(network, "num_classes", 0):
        return {}
    return {"labels": torch.zeros(count, dtype=torch.int64, device=device)}


def network_sizes(generator, discriminator, resolution):
    """Parameters of both networks, and their MACs for one image. Leaves them in eval mode.

    On the meta device, counting costs nothing. The MACs of a shared generator are None, because they depend
    on the architecture that runs.
    """
    device = next(generator.eval().parameters()).device  # a batch norm in training may refuse one image
    discriminator.eval()
    noise = torch.zeros(1, generator.latent_dim, device=device)
    image = torch.zeros(1, 3, resolution, resolution, device=device)
    return {
        "generator_parameters": count_parameters(generator),
        "generator_macs": count_macs(generator, noise) if generator.architecture else None,
        "discriminator_parameters": count_parameters(discriminator),
        "discriminator_macs": count_macs(discriminator, image),
    }
