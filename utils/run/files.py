"""Files that are written whole or not at all, and the user's files, opened for reading. No torch."""

import contextlib
import glob
import json
import os
import socket
import stat
from pathlib import Path

from utils.cli import UserError

MOST_BYTES = 2**26  # of a file that is read as a whole


def open_regular(path, option, cure):
    """A file of the user's, opened for reading bytes.

    Raises UserError `option: ...; cure` for one that is missing or cannot be read, and for pipes, devices and
    folders, which might never end.
    """
    path = Path(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer would wait for ever
    except FileNotFoundError:
        raise UserError(f"{option}: no file {path}; {cure}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{option}: {path} cannot be read ({reason}); {cure}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{option}: {path} is not a regular file; {cure}")
    return open(descriptor, "rb")


def read_regular(path, option, cure, most=MOST_BYTES):
    """The bytes of a file of the user's, see `open_regular`. Raises UserError for one of more than `most`."""
    with open_regular(path, option, cure) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise UserError(f"{option}: {path} has {size:,} bytes, more than {most:,}; {cure}")
        return file.read()


def read_json(path, option, cure):
    """What a JSON file of the user's holds. Raises UserError (`option`) if it is none, or cannot be read."""
    content = read_regular(path, option, cure)
    try:
        return json.loads(content)  # of bytes: any UTF, with or without a byte order mark
    except (ValueError, RecursionError) as error:
        raise UserError(f"{option}: {path} is no JSON ({error}); {cure}") from None


def write_atomically(path, write, keep_as=None):
    """Write a file whole or not at all; a file that was there moves to `keep_as`.

    `write(binary file)` fills a temporary file beside `path`, which is flushed to the disk and renamed. So a
    kill at any moment leaves a whole file. Without `keep_as` the old file is replaced.
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
