"""Scores against independent references, and what `evaluate` promises its callers."""

import json

import numpy as np
import pytest
import torch

from utils.images import to_uint8
from utils.metrics.distances import (
    frechet_distance,
    inception_score,
    kernel_inception_distance,
    precision_recall,
)
from utils.metrics.evaluate import BackendsDiffer, NonFiniteImages, evaluate, evaluate_both
from utils.metrics.real_statistics import RealStatistics
from utils.metrics.scores import Scores
from utils.metrics.sums import FEATURE_SAMPLE, FeatureSums, RowSample

scipy_linalg = pytest.importorskip("scipy.linalg")


class LinearNet:
    """A feature network of one matrix, in float64 so that features do not depend on the batch size."""

    def __init__(self, feature_dim=12, num_classes=7, seed=0, name="linear"):
        self.name, self.backend, self.weights_sha256 = name, "torch", f"seed {seed}"
        self.feature_dim, self.num_classes, self.device = feature_dim, num_classes, torch.device("cpu")
        self.calls, self.seen = 0, []
        generator = torch.Generator().manual_seed(seed)
        self.weights = torch.randn(3 * 8 * 8, feature_dim, generator=generator, dtype=torch.float64) / 100
        self.classes = torch.randn(feature_dim, num_classes, generator=generator, dtype=torch.float64)

    def __call__(self, images):
        assert images.dtype == torch.uint8
        self.calls += 1
        self.seen.append(images.clone())
        features = (images.flatten(1).double() @ self.weights).relu()
        return features.float(), (features @ self.classes).float()


