"""AutoGAN's two networks: a generator made of cells, and the discriminator that grows with it."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from models.autogan.architecture import CHOICES, Architecture
from models.autogan.blocks import Cell, DiscriminatorBlock, FirstDiscriminatorBlock, norm_layer, normalise
from models.conditioning import NONE
from models.errors import ArchitectureError
from models.layers.spectral_norm import add_spectral_norm, joint_weights
from models.layers.weights import load_weights


CLASS_WIDTH = 128  # of the embedding of a class, as in BigGAN
# Its standard deviation at the start, as in BigGAN on CIFAR-10. As large as the noise's, 1, the generator
# would learn to ignore the noise beside it: the images of a class would hardly differ (docs/CONDITIONAL.md).
CLASS_SCALE = 0.02


def noise_width(latent_dim, num_classes):
    """The width of the noise that a generator's layers read: with the embedding of the class, if any."""
    return latent_dim + CLASS_WIDTH if num_classes else latent_dim


class Generator(nn.Module):
    """A linear layer, then cells. `candidates[s]` are the CellSpecs that cell s must be able to run.

    With one candidate per cell it is a derived generator (`Generator.of`). With all candidates it is the
    shared generator of a search (models_search.shared_gan.network), and its `architecture` is None.

    If there are classes, their embedding is appended to the noise, and every batch norm depends on them.
    Layers that the noise modulates read both.
    """

    def __init__(self, candidates, latent_dim=128, gf_dim=256, bottom_width=4, num_classes=0):
        super().__init__()
        self.latent_dim, self.gf_dim, self.bottom_width = latent_dim, gf_dim, bottom_width
        self.num_classes = num_classes
        self.embedding, inputs = None, noise_width(latent_dim, num_classes)
        if num_classes:
            self.embedding = nn.Embedding(num_classes, CLASS_WIDTH)
            nn.init.normal_(self.embedding.weight, std=CLASS_SCALE)
        self.linear = nn.Linear(inputs, gf_dim * bottom_width**2)
        self.cells = nn.ModuleList(Cell(gf_dim, gf_dim, specs, num_classes, inputs) for specs in candidates)
        norm, conv = norm_layer("batch", gf_dim, num_classes), nn.Conv2d(gf_dim, 3, kernel_size=3, padding=1)
        self.to_rgb = nn.Sequential(norm, nn.ReLU(), conv, nn.Tanh())
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
        embedding = state.get("embedding.weight")
        is_conditional = embedding is not None
        scale = state.get("to_rgb.0.batch.running_mean" if is_conditional else "to_rgb.0.weight")
        if any(
            tensor is None or tensor.dim() != dim or not tensor.numel()
            for tensor, dim in ((linear, 2), (scale, 1), *[(embedding, 2)] * is_conditional)
        ):
            reason = "their linear layer or their norm before RGB is none"
            raise ArchitectureError(f"the weights are not of architecture {architecture}: {reason}")
        widths = {"latent_dim": linear.shape[1], "gf_dim": len(scale)}
        if is_conditional:
            widths["latent_dim"] = max(1, linear.shape[1] - CLASS_WIDTH)
            widths["num_classes"] = len(embedding)
        widths["bottom_width"] = max(1, math.isqrt(len(linear) // len(scale)))

        def build():
            generator = cls.of(architecture, **widths)
            return add_spectral_norm(generator) if normed else generator

        # Of both spaces, a shared cell has at least the authors' kinds of convolution; a derived one has one.
        convs = CHOICES["authors"]["conv"]
        if all(any(name.startswith(f"cells.0.first.{conv}.") for name in state) for conv in convs):
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

    def forward(self, z, architecture=None, labels=None):
        """(N, latent_dim) -> images (N, 3, R, R) in [-1, 1].

        R is bottom_width << number of cells of the architecture. `architecture` says which candidate of each
        cell runs. It may have fewer cells than the network; ValueError if it has more. A derived generator
        needs none. labels (N,): the images' classes, for a conditional generator.
        """
        architecture = architecture or self.architecture
        if architecture.levels > len(self.cells):
            raise ValueError(
                f"an architecture of {architecture.levels} cells for a generator that has {len(self.cells)}"
            )
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(labels)], dim=1)
        h = self.linear(z).view(-1, self.gf_dim, self.bottom_width, self.bottom_width)
        features = []
        for cell, spec in zip(self.cells, architecture.cells):
            feature, h = cell(h, features, spec, labels, z)
            features.append(feature)
        norm, *layers = self.to_rgb
        h = normalise(norm, h, labels)
        for layer in layers:
            h = layer(h)
        return h


