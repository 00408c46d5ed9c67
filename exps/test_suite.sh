#!/usr/bin/env bash
# Installs what the project needs and runs its tests: at most 10 minutes on 2 CPU cores, no GPU, no download but packages.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_requirements
python -m pip install --quiet --disable-pip-version-check pytest pytest-xdist
python -m pytest -q -n 2 --dist worksteal tests "$@"
