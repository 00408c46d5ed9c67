"""The sliced Wasserstein distance against NumPy and scipy, from the definition in the ProgGAN paper."""

import numpy as np
import pytest
import torch

from utils.metrics.evaluate import evaluate
from utils.metrics.scores import Scores
from utils.metrics.sliced_wasserstein import _pyramid_level, sliced_wasserstein_distance

ndimage = pytest.importorskip("scipy.ndimage")

BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def random_images(count, size, seed, contrast=1.0):
    """Coarse random blocks plus noise: every level of the pyramid has something to show."""
    random = np.random.RandomState(seed)
    coarse = np.kron(random.uniform(0, 255, (count, 3, size // 8, size // 8)), np.ones((8, 8)))
    images = 127 + contrast * (coarse - 127) / 2 + random.uniform(-60, 60, (count, 3, size, size))
    return torch.from_numpy(images.clip(0, 255).astype(np.uint8))


def blur(images):
    return ndimage.convolve(images, BINOMIAL[None, None], mode="mirror")


def laplacian_pyramid(images, num_levels):
    levels = [images.numpy().astype(np.float64)]
    for _ in range(1, num_levels):
        smaller = blur(levels[-1])[:, :, ::2, ::2]
        larger = np.zeros_like(levels[-1])
        larger[:, :, ::2, ::2] = smaller
        levels[-1] = levels[-1] - blur(4 * larger)
        levels.append(smaller)
    return levels


def reference(fake, real, seed):
    """The definition, patch by patch. Each level draws places of fake and real patches, then directions."""
    size = fake.shape[-1]
    resolutions = [size >> level for level in range(10) if size >> level >= 16]
    generator = torch.Generator().manual_seed(seed)
    distances = {}
    for level, resolution in enumerate(resolutions):
        sets = []
        for images in (fake, real):
            pixels = laplacian_pyramid(images, len(resolutions))[level]
            count = (128 * len(images),)
            top = torch.randint(0, resolution - 6, count, generator=generator).tolist()
            left = torch.randint(0, resolution - 6, count, generator=generator).tolist()
            places = enumerate(zip(top, left, strict=True))
            patches = np.stack([pixels[i // 128, :, y : y + 7, x : x + 7] for i, (y, x) in places])
            mean = patches.mean((0, 2, 3), keepdims=True)
            patches = (patches - mean) / patches.std((0, 2, 3), keepdims=True)
            sets.append(patches.reshape(len(patches), -1))
        directions = torch.randn(512, 147, generator=generator, dtype=torch.float64).numpy()
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        first, second = (np.sort(patches @ directions.T, axis=0) for patches in sets)
        distances[resolution] = 1000 * np.abs(first - second).mean()
    return distances


def test_pyramid_levels_equal_scipys_mirrored_convolutions():
    images = random_images(3, 64, seed=0)
    for level, expected in enumerate(laplacian_pyramid(images, 3)):
        np.testing.assert_allclose(_pyramid_level(images, level, 3).numpy(), expected, atol=1e-3)


def test_distance_equals_an_independent_reference():
    fake, real = random_images(6, 32, seed=1, contrast=0.3), random_images(6, 32, seed=2)
    found, expected = sliced_wasserstein_distance(fake, real, seed=3), reference(fake, real, seed=3)
    assert list(found) == [32, 16]
    assert found == pytest.approx(expected, rel=1e-4)


def test_distance_is_smaller_between_images_of_one_kind_than_between_others():
    one, same = random_images(100, 16, seed=1), random_images(100, 16, seed=2)
    other = random_images(100, 16, seed=3, contrast=0)
    assert 2 * sliced_wasserstein_distance(one, same)[16] < sliced_wasserstein_distance(one, other)[16]


def test_small_images_are_compared_at_their_own_resolution():
    assert list(sliced_wasserstein_distance(random_images(4, 8, seed=1), random_images(4, 8, seed=2))) == [8]


def test_equal_numbers_of_images_are_compared():
    fake, real = random_images(8, 16, seed=1), random_images(5, 16, seed=2)
    assert sliced_wasserstein_distance(fake, real) == sliced_wasserstein_distance(fake[:5], real)


def test_images_of_two_sizes_or_too_small_are_refused():
    with pytest.raises(ValueError, match="one size"):
        sliced_wasserstein_distance(random_images(4, 16, seed=1), random_images(4, 32, seed=1))
    with pytest.raises(ValueError, match="7 pixels"):
        sliced_wasserstein_distance(*torch.zeros(2, 1, 3, 6, 6, dtype=torch.uint8))


class StoredImages:
    """The part of ResizedImages that `evaluate` uses."""

    def __init__(self, tensor):
        self.tensor, self.num_images, self.resolution = tensor, len(tensor), tensor.shape[-1]
        self.name, self.split = "blocks", "train"

    def sha256(self):
        return "hash"

    def batches(self, order, batch_size):
        return (self.tensor[rows] for rows in order.split(batch_size))


def test_evaluate_needs_no_feature_network_for_it_and_states_its_sample():
    fake, real = random_images(12, 16, seed=1), random_images(10, 16, seed=2)
    batches = iter(fake.split(5))
    scores = evaluate(
        lambda count: next(batches), 12, None, real_images=StoredImages(real), metrics=("swd",), batch_size=5
    )
    assert isinstance(scores, Scores) and scores.is_mean is None and scores.feature_net is None
    assert (scores.swd_images, scores.num_real, scores.data_sha256) == (10, 10, "hash")
    assert scores.swd == scores.swd_levels[16] and scores.text() == f"SWD {scores.swd:.2f}"


def test_evaluate_refuses_images_of_another_size():
    real = StoredImages(random_images(4, 16, seed=2))
    with pytest.raises(ValueError, match="16 pixels"):
        evaluate(lambda count: random_images(count, 32, seed=1), 4, None, real_images=real, metrics=("swd",))
