"""derived.json: the architectures that a search kept, best first. No torch.

{"reward": "is", "feature_net": "inception",
 "architectures": [{"rank": 1, "architecture": "1 0 1 1", "reward": 8.1}, ...]}
"""

import json
import os
from pathlib import Path

from utils.cli import UserError
from utils.run.files import read_regular, write_json


def write_derived(path, reward, feature_net, ranked):
    """Write a search's result.

    reward, feature_net: what the architectures were ranked by, such as "is" and "inception". ranked: a dict
    for each architecture, best first, with "architecture" (text), "reward" (number) and perhaps more. The
    rank is added.
    """
    architectures = [{"rank": rank, **entry} for rank, entry in enumerate(ranked, 1)]
    write_json(path, {"reward": reward, "feature_net": feature_net, "architectures": architectures})


def derived_file(path, option="--arch_file"):
    """The derived.json of a search, from that file or the search's folder.

    Raises UserError, which names `option`, if the folder has none.
    """
    path = Path(path)
    if not os.path.isdir(path):  # path.is_dir() raises OSError for a name that is too long
        return path
    if not (path / "derived.json").is_file():
        cure = "give the folder of a search that has ended"
        raise UserError(f"{option}: {path} holds no derived.json; {cure}")
    return path / "derived.json"


def read_derived(path, option="--arch_file"):
    """The entries of a derived.json, best first: dicts with "architecture" (text) and perhaps more.

    path: the file or the search's folder. Raises UserError, which names `option`.
    """
    path = derived_file(path, option)
    try:
        content = read_regular(path, option, "give the derived.json that a search wrote")
        # Of bytes json finds out the encoding: any UTF, with or without a byte order mark.
        entries = json.loads(content)["architectures"]
        if any(isinstance(entry["architecture"], dict) for entry in entries):
            raise TypeError  # its text would have a colon, as those of a growth
        entries = [{**entry, "architecture": str(entry["architecture"])} for entry in entries]
    except (ValueError, KeyError, TypeError, RecursionError):
        problem = f"{path} is not a derived.json"
        raise UserError(f"{option}: {problem}; give the one that a search wrote") from None
    if not entries:
        raise UserError(f"{option}: {path} holds no architecture; give the one that a search wrote")
    return entries


def read_architecture(path, rank, option="--arch_file"):
    """The text of the architecture of this rank, 1 for the best. path: see read_derived.

    Raises UserError (`option`, --rank) if there is none.
    """
    entries = read_derived(path, option)
    if not 1 <= rank <= len(entries):
        raise UserError(f"--rank: {path} holds {len(entries)} architectures; give 1 to {len(entries)}")
    return entries[rank - 1]["architecture"]