def random_features(count, dimensions, seed, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(
        dimensions, dimensions, generator=torch.Generator().manual_seed(99), dtype=torch.float64
    )
    return torch.randn(count, dimensions, generator=generator, dtype=torch.float64) @ mix / 3 + shift


def mean_and_covariance(features):
    return features.mean(0).numpy(), np.cov(features.numpy(), rowvar=False)


def random_images(count, seed=0):
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def reader(images):
    """A function sample(n) that returns the next n of the images."""
    position = 0

    def sample(count):
        nonlocal position
        position += count
        return images[position - count : position]

    return sample


def statistics_under(net, images, with_sample=True):
    features = net(to_uint8(images))[0].double()
    return RealStatistics(
        *mean_and_covariance(features),
        features.float().numpy() if with_sample else None,
        num_images=len(images),
    )


# Pure maths


def score_of_2019(logits, splits):
    """The authors' inception_score.py, lines 53 to 60, in float64."""
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    preds = exponentials / exponentials.sum(1, keepdims=True)
    scores = []
    for i in range(splits):
        part = preds[i * len(preds) // splits : (i + 1) * len(preds) // splits]
        divergence = part * (np.log(part) - np.log(part.mean(0, keepdims=True)))
        scores.append(np.exp(divergence.sum(1).mean()))
    return np.mean(scores), np.std(scores)


@pytest.mark.parametrize(("count", "splits"), [(100, 10), (97, 10), (10, 10), (50, 1)])
def test_inception_score_equals_the_2019_formula(count, splits):
    logits = 3 * random_features(count, 20, seed=1)
    assert inception_score(logits, splits) == pytest.approx(
        score_of_2019(logits.numpy(), splits), rel=1e-12, abs=1e-12
    )


def test_inception_score_is_1_for_equal_images_and_the_number_of_classes_for_certain_ones():
    assert inception_score(torch.ones(20, 5), 2) == pytest.approx((1, 0), abs=1e-12)
    certain = 1000.0 * torch.eye(5).repeat(4, 1)
    assert inception_score(certain, 2) == pytest.approx((5, 0), rel=1e-12)


def test_inception_score_refuses_fewer_images_than_splits():
    with pytest.raises(ValueError, match="3 images"):
        inception_score(torch.zeros(3, 5), 10)


def test_frechet_distance_equals_closed_form_on_diagonal_gaussians():
    random = np.random.RandomState(0)
    for dimensions in (1, 5, 300):
        mu1, mu2 = random.randn(2, dimensions)
        variances1, variances2 = random.exponential(size=(2, dimensions))
        expected = ((mu1 - mu2) ** 2).sum() + ((np.sqrt(variances1) - np.sqrt(variances2)) ** 2).sum()
        assert frechet_distance(mu1, np.diag(variances1), mu2, np.diag(variances2)) == pytest.approx(
            expected, rel=1e-10
        )


def test_frechet_distance_equals_scipys_matrix_square_root():
    mu1, sigma1 = mean_and_covariance(random_features(200, 40, seed=1))
    mu2, sigma2 = mean_and_covariance(random_features(150, 40, seed=2, shift=0.1))
    root = scipy_linalg.sqrtm(sigma1 @ sigma2).real
    expected = ((mu1 - mu2) ** 2).sum() + np.trace(sigma1 + sigma2 - 2 * root)
    # scipy takes the root of a product whose eigenvalues spread over nineteen decades: it is up to 1.3e-8 off.
    assert frechet_distance(mu1, sigma1, mu2, sigma2) == pytest.approx(expected, rel=1e-6)
    tensors = map(torch.from_numpy, (mu1, sigma1, mu2, sigma2))
    assert frechet_distance(*tensors) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("count", [10, 40, 41, 200])
def test_frechet_distance_is_symmetric_and_0_to_itself(count):
    first = mean_and_covariance(random_features(count, 40, seed=1))
    second = mean_and_covariance(random_features(60, 40, seed=2))
    scale = np.trace(first[1])
    assert frechet_distance(*first, *first) == pytest.approx(0, abs=1e-9 * scale)
    assert frechet_distance(*first, *second) == pytest.approx(frechet_distance(*second, *first), rel=1e-9)


def test_frechet_distance_of_singular_covariances_equals_closed_form():
    random = np.random.RandomState(0)
    rotation = np.linalg.qr(random.randn(100, 100))[0]
    variances1, variances2 = random.exponential(size=(2, 100))
    variances1[30:], variances2[:10], variances2[60:] = 0, 0, 0  # as from 31 and 51 images
    expected = ((np.sqrt(variances1) - np.sqrt(variances2)) ** 2).sum()
    sigma1, sigma2 = (rotation * variances1) @ rotation.T, (rotation * variances2) @ rotation.T
    assert frechet_distance(np.zeros(100), sigma1, np.zeros(100), sigma2) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_refuses_values_that_are_not_finite_and_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="not finite"):
        frechet_distance(np.zeros(2), np.full((2, 2), np.nan), np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match="do not fit"):
        frechet_distance(np.zeros(2), np.eye(2), np.zeros(3), np.eye(3))


def test_kid_equals_torch_fidelitys_on_the_same_features():
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    fake, real = random_features(300, 16, seed=1), random_features(400, 16, seed=2, shift=0.2)
    expected = kid.kid_features_to_metric(
        fake, real, kid_subsets=7, kid_subset_size=270, rng_seed=5, verbose=False
    )
    assert kernel_inception_distance(fake, real, subsets=7, subset_size=270, seed=5) == pytest.approx(
        (expected["kernel_inception_distance_mean"], expected["kernel_inception_distance_std"]), rel=1e-9
    )


def test_kid_is_the_mean_over_all_pairs_of_different_images():
    fake, real = random_features(5, 3, seed=1).numpy(), random_features(5, 3, seed=2).numpy()

    def mean(first, second, different):
        pairs = [(x, y) for i, x in enumerate(first) for j, y in enumerate(second) if not different or i != j]
        return np.mean([(x @ y / 3 + 1) ** 3 for x, y in pairs])

    expected = mean(fake, fake, True) + mean(real, real, True) - 2 * mean(fake, real, False)
    assert kernel_inception_distance(fake, real, subsets=2, subset_size=1000) == pytest.approx(
        (expected, 0), rel=1e-9, abs=1e-12
    )


def test_kid_takes_two_images_of_each_kind_and_no_fewer():
    two, five = random_features(2, 6, seed=0), random_features(5, 6, seed=1)
    mean, deviation = kernel_inception_distance(two, five, subsets=3)
    assert np.isfinite(mean) and deviation > 0
    for first, second in ((two[:1], five), (five, two[:1])):
        with pytest.raises(ValueError, match="two images"):
            kernel_inception_distance(first, second)


def test_precision_and_recall_equal_torch_fidelitys_on_the_same_features():
    prc = pytest.importorskip("torch_fidelity.metric_prc")
    fake, real = random_features(1100, 6, seed=1), random_features(1300, 6, seed=2, shift=0.3)
    expected = prc.prc_features_to_metric(fake, real, verbose=False)
    found = precision_recall(fake, real)
    assert 0.1 < found[0] < 0.99 and 0.1 < found[1] < 0.99
    assert found == pytest.approx((expected["precision"], expected["recall"]), abs=1e-6)


def test_precision_and_recall_of_a_set_with_itself_are_1_even_for_repeated_images():
    features = random_features(50, 600, seed=1, shift=100).float()
    assert precision_recall(features, features) == (1, 1)
    collapsed = features[:1].expand(40, -1)
    assert precision_recall(collapsed, collapsed.clone()) == (1, 1)
    assert precision_recall(collapsed, features) == (1, pytest.approx(1 / 50))


# Scoring a generator

ALL = ("is", "fid", "kid", "precision_recall")
FIGURES = ("is_mean", "is_std", "fid", "kid_mean", "kid_std", "precision", "recall")


def figures(scores):
    return [getattr(scores, name) for name in FIGURES]


def test_scores_are_those_of_the_formulas_on_all_features():
    net, fakes, reals = LinearNet(), random_images(83, seed=1), random_images(120, seed=2)
    real = statistics_under(net, reals)
    scores = evaluate(reader(fakes), 83, net, real=real, batch_size=10, splits=4, metrics=ALL)
    features, logits = net(to_uint8(fakes))
    assert (scores.is_mean, scores.is_std) == pytest.approx(
        score_of_2019(logits.double().numpy(), 4), rel=1e-12
    )
    assert scores.fid == pytest.approx(
        frechet_distance(*mean_and_covariance(features.double()), real.mu, real.sigma), rel=1e-9
    )
    assert (scores.kid_mean, scores.kid_std) == kernel_inception_distance(features, real.sample)
    assert (scores.precision, scores.recall) == precision_recall(features, real.sample)
    assert (scores.num_fake, scores.num_real) == (83, 120)
    assert (scores.feature_sample_fake, scores.feature_sample_real) == (83, 120)


def test_scores_do_not_depend_on_the_batch_size():
    fakes, real = random_images(83, seed=1), statistics_under(LinearNet(), random_images(120, seed=2))
    expected = figures(evaluate(reader(fakes), 83, LinearNet(), real=real, batch_size=83, metrics=ALL))
    for batch_size in (1, 7, 32, 100):
        assert figures(
            evaluate(reader(fakes), 83, LinearNet(), real=real, batch_size=batch_size, metrics=ALL)
        ) == pytest.approx(expected, rel=1e-10)


def test_images_reach_the_network_once_and_truncated():
    net, images = LinearNet(), random_images(25)
    evaluate(
        reader(images),
        25,
        net,
        real=statistics_under(LinearNet(), random_images(40)),
        batch_size=10,
        metrics=ALL,
    )
    assert net.calls == 3
    truncated = ((images.numpy() * np.float32(127.5)) + np.float32(127.5)).astype(np.uint8)
    assert torch.equal(torch.cat(net.seen), torch.from_numpy(truncated))


def test_uint8_images_are_scored_as_they_are():
    net, images = LinearNet(), torch.arange(10 * 3 * 64).remainder(256).to(torch.uint8).view(10, 3, 8, 8)
    evaluate(reader(images), 10, net, splits=2)
    assert torch.equal(torch.cat(net.seen), images)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("position", [0, 24])
def test_images_that_are_not_finite_get_no_score(value, position):
    images = random_images(25)
    images[position, 1, 2, 3] = value
    with pytest.raises(NonFiniteImages):
        evaluate(reader(images), 25, LinearNet(), batch_size=10)


def test_scoring_leaves_the_random_states_alone():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    real = statistics_under(LinearNet(), random_images(40))
    evaluate(reader(random_images(25)), 25, LinearNet(), real=real, metrics=ALL)
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])


