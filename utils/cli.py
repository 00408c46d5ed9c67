"""What every command-line script of the project does the same way: one-line errors and exit codes.

Exit codes: 0 done, 1 failed while running, 2 bad input, 3 training diverged, 130 and 143 stopped by a signal.
"""

import argparse
import sys

BAD_INPUT = 2


class UserError(Exception):
    """Something the user can mend. The message names the option and the cure: `--option: what is wrong; what to do`."""


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake prints one line `error: ...` on stderr and exits with 2; options are never abbreviated."""

    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter, **kwargs)

    def error(self, message):
        message = message.removeprefix("argument ")
        fail(f"{message} (--help lists the options)")


def fail(message, code=BAD_INPUT):
    """Print `error: message` as one line on stderr and exit with `code`."""
    print("error: " + " ".join(str(message).split()), file=sys.stderr)
    sys.exit(code)


def run(main):
    """Call `main()` as the body of a script: a UserError ends it with one line and exit code 2, Ctrl-C with 130."""
    try:
        main()
    except UserError as error:
        fail(error)
    except KeyboardInterrupt:
        fail("stopped by Ctrl-C", 130)
