#!/usr/bin/env bash
# Installs what the project needs and runs its tests: at most 10 minutes on 2 CPU cores, no GPU, no download but packages.
# With --full also the long ones, most of an hour more: runs that are killed at every kind of moment, searches whose workers and
# machines are lost, those on Ray if it is installed (requirements-ray.txt). It prints the table of docs/RELIABILITY.md.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_requirements
python -m pip install --quiet --disable-pip-version-check pytest pytest-xdist
options=()
for option in "$@"; do
    [ "$option" = --full ] && full=--promises || options+=("$option")
done
python -m pytest -q -n 2 --dist worksteal ${full:-} tests ${options[@]+"${options[@]}"}
[ -n "${full:-}" ] || exit 0
python tests/kill_runs.py --per_moment 3
python tests/engine_runs.py --engine local --times 5
if python -c "import ray" 2>/dev/null; then
    python tests/engine_runs.py --engine ray --times 3
else
    echo "Ray is not installed: its runs are left out (pip install -r requirements-ray.txt)"
fi