def test_scoring_records_no_gradients():
    generator = torch.nn.Linear(1, 3 * 64)
    seen = []

    def sample(count):
        seen.append(generator(torch.zeros(count, 1)).view(count, 3, 8, 8).tanh())
        return seen[-1]

    evaluate(sample, 20, LinearNet())
    assert not any(images.requires_grad for images in seen)


def test_the_inception_score_alone_keeps_no_covariance():
    net = LinearNet(feature_dim=200_000)  # a covariance of 320 GB
    assert evaluate(reader(random_images(12)), 12, net, splits=2, metrics=("is",)).fid is None


def test_what_is_kept_does_not_grow_with_the_number_of_images():
    sums = FeatureSums(1_000_000, 8, 5, "cpu", splits=10, covariance=True, sample_size=FEATURE_SAMPLE)
    sums.add(torch.zeros(100, 8), torch.zeros(100, 5), 0)
    kept = (sums.class_sum, sums.entropy_sum, sums.feature_sum, sums.outer_sum, sums.sample.rows)
    assert sum(values.numel() for values in kept) == 10 * 5 + 10 + 8 + 64 + 8 * FEATURE_SAMPLE


def test_a_row_sample_is_spread_over_all_rows_whatever_the_batches():
    rows = torch.arange(1000)[:, None]
    samples = []
    for batch_size in (1, 64, 1000):
        kept = RowSample(1000, 100)
        for start in range(0, 1000, batch_size):
            kept.add(rows[start : start + batch_size], start)
        samples.append(kept.rows)
    assert torch.equal(samples[0], samples[1]) and torch.equal(samples[0], samples[2])
    assert len(samples[0].unique()) == 100 and 400 < samples[0].double().mean() < 600
    everything = RowSample(1000, 5000)
    everything.add(rows, 0)
    assert torch.equal(everything.rows, rows)


