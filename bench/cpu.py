"""The search on CPU cores: steps at the search widths, averaged over the levels: `python bench/cpu.py [--quick]`.

The average is that of a whole iteration's time: every level takes the same number of steps.
"""

import torch
from comparison import write_rows
from search_step import printed_rows, search_step_parser

from utils.cli import run_script


def main():
    options = search_step_parser(__doc__).parse_args()
    options.device = torch.device("cpu")
    rows = printed_rows(options)
    averages = {}
    for precision in options.precisions:
        plain, fast = (
            sum(row[way] for row in rows if row["precision"] == precision) for way in ("plain_ms", "fast_ms")
        )
        averages[precision] = plain / fast
        print(f"all levels together, {precision}: {plain / fast:.2f} times the plain way")
    write_rows(options.json, rows, averages=averages)


if __name__ == "__main__":
    run_script(main)
