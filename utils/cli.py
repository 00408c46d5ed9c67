"""What every command-line script of the project shares: one-line errors and exit codes.

Exit codes: 0 done, 1 failed while running, 2 bad input, 3 training diverged, 128 + N stopped by signal N.
"""

import argparse
import contextlib
import difflib
import functools
import os
import re
import signal
import sys
import warnings

from utils import console


LONGEST_LINE = 2000  # characters of a message
MOST_PROCESSES = 2**20  # of torchrun


class Ending(Exception):
    """A known way for a script to end. Its message becomes one line on stderr, `label: message`."""

    label = "error"
    exit_code = 1


class UserError(Ending):
    """A user's mistake. The message names option and cure: `--option: what is wrong; what to do`."""

    exit_code = 2


class Killed(Ending):
    """A process that works for this one was killed: for want of memory, or by a signal to all of them."""


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """States defaults, and leaves the lines of description and epilog as they are."""


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, and with one-line errors.

    A mistake prints `error: ...` on stderr and exits with 2.
    aliases: {name that users type: names of the options they may mean}.
    source: where the arguments come from, if nobody typed them. A mistake then raises a UserError that begins
    with it.
    """

    def __init__(self, *, aliases=None, source=None, **kwargs):
        super().__init__(allow_abbrev=False, formatter_class=HelpFormatter, **kwargs)
        self.aliases, self.source = aliases or {}, source

    def parse_args(self, args=None, namespace=None):
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(self._describe_unknown(unknown))
        return found

    def parse_known_args(self, args=None, namespace=None):
        """As argparse does, with ~ expanded: after = no shell does it."""
        args = sys.argv[1:] if args is None else args
        return super().parse_known_args([_expand_home(text) for text in args], namespace)

    def error(self, message):
        message = re.sub(r"^argument (-\w+/)*", "", message)  # name only the long spelling
        if self.source:
            raise UserError(f"{self.source}: {message}")
        sys.exit(_report("error", f"{message} (--help lists the options)", UserError.exit_code))

    def _describe_unknown(self, words):
        """What is wrong with words that no option takes."""
        option = next((word.partition("=")[0] for word in words if re.match("--?[A-Za-z]", word)), None)
        if option is None:
            return f"unrecognized arguments: {' '.join(words)}"
        meant = [f"--{name}" for name in self._similar(option.lstrip("-").replace("-", "_"))]
        return f"{option}: no such option" + (f"; did you mean {' or '.join(meant)}?" if meant else "")

    def _similar(self, name):
        """The options, at most three, that this name may mean."""
        actions = {
            spelling[2:]: action
            for spelling, action in self._option_string_actions.items()
            if spelling[:2] == "--"
        }
        names = [each for each, action in actions.items() if action.help != argparse.SUPPRESS]
        ways = (
            [each for each in self.aliases.get(name, ()) if each in names],
            [each for each in names if f"_{name}_" in f"_{each}_"],
            [each for each in names if each.startswith(name)],
            difflib.get_close_matches(name, names, n=1),
        )
        return next(filter(None, ways), [])[:3]


def _expand_home(text):
    option, path = re.fullmatch(r"(--\w+=)?(.*)", text, re.DOTALL).groups("")
    return option + os.path.expanduser(path)


def process_count():
    """How many processes torchrun has started for this call, this one included.

    An environment that it has not made ends the program with one line.
    """
    names = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
    count = _from_torchrun("WORLD_SIZE", 1, MOST_PROCESSES) if names <= os.environ.keys() else 1
    if count > 1:
        _from_torchrun("RANK", 0, count - 1)
        _from_torchrun("MASTER_PORT", 1, 2**16 - 1)
    return count


def _from_torchrun(name, least, most):
    """The whole number that an environment variable holds."""
    text = os.environ[name]
    if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
        problem = f"{name} in the environment is {ascii(text)}, not one of {least} to {most}"
        sys.exit(_report("error", f"torchrun: {problem}; start the script by it", UserError.exit_code))
    return int(text)


def answer_first(parse):
    """Let a script answer --help and mistakes before it loads torch, which takes seconds.

    Several processes do it later, together.
    """
    if process_count() == 1:
        run_script(parse)


def run_script(main):
    """Call `main()` as the body of a script. An Ending becomes a line on stderr and an exit code.

    So does an OSError, such as a full disk. Files to read are checked where they are read. Warnings of
    libraries are shown only where Python is asked for them (-W, PYTHONWARNINGS).
    """
    before = console.guard()
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore", append=True)
            code = _exit_code(main)
    finally:
        sys.stdout, sys.stderr = before
    if code:
        sys.exit(code)


def _exit_code(main):
    try:
        try:
            main()
        finally:
            sys.stdout.flush()
    except Ending as ending:
        return _report(ending.label, ending, ending.exit_code)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and error.filename == "stdout":
            return 128 + signal.SIGPIPE  # as if the signal had ended the program: `--help | head -1`
        message = f"{error.filename}: {error.strerror or error}" if error.filename else error
        return _report("error", message, Ending.exit_code)
    except KeyboardInterrupt:
        return _report("stopped", "by Ctrl-C", 130)
    return 0


class _Reporter:
    call = None


def report_by(reporter):
    """From here on `reporter(line, exit code)` prints what a script ends with, and returns the exit code."""
    _Reporter.call = reporter


def _report(label, message, code):
    line = _line(label, message)
    if _Reporter.call:
        return _Reporter.call(line, code)
    print(line, file=sys.stderr)
    return code


@functools.cache
def warn(message):
    """One line on stderr: `warning: message`. The same one comes once."""
    print(_line("warning", message), file=sys.stderr)


def _line(label, message):
    words = " ".join(str(message).split())
    if len(words) > LONGEST_LINE:  # such as an architecture of a thousand cells; what to do stands at the end
        words = f"{words[: LONGEST_LINE // 2]} [...] {words[-LONGEST_LINE // 2 :]}"
    return f"{label}: {words}"


@contextlib.contextmanager
def naming(path):
    """An OSError raised inside names this file, as one of a full disk does not by itself."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or path
        raise
