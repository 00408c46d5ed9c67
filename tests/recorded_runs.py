"""What short runs leave, without their floats: every file, key, step, choice and line of the log.

python tests/recorded_runs.py      writes tests/data/recorded_runs.json anew, after a wanted change
"""

import contextlib
import io
import json
import re
import sys
import tempfile
from pathlib import Path

import pytest
import torch

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

from running import ROOT, SHORT_RUNS, load_script, only_run, short_run, use_tiny_net, write_pictures  # noqa: E402

from utils.run.checkpoint import load_checkpoint  # noqa: E402

FILE = ROOT / "tests" / "data" / "recorded_runs.json"
# {name: command} of what --dry_run resolves: the defaults of every method, and of both families.
PLANS = {
    **{f"--method {method}": f"search --method {method}" for method in ("autogan", "slas", "random_sharing", "asha", "dggan", "proggan")},
    "--controller random": "search --controller random --score_freq 10",
    "--gen_model": "train_derived --gen_model autogan_cifar10_a",
    "--arch": "train_derived --img_size 4 --arch 4: G 3x512 D 3x512",
}  # fmt: skip
VARYING = {
    "metrics_bytes",
    "scored_bytes",
    "memory_bytes",
    "environment",
}  # lengths of texts of floats, and the machine


def without_floats(value):
    """Plain data with every float as 0.5, in texts too; tensors as their shapes and types."""
    if isinstance(value, dict):
        return {str(name): 0 if name in VARYING else without_floats(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_floats(part) for part in value]
    if isinstance(value, torch.Tensor):
        return f"{tuple(value.shape)} {value.dtype}"
    if isinstance(value, str):
        value = re.sub(r"\S*logs/(\w+?)_2[\d_]+", r"logs/\1", value)
        return re.sub(r"(?<![\w.])-?\d+(\.\d+(e[+-]\d+)?|e[+-]\d+)(?![\w.])", "0.5", value)
    return 0.5 if isinstance(value, float) else value


def record_of(run):
    """{file or kind of file: content} of a finished run's folder."""
    files = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())
    record = {"files": [name for name in files if "tfevents" not in name]}
    for name in record["files"]:
        text = (run / name).read_text() if name.endswith(("json", "jsonl", "txt")) else ""
        text = text.replace(str(run.parent.parent), "HERE")
        if name.endswith("/config.json"):  # a trial's; the run's own options have tests of their own
            record[name] = without_floats(json.loads(text)["options"])
        elif name.endswith(".json") and name != "config.json":
            record[name] = without_floats(json.loads(text))
        elif name.endswith(".jsonl"):
            record[name] = [without_floats(json.loads(line)) for line in text.splitlines()]
        elif name.endswith("log.txt"):
            lines = [without_floats(line[20:]) for line in text.splitlines()]
            record[name] = [re.sub(r"about [\d:]+ left", "about 0:00 left", line) for line in lines]
        elif name.endswith("checkpoint.pth"):
            state = load_checkpoint(run / name)
            record[name] = without_floats({part: state[part] for part in state if part != "options"})
    return record


def type_command(command):
    """Type a command in the current folder; returns what it prints."""
    script, *arguments = command.split()
    with pytest.MonkeyPatch.context() as monkeypatch, io.StringIO() as printed:
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
        with contextlib.redirect_stdout(printed):
            load_script(script).main()
        return printed.getvalue()


def recorded_run(name, folder):
    """The record of one of the short runs, done in `folder`, the current one."""
    (folder / "pictures").mkdir()
    type_command(short_run(name, write_pictures(folder / "pictures")))
    return record_of(only_run(folder, name))


def recorded_plan(name):
    """What --dry_run resolves, but for the options."""
    plan = json.loads(type_command(f"{PLANS[name]} --dry_run --device cpu"))
    return without_floats({part: value for part, value in plan.items() if part != "options"})


def main():
    torch.set_num_threads(1)
    records = {}
    for name in (*SHORT_RUNS, *PLANS):
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.chdir(folder)
            monkeypatch.setenv("XDG_CACHE_HOME", folder)
            use_tiny_net(monkeypatch)
            records[name] = recorded_run(name, Path(folder)) if name in SHORT_RUNS else recorded_plan(name)
    lines = (f"{json.dumps(name)}: {json.dumps(record)}" for name, record in records.items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
