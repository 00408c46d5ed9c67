"""What every command-line script of the project shares: one-line errors and exit codes.

Exit codes: 0 done, 1 failed while running, 2 bad input, 3 training diverged, 130 and 143 stopped by a signal.
"""

import argparse
import re
import sys


LONGEST_LINE = 2000  # characters of a message


class Ending(Exception):
    """A known way for a script to end. Its message becomes one line on stderr, `label: message`."""

    label = "error"
    exit_code = 1


class UserError(Ending):
    """A user's mistake. The message names option and cure: `--option: what is wrong; what to do`."""

    exit_code = 2


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, and with one-line errors.

    A mistake prints `error: ...` on stderr and exits with 2.
    """

    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter, **kwargs)

    def error(self, message):
        message = re.sub(r"^argument (-\w+/)*", "", message)  # name only the long spelling
        sys.exit(_report("error", f"{message} (--help lists the options)", UserError.exit_code))


def run_script(main):
    """Call `main()` as the body of a script. An Ending becomes a line on stderr and an exit code.

    So does an OSError, such as a full disk. Files to read are checked where they are read.
    """
    try:
        main()
    except Ending as ending:
        sys.exit(_report(ending.label, ending, ending.exit_code))
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else error
        sys.exit(_report("error", message, Ending.exit_code))
    except KeyboardInterrupt:
        sys.exit(_report("stopped", "by Ctrl-C", 130))


def _report(label, message, code):
    words = " ".join(str(message).split())
    if len(words) > LONGEST_LINE:  # such as an architecture of a thousand cells; what to do stands at the end
        words = f"{words[: LONGEST_LINE // 2]} [...] {words[-LONGEST_LINE // 2 :]}"
    print(f"{label}: {words}", file=sys.stderr)
    return code
