"""Command-line options as frozen dataclasses: a field is an option. No torch.

    @group(scripts=("train",))
    class TrainingOptions:
        n_critic: int = count(5, "discriminator steps per generator step")

A group says which scripts and methods read it. argparse gets no defaults (`argument_default=SUPPRESS`), so it
returns exactly what was typed. Defaults are added afterwards. The options themselves are in option_groups/.
"""

import argparse
import dataclasses
import shlex
from dataclasses import dataclass
from functools import partial
from typing import get_args

from utils.cli import Parser, UserError
from utils.option_types import LARGEST, number, refuse_out_of_bounds


def group(scripts, methods=None):
    """Class decorator: a frozen dataclass of options for these scripts and methods (None: all)."""

    def declare(cls):
        cls = dataclass(frozen=True)(cls)
        cls.scripts, cls.methods = scripts, methods
        return cls

    return declare


def option(
    default, help, choices=None, *, kind=None, flags=(), nargs=None, instead_of=(), needs=None, later=False,
    repeats=False, **bounds,
):  # fmt: skip
    """A field of a group. Its annotation is its type.

    An option of type tuple[int, ...] takes several values. kind: argparse's type, if the annotation is not
    enough. flags: further spellings. instead_of: options that this one replaces and that have no effect
    beside it. needs: an option without which this one has no effect. later: the option came after the
    present format of checkpoints; a run that does not know it has its default, which changes nothing.
    repeats: typed several times, its values add up instead of the last ones counting.
    bounds: see utils.option_types.number.
    """
    details = {"help": help, "choices": choices, "kind": kind, "nargs": nargs, "bounds": bounds}
    details |= {"flags": flags, "instead_of": instead_of, "needs": needs, "later": later}
    details["repeats"] = repeats
    return dataclasses.field(default=default, metadata=details)


count = partial(option, at_least=1)
share = partial(option, at_least=0, at_most=1)


