"""The scores as pure maths on features: IS, FID (Frechet distance), KID, precision and recall."""

import numpy as np
import torch

from utils.metrics.sums import FeatureSums


def inception_score(logits, splits=10):
    """logits (N, C) -> mean and standard deviation of the Inception score over the splits.

    The score of a split is exp(mean KL(p(y|x) || p(y))), in float64. As in the authors' code, split i is the
    rows i * N // splits to (i + 1) * N // splits - 1. ValueError if there are more splits than rows.
    """
    if not 1 <= splits <= len(logits):
        raise ValueError(f"{len(logits)} images cannot be split into {splits} parts")
    sums = FeatureSums(len(logits), 0, logits.shape[1], logits.device, splits=splits)
    sums.add(None, logits, 0)
    return sums.inception_score()


def frechet_distance(mu1, sigma1, mu2, sigma2):
    """Squared Frechet distance of two Gaussians.

    |mu1 - mu2|^2 + tr(sigma1) + tr(sigma2) - 2 tr((sigma1 sigma2)^(1/2)), computed in float64 on the CPU.
    mu (D,), sigma (D, D): arrays, or tensors on any device. Covariances may be singular (fewer images than
    dimensions). ValueError if shapes do not fit or a value is not finite.
    """
    statistics = [torch.as_tensor(value).cpu().double() for value in (mu1, sigma1, mu2, sigma2)]
    mu1, sigma1, mu2, sigma2 = statistics
    if mu1.dim() != 1 or mu1.shape != mu2.shape or not sigma1.shape == sigma2.shape == (len(mu1), len(mu1)):
        raise ValueError(f"statistics of shapes {[tuple(value.shape) for value in statistics]} do not fit")
    if not all(torch.isfinite(value).all() for value in statistics):
        raise ValueError("the statistics hold values that are not finite")
    # If root root^T = sigma1, root^T sigma2 root has the eigenvalues of sigma1 sigma2, except for zeros.
    # The square root would magnify the zeros' rounding errors, so take the root with fewer columns.
    root1, root2 = _covariance_root(sigma1), _covariance_root(sigma2)
    product = root1.T @ sigma2 @ root1 if root1.shape[1] <= root2.shape[1] else root2.T @ sigma1 @ root2
    root_trace = torch.linalg.eigvalsh(product).clamp(min=0).sqrt().sum()
    distance = ((mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * root_trace).item()
    return max(0.0, distance)  # equal statistics may give -1e-12


def _covariance_root(sigma):
    """Covariance (D, D) -> (D, r) with root root^T = sigma, where r is the rank."""
    root, failed = torch.linalg.cholesky_ex(sigma)
    if failed:
        values, vectors = torch.linalg.eigh(sigma)
        nonzero = values > len(values) * torch.finfo(values.dtype).eps * values[-1]
        root = vectors[:, nonzero] * values[nonzero].sqrt()
    return root


def kernel_inception_distance(fake, real, subsets=100, subset_size=1000, seed=0):
    """Features (N, D), (M, D) -> mean and standard deviation of the KID over random subsets.

    The KID (Binkowski et al. 2018) is the unbiased squared MMD with the kernel (x.y / D + 1)^3, in float64. A
    subset has min(subset_size, N, M) rows. The subsets depend only on `seed` and are the same as
    torch-fidelity's.
    """
    size = min(subset_size, len(fake), len(real))
    if size < 2:
        raise ValueError("KID needs two images of each kind at least")
    fake, real = _float64(fake), _float64(real)
    random = np.random.RandomState(seed)
    distances = []
    for _ in range(subsets):
        x, y = _random_rows(fake, size, random), _random_rows(real, size, random)
        distances.append(_kernel_mean(x) + _kernel_mean(y) - 2 * _kernel(x, y).mean())
    distances = torch.stack(distances)
    return distances.mean().item(), distances.std(correction=0).item()


def _random_rows(features, size, random):
    rows = torch.from_numpy(random.choice(len(features), size, replace=False))
    return features[rows.to(features.device)]


def _kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def _kernel_mean(x, block=250):
    """Mean of the kernel over all pairs of different rows.

    Only blocks on and above the diagonal are computed.
    """
    total = 0.0
    for start in range(0, len(x), block):
        kernel = _kernel(x[start : start + block], x[start:])
        total = total + 2 * kernel.sum() - kernel[:, :block].sum() - kernel.trace()
    return total / (len(x) * (len(x) - 1))


def precision_recall(fake, real, neighbours=3):
    """Features (N, D), (M, D) -> improved precision and recall (Kynkaanniemi et al. 2019).

    Each image has a ball that reaches to its `neighbours`-th nearest image of the same set. Precision is the
    share of generated images that lie in the ball of a real image, recall the share of real images that lie
    in the ball of a generated one. ValueError if a set has at most `neighbours` images.
    """
    if min(len(fake), len(real)) <= neighbours:
        raise ValueError(f"precision and recall need more than {neighbours} images of each kind")
    fake, real = _float64(fake), _float64(real)
    fake_radii, real_radii = _squared_radii(fake, neighbours), _squared_radii(real, neighbours)
    precise, recalled = [], torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for rows, radii in zip(fake.split(1000), fake_radii.split(1000), strict=True):
        distances = _squared_distances(rows, real)
        precise.append((distances <= real_radii).any(1))
        recalled = recalled | (distances <= radii[:, None]).any(0)
    return torch.cat(precise).double().mean().item(), recalled.double().mean().item()


def _squared_radii(features, neighbours):
    """Squared distance of each row to its `neighbours`-th nearest other row, plus a little slack.

    Equal rows, such as a collapsed generator makes, have distance 0 up to rounding. The slack keeps rounding
    from deciding which of them lie in a ball.
    """
    slack = 1e-12 * features.square().sum(1).max()
    distances = (_squared_distances(rows, features) for rows in features.split(1000))
    return torch.cat([block.topk(neighbours + 1, largest=False).values[:, -1] for block in distances]) + slack


def _squared_distances(x, y):
    """Squared Euclidean distances (n, m) of rows."""
    return torch.addmm(x.square().sum(1)[:, None] + y.square().sum(1), x, y.T, alpha=-2)


def _float64(features):
    return torch.as_tensor(features).double()
