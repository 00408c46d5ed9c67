"""Classes of images: their names, how frequent they are, and files that say which image is of which class.

A label is the number of its class; -1: none.
"""

import csv
import io
import json
import posixpath
import re
from dataclasses import dataclass

import numpy as np
import torch

from utils.cli import UserError, naming
from utils.run.files import read_regular
from utils.run.schema import COUNT, Each, refuse_other_parts

NO_LABEL = -1
MOST_BYTES = 2**28  # of a file of labels: those of several million images
MOST_ROWS = 20  # of a grid
MOST_LISTED = 100  # classes in a line of the log
FORMATS = "give a CSV file of lines FILE,LABEL or a JSON object {FILE: LABEL}"


@dataclass(frozen=True)
class Classes:
    """The classes of a data set in the order of their numbers, and how many images each has.

    unlabelled: how many images have no label.
    """

    names: tuple
    counts: tuple
    unlabelled: int = 0

    def __len__(self):
        return len(self.names)

    def text(self):
        """One line for the log."""
        pairs = [f"{name} {count:,}" for name, count in zip(self.names, self.counts)]
        listed = ", ".join(pairs[:MOST_LISTED] + ["..."] * (len(pairs) > MOST_LISTED))
        rest = f"; {self.unlabelled:,} images without a label" if self.unlabelled else ""
        return f"{len(self)} classes: {listed}{rest}"

    def draw(self, count, random):
        """Labels (count,), int64, as frequent as in the data. random: a torch.Generator on the CPU."""
        shares = torch.tensor(self.counts, dtype=torch.float64)
        return torch.multinomial(shares, count, replacement=True, generator=random)

    def only(self, class_name):
        """The same classes, of which only one is ever drawn: that of this name or number.

        Raises UserError (--class).
        """
        return self.only_number(self._index(class_name))

    def only_number(self, index):
        """The same classes, of which only that of this number is ever drawn."""
        return Classes(self.names, tuple(int(number == index) for number in range(len(self))))

    def _index(self, class_name):
        if class_name in self.names:
            return self.names.index(class_name)
        if class_name.isdecimal() and int(class_name) < len(self):
            return int(class_name)
        shown = ", ".join(self.names[:MOST_ROWS]) + (", ..." if len(self) > MOST_ROWS else "")
        last = len(self) - 1
        raise UserError(f"--class: no class {class_name}; give one of {shown}, or a number from 0 to {last}")

    def shown(self):
        """The numbers of the classes that a grid shows, a row each: the first of those that are drawn."""
        return [number for number, count in enumerate(self.counts) if count][:MOST_ROWS]

    def to_saved(self):
        """Plain data, for `from_saved`."""
        return {"names": list(self.names), "counts": list(self.counts)}

    @classmethod
    def from_saved(cls, saved, source):
        """The Classes of plain data. Raises UserError, beginning with `source`, if it is something else."""
        refuse_other_parts(saved, {"names": Each(str), "counts": Each(COUNT)}, source)
        if len(saved["names"]) != len(saved["counts"]) or not sum(saved["counts"]):
            raise UserError(f"{source} holds no classes; use another one")
        return cls(tuple(saved["names"]), tuple(saved["counts"]))


def saved_classes(classes):
    """What a checkpoint holds of the Classes: nothing without any."""
    return {"classes": classes.to_saved()} if classes else {}


def read_saved_classes(saved, source):
    """The Classes of a checkpoint; None if it holds none. Raises UserError, beginning with `source`."""
    return Classes.from_saved(saved["classes"], source) if "classes" in saved else None


def refuse_other_classes(saved, classes, source):
    """Raise UserError unless a checkpoint's classes are those of the data that the run goes on with."""
    found = read_saved_classes(saved, source)
    names, now = (each.names if each else () for each in (found, classes))
    if names != now:
        cure = "give the same data and --labels"
        raise UserError(
            f"{source} is of the classes {', '.join(names)}, the data have {', '.join(now)}; {cure}"
        )


