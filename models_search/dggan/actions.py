"""DGGAN's actions: what they are, which of them a parent tries, and the plan of a search, checked before it begins."""

import re
from dataclasses import dataclass, replace
from functools import reduce

import torch

from models.growing.networks import parameter_counts
from models.growing.architecture import Conv, GrowingArchitecture, doubled


class GrowthError(ValueError):
    """Actions, settings or a growth tree with which no search can run."""


@dataclass(frozen=True)
class GrowGenerator:
    """One convolution more in the generator, at its highest resolution. Text: `G 3x128`, with a place `G 3x128 after 1`.

    It comes on the image's side of the first `place` convolutions of that resolution; None is nearest the image.
    """

    conv: Conv
    place: int | None = None

    def __str__(self):
        return f"G {self.conv}" + _place_text(self)


@dataclass(frozen=True)
class GrowDiscriminator:
    """One convolution more in the discriminator: as `GrowGenerator`. Text: `D 3x128`, with a place `D 3x128 after 1`."""

    conv: Conv
    place: int | None = None

    def __str__(self):
        return f"D {self.conv}" + _place_text(self)


def _place_text(action):
    return "" if action.place is None else f" after {action.place}"


@dataclass(frozen=True)
class GrowResolution:
    """ProgGAN's step: both networks get blocks of two 3x3 convolutions at twice the resolution. Text: `double`."""

    def __str__(self):
        return "double"


def every_action(kernels=(3, 7), filters=(32, 64, 128, 256, 512, 1024)):
    """A convolution of each kernel and number of filters for each network, and the doubling: 25 actions as the paper has them."""
    convs = [Conv(kernel, count) for kernel in kernels for count in filters]
    return tuple(grow(conv) for grow in (GrowGenerator, GrowDiscriminator) for conv in convs) + (
        GrowResolution(),
    )


ACTIONS = every_action()


def progressive_actions(start_resolution=8, final_resolution=32):
    """ProgGAN as a list of the same actions: doubling and nothing else."""
    return (GrowResolution(),) * _doublings(start_resolution, final_resolution)


def parse_action(text):
    """The action of a text form; raises GrowthError, or ArchitectureError for its convolution."""
    if text == "double":
        return GrowResolution()
    match = re.fullmatch(r"([GD]) (\S+)(?: after (\d{1,3}))?", text, re.ASCII)
    if not match:
        raise GrowthError(f"'{text}' is no action: write such as 'G 3x128', 'D 7x64' or 'double'")
    grow = GrowGenerator if match[1] == "G" else GrowDiscriminator
    return grow(Conv.parse(match[2]), int(match[3]) if match[3] else None)


def apply(action, architecture):
    """The architecture grown by one action; raises GrowthError for a place that the highest resolution does not have."""
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
    """The architecture after a list of actions."""
    return reduce(lambda grown, action: apply(action, grown), actions, architecture)


def legal_actions(
    actions, architecture, final_resolution, maximum_parameters=None, latent_dim=512, steps_left=None
):
    """Those actions that exceed neither the final resolution nor, where given, this number of parameters of both networks.

    Where the growing steps left, this one included, are only enough for doublings, only a doubling is legal.
    """
    doublings = _doublings(architecture.resolution, final_resolution)

    def legal(action):
        if isinstance(action, GrowResolution):
            if not doublings:
                return False
        elif steps_left is not None and doublings >= steps_left:
            return False
        return (
            maximum_parameters is None
            or sum(parameter_counts(apply(action, architecture), latent_dim)) <= maximum_parameters
        )

    return tuple(action for action in actions if legal(action))


def drawn_actions(actions, probability, generator):
    """Each action with this probability, in their order; where none was drawn, one of them, each as likely.

    A parent without a child would end its line by chance and not by its score, hence the second draw: an action's share is
    p + (1 - p)^n / n of n actions. Of no actions none are drawn. `generator` is a torch.Generator on the CPU.
    """
    tried = (torch.rand(len(actions), generator=generator) < probability).tolist()
    if actions and not any(tried):
        tried[torch.randint(len(actions), (), generator=generator).item()] = True
    return tuple(action for action, is_tried in zip(actions, tried) if is_tried)


