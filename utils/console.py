"""The terminal, pipe or file that a script writes to. It may be closed, full, or unable to show a name.

A script whose result goes there must say that it failed. A run goes on: its results are in its folder.
"""

import codecs
import contextlib
import os
import sys


class Stream:
    """sys.stdout or sys.stderr, which may fail.

    name: for messages. on_failure: called once with the failure, an OSError; what is written afterwards is
    dropped. None: the failure is raised.
    """

    def __init__(self, stream, name, on_failure=None):
        self._stream, self._name, self.on_failure, self.failure = stream, name, on_failure, None

    def write(self, text):
        """Write text."""
        self._try(self._stream.write, text)
        return len(text)

    def flush(self):
        """Hand on what was written."""
        self._try(self._stream.flush)

    def isatty(self):
        """Whether it is a terminal."""
        return not self._stream.closed and self._stream.isatty()

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def _try(self, action, *arguments):
        if self.failure:
            return
        try:
            action(*arguments)
        except (OSError, ValueError) as error:
            is_system = isinstance(error, OSError) and error.strerror
            self.failure = error if is_system else OSError(None, "it is closed")
            self.failure.filename = self._name
            self._drop_the_rest()
            if self.on_failure is None:
                raise self.failure from None
            self.on_failure(self.failure)

    def _drop_the_rest(self):
        """What the stream still holds would fail once more when the program ends."""
        with contextlib.suppress(OSError, ValueError, AttributeError):  # AttributeError: no file
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def guard():
    """Make Streams of sys.stdout and sys.stderr; returns what they were.

    A failure of stdout is raised until `go_on_without`. One of stderr only means that nobody reads it.
    """
    before = sys.stdout, sys.stderr
    _occupy_closed_descriptors()
    sys.stdout = Stream(_writable(sys.stdout), "stdout")
    sys.stderr = Stream(_writable(sys.stderr), "stderr", on_failure=lambda failure: None)
    return before


def go_on_without(note):
    """From here on the program goes on without a stream that fails; note(line) is called once for each."""

    def tell(failure):
        with contextlib.suppress(OSError):  # the log fails, too: its next line says so
            note(f"{failure.filename} failed ({failure.strerror}): going on without it")

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Stream):
            stream.on_failure = tell
            if stream.failure:
                tell(stream.failure)


def _occupy_closed_descriptors():
    """Open /dev/null where the caller has closed stdin, stdout or stderr. Otherwise the next file, perhaps a
    checkpoint, would get their number, and what is written there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _writable(stream):
    """The stream, a closed one if the caller has closed it. Whatever is written, it can encode."""
    if stream is None:
        stream = open(os.devnull, "w")
        stream.close()
    elif hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="console")
    return stream


def _encode_anyhow(error):
    """Bytes of a file's name that are no text are written as they are, other characters as escapes."""
    try:
        return error.object[error.start : error.end].encode("ascii", "surrogateescape"), error.end
    except UnicodeEncodeError:
        return codecs.backslashreplace_errors(error)


codecs.register_error("console", _encode_anyhow)
