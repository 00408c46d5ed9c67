"""The architecture of a growing GAN as data: frozen, hashable, one text form. No torch.

It lists the convolutions of both networks at every resolution, from 4x4 up:
`4: G 3x512 D 3x512 | 8: G 3x512 3x512 D 3x512 3x512`.
"""

import re
from dataclasses import dataclass

from models.errors import ArchitectureError

FIRST_RESOLUTION = 4
LARGEST_KERNEL, MOST_FILTERS = 99, 999_999
MOST_RESOLUTIONS, MOST_CONVS = 20, 1000  # of a network


@dataclass(frozen=True)
class Conv:
    """A convolution that keeps the resolution, with an odd kernel. Text: `3x128`.

    `filters` counts the feature maps on its side towards the image: those that a generator's convolution
    makes, and those that a discriminator's reads.
    """

    kernel: int
    filters: int

    def __post_init__(self):
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ArchitectureError(f"a convolution's kernel is 1, 3, 5, 7, ..., not {self.kernel}")
        if self.filters < 1:
            raise ArchitectureError(f"a convolution has 1 filter or more, not {self.filters}")
        if self.kernel > LARGEST_KERNEL or self.filters > MOST_FILTERS:
            most = f"a kernel up to {LARGEST_KERNEL} and up to {MOST_FILTERS} filters"
            raise ArchitectureError(f"a convolution has {most}, not {self}")

    @classmethod
    def parse(cls, text):
        """From `3x128`. Raises ArchitectureError for any other text."""
        match = re.fullmatch(r"(\d{1,2})x(\d{1,6})", text, re.ASCII)
        if not match:
            raise ArchitectureError(f"'{text}' is no convolution; an example is 3x128 (kernel x filters)")
        return cls(int(match[1]), int(match[2]))

    def __str__(self):
        return f"{self.kernel}x{self.filters}"


@dataclass(frozen=True)
class GrowingArchitecture:
    """The convolutions of both networks: one tuple for each resolution 4, 8, 16, ...

    Within a resolution they run from the deep end (the latent, the score) to the image. Layers that follow
    from these are not listed: the generator's first layer and the discriminator's last two, which are dense
    and as wide as the first 4x4 convolution, and the 1x1 convolutions to and from RGB.
    """

    family = "growing"
    generator: tuple[tuple[Conv, ...], ...]
    discriminator: tuple[tuple[Conv, ...], ...]

    def __post_init__(self):
        if not self.generator or len(self.generator) != len(self.discriminator):
            raise ArchitectureError("generator and discriminator have the same resolutions, one at least")
        if not all(self.generator + self.discriminator):
            raise ArchitectureError("each network has a convolution or more at each resolution")
        if len(self.generator) > MOST_RESOLUTIONS:
            count = len(self.generator)
            raise ArchitectureError(f"a network has at most {MOST_RESOLUTIONS} resolutions, not {count}")
        count = max(sum(map(len, blocks)) for blocks in (self.generator, self.discriminator))
        if count > MOST_CONVS:
            raise ArchitectureError(f"a network has at most {MOST_CONVS} convolutions, not {count}")

    @property
    def resolution(self):
        """Width and height of the image in pixels."""
        return FIRST_RESOLUTION << (len(self.generator) - 1)

    @classmethod
    def parse(cls, text):
        """From the text form. Raises ArchitectureError for any other text."""
        generator, discriminator = [], []
        for index, part in enumerate(text.split("|")[: MOST_RESOLUTIONS + 1]):
            match = re.fullmatch(r"\s*(\d{1,9})\s*:\s*G\s+(.+?)\s+D\s+(.+?)\s*", part, re.ASCII)
            if not match:
                raise ArchitectureError(
                    f"'{part.strip()}' is no resolution; an example is '8: G 3x128 3x128 D 3x128 3x128'"
                )
            if int(match[1]) != FIRST_RESOLUTION << index:
                raise ArchitectureError(
                    f"resolutions are 4, 8, 16, ...: {FIRST_RESOLUTION << index} is due, not {match[1]}"
                )
            generator.append(tuple(Conv.parse(conv) for conv in match[2].split()))
            discriminator.append(tuple(Conv.parse(conv) for conv in match[3].split()))
        return cls(tuple(generator), tuple(discriminator))

    def __str__(self):
        return " | ".join(
            f"{FIRST_RESOLUTION << index}: G {' '.join(map(str, ours))} D {' '.join(map(str, theirs))}"
            for index, (ours, theirs) in enumerate(zip(self.generator, self.discriminator))
        )


def filters_at(resolution, width=512):
    """ProgGAN's number of filters at a resolution, min(8192 / 2^stage, 512).

    `width` takes the place of 512, and 8192 scales with it.
    """
    return max(1, min(width, 32 * width // resolution))


def doubled(architecture):
    """The architecture with one more resolution: ProgGAN's two 3x3 convolutions in each network.

    Each network's new width follows from its first 4x4 convolution by `filters_at`.
    """

    def grown(blocks):
        return blocks + ((Conv(3, filters_at(2 * architecture.resolution, blocks[0][0].filters)),) * 2,)

    return GrowingArchitecture(grown(architecture.generator), grown(architecture.discriminator))


def proggan_architecture(resolution, width=512):
    """ProgGAN's networks at `resolution` pixels. Those of 8 pixels are also where DGGAN starts.

    Raises ArchitectureError unless the resolution is 4, 8, 16, ...
    """
    if resolution < FIRST_RESOLUTION or resolution & (resolution - 1):
        raise ArchitectureError(f"a resolution is 4, 8, 16, ..., not {resolution}")
    architecture = GrowingArchitecture(((Conv(3, width),),), ((Conv(3, width),),))
    while architecture.resolution < resolution:
        architecture = doubled(architecture)
    return architecture