class Discriminator(nn.Module):
    """Residual discriminator. The first `halvings` blocks halve the resolution, the others keep it.

    At level 0 the first and the last block run. Each further level adds one block between them. The authors'
    has two halvings, whatever the resolution. outputs: how many the loss needs. deeper: further blocks before
    the last one, at every level.

    If there are classes, it is a projection discriminator (Miyato and Koyama, ICLR 2018): the image's feature
    times a vector of its class is added to the logits. Further heads, where `conditioning` asks for them,
    read the same feature.
    """

    def __init__(self, levels=3, df_dim=128, *, halvings=2, outputs=1, deeper=0, conditioning=NONE):
        super().__init__()
        growing = [FirstDiscriminatorBlock(3, df_dim)]
        growing += [DiscriminatorBlock(df_dim, downsample=level < halvings) for level in range(1, levels)]
        self.growing = nn.ModuleList(growing)
        self.deeper = nn.ModuleList(DiscriminatorBlock(df_dim) for _ in range(deeper))
        self.last = DiscriminatorBlock(df_dim)
        self.linear = nn.Linear(df_dim, outputs, bias=False)
        self.outputs, self.num_classes = outputs, conditioning.num_classes
        # A linear layer instead of an embedding: its rows are the classes' vectors, under one spectral norm.
        self.projection = None
        if self.num_classes:
            self.projection = nn.Linear(df_dim, self.num_classes * outputs, bias=False)
        self.class_head = nn.Linear(df_dim, self.num_classes) if conditioning.class_head else None
        self.rotation_head = nn.Linear(df_dim, 4) if conditioning.rotation_head else None

    def forward(self, images, level=None, labels=None):
        """(N, 3, R, R) -> logits (N, outputs), by the blocks of `level` (0-based); None: by all blocks.

        labels (N,): the images' classes, for a conditional discriminator.
        """
        heads = [self.projection] if self.num_classes else []
        with joint_weights(self._blocks(level), self.deeper, self.last, self.linear, *heads):
            return self.logits(images, level, labels)

    def logits(self, images, level=None, labels=None):
        """`forward` without updating the spectral norms. It changes nothing, so it can be compiled."""
        h = self._feature(images, level)
        if self.projection is None:
            return self.linear(h)
        of_classes = self.projection(h).unflatten(1, (self.num_classes, self.outputs))
        return self.linear(h) + of_classes[torch.arange(len(h), device=h.device), labels]

    def classify(self, images, level=None):
        """(N, 3, R, R) -> logits (N, classes) of the class head, by the blocks of `level`."""
        return self._by_head(self.class_head, images, level)

    def find_rotation(self, images, level=None):
        """(N, 3, R, R) -> logits (N, 4) of the rotation head: by how many quarter turns."""
        return self._by_head(self.rotation_head, images, level)

    def _by_head(self, head, images, level):
        with joint_weights(self._blocks(level), self.deeper, self.last, head):
            return head(self._feature(images, level))

    def _feature(self, images, level):
        h = images
        for block in (*self._blocks(level), *self.deeper):
            h = block(h)
        return F.relu(self.last(h)).sum(dim=(2, 3))

    def _blocks(self, level):
        return self.growing if level is None else self.growing[: level + 1]
