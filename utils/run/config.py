"""config.json: the options that a run was started with. No torch."""

import json
import os
from pathlib import Path

from utils.cli import UserError
from utils.run.files import read_regular


def read_config(path, option="--config"):
    """{option: value} of a run's config.json.

    path: the file, the folder of the run, or a file with what --dry_run printed. Lists become tuples.
    Raises UserError, which names `option`.
    """
    path = Path(path)
    path = path / "config.json" if os.path.isdir(path) else path  # Path.is_dir raises OSError for a long name
    cure = "give the config.json of a run"
    content = read_regular(path, option, cure)
    try:
        options = json.loads(content)["options"]
        return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{option}: {path} is not a config.json; {cure}") from None
