"""A step of the search on CPU cores, averaged over the levels: `python bench/cpu.py [--quick]`.

The average is what a whole search gains if all levels take the same number of steps.
"""

import torch
from comparison import print_rows, write_rows
from search_step import measure, search_step_parser

from utils.cli import run_script


def main():
    options = search_step_parser(__doc__).parse_args()
    options.device = torch.device("cpu")
    rows, averages = print_rows(measure(options)), {}
    for precision in options.precisions:
        measured = [row for row in rows if row["precision"] == precision]
        plain, fast = (sum(row[name] for row in measured) for name in ("plain_ms", "fast_ms"))
        averages[precision] = plain / fast
        print(f"all levels together, {precision}: {plain / fast:.2f} times as fast as the plain way")
    write_rows(options.json, rows, averages=averages)


if __name__ == "__main__":
    run_script(main)