def number_classes(texts):
    """(labels as an int64 array, names of the classes) of a list of texts, in which None is no label.

    Classes are sorted by name, or by number if all names are numbers.
    """
    found = set(texts) - {None}
    by_number = all(re.fullmatch("-?[0-9]{1,18}", text) for text in found)
    names = tuple(sorted(found, key=lambda text: (int(text), text) if by_number else text))
    numbers = {name: number for number, name in enumerate(names)} | {None: NO_LABEL}
    return np.array([numbers[text] for text in texts], dtype=np.int64), names


def count_classes(labels, names):
    """The Classes of these labels."""
    known = labels[labels != NO_LABEL]
    counts = np.bincount(known, minlength=len(names)).tolist()
    return Classes(tuple(names), tuple(counts), len(labels) - len(known))


def read_label_file(path):
    """{file name as it stands there: class, or None for no label} of a JSON or CSV file.

    JSON: {FILE: LABEL}, or a list of [FILE, LABEL], or {"labels": that list} as StyleGAN's dataset.json. CSV:
    lines FILE,LABEL, with or without a header. A label is a name or a number; null, -1 or an empty one is
    none. Raises UserError (--labels).
    """
    content = read_regular(path, "--labels", FORMATS, MOST_BYTES)
    try:
        text = content.decode("utf-8-sig")
        is_json = str(path).lower().endswith(".json") or text.lstrip()[:1] in ("{", "[")
        pairs = _json_pairs(text) if is_json else _csv_pairs(text)
        found = {}
        for name, label in pairs:
            name, label = _file_name(name), _class_name(label)
            if found.setdefault(name, label) != label:
                raise ValueError(f"{name} is there twice, as {found[name]} and as {label}")
    except (ValueError, TypeError, csv.Error, RecursionError) as error:
        raise UserError(f"--labels: cannot read {path} ({error}); {FORMATS}") from None
    if not any(label is not None for label in found.values()):
        raise UserError(f"--labels: {path} holds no labels; {FORMATS}")
    return found


def _json_pairs(text):
    content = json.loads(text, object_pairs_hook=_once)
    if isinstance(content, dict) and list(content) == ["labels"] and not isinstance(content["labels"], str):
        content = content["labels"] or []
    pairs = list(content.items()) if isinstance(content, dict) else content
    if not isinstance(pairs, list) or not all(isinstance(each, (list, tuple)) for each in pairs):
        raise ValueError("neither an object nor a list of pairs")
    if any(len(each) != 2 for each in pairs):
        raise ValueError("a pair has not two parts")
    return pairs


def _once(pairs):
    """The dict of a JSON object. Raises ValueError if a name has two values: Python would keep the last."""
    found = dict(pairs)
    for name, value in pairs:
        if found[name] != value:
            raise ValueError(f"{name} is there twice, as {value} and as {found[name]}")
    return found


def _csv_pairs(text):
    rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise ValueError(f"row {number} has {len(row)} columns, not 2")
    has_header = rows and not posixpath.splitext(rows[0][0])[1]
    return rows[1:] if has_header else rows


def _file_name(name):
    if not isinstance(name, str):
        raise ValueError(f"{ascii(name)[:80]} is no file name")
    return posixpath.normpath("/" + name.strip().replace("\\", "/")).lstrip("/")


def _class_name(label):
    if isinstance(label, bool) or not isinstance(label, (str, int, type(None))):
        raise ValueError(f"{ascii(label)[:80]} is no label")
    name = "" if label is None else str(label).strip()
    if not name.isprintable():
        raise ValueError(f"the label {ascii(name)[:80]} cannot be shown")
    return None if name in ("", "-1") else name


def write_label_file(path, names, labels, classes):
    """Write a CSV file of the images `names` and the names of their classes, for `read_label_file`."""
    with naming(path), open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "label"))
        rows.writerows(zip(names, (classes.names[number] for number in labels)))
