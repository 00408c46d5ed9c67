"""DGGAN's actions: what they do, which of them are legal, and which are tried on a parent."""

import re
from dataclasses import dataclass, replace
from functools import reduce

import torch

from models.growing.architecture import Conv, doubled
from models.growing.networks import parameter_counts


class GrowthError(ValueError):
    """Actions, options or a growth tree that no search can work with."""


@dataclass(frozen=True)
class GrowGenerator:
    """Add a convolution to the generator, at its highest resolution.

    It comes after the first `place` convolutions of that resolution, counted from the latent. None: after all
    of them, nearest the image. Text: `G 3x128`, or with a place `G 3x128 after 1`.
    """

    conv: Conv
    place: int | None = None

    def __str__(self):
        return f"G {self.conv}" + _place_text(self)


@dataclass(frozen=True)
class GrowDiscriminator:
    """Add a convolution to the discriminator, at its highest resolution.

    `place` is counted from the score; None: nearest the image. Text: `D 3x128`, or with a place `D 3x128
    after 1`.
    """

    conv: Conv
    place: int | None = None

    def __str__(self):
        return f"D {self.conv}" + _place_text(self)


def _place_text(action):
    return "" if action.place is None else f" after {action.place}"


@dataclass(frozen=True)
class GrowResolution:
    """ProgGAN's step: both networks get a block of two 3x3 convolutions at twice the resolution.

    Text: `double`.
    """

    def __str__(self):
        return "double"


def every_action(kernels=(3, 7), filters=(32, 64, 128, 256, 512, 1024)):
    """A convolution of every kernel and number of filters for each network, and the doubling.

    25 actions by default, as in the paper.
    """
    convs = [Conv(kernel, count) for kernel in kernels for count in filters]
    return tuple(grow(conv) for grow in (GrowGenerator, GrowDiscriminator) for conv in convs) + (
        GrowResolution(),
    )


ACTIONS = every_action()


def progressive_actions(start_resolution=8, final_resolution=32):
    """ProgGAN as a list of actions: it only doubles."""
    return (GrowResolution(),) * doublings(start_resolution, final_resolution)


def parse_action(text):
    """The action of a text. Raises GrowthError, or ArchitectureError for its convolution."""
    if text == "double":
        return GrowResolution()
    match = re.fullmatch(r"([GD]) (\S+)(?: after (\d{1,3}))?", text, re.ASCII)
    if not match:
        raise GrowthError(f"'{text}' is no action; examples are 'G 3x128', 'D 7x64' and 'double'")
    grow = GrowGenerator if match[1] == "G" else GrowDiscriminator
    return grow(Conv.parse(match[2]), int(match[3]) if match[3] else None)


def apply(action, architecture):
    """The architecture grown by one action.

    Raises GrowthError if the highest resolution does not have the action's place.
    """
    if isinstance(action, GrowResolution):
        return doubled(architecture)
    network = "generator" if isinstance(action, GrowGenerator) else "discriminator"
    blocks = getattr(architecture, network)
    place = len(blocks[-1]) if action.place is None else action.place
    if not 1 <= place <= len(blocks[-1]):
        raise GrowthError(
            f"'{action}': at {architecture.resolution} pixels the {network} has places 1 to {len(blocks[-1])}"
        )
    grown = blocks[-1][:place] + (action.conv,) + blocks[-1][place:]
    return replace(architecture, **{network: blocks[:-1] + (grown,)})


def apply_all(actions, architecture):
    """The architecture grown by all these actions, one after the other."""
    return reduce(lambda grown, action: apply(action, grown), actions, architecture)


def legal_actions(
    actions, architecture, final_resolution, maximum_parameters=None, latent_dim=512, steps_left=None
):
    """Those of `actions` that keep the architecture within its limits.

    The limits: the final resolution in pixels, and if it is set, this number of parameters in both networks
    together. `steps_left` counts the growing steps that are left, this one included. If the doublings need
    all of them, only a doubling is legal.
    """
    missing = doublings(architecture.resolution, final_resolution)

    def is_legal(action):
        if isinstance(action, GrowResolution) and not missing:
            return False
        if not isinstance(action, GrowResolution) and steps_left is not None and missing >= steps_left:
            return False
        if maximum_parameters is None:
            return True
        return sum(parameter_counts(apply(action, architecture), latent_dim)) <= maximum_parameters

    return tuple(action for action in actions if is_legal(action))


def draw_actions(actions, probability, generator):
    """Take each action with this probability, in order; if none was taken, take one at random.

    Without that second draw a parent could end its line by chance, whatever its score. So each of n actions
    is taken with probability p + (1 - p)^n / n. Returns a tuple, which is empty if there are no actions.
    `generator`: a torch.Generator on the CPU.
    """
    drawn = (torch.rand(len(actions), generator=generator) < probability).tolist()
    if actions and not any(drawn):
        drawn[torch.randint(len(actions), (), generator=generator).item()] = True
    return tuple(action for action, is_drawn in zip(actions, drawn) if is_drawn)


def doublings(start_resolution, final_resolution):
    """How often the resolution doubles from start to final, both in pixels.

    Raises GrowthError if doubling does not lead there.
    """
    if start_resolution < 4 or final_resolution < start_resolution:
        raise GrowthError(
            f"growth goes upwards from 4 pixels or more, not from {start_resolution} to {final_resolution}"
        )
    ratio, rest = divmod(final_resolution, start_resolution)
    if rest or ratio & (ratio - 1):
        raise GrowthError(f"doubling never leads from {start_resolution} to {final_resolution} pixels")
    return ratio.bit_length() - 1
