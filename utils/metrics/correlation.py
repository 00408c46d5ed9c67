"""How well one score predicts the order of another: rank correlations with their uncertainty."""

import warnings

import numpy as np
from scipy import stats

COEFFICIENTS = {"spearman": stats.spearmanr, "kendall": stats.kendalltau}


def rank_correlations(first, second, confidence=0.95, resamples=9999, seed=0):
    """{"spearman", "kendall"}: {"value", "low", "high"} of two lists of scores of the same things.

    low, high: bounds of the percentile bootstrap interval over pairs. All are None where a coefficient is not
    defined, because all scores of a list are equal. Resamples in which they are equal do not count.
    """
    return {
        name: _with_interval(coefficient, first, second, confidence, resamples, seed)
        for name, coefficient in COEFFICIENTS.items()
    }


def _with_interval(coefficient, first, second, confidence, resamples, seed):
    def value(*pair):
        return coefficient(*pair).statistic

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant input: the value is NaN then
        measured = float(value(first, second))
        if not np.isfinite(measured):
            return {"value": None, "low": None, "high": None}
        result = stats.bootstrap(
            (first, second), value, paired=True, vectorized=False, n_resamples=resamples, method="percentile",
            rng=np.random.default_rng(seed),
        )  # fmt: skip
    outside = (1 - confidence) / 2
    low, high = np.nanquantile(result.bootstrap_distribution, [outside, 1 - outside])
    return {"value": measured, "low": float(low), "high": float(high)}
