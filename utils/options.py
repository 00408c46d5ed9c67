"""Command-line options as frozen dataclasses: a field is an option. No torch.

    @group(scripts=("train",))
    class TrainingOptions:
        n_critic: int = count(5, "discriminator steps per generator step")

A group says which scripts and methods read it. argparse gets no defaults (`argument_default=SUPPRESS`), so it
returns exactly what was typed. Defaults are added afterwards. The options themselves are in cfg.py.
"""

import argparse
import dataclasses
import math
import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from utils.cli import Parser, UserError


def group(scripts, methods=None):
    """Class decorator: a frozen dataclass of options for these scripts and methods (None: all)."""

    def declare(cls):
        cls = dataclass(frozen=True)(cls)
        cls.scripts, cls.methods = scripts, methods
        return cls

    return declare


def option(default, help, choices=None, *, kind=None, flags=(), nargs=None, instead_of=(), **bounds):
    """A field of a group. Its annotation is its type.

    An option of type tuple[int, ...] takes several values. kind: argparse's type, if the annotation is not
    enough. flags: further spellings. instead_of: options that this one replaces and that have no effect
    beside it. bounds: see `number`.
    """
    details = {"help": help, "choices": choices, "kind": kind, "nargs": nargs, "bounds": bounds}
    return dataclasses.field(default=default, metadata={**details, "flags": flags, "instead_of": instead_of})


count = partial(option, at_least=1)
share = partial(option, at_least=0, at_most=1)


def number(kind, at_least=None, above=None, at_most=None):
    """An argparse type: a finite int or float (`kind`) within these bounds."""

    def bounded(text):
        value = kind(text)
        if not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"{value} is not a finite number; give a finite one")
        for is_within, words, bound in (
            (at_least is None or value >= at_least, "at least", at_least),
            (above is None or value > above, "more than", above),
            (at_most is None or value <= at_most, "at most", at_most),
        ):
            if not is_within:
                raise argparse.ArgumentTypeError(f"must be {words} {bound}, not {value}")
        return value

    bounded.__name__ = kind.__name__
    return bounded


def boolean(text):
    """An argparse type, for options such as `--d_spectral_norm True`."""
    if text.lower() in ("true", "t", "yes", "y", "1"):
        return True
    if text.lower() in ("false", "f", "no", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(f"'{text}' is neither True nor False")


def folder_name(text):
    """An argparse type: the name of a new folder."""
    if not text or "/" in text:
        raise argparse.ArgumentTypeError(f"'{text}' is not the name of a folder; give one without /")
    return text


def output_file(text):
    """An argparse type: a file to write, in a folder that exists."""
    if Path(text).is_dir() or not Path(text).parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} cannot be written; give a file in a folder that exists")
    return text


