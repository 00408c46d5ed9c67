# Sourced by quickstart.sh and test_suite.sh: makes .venv unless an environment is active, goes to the project's folder, installs.
exps="$(dirname "${BASH_SOURCE[0]}")"
[ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] || [ -d "$exps/../.venv" ] || python3 -m venv "$exps/../.venv"
. "$exps/activate.sh"
echo "installing requirements.txt (the first time takes a minute or two) ..."
python -m pip install --quiet --disable-pip-version-check -r requirements.txt
