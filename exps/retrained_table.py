"""Print finished runs of train_derived.py by their final Inception score, the best first: `python exps/retrained_table.py RUN RUN ...`."""

import argparse
import json
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    found = []
    for run in parser.parse_args().runs:
        try:
            results = json.loads((run / "results.json").read_text())
            found.append((results["final"], results["architecture"], run))
        except (OSError, ValueError, KeyError):
            parser.exit(2, f"error: {run} is not the folder of a finished run of train_derived.py\n")
    networks = {final["feature_net"] for final, _, _ in found}
    if len(networks) > 1:
        parser.exit(
            2,
            f"error: the runs are scored by different networks ({', '.join(sorted(networks))}), whose scores do not compare\n",
        )
    print(f"\nIS and FID ({networks.pop()}) of the trained generators, the highest IS first")
    found.sort(key=lambda entry: -entry[0]["is_mean"])
    for final, architecture, run in found:
        print(
            f"  IS {final['is_mean']:6.2f} +- {final['is_std']:.2f}   FID {final['fid']:8.2f}   {architecture}   {run}"
        )


if __name__ == "__main__":
    main()
