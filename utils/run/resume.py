"""Find the run of an interrupted command, so that typing the command again goes on with it. No torch."""

import fcntl
import glob
import json
from pathlib import Path

from utils.cli import UserError
from utils.progress import say
from utils.run.files import read_regular


def find_interrupted(root, exp_name, options, free, later=()):
    """The newest folder root/EXP_NAME_* of an interrupted run with these options, or None.

    options: {option: value} of this call. free: names of options that may differ. later: {option: value} of
    options that an older run does not name. A run was interrupted if it has a checkpoint but no results, and
    no process writes to it.
    """
    wanted = _without(options, free)
    for folder in sorted(Path(root).glob(f"{glob.escape(exp_name)}_*"), reverse=True):
        if _read_options(folder / "config.json", free, later) == wanted and _is_interrupted(folder):
            say(f"going on with {folder}, which was interrupted; --resume never starts anew")
            return str(folder)
    return None


def _without(options, free):
    """The options as JSON holds them, but for the free ones."""
    return json.loads(json.dumps({name: value for name, value in options.items() if name not in free}))


def _read_options(path, free, later):
    """The options of a run's config.json, but for the free ones; None if there are none to read."""
    try:
        content = read_regular(path, "--resume", "leave it out")
        return _without(dict(later) | json.loads(content)["options"], free)
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _is_interrupted(folder):
    checkpoints = [folder / "Model" / name for name in ("checkpoint.pth", "checkpoint_previous.pth")]
    if (folder / "results.json").exists() or not any(path.is_file() for path in checkpoints):
        return False
    try:
        with open(folder / ".lock", "a") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another process writes to it, or it may not be written to
        return False
    return True
