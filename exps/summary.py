"""Print the table that ends the quickstart: `python exps/summary.py RUN [--seconds S]`, RUN being a train_derived.py run."""

import argparse
import json
from pathlib import Path


def figure(name, form, untrained, trained):
    before = f"{untrained[name]:{form}} untrained, " if untrained else ""
    return f"{before}{trained[name]:{form}} trained"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=float)
    arguments = parser.parse_args()
    try:
        results = json.loads((arguments.run / "results.json").read_text())
    except (OSError, ValueError):
        results = {}
    if not results.get("history"):
        parser.exit(2, f"error: {arguments.run} is not the folder of a finished run of train_derived.py\n")
    first, trained = results["history"][0], results["final"]
    untrained = first if first["iteration"] == 0 and first != trained else None
    rows = [
        ("architecture", results["architecture"]),
        ("parameters", f"{results['generator_parameters']:,}"),
        ("MACs", f"{results['generator_macs']:,}"),
        (f"IS ({trained['feature_net']})", figure("is_mean", ".2f", untrained, trained)),
        (f"FID ({trained['feature_net']})", figure("fid", ".1f", untrained, trained)),
    ]
    if arguments.seconds is not None:
        rows.append(("time", f"{arguments.seconds / 60:.1f} min, without the installation"))
    samples = arguments.run / "Samples"
    rows += [
        ("samples", sorted(samples.glob("iteration_*.png"))[-1]),
        ("training as GIF", samples / "training.gif"),
    ]
    width = max(len(name) for name, _ in rows)
    print()
    for name, value in rows:
        print(f"{name:{width}}  {value}")


if __name__ == "__main__":
    main()
