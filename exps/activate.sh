# Sourced: goes to the project's folder and, unless an environment is active, activates the .venv that quickstart.sh and test_suite.sh make.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] || [ ! -d .venv ] || . .venv/bin/activate
