"""What a .safetensors file says of the generator in it: one JSON text in its metadata, written and read here.

{"format": 1, "widths": {...}, "resolution": 32, "iterations": 6800, "seed": 1,
 "command": "python train_derived.py ...", "options": {those of its score}, "scores": {...}}
"""

import json
import os

from safetensors import SafetensorError, safe_open

from utils.cli import UserError
from utils.run.schema import COUNT, Least, refuse_other_parts

FORMAT = 1
KEY = "about"
SCORES = Least(feature_net=str, num_fake=COUNT)
HEADER = Least(
    format=FORMAT, widths={str: COUNT}, resolution=COUNT, iterations=(None, COUNT), seed=(None, COUNT),
    command=(None, str), options=dict, scores=(None, SCORES),
)  # fmt: skip
# Options of test.py that a score depends on; with those of the networks' sizes.
OF_A_SCORE = ("dataset", "data_path", "img_size", "feature_net", "feature_precision", "random_seed")
OF_A_SCORE += ("num_eval_imgs", "is_splits", "eval_batch_size", "split", "df_halvings", "df_dim")
PATHS = ("data_path", "inception_path", "tf_python", "init_from")


def about(loaded, command, options, scores=None):
    """The header of a Loaded generator, plain data.

    command: that trained it, or None. options: {option: value} of test.py. scores: Scores.as_dict().
    """
    generator = loaded.generator
    return {
        "format": FORMAT,
        "widths": generator.widths(),
        "resolution": generator.resolution,
        "iterations": loaded.iteration,
        "seed": loaded.options.get("random_seed"),
        "command": command,
        "options": without_folders({name: options[name] for name in OF_A_SCORE if name in options}),
        "scores": scores,
    }


def without_folders(options):
    """The options with the last part of each absolute path: the folders above it are those of one machine."""
    return {
        name: os.path.basename(value.rstrip("/"))
        if name in PATHS and value and os.path.isabs(value)
        else value
        for name, value in options.items()
    }


def to_metadata(header):
    """The header as a safetensors file holds it."""
    return {KEY: json.dumps(header)}


def read_header(file):
    """The header of a .safetensors file; {} if it has none.

    Raises UserError (--load_path) for a damaged one.
    """
    source = f"--load_path: {file}"
    try:
        with safe_open(file, "pt") as content:
            header = json.loads((content.metadata() or {}).get(KEY, "{}"))
    except (SafetensorError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{source} has a damaged header ({reason}); use another file") from None
    if header:
        refuse_other_parts(header, HEADER, source)
    return header
