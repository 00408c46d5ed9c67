"""How large a network is: parameters and multiply-accumulates."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from utils.cli import UserError

TRAINING_BYTES = 16  # for a parameter in float32: value, gradient, Adam's two averages


def count_parameters(network):
    """Number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network, *inputs):
    """Multiply-accumulates of one forward pass, which the paper calls FLOPs.

    Convolutions and linear layers count. `torch.utils.flop_counter` counts a multiply and an add as two.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*inputs)
    return counter.get_total_flops() // 2


def network_sizes(generator, discriminator, resolution):
    """Parameters of both networks, and their MACs for one image.

    On the meta device, counting costs nothing. The MACs of a shared generator are None, because they depend
    on the architecture that runs.
    """
    device = next(generator.parameters()).device
    noise = torch.zeros(1, generator.latent_dim, device=device)
    image = torch.zeros(1, 3, resolution, resolution, device=device)
    return {
        "generator_parameters": count_parameters(generator),
        "generator_macs": count_macs(generator, noise) if generator.architecture else None,
        "discriminator_parameters": count_parameters(discriminator),
        "discriminator_macs": count_macs(discriminator, image),
    }


def refuse_too_large(sizes, available_bytes):
    """Raise UserError if networks of these sizes cannot be trained in this memory (bytes).

    sizes: see `network_sizes`. Only what the parameters take is counted: no batch size would help.
    """
    needed = TRAINING_BYTES * (sizes["generator_parameters"] + sizes["discriminator_parameters"])
    if needed > available_bytes:
        raise UserError(
            "--gf_dim, --df_dim, --latent_dim, --bottom_width: training networks of these sizes takes "
            f"{needed / 2**30:,.0f} GiB, there are {available_bytes / 2**30:,.0f}; give smaller ones"
        )
