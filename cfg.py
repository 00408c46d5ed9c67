"""The options of a script's call, in the groups of option_groups/. No torch.

    options = parse("search")
    options.beam.topk, options.run.random_seed

A group that a script does not read is None. Values come in layers, of which later ones win: the fields'
defaults, the script's, the method's, the protocol's, those of a search that --arch_file names, --config, the
options of a run that goes on, what is typed.
"""

import dataclasses
import os
import shlex

import help_texts
from models import architectures
from models.autogan.architecture import PUBLISHED, Architecture
from models.errors import ArchitectureError
from option_groups.kinds import SEARCH, TEST, TRAIN
from option_groups.resolution import extended
from option_groups.scripts import (
    AUTHORS, FREE_ON_RESUME, GROWING_DEFAULTS, METHOD_DEFAULTS, PROTOCOL_DEFAULTS, SCRIPT_DEFAULTS, SCRIPTS,
    THIS_CALL_ONLY, Options,
)  # fmt: skip
from utils.cli import UserError
from utils.options import refuse_halvings, refuse_other_size
from utils.run.config import read_config
from utils.run.derived import read_architecture
from utils.run.resume import find_interrupted


def parse(script, arguments=None):
    """The Options of `script` from the command line.

    A mistake ends the program with one line and exit code 2.
    """
    shown = SCRIPTS[script].peek(("method", "protocol"), arguments)  # what --help is about
    method, protocol = shown.get("method", "autogan" if script == SEARCH else None), shown.get("protocol")
    defaults = _defaults(script, method, protocol)
    methods = [name for name in METHOD_DEFAULTS if name not in (method, "growing")]
    growing = {name: value for name, value in GROWING_DEFAULTS.items() if name in defaults}
    epilog = help_texts.epilog(script, method, methods, growing)
    typed = SCRIPTS[script].typed(arguments, defaults, method, epilog)
    configured = _configured(script, typed)
    chosen = _defaults(script) | configured | typed
    values = _defaults(script, _method(chosen), chosen.get("protocol"))
    searched = _searched(chosen, typed.keys() | configured.keys())
    options = _resolve(script, values | searched | configured | typed, typed, configured)
    if script == TEST or not _names_run(options):  # `resumed` does it for a run that goes on
        refuse_unread(options)
    return options


def script_of(saved):
    """The script whose run saved these options {option: value}; None if they do not tell."""
    marks = {"method": SEARCH, "max_iter": TRAIN, "protocol": TEST}
    return next((script for name, script in marks.items() if name in saved), None)


def _configured(script, typed):
    """{option: value} of what --config sets: options that are not typed, nor replaced by typed ones."""
    if "config" not in typed:
        return {}
    path = typed["config"]
    names_run = "load_path" in typed or typed.get("resume", "auto") not in ("auto", "never")
    if names_run and script != TEST:
        raise UserError("--config: without effect on a run that goes on with its own options; leave it out")
    saved = read_config(path)
    wrote = script_of(saved) or script
    if wrote != script:
        cure = f"type python {wrote}.py --config {shlex.quote(path)}"
        raise UserError(f"--config: {path} is of {wrote}.py; {cure}")
    saved = SCRIPTS[script].read_saved(saved, f"--config: {path}")
    if typed.get("method") not in (None, saved.get("method", "autogan")):
        problem = f"{path} is of --method {saved.get('method', 'autogan')}, not {typed['method']}"
        raise UserError(f"--method: {problem}; leave --method out")
    return _not_replaced(script, saved, typed)


def _searched(chosen, given):
    """{option: value} of what a search hands on if --arch_file or --derive is its folder.

    Without what is given. These are the data set and its labels, the resolution and the feature network.
    """
    option = "derive" if chosen.get("derive") else "arch_file"
    folder = chosen.get(option)
    if folder is None or not os.path.isdir(folder):  # Path.is_dir raises OSError for a long name
        return {}
    names = ("dataset", "data_path", "labels", "conditional", "img_size", "bottom_width")
    names += ("feature_net", "inception_path", "inception_backend", "tf_python")
    saved = read_config(folder, f"--{option}")
    saved = {name: saved[name] for name in names if name in saved}
    saved = SCRIPTS[TRAIN].read_saved(saved, f"--{option}: {folder}/config.json")
    return _not_replaced(TRAIN, saved, given)


# {given options: what is not taken from another run then}
REPLACED = {
    ("dataset",): ("data_path", "labels"),
    ("data_path",): ("labels",),
    ("feature_net", "inception_path", "inception_backend"):
        ("feature_net", "inception_path", "inception_backend", "tf_python", "feature_precision"),
    ("arch", "arch_file", "gen_model", "derive"): ("arch", "arch_file", "rank", "gen_model", "derive"),
    ("protocol",): ("num_eval_imgs", "split"),
}  # fmt: skip


