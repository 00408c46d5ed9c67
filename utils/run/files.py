"""Files that are written whole or not at all. No torch."""

import contextlib
import glob
import json
import os
import socket
from pathlib import Path


def write_atomically(path, write, keep_as=None):
    """Call `write(binary file)` on a temporary file beside `path`, then rename it to `path`; what stood there
    moves to `keep_as`.

    Flushed to the disk before it is renamed, so a kill at any moment leaves a whole file.
    """
    path = Path(path)
    remove_leftovers(path.parent)
    temporary = temporary_file(path)
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


def temporary_file(path):
    """What a file is called while this process writes it. The computer's name is in it, too: others may share
    the folder.
    """
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")


def remove_leftovers(folder):
    """Remove the temporary files of processes of this computer that are gone, killed while they wrote."""
    for path in Path(folder).glob(f".*.{glob.escape(socket.gethostname())}.*.part"):
        process = path.name.split(".")[-2]
        if process.isdecimal() and not os.path.exists(f"/proc/{process}"):
            with contextlib.suppress(OSError):  # another user's
                path.unlink()


def write_text(path, text):
    """Write UTF-8 text whole or not at all. A path in it that is no UTF-8 is written as it is."""
    write_atomically(path, lambda file: file.write(text.encode(errors="surrogateescape")))


def write_json(path, content):
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(content, indent=2, default=str) + "\n")
