"""Sliced Wasserstein distance of two sets of images (ProgGAN, Karras et al. 2018, section 5).

From each level of the images' Laplacian pyramid, 128 patches of 7x7 pixels per image are taken at random
places and normalised by the mean and standard deviation of each colour. The distance is the mean absolute
difference of the sorted projections on 4 x 128 random directions, times 1000. The levels go from the images'
resolution down to 16 pixels.
"""

import numpy as np
import torch
import torch.nn.functional as F

from utils.precision import multiplying

IMAGE_SAMPLE = 16_384  # the paper's number of images
PATCHES_PER_IMAGE = 128
PATCH_SIZE = 7
SMALLEST_LEVEL = 16
DIRECTIONS = 512
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
CHUNK_IMAGES = 256
CHUNK_DIRECTIONS = 16


def sliced_wasserstein_distance(fake_images, real_images, seed=0):
    """uint8 images (N, 3, R, R), (M, 3, R, R) -> {resolution: distance x 1000}, finest level first.

    Both sets are on one device. The first min(N, M) images of each are compared. The paper has no level below
    16 pixels; smaller images are compared at their own resolution. Places and directions depend only on
    `seed`. Takes about 300 kB of memory for each pair of images. ValueError if the sets differ in R, or if R
    < 7.
    """
    if fake_images.shape[1:] != real_images.shape[1:]:
        raise ValueError(
            f"images of one size are needed, got {tuple(fake_images.shape)} and {tuple(real_images.shape)}"
        )
    if min(fake_images.shape[2:]) < PATCH_SIZE:
        raise ValueError(f"images of {PATCH_SIZE} pixels or more are needed, got {tuple(fake_images.shape)}")
    num_images = min(len(fake_images), len(real_images))
    resolution, num_levels = fake_images.shape[-1], 1
    while resolution >> num_levels >= SMALLEST_LEVEL:
        num_levels += 1
    generator = torch.Generator().manual_seed(seed)
    distances = {}
    for level in range(num_levels):
        fake = _patches(fake_images[:num_images], level, num_levels, generator)
        real = _patches(real_images[:num_images], level, num_levels, generator)
        directions = torch.randn(DIRECTIONS, fake.shape[1], generator=generator, dtype=torch.float64)
        directions = (directions / directions.norm(dim=1, keepdim=True)).float().to(fake.device)
        with multiplying("float32", fake.device):
            distances[resolution >> level] = 1000 * _mean_distance(fake, real, directions)
    return distances


def _mean_distance(fake, real, directions):
    """Mean 1-d Wasserstein distance of the projections. fake, real: (P, V), directions: (K, V)."""
    total = 0.0
    for chunk in directions.split(CHUNK_DIRECTIONS):
        difference = _sorted_projections(fake, chunk) - _sorted_projections(real, chunk)
        total += difference.abs().sum(dtype=torch.float64).item()
    return total / (len(directions) * len(fake))


def _sorted_projections(patches, directions):
    """Projections of patches (P, V) on directions (K, V): (K, P), each row sorted."""
    projections = directions @ patches.T
    if projections.device.type == "cpu":
        return torch.from_numpy(np.sort(projections.numpy(), axis=1))  # several times torch.sort's speed
    return projections.sort(dim=1).values


def _patches(images, level, num_levels, generator):
    """Normalised patches (N * 128, 3 * 7 * 7), float32, of one level of uint8 images (N, 3, R, R)."""
    chunks = images.split(CHUNK_IMAGES)
    parts = [_random_patches(_pyramid_level(part, level, num_levels), generator) for part in chunks]
    patches = torch.cat(parts)  # (N * 128, 3, 49)
    deviation, mean = torch.std_mean(patches, dim=(0, 2), correction=0)
    patches -= mean[:, None]
    patches /= deviation.clamp(min=1e-12)[:, None]
    return patches.flatten(1)


def _random_patches(images, generator):
    """128 patches of each image (N, 3, R, R) at random places, as (N * 128, 3, 49)."""
    count, _, height, width = images.shape
    size = (count * PATCHES_PER_IMAGE, 1, 1)
    top = torch.randint(0, height - PATCH_SIZE + 1, size, generator=generator)
    left = torch.randint(0, width - PATCH_SIZE + 1, size, generator=generator)
    image = torch.arange(count).repeat_interleave(PATCHES_PER_IMAGE)[:, None, None]
    inside = torch.arange(PATCH_SIZE)
    offset = (inside[:, None] * width + inside).flatten()  # (49,)
    channel = torch.arange(3)[:, None]
    index = ((image * 3 + channel) * height + top) * width + left + offset  # (N * 128, 3, 49)
    return images.flatten()[index.to(images.device)]


def _pyramid_level(images, level, num_levels):
    """One level of the Laplacian pyramid of uint8 images.

    It is what blurring removes; at the last level, what is left.
    """
    images = images.float()
    for _ in range(level):
        images = _half(images)
    if level == num_levels - 1:
        return images
    height, width = images.shape[2:]
    return images - _double(_half(images))[..., :height, :width]


def _half(images):
    return _blur(images)[:, :, ::2, ::2]


def _double(images):
    count, channels, height, width = images.shape
    spread = images.new_zeros((count, channels, 2 * height, 2 * width))
    spread[:, :, ::2, ::2] = 4 * images
    return _blur(spread)


def _blur(images):
    """The 5x5 binomial filter with mirrored borders, as OpenCV's pyrDown.

    Written as sums of slices, because a GPU may compute a convolution in TF32.
    """
    height, width = images.shape[2:]
    rows = F.pad(images, (0, 0, 2, 2), mode="reflect")
    rows = sum(weight * rows[:, :, i : i + height] for i, weight in enumerate(BINOMIAL))
    columns = F.pad(rows, (2, 2, 0, 0), mode="reflect")
    return sum(weight * columns[..., i : i + width] for i, weight in enumerate(BINOMIAL))
