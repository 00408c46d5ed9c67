"""The folder of several trainings that belong together, which the same command finds again."""

import json
import os
from pathlib import Path

from utils.cli import UserError
from utils.run.files import read_json, write_text
from utils.run.folder import Run
from utils.run.schema import Least, refuse_other_parts


def name_after(path):
    """What to call a study of a search's derived.json, or of its run: by the run's folder."""
    path = Path(path).resolve()
    return path.parent.name if path.name == "derived.json" else path.stem


def open_study(run_options, name, values, free, device):
    """The Run of a study in logs/EXP_NAME_NAME: made now, or found again.

    run_options: the option group. values: {option: value} of the study. free: names of those that may differ
    when it goes on. Raises UserError if another differs, before anything is trained.
    """
    folder = Path("logs") / f"{run_options.exp_name}_{name}"
    refuse_other_study(folder, values, free)
    study, _ = Run.at(folder, values, device)
    study.log(f"writing to {folder}; the same command goes on there")
    if run_options.folder_file:
        write_text(run_options.folder_file, f"{folder}\n")
    return study


def refuse_other_study(folder, values, free):
    """Raise UserError if the folder holds a study with other options, or is something else."""
    holds_nothing = folder.is_dir() and not any(path.is_file() for path in folder.rglob("*"))
    if holds_nothing or not os.path.lexists(folder):
        return
    try:
        saved = read_json(folder / "config.json", "--exp_name", "give another name")
        refuse_other_parts(saved, Least(options=dict), "--exp_name")
    except UserError:
        raise UserError(f"--exp_name: {folder} exists and is no study; give another name") from None
    started = saved["options"]
    for option, value in json.loads(json.dumps(values, default=str)).items():
        if option not in free and option in started and started[option] != value:
            problem = f"{folder} was started with {started[option]}, not {value}"
            raise UserError(f"--{option}: {problem}; give another --exp_name to start anew")