def test_statistics_of_another_network_are_refused():
    real = statistics_under(LinearNet(feature_dim=9), random_images(40))
    with pytest.raises(ValueError, match="9 features"):
        evaluate(reader(random_images(25)), 25, LinearNet(), real=real)


def test_requests_that_cannot_be_met_are_refused_before_anything_is_generated():
    def sample(count):
        raise AssertionError("generated")

    for request, words in (
        ({"metrics": ("is", "fdi")}, r"unknown metrics \['fdi'\]"), ({"splits": 30}, "too few for 30 splits"),
        ({"metrics": ("fid",)}, "can be computed"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            evaluate(sample, 20, LinearNet(), **request)


def test_a_generator_that_returns_too_few_images_is_noticed():
    with pytest.raises(ValueError, match="instead of"):
        evaluate(lambda count: random_images(count - 1), 20, LinearNet())


def test_the_text_of_a_score_names_any_network_but_inception():
    score = dict(backend="torch", weights_sha256="", num_fake=100, is_mean=8.551, is_std=0.1, fid=12.42)
    assert Scores(feature_net="inception", **score).text() == "IS 8.55 +- 0.10, FID 12.42"
    assert Scores(feature_net="small", **score).text() == "small IS 8.55 +- 0.10, small FID 12.42"


def test_scores_as_json_state_the_protocol():
    images = dict(data="CIFAR-10", split="train", resolution=32, data_sha256="ab")
    real = RealStatistics(np.zeros(12), np.eye(12), num_images=500, **images)
    scores = evaluate(reader(random_images(25)), 25, LinearNet(), real=real, splits=5, seed=7)
    protocol = {
        "feature_net": "linear", "backend": "torch", "weights_sha256": "seed 0", "num_fake": 25, "splits": 5,
        "seed": 7, "num_real": 500, "rounding": "truncated to uint8", **images,
    }  # fmt: skip
    assert json.loads(json.dumps(scores.as_dict())).items() >= protocol.items()


def test_two_backends_that_agree_are_compared_and_others_refused():
    images, real = random_images(60), statistics_under(LinearNet(), random_images(80, seed=2))
    close, far = LinearNet(), LinearNet()
    close.weights = close.weights * (1 + 1e-6)
    far.weights = far.weights * (1 + 1e-3)
    first, second, differences = evaluate_both(reader(images), 60, (LinearNet(), close), reals=(real, real))
    assert 5e-7 < differences["features"] < 2e-6 and differences.keys() == {"features", "is", "fid"}
    assert differences["is"] == pytest.approx(abs(first.is_mean / second.is_mean - 1), rel=1e-9) != 0
    expected = abs(first.fid - second.fid) / max(first.fid, 1)
    assert first.fid != second.fid and differences["fid"] == pytest.approx(expected, rel=1e-3)
    options = dict(reals=(real, real), metrics=("kid",))
    first, second, differences = evaluate_both(reader(images), 60, (LinearNet(), close), **options)
    assert first.kid_mean is not None and second.kid_mean is None
    assert differences["is"] is differences["fid"] is None
    with pytest.raises(BackendsDiffer, match="features 1.0e-03"):
        evaluate_both(reader(images), 60, (LinearNet(), far), reals=(real, real))


def test_the_fid_of_equal_statistics_is_never_below_zero():
    for seed in range(20):
        features = torch.randn(50, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        mu, sigma = features.mean(0), features.T.cov()
        assert 0 <= frechet_distance(mu, sigma, mu, sigma) < 1e-9


def test_no_score_is_printed_as_minus_zero():
    scores = Scores("inception", "torch", "none", 10, fid=0.0, kid_mean=-1e-9, kid_std=0.0)
    assert scores.text() == "FID 0.00, KID 0.00000 +- 0.00000"
