"""What a checkpoint must hold, written as something that looks like it:

    refuse_other_parts(saved, {"step": COUNT, "best": (None, dict), "weight": tensor}, "--load_path: RUN")

A schema is a type; a range, for an int in it; a tensor, for one of its shape and type; a dict, for exactly
these parts, or Some or Least of them, or {str: int} for any names; Each, for a list; a tuple, for any of it;
or else the very value.
"""

from dataclasses import dataclass

import torch

from utils.cli import UserError

COUNT = range(2**62)


class Some(dict):
    """A schema: any of these parts and no others."""


class Least(dict):
    """A schema: these parts and perhaps others."""


@dataclass(frozen=True)
class Each:
    """A schema: a list or tuple of what `schema` says, `length` of them if that is not None."""

    schema: object
    length: int | None = None


def refuse_other_parts(saved, schema, source):
    """Raise UserError unless `saved` is as its schema says.

    source: option and file, such as "--load_path: RUN".
    """
    problem = _find_problem(saved, schema, "")
    if problem:
        raise UserError(f"{source} is no checkpoint to go on from: {problem}; use another one")


def _find_problem(saved, schema, place):
    """What is wrong, in words, with the part at `place`; None if nothing is."""
    if isinstance(schema, tuple):
        problems = [_find_problem(saved, each, place) for each in schema]
        return None if None in problems else problems[-1]
    if isinstance(schema, dict):
        return _find_problem_in_dict(saved, schema, place)
    if isinstance(schema, Each):
        if not isinstance(saved, (list, tuple)) or schema.length not in (None, len(saved)):
            return f"{place} is no list" + (f" of {schema.length}" if schema.length else "")
        problems = (_find_problem(each, schema.schema, f"{place}[{i}]") for i, each in enumerate(saved))
        return next(filter(None, problems), None)
    return None if _is_as(saved, schema) else f"{place} is {_words(saved)}, not {_words(schema)}"


def _find_problem_in_dict(saved, schema, place):
    if not isinstance(saved, dict):
        return f"{place or 'the file'} is {_words(saved)}, not named parts"
    if list(schema) == [str]:
        schema = {name: schema[str] if isinstance(name, str) else "a name" for name in saved}
    missing = () if isinstance(schema, Some) else schema.keys() - saved.keys()
    foreign = () if isinstance(schema, Least) else saved.keys() - schema.keys()
    for names, words in ((missing, "is missing"), (foreign, "does not belong there")):
        if names:
            return f"{_join(place, min(map(str, names)))} {words}"
    parts = ((name, each) for name, each in schema.items() if name in saved)
    problems = (_find_problem(saved[name], each, _join(place, name)) for name, each in parts)
    return next(filter(None, problems), None)


def _join(place, name):
    return f"{place}/{name}" if place else str(name)


def _is_as(saved, schema):
    if isinstance(schema, type):
        return isinstance(saved, schema) and (schema in (bool, object) or not isinstance(saved, bool))
    if isinstance(schema, range):
        return type(saved) is int and saved in schema
    if isinstance(schema, torch.Tensor):
        is_tensor = isinstance(saved, torch.Tensor)
        return is_tensor and (saved.shape, saved.dtype) == (schema.shape, schema.dtype)
    return type(saved) is type(schema) and saved == schema


def _words(value):
    """A value or schema in a few words."""
    if isinstance(value, torch.Tensor):
        return f"a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, range):
        return f"one of {value.start} to {value.stop - 1}"
    if isinstance(value, type):
        return f"of type {value.__name__}"
    if isinstance(value, (dict, list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    return ascii(value)[:80]
