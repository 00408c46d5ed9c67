"""Renames the weights of the authors' generators to this project's names."""

import re


def rename(state):
    """A state dict of the authors' generator under this project's names."""
    return {our_name(name): tensor for name, tensor in state.items()}


def our_name(name):
    """This project's name for a weight of an authors' generator.

    It may be a published one (`cell1.c1`) or a shared one (`cell1.post_conv1.conv`).
    """
    name = re.sub(r"^l1\.", "linear.", name)
    match = re.fullmatch(r"cell(\d+)\.(.*)", name)
    if not match:
        return name
    level, rest = int(match[1]) - 1, match[2]
    for pattern, replacement in _WITHIN_A_CELL:
        rest = re.sub(pattern, replacement, rest)
    # The authors name the learned upsampling of a skip by its scale, we by the cell it comes from.
    rest = re.sub(r"^skip_deconvx2\.", f"skip_up.{level - 1}.0.", rest)
    rest = re.sub(r"^skip_deconvx4\.", f"skip_up.{level - 2}.", rest)
    return f"cells.{level}.{rest}"


_WITHIN_A_CELL = (
    (r"^c1\.", "first.pre.conv."),
    (r"^c2\.", "second.pre.conv."),
    (r"^n1\.", "first.pre.norm.batch."),
    (r"^n2\.", "second.pre.norm.batch."),
    (r"^(pre|post)_conv1\.bn\.", r"first.\1.norm.batch."),
    (r"^(pre|post)_conv2\.bn\.", r"second.\1.norm.batch."),
    (r"^(pre|post)_conv1\.", r"first.\1."),
    (r"^(pre|post)_conv2\.", r"second.\1."),
    (r"^c_sc\.", "shortcut."),
    (r"^deconv_sc\.", "shortcut_up."),
    (r"^skip_in_ops\.", "skip."),
)
