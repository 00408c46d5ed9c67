"""scored.jsonl: a line for every architecture that a search scores (docs/SEARCHES.md)."""

import json

from models_search.sizes import generator_sizes


def keep_score(run, plan, architecture, *, level, iteration, purpose, images, is_mean, fid, swd=None):
    """Append a line. Scores are None where they were not asked for or could not be computed; without `swd`
    the line has none.

    plan: of any search; its network and cell widths are read here, the latter where it has some.
    level, iteration: from 1 on. purpose: one of those that docs/SEARCHES.md lists.
    """
    text = str(architecture)
    widths = plan.network.latent_dim, getattr(plan, "cells", None)
    parameters, macs = generator_sizes(text, *widths, plan.conditioning)
    scores = {"is": is_mean, "fid": fid} | ({} if swd is None else {"swd": swd})
    place = {"architecture": text, "level": level, "iteration": iteration, "purpose": purpose}
    run.keep_score({**place, **scores, "images": images, "parameters": parameters, "macs": macs})


def log_cost(run, resets=None):
    """Log what the search has cost and how often the GAN was reset (None: it never is); returns the cost for
    results.json."""
    cost = {"hours": run.seconds() / 3600, "scored_images": count_scored_images(run)}
    line = f"the search took {cost['hours']:.2f} hours and scored {cost['scored_images']:,} images"
    if resets is not None:
        line += f"; dynamic reset happened {resets} time{'' if resets == 1 else 's'}"
    run.log(line)
    return cost


def count_scored_images(run):
    """How many images the search has scored, in all sessions."""
    if not run.scored.is_file():
        return 0
    with open(run.scored, encoding="utf-8") as lines:
        return sum(json.loads(line)["images"] for line in lines)