def check_search(actions, start_resolution, final_resolution, k, probability):
    """Raise GrowthError for settings with which a search cannot run or cannot reach the final resolution."""
    if not actions:
        raise GrowthError("a search needs one action or more")
    if len(set(actions)) < len(actions):
        raise GrowthError("an action is listed twice")
    if k < 1:
        raise GrowthError(f"K is the number of children kept, 1 or more, not {k}")
    if not 0 < probability <= 1:
        raise GrowthError(f"the probability of trying an action is in (0, 1], not {probability}")
    if _doublings(start_resolution, final_resolution) and GrowResolution() not in actions:
        raise GrowthError(
            f"without 'double' the actions never reach {final_resolution} pixels from {start_resolution}"
        )


def check_fixed_list(actions, start_resolution, final_resolution):
    """Raise GrowthError unless this list of actions, taken one after the other, ends at the final resolution."""
    needed, given = (
        _doublings(start_resolution, final_resolution),
        sum(action == GrowResolution() for action in actions),
    )
    if given != needed:
        raise GrowthError(
            f"the list doubles {given} times: from {start_resolution} to {final_resolution} pixels takes {needed}"
        )


def check_steps(growing_steps, start_resolution, final_resolution, actions=ACTIONS):
    """Raise GrowthError if this many growing steps cannot reach the final resolution, or go on where no action can be taken any more."""
    needed = _doublings(start_resolution, final_resolution)
    if growing_steps < needed:
        raise GrowthError(
            f"from {start_resolution} to {final_resolution} pixels takes {needed} growing steps, not {growing_steps}"
        )
    if growing_steps > needed and set(actions) == {GrowResolution()}:
        raise GrowthError(
            f"'double' alone makes {needed} growing steps from {start_resolution} to {final_resolution} pixels, not {growing_steps}; "
            f"set --growing_steps {needed} or add actions"
        )


def check_memory(actions, architecture, available_bytes, latent_dim=512):
    """Raise GrowthError if one of the actions makes networks that cannot be trained in this memory, and name the largest.

    Without actions it is about the architecture as it is.
    """
    grown = {f"'{action}'": apply(action, architecture) for action in actions} or {
        f"'{architecture}'": architecture
    }
    needed, largest = max((training_bytes(each, latent_dim), name) for name, each in grown.items())
    if needed > available_bytes:
        raise GrowthError(
            f"{largest} takes {needed / 2**30:.1f} GiB for the parameters alone, "
            f"{available_bytes / 2**30:.1f} GiB are there: use fewer filters"
        )


def training_bytes(architecture, latent_dim=512):
    """Lower bound of what training takes: weights, gradients, Adam's two averages and the average generator, in float32.

    Activations and a fading layer's bypass are not in it.
    """
    generator, discriminator = parameter_counts(architecture, latent_dim)
    return 4 * (5 * generator + 4 * discriminator)


def _doublings(start_resolution, final_resolution):
    if start_resolution < 4 or final_resolution < start_resolution:
        raise GrowthError(
            f"growth goes from 4 pixels or more upwards, not from {start_resolution} to {final_resolution}"
        )
    ratio, rest = divmod(final_resolution, start_resolution)
    if rest or ratio & (ratio - 1):
        raise GrowthError(f"doubling never leads from {start_resolution} to {final_resolution} pixels")
    return ratio.bit_length() - 1


@dataclass(frozen=True)
class GrowthPlan:
    """What a search by growth is to do, checked."""

    root: GrowingArchitecture
    actions: tuple  # DGGAN: those to choose from; ProgGAN: those to take one after the other
    growing_steps: int
    kept: int  # K


def dggan_plan(root, actions, final_resolution, growing_steps, k, probability):
    """DGGAN's plan: every growing step tries each action with this probability and keeps the k best. Raises GrowthError."""
    check_search(actions, root.resolution, final_resolution, k, probability)
    for action in actions:
        apply(action, root)  # every place is there
    return GrowthPlan(root, tuple(actions), growing_steps, k)


def proggan_plan(root, actions, final_resolution):
    """ProgGAN's plan: these actions, one a growing step. Raises GrowthError."""
    check_fixed_list(actions, root.resolution, final_resolution)
    apply_all(actions, root)
    return GrowthPlan(root, tuple(actions), len(actions), kept=1)


def check_plan_fits(plan, final_resolution, available_bytes, is_search, latent_dim=512):
    """Raise GrowthError if a pair of the plan's networks cannot be trained in this memory: at the end any action may come on top."""
    largest = apply_all(progressive_actions(plan.root.resolution, final_resolution), plan.root)
    last = legal_actions(plan.actions, largest, final_resolution) if is_search else ()
    check_memory(last, largest, available_bytes, latent_dim)
