"""config.json: the options that a run was started with. No torch."""

import json
from pathlib import Path

from utils.cli import UserError


def read_config(path, option="--config"):
    """{option: value} of a run's config.json.

    path: the file, the folder of the run, or a file with what --dry_run printed. Lists become tuples.
    Raises UserError, which names `option`.
    """
    path = Path(path)
    path = path / "config.json" if path.is_dir() else path
    cure = "give the config.json of a run"
    if not path.is_file():
        raise UserError(f"{option}: no file {path}; {cure}")
    try:
        options = json.loads(path.read_text(encoding="utf-8-sig"))["options"]
        return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    except OSError as error:
        raise UserError(f"{option}: {path} cannot be read ({error.strerror}); {cure}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{option}: {path} is not a config.json; {cure}") from None
