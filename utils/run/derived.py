"""derived.json: the architectures that a search kept, best first. No torch.

{"reward": "is", "feature_net": "inception",
 "architectures": [{"rank": 1, "architecture": "1 0 1 1", "reward": 8.1}, ...]}
"""

import json

from utils.cli import UserError
from utils.run.files import open_regular, write_json

MOST_BYTES = 2**26


def write_derived(path, reward, feature_net, ranked):
    """Write a search's result.

    reward, feature_net: what the architectures were ranked by, such as "is" and "inception". ranked: a dict
    for each architecture, best first, with "architecture" (text), "reward" (number) and perhaps more. The
    rank is added.
    """
    architectures = [{"rank": rank, **entry} for rank, entry in enumerate(ranked, 1)]
    write_json(path, {"reward": reward, "feature_net": feature_net, "architectures": architectures})


def read_architecture(path, rank):
    """The text of the architecture of this rank, 1 for the best.

    Raises UserError (--arch_file, --rank) if there is none.
    """
    try:
        with open_regular(path, "--arch_file", "give the derived.json that a search wrote") as file:
            content = file.read(MOST_BYTES)
        # Of bytes json finds out the encoding: any UTF, with or without a byte order mark.
        ranked = json.loads(content)["architectures"]
        texts = [entry["architecture"] for entry in ranked]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(
            f"--arch_file: {path} is not a derived.json; give the one that a search wrote"
        ) from None
    if not 1 <= rank <= len(texts):
        raise UserError(f"--rank: {path} holds {len(texts)} architectures; give 1 to {len(texts)}")
    return str(texts[rank - 1])
