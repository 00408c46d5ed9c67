"""Print the best network of each resolution of several growing runs side by side: `python exps/growth_table.py RUN RUN ... [--minutes M]`.

Each RUN is a folder of search.py --method dggan or proggan.
"""

import argparse
import json
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--minutes", type=float)
    arguments = parser.parse_args()
    results = []
    for run in arguments.runs:
        try:
            results.append(json.loads((run / "results.json").read_text()))
        except (OSError, ValueError):
            results.append({})
        if "resolutions" not in results[-1]:
            parser.exit(
                2,
                f"error: {run} is not the folder of a finished run of search.py --method dggan or proggan\n",
            )
    networks = {each["feature_net"] for each in results}
    if len(networks) > 1:
        parser.exit(
            2,
            f"error: the runs are scored by different networks ({', '.join(sorted(networks))}), whose FIDs do not compare\n",
        )
    chosen_by = " or ".join(sorted({each.get("reward", "fid").upper() for each in results}))
    print(
        f"\nFID ({networks.pop()}) of the best networks by {chosen_by}, in brackets the training images on the path to them"
    )
    print("resolution" + "".join(f"{each['method']:>24}" for each in results))
    for resolution in sorted({int(resolution) for each in results for resolution in each["resolutions"]}):
        entries = [each["resolutions"].get(str(resolution)) for each in results]
        cells = [f"{entry['fid']:.2f} ({entry['training_images']:,})" if entry else "-" for entry in entries]
        print(f"{resolution:>7} px" + "".join(f"{cell:>24}" for cell in cells))
    for run, each in zip(arguments.runs, results):
        largest = max(each["resolutions"].items(), key=lambda item: int(item[0]))[1]
        print(f"\n{each['method']}: {', '.join(largest['actions']) or 'the root'}")
        print(f"  architecture  {largest['architecture']}")
        print(f"  growth tree   {run / 'growth_tree.png'}")
        print(f"  samples       {run / 'Samples' / 'node_{:03d}.png'.format(largest['node'])}")
    if arguments.minutes is not None:
        print(f"\ntime  {arguments.minutes:.1f} min")


if __name__ == "__main__":
    main()
