#!/usr/bin/env bash
# Installs what the project needs and runs its tests: at most 10 minutes on 2 CPU cores, no GPU, no download but packages.
# With --full also the long ones, half an hour more: runs that are killed at every kind of moment. It prints the table of
# docs/RELIABILITY.md.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_requirements
python -m pip install --quiet --disable-pip-version-check pytest pytest-xdist
options=()
for option in "$@"; do
    [ "$option" = --full ] && full=--promises || options+=("$option")
done
python -m pytest -q -n 2 --dist worksteal ${full:-} tests ${options[@]+"${options[@]}"}
[ -z "${full:-}" ] || python tests/kill_runs.py --per_moment 3