def _not_replaced(script, values, given):
    """{option: value} of another run, without options that are given or that given ones replace."""
    given, known = set(given), SCRIPTS[script].known()
    left_out = given | {name for name, (_, field) in known.items() if given & {*field.metadata["instead_of"]}}
    for names, replaced in REPLACED.items():
        left_out |= set(replaced) if given & set(names) else set()
    return {name: value for name, value in values.items() if name not in left_out}


def _defaults(script, method=None, protocol=None):
    """{option: default} for all options that a script has."""
    layers = SCRIPT_DEFAULTS[script], METHOD_DEFAULTS.get(method, {}), PROTOCOL_DEFAULTS.get(protocol, {})
    return SCRIPTS[script].defaults(*layers)


def _method(values):
    """The method whose defaults apply: --method, or the family of the named architecture."""
    if "method" in values:
        return values["method"]
    if values.get("derive"):
        text = read_architecture(values["derive"], 1, "--derive")
    else:
        text, _ = _named_architecture(*map(values.get, ("gen_model", "arch", "arch_file", "rank")))
    return architectures.family_name(text or "")


def _resolve(script, values, typed, configured=()):
    """Options from {option: value}. typed, configured: names of the options there, see Options."""
    counted, parts = "rl_num_eval_img" if script == SEARCH else "num_eval_imgs", values["is_splits"]
    if parts > values[counted]:
        images = f"{values[counted]} images (--{counted})"
        raise UserError(f"--is_splits: {images} have no {parts} parts; lower it or score more images")
    groups, unread = SCRIPTS[script].build(values)
    return Options(script, frozenset(typed), frozenset(configured), unread, **groups)


