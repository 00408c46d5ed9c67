"""The search on CPU cores: steps at the search widths, averaged over the levels: `python bench/cpu.py [--quick]`.

The average is that of a whole iteration's time: every level takes the same number of steps.
"""

import subprocess
import sys
import tempfile
from json import loads
from pathlib import Path

from comparison import bench_parser, write_rows

from utils.cli import run_script


def main():
    parser = bench_parser(__doc__)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "rows.json"
        command = [sys.executable, Path(__file__).with_name("search_step.py"), "--device", "cpu", "--json", path]
        command += ["--repeats", options.repeats, *(["--quick"] if options.quick else [])]
        subprocess.run([str(word) for word in command], check=True)
        rows = loads(path.read_text())["rows"]
    averages = {}
    for precision in ("float32", "bfloat16"):
        plain, fast = (sum(row[way] for row in rows if row["precision"] == precision) for way in ("plain_ms", "fast_ms"))
        averages[precision] = plain / fast
        print(f"all levels together, {precision}: {plain / fast:.2f} times the plain way")
    write_rows(options.json, rows, averages=averages)


if __name__ == "__main__":
    run_script(main)
