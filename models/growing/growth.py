"""How a network grows in one step, what it inherits from its parent, and how the new part fades in.

Both networks of DGGAN (Liu et al., AAAI 2021) grow like ProgGAN's (Karras et al., ICLR 2018). docs/DGGAN.md
says what the papers leave open and how it is done here.
"""

from typing import NamedTuple

import torch

from models.errors import ArchitectureError
from models.growing.layers import downsample, layer_name, upsample


class Growth(NamedTuple):
    """Where a network grew in one step, by the names of its own layers.

    The new path runs from layer `inner` to layer `outer` in the generator, where `outer` is the next layer
    towards the image, and the other way round in the discriminator. Beside it runs the bypass: `outer` as it
    was in the parent.
    """

    new: tuple[str, ...]  # layers that inherit nothing
    inner: str
    outer: str
    doubled: bool  # whether the resolution was doubled


def find_growth(child, parent):
    """The Growth from the parent's convolutions (a tuple per resolution) to the child's.

    None if they are equal. One step adds a block at twice the resolution, or one convolution at the highest
    resolution, anywhere but as the first one there. Among equal convolutions the one nearest the image counts
    as the new one. Raises ArchitectureError for any other difference.
    """
    if child == parent:
        return None
    level, top = len(child) - 1, child[-1]
    if child[:-1] == parent:
        block = tuple(layer_name(level, index) for index in range(len(top)))
        return Growth(new=(*block, "rgb"), inner=block[0], outer="rgb", doubled=True)
    places = [
        place for place in range(1, len(top)) if child[:-1] + (top[:place] + top[place + 1 :],) == parent
    ]
    if not places:
        raise ArchitectureError(
            "growth adds a convolution to the highest resolution, not as its first, or doubles the resolution"
        )
    inner, after = layer_name(level, places[-1]), places[-1] + 1
    outer = layer_name(level, after) if after < len(top) else "rgb"
    return Growth(new=(inner,), inner=inner, outer=outer, doubled=False)


def match_layers(layers, growth, parent_layers):
    """{layer: the parent's layer that it inherits from}, for all layers but the new ones.

    `layers` and `parent_layers` are names in the order in which data passes them. `growth` is None if nothing
    was added.
    """
    heirs = [name for name in layers if not (growth and name in growth.new)]
    inherited = [name for name in parent_layers if not (growth and growth.doubled and name == "rgb")]
    return dict(zip(heirs, inherited))


def match_bypass(layers, growth, parent_layers):
    """The parent's layer that becomes the bypass of a grown network."""
    return match_layers(layers, growth, parent_layers).get(growth.outer, "rgb")


@torch.no_grad()
def inherit(child, parent):
    """Copy into `child` what it inherits from `parent`. Returns a line of text for each change.

    `parent` has the architecture that the child grew from, or the child's own: so a network without bypass
    takes over from one whose fade has ended. A layer next to a new one inherits the filters and inputs that
    fit; the bypass inherits the parent's whole layer. A bypass of the parent itself is not inherited.
    ValueError if the parent has another architecture.
    """
    expected = child.grown_from or child.architecture
    if parent.architecture != expected:
        raise ValueError(f"the child grew from '{expected}', this parent is '{parent.architecture}'")
    changes = [f"{name} is new" for name in (child.growth.new if child.growth else ())]
    for name, source in match_layers(child.layers, child.growth, parent.layers).items():
        changes += _copy(name, child.layers[name], parent.layers[source])
    if child.growth:
        source = match_bypass(child.layers, child.growth, parent.layers)
        _copy("bypass", child.bypass, parent.layers[source])
    return changes


def _copy(name, layer, source):
    """Copy the filters and inputs of `source` that fit into `layer`.

    Returns a line of text for each number that differs.
    """
    shapes = tuple(zip(layer.weight.shape[:2], source.weight.shape[:2]))
    filters, inputs = (min(pair) for pair in shapes)
    layer.weight[:filters, :inputs] = source.weight[:filters, :inputs]
    layer.bias[:filters] = source.bias[:filters]
    return [
        f"{name} has {count - before} new {kind}"
        if count > before
        else f"{name} drops {before - count} {kind}"
        for kind, (count, before) in zip(("filters", "inputs"), shapes)
        if count != before
    ]


def is_fading(fade):
    """Whether the bypass still runs: for a float in [0, 1), and for every 0-d tensor.

    A tensor's value is not read, because that would wait for the device. Raises ValueError for other floats.
    """
    if torch.is_tensor(fade):
        return True
    if not 0 <= fade <= 1:
        raise ValueError(f"fade is in [0, 1], not {fade}")
    return fade < 1


def blend(old, new, fade):
    """(1 - fade) old + fade new, in the data type of `new`.

    The types may differ, because a GPU's autocast doubles the resolution in float32.
    """
    return torch.lerp(old.to(new.dtype), new, fade.to(new.dtype) if torch.is_tensor(fade) else fade)


def fade_images(images, fade):
    """Real images (N, 3, H, W) as a resolution fades in: half as fine at fade 0, unchanged at fade 1."""
    return images if fade == 1 else torch.lerp(upsample(downsample(images)), images, fade)