def resumed(options, saved):
    """The Options of a run that goes on: the `saved` ones, and typed ones that do not change results.

    Raises UserError for other typed options.
    """
    script, path = SEARCH if "max_search_iter" in saved else TRAIN, options.run.load_path
    source = f"--load_path: {path}"
    if script != options.script:
        cure = f"go on with it by: python {script}.py --load_path {shlex.quote(path)}"
        raise UserError(f"--load_path: {path} is a run of {script}.py; {cure}")
    saved = SCRIPTS[script].later_defaults() | saved
    missing = SCRIPTS[script].known().keys() - saved.keys() - THIS_CALL_ONLY - set(AUTHORS)
    if missing:
        raise UserError(f"{source} lacks the option --{min(missing)}; use another run")
    SCRIPTS[script].check_saved(saved, source)
    free = FREE_ON_RESUME
    # Without decay of the learning rates, no step depends on the number of steps.
    is_constant = script == TRAIN and not saved["lr_decay"] and saved["lr_schedule"] == "constant"
    if is_constant and saved["max_epoch"] is None:
        free = free | {"max_iter"} if options.derive.max_iter > saved["max_iter"] else free
    saved = {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
    values = {**options.flat(), **saved, **_this_call(options)}
    for name in options.typed - THIS_CALL_ONLY:
        value = options.flat()[name]
        if name not in free and value != values[name]:
            problem = f"the run was started with {values[name]}, not {value}"
            raise UserError(f"--{name}: {problem}; leave the option out or start a new run")
        values[name] = value
    options = _resolve(script, values, options.typed)
    refuse_unread(options)
    return options


def with_run_options(options, saved, also=()):
    """test.py's Options for a run: its widths, seed, images and feature network, from `saved`.

    also: names of further options to take from there. Typed options stay, and those of --config. If a data
    set or a feature network is typed, the options that belong to it are not taken from the run either.
    """
    names = {"dataset", "data_path", "labels", "feature_net", "inception_path", "feature_precision"}
    names |= {"random_seed", "fast", *also}
    generators = {"img_size", "latent_dim", "gf_dim", "df_dim", "df_depth", "df_halvings", "bottom_width"}
    values = {name: saved[name] for name in names | generators if name in saved}
    values = _not_replaced(options.script, values, options.typed | options.configured - generators)
    SCRIPTS[options.script].check_saved(values, f"--load_path: {options.run.load_path}")
    values = {**options.flat(), **_this_call(options), **values}
    return _resolve(options.script, values, options.typed, options.configured)


def _this_call(options):
    """{option: value} of THIS_CALL_ONLY, as far as the script has them."""
    groups = filter(None, (options.run, options.resuming, options.estimating))
    values = {name: value for group in groups for name, value in vars(group).items()}
    return {name: values[name] for name in THIS_CALL_ONLY if name in values}


def _names_run(options):
    """Whether --load_path or --resume names a run to go on with."""
    return bool(options.run.load_path) or options.resuming.resume not in ("auto", "never")


def find_run(options):
    """The Options with --load_path set to the run that --resume names or finds.

    auto finds the newest run of the same options that was interrupted: it has a checkpoint, but no results.
    """
    run, resume = options.run, options.resuming.resume
    if run.load_path or run.dry_run or options.estimating.estimate or resume == "never":
        return options
    path = resume
    if resume == "auto":
        later = SCRIPTS[options.script].later_defaults()
        path = find_interrupted("logs", run.exp_name, options.flat(), FREE_ON_RESUME, later)
    return dataclasses.replace(options, run=dataclasses.replace(run, load_path=path))


def refuse_unread(options, method=None):
    """Raise UserError if a typed option has no effect.

    method: the family of a checkpoint's architecture, if it is known.
    """
    values = options.flat()
    SCRIPTS[options.script].refuse_unread(options.typed, method or _method(values), values)


def command(script, options, **values):
    """A command line for another script, with `values` and what it needs of this run's options.

    These are the options of networks, training and scoring that both scripts read, where they are not the
    defaults. A search's width, and what only makes its rewards cheap, are left out.
    """
    left_out = {"gf_dim", "df_dim", "precision", "print_freq"}
    left_out |= {"is_splits", "feature_precision"} if options.script == SEARCH else set()
    ours, target = options.flat(), SCRIPTS[script]
    method = _method(ours | values)
    titles = (
        "data", "labels", "network", "cells", "weights", "training", "recipe", "scoring", "evaluation",
    )  # fmt: skip
    shared = target.known(*titles)
    shared |= {name: found for name, found in target.known().items() if name == "ema_decay"}
    carried = {
        name: ours[name]
        for name, (group_class, _) in shared.items()
        if name not in left_out
        and target.reads(group_class, method)
        and ours.get(name) not in (None, _defaults(script, method)[name])
    }
    return target.command(carried | values)


def changed_options(saved, architecture=""):
    """{option: (value, default)} of a run's saved options that differ from the defaults, as JSON holds them.

    architecture: the text of what a run of train_derived.py or test.py trained or scored. An option that this
    version does not have has no default: None.
    """
    method = saved.get("method") or architectures.family_name(architecture)
    defaults = _as_json(_defaults(script_of(saved) or TEST, method, saved.get("protocol")))
    pairs = {name: (value, defaults.get(name)) for name, value in _as_json(saved).items()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _as_json(values):
    """{option: value} with lists for tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def started_by(saved, architecture=""):
    """The command line that starts a run with these saved options anew."""
    script = SCRIPTS[script_of(saved) or TEST]
    changed = {name: value for name, (value, _) in changed_options(saved, architecture).items()}
    return script.command({name: value for name, value in changed.items() if name in script.known()})


def generator_architecture(options, file_option="--arch_file"):
    """The architecture that --arch_file, --arch or --gen_model names, or None.

    Raises UserError if it is not valid, or does not make images of --img_size. file_option: what the user
    typed to give options.derive.arch_file.
    """
    gen_model, derive = options.model.gen_model, options.derive
    if "rank" in options.typed and not derive.arch_file:
        raise UserError("--rank: without effect without --arch_file; give the derived.json of a search too")
    ranked = (derive.arch, derive.arch_file, derive.rank) if derive else (options.test.arch,)
    text, source = _named_architecture(gen_model, *ranked)
    source = file_option if source == "--arch_file" else source
    if text is None:
        return None
    try:
        architecture = architectures.parse(text)
    except ArchitectureError as error:
        cure = "the first cell has 4 tokens and each further one 5 (after the word extended: 5 and 6)"
        cure += "; growing networks: docs/DGGAN.md"
        raise UserError(f"{source}: {error}; {cure}") from None
    if gen_model in PUBLISHED and architecture != architectures.parse(gen_model):
        problem = f"{gen_model} is not the architecture of {source}, {architecture}"
        raise UserError(f"--gen_model: {problem}; leave one of them out")
    if isinstance(architecture, Architecture):
        if options.extension and options.extension.extend:
            architecture = extended(architecture, options, source)
        levels, width = architecture.levels, options.cells.bottom_width
        maker = f"{levels} cells ({source}) on --bottom_width {width}"
        cure = " or change the cells or --bottom_width"
        if options.extension and options.data.img_size > width << levels:
            cure = ", change the cells or --bottom_width, or add --extend"
        refuse_other_size(options.data.img_size, width << levels, maker, cure)
        refuse_single_pixel(architecture, width, "--bottom_width")
        refuse_halvings(options.cells.df_halvings, levels)
    else:
        refuse_other_size(options.data.img_size, architecture.resolution, f"the layers of {source}")
    return architecture


def refuse_single_pixel(architecture, bottom_width, option):
    """Refuse an architecture of cells whose first instance norm sees a single pixel, and so makes it 0."""
    if bottom_width == 1 and architecture.first_norm in ("instance", "adain"):
        cure = "give 2 or more, or another first cell"
        raise UserError(f"{option}: --bottom_width 1 leaves the first instance norm one value; {cure}")


def _named_architecture(gen_model, arch, arch_file=None, rank=None):
    """(text of the architecture, option that names it), or (None, None)."""
    if arch_file:
        return read_architecture(arch_file, rank), "--arch_file"
    if arch:
        return " ".join(arch), "--arch"
    return (gen_model, "--gen_model") if gen_model in PUBLISHED else (None, None)
