"""The fast form of a network: the same function, parameters and names, computed in fewer operations."""

from models.layers.resampled import merge_resampling
from models.layers.spectral_norm import join_spectral_norms


def fast_form(network):
    """Let the network, in place, compute what it computes in fewer operations: equal up to rounding. Returns the network."""
    return join_spectral_norms(merge_resampling(network))
