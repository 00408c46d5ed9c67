"""Search a generator: by AutoGAN, at random, by DGGAN, or by ProgGAN's fixed list of growths.

AutoGAN: a multi-level search in a shared GAN, with one LSTM controller per level, or (slas) one for all
(models_search/autogan/search.py: Algorithm 1). Random search with weight sharing: in such a GAN without a
controller (models_search/random_sharing/search.py). ASHA: random architectures, each trained alone, the
better ones longer (models_search/asha/search.py). DGGAN: both networks and the resolution grow while they
train, and the K best stay (models_search/dggan/search.py).

python search.py --dataset cifar10 --exp_name autogan_search
python search.py --method dggan --dataset cifar10
"""

from functools import partial

import cfg
from utils.cli import UserError, answer_first, run_script

if __name__ == "__main__":
    answer_first(partial(cfg.parse, "search"))

from models_search import asha, autogan, dggan, random_sharing
from models_search.estimate import print_plan
from utils.distributed import from_first, is_first, size
from utils.run.derived import write_derived
from utils.run.folder import find_run, load_run, open_run
from utils.run.save_point import StopSignal
from utils.run.together import together

# A search is a package of six functions: make_plan, estimate, new_state, load_materials, read_images,
# run_search.
METHODS = {
    "autogan": autogan, "slas": autogan, "random_sharing": random_sharing, "asha": asha,
    "dggan": dggan, "proggan": dggan,
}  # fmt: skip
# Those that go on after their end if they get more time: with further trials, with further growing steps.
MORE_WITH_TIME = ("asha", "dggan")


def main():
    options, saved = from_first(cfg.find_run, cfg.parse("search")), None
    if options.run.load_path:
        saved = load_run(options.run.load_path)
        options = cfg.resumed(options, saved["options"])
        refuse_more_time(options)
    refuse_independent(options)
    method = METHODS[options.search.method]

    plan = method.make_plan(options)
    found = method.estimate(plan, method.load_materials(plan)) if options.estimating.estimate else None
    if options.run.dry_run or found:
        resolved = {"script": "search.py", "options": options.flat(), "processes": size(), **plan.describe()}
        print_plan(resolved, found, options.run)
        return
    state = method.new_state(plan, saved)
    materials = method.load_materials(plan)

    run = open_run(options.run, options.flat(), saved, materials.device)
    if plan.classes:
        run.log(plan.classes.text())
    with run.removed_if_refused():
        method.read_images(state, plan, materials)
    with StopSignal(f"go on with --load_path {run.folder}", run.note) as stop:
        ranked, results = method.run_search(state, plan, materials, run, stop)

    if not is_first():  # the first process writes
        return
    derived = run.folder / "derived.json"
    write_derived(derived, options.search.reward, options.scoring.feature_net, ranked)
    print_next_commands(run, options, derived, ranked[0])
    found = {"architectures": "architecture", "rewards": "reward"}
    known = {"classes": list(plan.classes.names)} if plan.classes else {}
    run.finish({name: [entry[part] for entry in ranked] for name, part in found.items()} | results | known)


def refuse_independent(options):
    """Raise UserError where several processes would each train networks of their own, or measure time."""
    method = options.search.method
    if size() > 1 and method in ("asha", "dggan", "proggan"):
        problem = f"torchrun's {size()} processes share one network, {method} trains many"
        raise UserError(f"--method: {problem}; start it without torchrun, with --workers")
    if size() > 1 and options.estimating.estimate:
        raise UserError("--estimate: one process measures; start it without torchrun")


def refuse_more_time(options):
    """Raise UserError if a search that has ended is given a budget, and has nothing left to do with it."""
    method, path = options.search.method, options.run.load_path
    has_ended = (find_run(path) / "results.json").is_file()
    if has_ended and "budget_hours" in options.typed and method not in MORE_WITH_TIME:
        problem = f"the search of {path} has ended, and its levels are scored"
        raise UserError(f"--budget_hours: {problem}; start a new run with a larger one")


def print_next_commands(run, options, derived, best):
    """Log what to type next, to train the best architecture.

    If the search kept no weights, also what to type to train all of its architectures.
    """
    run.log(f"wrote {derived}; to train the first of them from scratch:")
    run.log("  " + cfg.command("train_derived", options, arch_file=derived, rank=1, exp_name="derive"))
    if "weights" in best:
        run.log(f"or add --init_from {run.folder / best['weights']} to go on from the searched weights")
    else:
        training = cfg.command("train_derived", options).removeprefix("python train_derived.py")
        run.log("the paper trains all of them and keeps the one of the highest Inception score:")
        run.log(f"  bash exps/retrain_topk.sh {derived}{training}")


if __name__ == "__main__":
    run_script(together(main))