@dataclass(frozen=True)
class Script:
    """A script's options: those of the groups it reads, and some that it knows but does not read.

    groups: {title: class} of all scripts. tolerated: unread options that are accepted, because the authors'
    command lines have them. refused: unread options that raise an error. choices: {option: choices} where the
    script offers fewer. switch: the option that chooses the method, such as "--method".
    aliases: see utils.cli.Parser.
    """

    name: str
    description: str
    groups: dict
    tolerated: tuple = ()
    refused: tuple = ()
    choices: dict = dataclasses.field(default_factory=dict)
    switch: str = None
    aliases: dict = dataclasses.field(default_factory=dict)

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

    def later_defaults(self):
        """{option: default} of the options that runs of before do not know."""
        return {name: field.default for name, (_, field) in self.known().items() if field.metadata["later"]}

    def peek(self, names, arguments):
        """{option: value} of these options alone; the other arguments are not looked at."""
        parser = Parser(prog=f"{self.name}.py", argument_default=argparse.SUPPRESS, add_help=False)
        for name in names:
            parser.add_argument(f"--{name}")
        return vars(parser.parse_known_args(arguments)[0])

    def typed(self, arguments, defaults, method=None, epilog=None):
        """{option: value} of what is on the command line (None: sys.argv).

        --help states `defaults`. It leaves out what is not read with this method (None: nothing).
        """
        usage = f"python {self.name}.py [options]"
        about = {"usage": usage, "description": self.description, "epilog": epilog, "aliases": self.aliases}
        return self._read(self._parser(defaults, method, **about), arguments)

    def read_saved(self, values, source):
        """{option: value} of saved options, checked as if they had been typed.

        Raises UserError, which begins with `source`, for one that could not be typed.
        """
        words, known = [], self.known()
        for name, value in values.items():
            if name not in known:
                raise UserError(f"{source}: {self.name}.py has no option --{name}; remove it from the file")
            field = known[name][1]
            if value is None and field.default is not None:
                raise UserError(f"{source}: --{name} has no value; give one")
            if (field.metadata["kind"] or field.type) is bool:
                if not isinstance(value, bool):
                    raise UserError(f"{source}: --{name} is neither true nor false")
                words += [f"--{name}"] * value
            elif isinstance(value, (list, tuple)):
                words += [f"--{name}", *map(str, value)]
            elif value is not None:
                words.append(f"--{name}={value}")
        read = self._read(self._parser(source=source), words)
        return {name: read.get(name, value) for name, value in values.items()}

    def _read(self, parser, arguments):
        found = vars(parser.parse_args(arguments))
        return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}

    def _parser(self, defaults=None, method=None, **about):
        parser = Parser(prog=f"{self.name}.py", argument_default=argparse.SUPPRESS, **about)
        for title in self.groups:
            section = parser.add_argument_group(title.replace("_", " "))
            for name, (group_class, field) in self.known(title).items():
                flags = (*field.metadata["flags"], f"--{name}")
                is_hidden = name in self.refused or self._is_of_another_method(group_class, method)
                help = self._help(field, group_class, defaults and defaults[name])
                help = argparse.SUPPRESS if is_hidden else help
                section.add_argument(*flags, dest=name, help=help, **self._argument(field))
        return parser

    def _is_of_another_method(self, group_class, method):
        return method is not None and group_class.methods and method not in group_class.methods

    def check_saved(self, values, source):
        """Raise UserError, beginning with `source`, if one of {option: value} could not have been typed."""
        for name, (_, field) in self.known().items():
            if name in values and not self._is_possible(values[name], field):
                value = ascii(values[name])[:80]
                raise UserError(f"{source} has the option --{name} {value}, which cannot be; use another one")

    def _is_possible(self, value, field):
        kind, choices = field.type, self.choices.get(field.name, field.metadata["choices"])
        if value is None:
            return field.default is None
        if get_args(kind):
            element = get_args(kind)[0]
            return isinstance(value, (list, tuple)) and all(
                self._fits(each, element, field, choices) for each in value
            )
        return self._fits(value, kind, field, choices)

    def _fits(self, value, kind, field, choices):
        if type(value) is not kind and (type(value), kind) != (int, float):
            return False
        if kind in LARGEST:
            try:
                refuse_out_of_bounds(kind(value), **field.metadata["bounds"])
            except argparse.ArgumentTypeError:
                return False
        return choices is None or value in choices

    def _argument(self, field):
        """How argparse reads an option."""
        details, kind, nargs = field.metadata, field.metadata["kind"] or field.type, field.metadata["nargs"]
        if kind is bool:
            return {"action": "store_true"}
        if get_args(kind):  # tuple[int, ...]
            kind, nargs = get_args(kind)[0], nargs or "+"
        choices = self.choices.get(field.name, details["choices"])
        metavar = None if choices else kind.__name__.upper()
        kind = number(kind, **details["bounds"]) if kind in LARGEST else kind
        repeated = {"action": "extend"} if details["repeats"] else {}
        return {"type": kind, "choices": choices, "metavar": metavar, "nargs": nargs, **repeated}

    def _help(self, field, group_class, default):
        """What --help says about an option."""
        words, replaced = [field.metadata["help"]], field.metadata["instead_of"]
        if field.name in self.tolerated:
            words = ["without effect here; the authors' command lines have it"]
        elif group_class.methods and self.switch:
            words.append(f"({self.switch} {', '.join(group_class.methods)})")
        if field.metadata["needs"]:
            words.append(f"(with --{field.metadata['needs']})")
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

    def refuse_unread(self, typed, method, values):
        """Raise UserError if one of the `typed` options (names) has no effect.

        The script does not read it at all or not with this method, another typed option replaces it, or one
        that it needs is not set in `values`, {option: value} of the call.
        """
        known = self.known()
        for name, (group_class, field) in known.items():
            if name not in typed:
                continue
            if name in self.refused:
                raise UserError(f"--{name}: without effect in {self.name}.py; leave it out")
            if group_class.methods and method not in group_class.methods:
                cure = f" or set {self.switch} {group_class.methods[0]}" if self.switch else ""
                raise UserError(f"--{name}: without effect with {method}; leave it out{cure}")
            needed = field.metadata["needs"]
            if needed and values[needed] == known[needed][1].default:
                raise UserError(f"--{name}: without effect without --{needed}; leave it out or give that too")
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


def refuse_halvings(halvings, cells):
    """Raise UserError if --df_halvings is more than the discriminator of so many cells can do.

    The default, 2, never is: with a single cell it means 1.
    """
    if halvings > max(cells, 2):
        blocks = f"{cells} cell{'' if cells == 1 else 's'} bring as many blocks that can halve"
        raise UserError(f"--df_halvings: {blocks}, not {halvings}; give {cells} or less")
