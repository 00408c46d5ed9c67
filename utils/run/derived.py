"""derived.json: the architectures that a search kept, best first. No torch.

{"reward": "is", "feature_net": "inception",
 "architectures": [{"rank": 1, "architecture": "1 0 1 1", "reward": 8.1}, ...]}
"""

import json
from pathlib import Path

from utils.cli import UserError
from utils.run.files import open_regular, write_json


def write_derived(path, reward, feature_net, ranked):
    """Write a search's result.

    reward, feature_net: what the architectures were ranked by, such as "is" and "inception". ranked: a dict
    for each architecture, best first, with "architecture" (text), "reward" (number) and perhaps more. The
    rank is added.
    """
    architectures = [{"rank": rank, **entry} for rank, entry in enumerate(ranked, 1)]
    write_json(path, {"reward": reward, "feature_net": feature_net, "architectures": architectures})


def derived_file(path):
    """The derived.json of a search, from that file or the search's folder.

    Raises UserError (--arch_file) if the folder has none.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    if not (path / "derived.json").is_file():
        cure = "give the folder of a search that has ended"
        raise UserError(f"--arch_file: {path} holds no derived.json; {cure}")
    return path / "derived.json"


def read_ranked(path):
    """The entries of a derived.json, best first: dicts with "architecture" and perhaps more.

    path: the file or the search's folder. Raises UserError (--arch_file).
    """
    path = derived_file(path)
    try:
        with open_regular(path, "--arch_file", "give the derived.json that a search wrote") as file:
            content = file.read()
        # Of bytes json finds out the encoding: any UTF, with or without a byte order mark.
        ranked = json.loads(content)["architectures"]
        return [{**entry, "architecture": str(entry["architecture"])} for entry in ranked]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"--arch_file: {path} is not a derived.json; give the one that a search wrote"
        ) from None


def read_architecture(path, rank):
    """The text of the architecture of this rank, 1 for the best. path: see read_ranked.

    Raises UserError (--arch_file, --rank) if there is none.
    """
    ranked = read_ranked(path)
    if not 1 <= rank <= len(ranked):
        raise UserError(f"--rank: {path} holds {len(ranked)} architectures; give 1 to {len(ranked)}")
    return ranked[rank - 1]["architecture"]
