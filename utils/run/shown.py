"""What TensorBoard shows of a run besides figures and pictures: its options, and the command."""

import re
import shlex


def shown_options(options):
    """{option: number, truth value or text} of {option: value}, without what is None."""
    return {
        name: value if isinstance(value, (bool, int, float)) else _to_utf8(_as_typed(value))
        for name, value in options.items()
        if value is not None
    }


def shown_command(words):
    """A command as code in Markdown, which would take * and _ for its own."""
    command = _to_utf8(shlex.join(words))
    fence = "`" * (1 + max(map(len, re.findall("`+", command)), default=0))
    return f"{fence} {command} {fence}"


def _as_typed(value):
    """Several values with spaces between them; one as it is."""
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def _to_utf8(value):
    """A value as text. Of a name that is no UTF-8, the odd bytes become escapes."""
    return str(value).encode(errors="backslashreplace").decode()
