"""What an option may hold: argparse types with bounds, for utils.options. No torch."""

import argparse
import math
import os
from pathlib import Path

LONGEST_NAME = 200  # bytes of a run's name: file systems allow 255, and a time is added
# Where an option names no bound: products of two stay within 64 bits.
LARGEST = {int: 2**31 - 1, float: 1e12}


def number(kind, at_least=None, above=None, at_most=None):
    """An argparse type: a finite int or float (`kind`) within these bounds; without one, within LARGEST."""

    def bounded(text):
        value = kind(text)
        refuse_out_of_bounds(value, at_least, above, at_most)
        return value

    bounded.__name__ = kind.__name__
    return bounded


def refuse_out_of_bounds(value, at_least=None, above=None, at_most=None):
    """Raise ArgumentTypeError unless an int or float is finite and within these bounds, see `number`."""
    if isinstance(value, float) and not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{value} is not a finite number; give a finite one")
    largest = LARGEST[type(value)]
    at_least = -largest if at_least is None else at_least
    at_most = largest if at_most is None else at_most
    for is_within, words, bound in (
        (value >= at_least, "at least", at_least),
        (above is None or value > above, "more than", above),
        (value <= at_most, "at most", at_most),
    ):
        if not is_within:
            raise argparse.ArgumentTypeError(f"must be {words} {bound}, not {value}")


def boolean(text):
    """An argparse type, for options such as `--d_spectral_norm True`."""
    if text.lower() in ("true", "t", "yes", "y", "1"):
        return True
    if text.lower() in ("false", "f", "no", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(f"'{text}' is neither True nor False")


def folder_name(text):
    """An argparse type: the name of a new folder, to which a time is added."""
    if not text or "/" in text or not text.isprintable():
        cure = "give one of letters, digits and signs without /"
        raise argparse.ArgumentTypeError(f"{ascii(text)} is not the name of a folder; {cure}")
    if len(text.encode()) > LONGEST_NAME:
        raise argparse.ArgumentTypeError(f"must have at most {LONGEST_NAME} bytes, not {len(text.encode())}")
    return text


def engine(text):
    """An argparse type: local, ray, or ray:HOST:PORT."""
    name, _, address = text.partition(":")
    host, _, port = address.rpartition(":")
    is_address = host and port.isdecimal() and port.isascii() and 0 < int(port) < 2**16
    if text not in ("local", "ray") and not (name == "ray" and is_address and "/" not in host):
        raise argparse.ArgumentTypeError(f"{ascii(text)} is none; give local, ray or ray:HOST:PORT")
    return text


def output_file(text):
    """An argparse type: a file to write, in a folder that exists; no device or pipe."""
    path = Path(text)
    try:
        is_writable = path.parent.is_dir() and (path.is_file() or not path.exists())
    except OSError:  # such as a name that is too long
        is_writable = False
    if not is_writable:
        raise argparse.ArgumentTypeError(f"{text} cannot be written; give a file in a folder that exists")
    return text


def new_folder(text):
    """An argparse type: a folder to fill, which does not exist yet or is empty."""
    path = Path(text)
    if text and path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise argparse.ArgumentTypeError(f"{text} holds something already; give a new folder")
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if not text or not os.access(nearest, os.W_OK) or not nearest.is_dir():
        raise argparse.ArgumentTypeError(f"'{text}' cannot be made; give a new folder")
    return text
