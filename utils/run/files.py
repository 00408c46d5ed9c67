"""Files that are written whole or not at all. No torch."""

import json
import os
from pathlib import Path


def write_atomically(path, write, keep_as=None):
    """Write a file whole or not at all; a file that was there moves to `keep_as`.

    `write(binary file)` fills a temporary file beside `path`, which is flushed to the disk and renamed. So a
    kill at any moment leaves a whole file. Without `keep_as` the old file is replaced.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if keep_as and path.exists():
            os.replace(path, keep_as)
        os.replace(temporary, path)
    except OSError as error:
        error.filename = path
        raise
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text(path, text):
    """Write UTF-8 text whole or not at all."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path, content):
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(content, indent=2, default=str) + "\n")