@dataclass(frozen=True)
class Script:
    """A script's options: those of the groups it reads, and some that it knows but does not read.

    groups: {title: class} of all scripts. tolerated: unread options that are accepted, because the authors'
    command lines have them. refused: unread options that raise an error. choices: {option: choices} where the
    script offers fewer. switch: the option that chooses the method, such as "--method".
    """

    name: str
    description: str
    groups: dict
    tolerated: tuple = ()
    refused: tuple = ()
    choices: dict = dataclasses.field(default_factory=dict)
    switch: str = None

    def known(self, *titles):
        """{option: (its group's class, its field)} of these groups, by default of all."""
        return {
            field.name: (group_class, field)
            for group_class in (self.groups[title] for title in titles or self.groups)
            for field in dataclasses.fields(group_class)
            if self.name in group_class.scripts or field.name in self.tolerated + self.refused
        }

    def reads(self, group_class, method):
        """Whether the script, with this method, reads a group."""
        methods = group_class.methods
        return self.name in group_class.scripts and (methods is None or method in methods)

    def defaults(self, *layers):
        """{option: default}: the fields' own, then those of each layer that the script has."""
        values = {name: field.default for name, (_, field) in self.known().items()}
        for layer in layers:
            values |= {name: value for name, value in layer.items() if name in values}
        return values

    def typed(self, arguments, defaults, epilog=None):
        """{option: value} of what is on the command line (None: sys.argv). --help states `defaults`."""
        parser = Parser(
            prog=f"{self.name}.py",
            description=self.description,
            epilog=epilog,
            argument_default=argparse.SUPPRESS,
        )
        for title in self.groups:
            section = parser.add_argument_group(title)
            for name, (group_class, field) in self.known(title).items():
                flags = (*field.metadata["flags"], f"--{name}")
                help = self._help(field, group_class, defaults[name])
                section.add_argument(*flags, dest=name, help=help, **self._argument(field))
        found = vars(parser.parse_args(arguments))
        return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}

    def _argument(self, field):
        """How argparse reads an option."""
        details, kind, nargs = field.metadata, field.metadata["kind"] or field.type, field.metadata["nargs"]
        if kind is bool:
            return {"action": "store_true"}
        if get_args(kind):  # tuple[int, ...]
            kind, nargs = get_args(kind)[0], nargs or "+"
        choices = self.choices.get(field.name, details["choices"])
        metavar = None if choices else kind.__name__.upper()
        kind = number(kind, **details["bounds"]) if details["bounds"] else kind
        return {"type": kind, "choices": choices, "metavar": metavar, "nargs": nargs}

    def _help(self, field, group_class, default):
        """What --help says about an option; nothing if the script refuses it."""
        if field.name in self.refused:
            return argparse.SUPPRESS
        words, replaced = [field.metadata["help"]], field.metadata["instead_of"]
        if field.name in self.tolerated:
            words = ["without effect here; the authors' command lines have it"]
        elif group_class.methods and self.switch:
            words.append(f"({self.switch} {', '.join(group_class.methods)})")
        if replaced:
            words.append(f"(instead of {' and '.join(f'--{name}' for name in replaced)})")
        return " ".join([*words, f"(default: {default})"]).replace("%", "%%")

    def build(self, values):
        """Sort {option: value} into ({title: group}, {option: value}).

        The first holds the groups that the script reads, the second the options that it does not read.
        """
        groups = {
            title: group_class(
                **{field.name: values[field.name] for field in dataclasses.fields(group_class)}
            )
            for title, group_class in self.groups.items()
            if self.name in group_class.scripts
        }
        return groups, {name: values[name] for name in self.tolerated + self.refused}

    def refuse_unread(self, typed, method):
        """Raise UserError if one of the `typed` options (names) has no effect.

        The script does not read it at all or not with this method, or another typed option replaces it.
        """
        for name, (group_class, field) in self.known().items():
            if name not in typed:
                continue
            if name in self.refused:
                raise UserError(f"--{name}: without effect in {self.name}.py; leave it out")
            if group_class.methods and method not in group_class.methods:
                cure = f" or set {self.switch} {group_class.methods[0]}" if self.switch else ""
                raise UserError(f"--{name}: without effect with {method}; leave it out{cure}")
            for other in field.metadata["instead_of"]:
                if other in typed:
                    raise UserError(f"--{other}: without effect beside --{name}; leave one of them out")

    def command(self, values):
        """The command line of {option: value}."""
        known, words = self.known(), []
        for name, value in values.items():
            field = known[name][1]
            is_switch = (field.metadata["kind"] or field.type) is bool
            typed = () if is_switch else value if isinstance(value, (tuple, list)) else (value,)
            words.append(" ".join([f"--{name}", *(shlex.quote(str(each)) for each in typed)]))
        return " ".join([f"python {self.name}.py", *words])


def refuse_other_size(img_size, made, maker, cure=""):
    """Raise UserError if --img_size is not `made`, the size in pixels that `maker` makes.

    maker: a plural, such as "3 cells".
    """
    if img_size != made:
        raise UserError(
            f"--img_size: {maker} make {made} px images, not {img_size}; set --img_size {made}{cure}"
        )
