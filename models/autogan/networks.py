"""AutoGAN's two networks: a generator made of cells, and the discriminator that grows with it."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from models.autogan.architecture import CHOICES, Architecture
from models.autogan.blocks import Cell, DiscriminatorBlock, FirstDiscriminatorBlock
from models.errors import ArchitectureError
from models.layers.spectral_norm import add_spectral_norm, joint_weights
from models.layers.weights import load_weights


class Generator(nn.Module):
    """A linear layer, then cells. `candidates[s]` are the CellSpecs that cell s must be able to run.

    With one candidate per cell it is a derived generator (`Generator.of`). With all candidates it is the
    shared generator of a search (models_search.shared_gan.network), and its `architecture` is None.
    """

    def __init__(self, candidates, latent_dim=128, gf_dim=256, bottom_width=4):
        super().__init__()
        self.latent_dim, self.gf_dim, self.bottom_width = latent_dim, gf_dim, bottom_width
        self.linear = nn.Linear(latent_dim, gf_dim * bottom_width**2)
        self.cells = nn.ModuleList(Cell(gf_dim, gf_dim, specs) for specs in candidates)
        self.to_rgb = nn.Sequential(
            nn.BatchNorm2d(gf_dim), nn.ReLU(), nn.Conv2d(gf_dim, 3, kernel_size=3, padding=1), nn.Tanh()
        )
        is_derived = all(len(specs) == 1 for specs in candidates)
        self.architecture = Architecture(tuple(specs[0] for specs in candidates)) if is_derived else None

    @classmethod
    def of(cls, architecture, **widths):
        """The derived generator, which has only the parameters of `architecture`."""
        return cls([[spec] for spec in architecture.cells], **widths)

    @classmethod
    def from_state(cls, architecture, state):
        """The derived generator with these weights. Its widths are read off the tensors.

        A shared generator's state dict, as the authors' train_derived.py saves it, may hold more weights;
        only those that the architecture uses are taken. Raises ArchitectureError if the weights are of
        another architecture.
        """
        normed = "linear.parametrizations.weight.original" in state
        linear = state.get("linear.parametrizations.weight.original" if normed else "linear.weight")
        scale = state.get("to_rgb.0.weight")
        if any(
            tensor is None or tensor.dim() != dim or not tensor.numel()
            for tensor, dim in ((linear, 2), (scale, 1))
        ):
            reason = "their linear layer or their norm before RGB is none"
            raise ArchitectureError(f"the weights are not of architecture {architecture}: {reason}")
        widths = {"latent_dim": linear.shape[1], "gf_dim": len(scale)}
        widths["bottom_width"] = max(1, math.isqrt(len(linear) // len(scale)))

        def build():
            generator = cls.of(architecture, **widths)
            return add_spectral_norm(generator) if normed else generator

        if all(any(name.startswith(f"cells.0.first.{conv}.") for name in state) for conv in CHOICES["conv"]):
            with torch.device("meta"):
                used = build().state_dict().keys()
            state = {name: state[name] for name in used if name in state}
        return load_weights(build, state, architecture)

    @property
    def resolution(self):
        """Width and height of the images in pixels, when all cells run."""
        return self.bottom_width << len(self.cells)

    def widths(self):
        """The options that, with the architecture, make this generator."""
        return {"latent_dim": self.latent_dim, "gf_dim": self.gf_dim, "bottom_width": self.bottom_width}

    def forward(self, z, architecture=None):
        """(N, latent_dim) -> images (N, 3, R, R) in [-1, 1].

        R is bottom_width << number of cells of the architecture. `architecture` says which candidate of each
        cell runs. It may have fewer cells than the network; ValueError if it has more. A derived generator
        needs none.
        """
        architecture = architecture or self.architecture
        if architecture.levels > len(self.cells):
            raise ValueError(
                f"an architecture of {architecture.levels} cells for a generator that has {len(self.cells)}"
            )
        h = self.linear(z).view(-1, self.gf_dim, self.bottom_width, self.bottom_width)
        features = []
        for cell, spec in zip(self.cells, architecture.cells):
            feature, h = cell(h, features, spec)
            features.append(feature)
        return self.to_rgb(h)


class Discriminator(nn.Module):
    """Residual discriminator. The first `halvings` blocks halve the resolution, the others keep it.

    At level 0 the first and the last block run. Each further level adds one block between them. The authors'
    has two halvings, whatever the resolution. outputs: how many the loss needs. deeper: further blocks before
    the last one, at every level.
    """

    def __init__(self, levels=3, df_dim=128, *, halvings=2, outputs=1, deeper=0):
        super().__init__()
        growing = [FirstDiscriminatorBlock(3, df_dim)]
        growing += [DiscriminatorBlock(df_dim, downsample=level < halvings) for level in range(1, levels)]
        self.growing = nn.ModuleList(growing)
        self.deeper = nn.ModuleList(DiscriminatorBlock(df_dim) for _ in range(deeper))
        self.last = DiscriminatorBlock(df_dim)
        self.linear = nn.Linear(df_dim, outputs, bias=False)

    def forward(self, images, level=None):
        """(N, 3, R, R) -> logits (N, outputs), by the blocks of `level` (0-based); None: by all blocks."""
        with joint_weights(self._blocks(level), self.deeper, self.last, self.linear):
            return self.logits(images, level)

    def logits(self, images, level=None):
        """`forward` without updating the spectral norms. It changes nothing, so it can be compiled."""
        h = images
        for block in (*self._blocks(level), *self.deeper):
            h = block(h)
        h = F.relu(self.last(h))
        return self.linear(h.sum(dim=(2, 3)))

    def _blocks(self, level):
        return self.growing if level is None else self.growing[: level + 1]
