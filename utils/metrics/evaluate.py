"""How good generated images are: Inception score, Frechet distance, KID, precision and recall, sliced Wasserstein distance.

Pure maths on features first, then `evaluate`, which scores a callable in one pass. Two folders of images are scored by

    python -m utils.metrics --real DIR --fake DIR --inception_path classify_image_graph_def.pb --json
"""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from tqdm import tqdm

from utils.cli import Ending
from utils.metrics.sums import FEATURE_SAMPLE, FeatureSums, RowSample, sample_indices
from utils.images import all_finite, to_uint8
from utils.inception.feature_net import relative_difference
from utils.metrics.sliced_wasserstein import IMAGE_SAMPLE, sliced_wasserstein_distance

METRICS = ("is", "fid", "kid", "precision_recall", "swd")
LARGEST_DIFFERENCE = 1e-4  # relative, between two backends of one network


class NonFiniteImages(Ending):
    """The images to be scored hold NaN or infinity, which the cast to uint8 would turn into black or white pixels."""

    exit_code = 3


class BackendsDiffer(Ending):
    """Two backends of one network disagree by more than rounding explains."""


# Pure maths


def inception_score(logits, splits=10):
    """logits (N, C) -> (mean, standard deviation) over the splits of exp(mean KL(p(y|x) || p(y))), in float64.

    As in the authors' code, part i is the rows i * N // splits to (i + 1) * N // splits - 1, in the order given.
    """
    if not 1 <= splits <= len(logits):
        raise ValueError(f"{len(logits)} images cannot be split into {splits} parts")
    sums = FeatureSums(len(logits), 0, logits.shape[1], logits.device, splits=splits)
    sums.add(None, logits, 0)
    return sums.inception_score()


