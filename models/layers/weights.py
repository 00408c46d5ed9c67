"""Loading weights that may be of another network."""

import torch

from models.errors import ArchitectureError


def load_weights(build, state, architecture):
    """The network that `build()` makes, with the weights of a state dict.

    Compared first on the meta device: weights of another network cost no memory. Raises ArchitectureError for
    them.
    """
    try:
        with torch.device("meta"):
            build().load_state_dict(state, assign=True)
        network = build()
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ArchitectureError(f"the weights are not of architecture {architecture}: {reason}") from None
    return network