def frechet_distance(mu1, sigma1, mu2, sigma2):
    """Squared Frechet distance of two Gaussians: |mu1 - mu2|^2 + tr(sigma1) + tr(sigma2) - 2 tr((sigma1 sigma2)^(1/2)).

    mu (D,), sigma (D, D) as arrays or tensors on any device; computed in float64 on the CPU. Singular covariances (fewer images
    than dimensions) are as good as others. ValueError if shapes do not fit or a value is not finite.
    """
    mu1, sigma1, mu2, sigma2 = (torch.as_tensor(value).cpu().double() for value in (mu1, sigma1, mu2, sigma2))
    if mu1.dim() != 1 or mu1.shape != mu2.shape or not sigma1.shape == sigma2.shape == (len(mu1), len(mu1)):
        raise ValueError(
            f"statistics of shapes {[tuple(value.shape) for value in (mu1, sigma1, mu2, sigma2)]} do not fit"
        )
    if not all(torch.isfinite(value).all() for value in (mu1, sigma1, mu2, sigma2)):
        raise ValueError("the statistics hold values that are not finite")
    # With root root^T = sigma1 the eigenvalues of root^T sigma2 root are those of sigma1 sigma2, but for zeros; the root with
    # fewer columns leaves fewer zeros, whose rounding errors the square root would magnify.
    root1, root2 = _covariance_root(sigma1), _covariance_root(sigma2)
    product = root1.T @ sigma2 @ root1 if root1.shape[1] <= root2.shape[1] else root2.T @ sigma1 @ root2
    root_trace = torch.linalg.eigvalsh(product).clamp(min=0).sqrt().sum()
    return ((mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * root_trace).item()


def _covariance_root(sigma):
    """Covariance (D, D) -> (D, r) with root root^T = sigma: r = D if it has full rank, else r is the rank."""
    root, failed = torch.linalg.cholesky_ex(sigma)
    if failed:
        values, vectors = torch.linalg.eigh(sigma)
        nonzero = values > len(values) * torch.finfo(values.dtype).eps * values[-1]
        root = vectors[:, nonzero] * values[nonzero].sqrt()
    return root


def kernel_inception_distance(fake, real, subsets=100, subset_size=1000, seed=0):
    """Features (N, D), (M, D) -> mean and standard deviation over random subsets of the unbiased squared MMD (Binkowski 2018).

    Kernel (x.y / D + 1)^3, in float64. The subsets have min(subset_size, N, M) rows, are drawn from `seed` alone and are those of
    torch-fidelity.
    """
    size = min(subset_size, len(fake), len(real))
    if size < 2:
        raise ValueError("KID needs two images of each kind at least")
    fake, real = _float64(fake), _float64(real)
    random = np.random.RandomState(seed)
    distances = []
    for _ in range(subsets):
        x, y = (
            features[torch.from_numpy(random.choice(len(features), size, replace=False)).to(features.device)]
            for features in (fake, real)
        )
        distances.append(_kernel_mean(x) + _kernel_mean(y) - 2 * _kernel(x, y).mean())
    distances = torch.stack(distances)
    return distances.mean().item(), distances.std(correction=0).item()


def _kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def _kernel_mean(x, block=250):
    """Mean kernel of all pairs of different rows. Blocks below the diagonal mirror those above and are not computed."""
    total = 0.0
    for start in range(0, len(x), block):
        kernel = _kernel(x[start : start + block], x[start:])
        total = total + 2 * kernel.sum() - kernel[:, :block].sum() - kernel.trace()
    return total / (len(x) * (len(x) - 1))


def precision_recall(fake, real, neighbours=3):
    """Features (N, D), (M, D) -> improved precision and recall (Kynkaanniemi et al. 2019).

    Precision is the share of fakes inside the ball of some real image, which reaches to its `neighbours`-th nearest real image;
    recall the share of real images inside the ball of some fake.
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
    """Squared distance of each row to its `neighbours`-th nearest other row, and a little more: among equal rows, as a collapsed
    generator makes them, distances are 0 but for rounding, which must not decide what is inside."""
    slack = 1e-12 * features.square().sum(1).max()
    distances = (_squared_distances(rows, features) for rows in features.split(1000))
    return torch.cat([block.topk(neighbours + 1, largest=False).values[:, -1] for block in distances]) + slack


def _squared_distances(x, y):
    """Squared Euclidean distances (n, m) of rows."""
    return torch.addmm(x.square().sum(1)[:, None] + y.square().sum(1), x, y.T, alpha=-2)


def _float64(features):
    return torch.as_tensor(features).double()


# Scoring a generator


def figure_name(name, feature_net):
    """How a score is printed: scores of any network but Inception are on a scale of their own and carry the network's name."""
    return name if feature_net == "inception" else f"{feature_net} {name}"


@dataclass(frozen=True)
class Scores:
    """Scores and the protocol they were made by. A score that was not asked for, or could not be had, is None."""

    feature_net: str | None
    backend: str | None
    weights_sha256: str | None
    num_fake: int
    seed: int | None = None  # of the generated images, as told by the caller
    rounding: str = "truncated to uint8"
    is_mean: float | None = None
    is_std: float | None = None
    splits: int | None = None
    fid: float | None = None
    kid_mean: float | None = None
    kid_std: float | None = None
    precision: float | None = None
    recall: float | None = None
    feature_sample_fake: int | None = None  # images behind KID, precision and recall
    feature_sample_real: int | None = None
    swd: float | None = None  # mean of swd_levels
    swd_levels: dict | None = None  # {resolution: distance x 1000}
    swd_images: int | None = None
    num_real: int | None = None
    data: str | None = None
    split: str | None = None
    resolution: int | None = None
    data_sha256: str | None = None

    def as_dict(self):
        """Everything, for JSON."""
        return asdict(self)

    def text(self):
        """One short line: "IS 8.55 +- 0.10, FID 12.42"; see figure_name."""
        prefix = figure_name("", self.feature_net)
        parts = []
        if self.is_mean is not None:
            parts.append(f"{prefix}IS {self.is_mean:.2f} +- {self.is_std:.2f}")
        if self.fid is not None:
            parts.append(f"{prefix}FID {self.fid:.2f}")
        if self.kid_mean is not None:
            parts.append(f"{prefix}KID {self.kid_mean:.5f} +- {self.kid_std:.5f}")
        if self.precision is not None:
            parts.append(f"{prefix}precision {self.precision:.3f}, {prefix}recall {self.recall:.3f}")
        if self.swd is not None:
            parts.append(f"SWD {self.swd:.2f}")
        return ", ".join(parts)


@torch.inference_mode()
def evaluate(
    sample,
    num_images,
    feature_net,
    *,
    real=None,
    real_images=None,
    batch_size=100,
    splits=10,
    metrics=("is", "fid"),
    seed=None,
    share=(0, 1),
    progress=None,
):
    """Score `num_images` images of a generator in one pass over them.

    sample: sample(n) -> n images (n, 3, H, W), float in [-1, 1] (truncated to uint8 here, as the authors do) or uint8.
    feature_net: a FeatureNet, or None if only "swd" is asked. metrics: some of METRICS.
    real: RealStatistics for "fid", and with a sample for "kid" and "precision_recall"; without them these scores are None.
    real_images: ResizedImages for "swd", of the same resolution. seed: recorded only.
    share: (index, count) of this process in a `torch.distributed` run: it makes the images index * num_images // count
    to (index + 1) * num_images // count - 1, and all processes return the same scores.
    Memory does not grow with num_images; scores do not depend on batch_size or count beyond float64 rounding. No random number is
    drawn from the global state, and the module behind `sample` is not touched.
    Raises NonFiniteImages: such images never get a score.
    """
    scoring = _Scoring(num_images, feature_net, real, real_images, splits, metrics)
    _one_pass(sample, num_images, scoring.add, batch_size, share, progress)
    return scoring.scores(seed, share)


@torch.inference_mode()
def evaluate_both(
    sample,
    num_images,
    feature_nets,
    *,
    reals=(None, None),
    real_images=None,
    batch_size=100,
    splits=10,
    metrics=("is", "fid"),
    seed=None,
    progress=None,
):
    """Score the same images by two backends of one network.

    reals: the RealStatistics for each; the rest as for `evaluate`. Returns (Scores, Scores, differences): the scores by the first
    (all of `metrics`) and by the second (IS and FID), and the largest relative difference of an image's "features" (see
    `utils.inception.feature_net.relative_difference`) and those of "is" and "fid", None where not scored. Raises BackendsDiffer above 1e-4.
    """
    scorings = [
        _Scoring(num_images, feature_nets[0], reals[0], real_images, splits, metrics),
        _Scoring(num_images, feature_nets[1], reals[1], None, min(splits, num_images), ("is", "fid")),
    ]
    features = []

    def use(images, start):
        first, second = (scoring.add(images, start) for scoring in scorings)
        features.append(relative_difference(first, second))

    _one_pass(sample, num_images, use, batch_size, (0, 1), progress)
    first, second = (scoring.scores(seed) for scoring in scorings)
    differences = {"features": max(features), "is": None, "fid": None}
    if first.is_mean is not None:
        differences["is"] = abs(first.is_mean / second.is_mean - 1)
    if first.fid is not None and second.fid is not None:
        differences["fid"] = abs(first.fid - second.fid) / max(
            second.fid, 1.0
        )  # near 0 nothing relative has a meaning
    if not all(value is None or value <= LARGEST_DIFFERENCE for value in differences.values()):
        stated = ", ".join(f"{name} {value:.1e}" for name, value in differences.items() if value is not None)
        backends = " and ".join(net.backend for net in feature_nets)
        raise BackendsDiffer(
            f"the backends {backends} differ by more than {LARGEST_DIFFERENCE:.0e}: {stated}"
        )
    return first, second, differences


def _one_pass(sample, num_images, use, batch_size, share, progress):
    """Call use(uint8 images, number of the first one) for this process's share of the images."""
    index, count = share
    first, last = index * num_images // count, (index + 1) * num_images // count
    if first == last:
        raise ValueError(f"{num_images} images are too few for {count} processes")
    finite = torch.ones(())
    with tqdm(
        total=last - first, desc=progress, unit="image", leave=False, disable=None if progress else True
    ) as bar:
        for number, start in enumerate(range(first, last, batch_size)):
            wanted = min(batch_size, last - start)
            images = sample(wanted)
            if images.dim() != 4 or images.shape[:2] != (wanted, 3):
                raise ValueError(
                    f"sample({wanted}) returned {tuple(images.shape)} instead of ({wanted}, 3, H, W)"
                )
            finite = finite.to(images.device)
            if images.is_floating_point():
                finite = torch.minimum(finite, all_finite(images).float())
                # Reading the flag waits for the device: rarely there, and for all processes only at the end, where they meet.
                if count == 1 and (images.device.type == "cpu" or number % 32 == 31):
                    _refuse_unless(finite)
                images = to_uint8(images)
            use(images, start)
            bar.update(wanted)
    if count > 1:
        torch.distributed.all_reduce(finite, op=torch.distributed.ReduceOp.MIN)
    _refuse_unless(finite)


def _refuse_unless(finite):
    if not finite:
        raise NonFiniteImages("the generated images hold NaN or infinity; they get no score")


class _Scoring:
    """What one feature network makes of the images of one pass."""

    def __init__(self, num_images, feature_net, real, real_images, splits, metrics):
        unknown = set(metrics) - set(METRICS)
        if unknown:
            raise ValueError(f"unknown metrics {sorted(unknown)}; there are {METRICS}")
        self.num_images, self.feature_net, self.real, self.real_images = (
            num_images,
            feature_net,
            real,
            real_images,
        )
        self.splits = splits if "is" in metrics else 0
        self.with_fid = "fid" in metrics and real is not None
        has_sample = real is not None and real.sample is not None
        self.with_kid, self.with_precision = (
            name in metrics and has_sample for name in ("kid", "precision_recall")
        )
        self.with_swd = "swd" in metrics and real_images is not None
        needs_network = self.splits or self.with_fid or self.with_kid or self.with_precision
        if not (needs_network or self.with_swd):
            raise ValueError(f"none of {metrics} can be had: real statistics or real images are missing")
        if num_images < max(self.splits, 4 if self.with_precision else 2):
            raise ValueError(f"{num_images} images are too few for {self.splits} splits and {metrics}")
        self.sums = self.images = None
        if needs_network:
            self._check_real()
            self.sums = FeatureSums(
                num_images,
                feature_net.feature_dim,
                feature_net.num_classes,
                feature_net.device,
                splits=self.splits,
                covariance=self.with_fid,
                sample_size=FEATURE_SAMPLE if self.with_kid or self.with_precision else 0,
            )
        if self.with_swd:
            self.images = RowSample(num_images, min(IMAGE_SAMPLE, real_images.num_images))

    def _check_real(self):
        net, real = self.feature_net, self.real
        if real is not None and (len(real.mu) != net.feature_dim or real.feature_net not in (None, net.name)):
            raise ValueError(
                f"real statistics of {real.feature_net} ({len(real.mu)} features) for the network {net.name} ({net.feature_dim} features)"
            )

    def add(self, images, start):
        """Add uint8 images (n, 3, H, W), the first being number `start`, and return their features (None without a network)."""
        features = None
        if self.with_swd:
            if images.shape[2:] != (self.real_images.resolution,) * 2:
                raise ValueError(
                    f"generated images {tuple(images.shape)}, real ones of {self.real_images.resolution} pixels"
                )
            self.images.add(images, start)
        if self.sums is not None:
            features, logits = self.feature_net(images)
            self.sums.add(features, logits, start)
        return features

    def scores(self, seed=None, share=(0, 1)):
        """The Scores once all images have been added, by all processes together."""
        if share[1] > 1:
            for kept in (self.sums, self.images):
                if kept is not None:
                    kept.all_reduce()
        found = {}
        real = self.real
        if self.splits:
            found["is_mean"], found["is_std"] = self.sums.inception_score()
            found["splits"] = self.splits
        if self.with_fid:
            found["fid"] = frechet_distance(*self.sums.mean_and_covariance(), real.mu, real.sigma)
        if self.with_kid or self.with_precision:
            features, real_features = (
                self.sums.sample.rows,
                torch.from_numpy(real.sample).to(self.feature_net.device),
            )
            found["feature_sample_fake"], found["feature_sample_real"] = len(features), len(real_features)
            if self.with_kid:
                found["kid_mean"], found["kid_std"] = kernel_inception_distance(features, real_features)
            if self.with_precision:
                found["precision"], found["recall"] = precision_recall(features, real_features)
        if self.with_swd:
            found |= self._sliced_wasserstein()
        net = self.feature_net if self.sums is not None else None
        return Scores(
            net and net.name,
            net and net.backend,
            net and net.weights_sha256,
            self.num_images,
            seed,
            **found,
            **self._provenance(),
        )

    def _sliced_wasserstein(self):
        fake = self.images.rows
        indices = torch.from_numpy(sample_indices(self.real_images.num_images, len(fake)))
        real = torch.cat([batch.to(fake.device) for batch in self.real_images.batches(indices, 100)])
        levels = sliced_wasserstein_distance(fake, real)
        return {"swd": sum(levels.values()) / len(levels), "swd_levels": levels, "swd_images": len(fake)}

    def _provenance(self):
        """What is known of the real images, from the statistics or from the images themselves."""
        if self.with_fid or self.with_kid or self.with_precision:
            real = self.real
            return {
                "num_real": real.num_images,
                "data": real.data,
                "split": real.split,
                "resolution": real.resolution,
                "data_sha256": real.data_sha256,
            }
        if self.with_swd:
            images = self.real_images
            return {
                "num_real": images.num_images,
                "data": images.name,
                "split": images.split,
                "resolution": images.resolution,
                "data_sha256": images.sha256(),
            }
        return {}
