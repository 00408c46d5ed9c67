# Sourced by quickstart.sh and test_suite.sh: goes to the project's folder, makes .venv unless an environment is active, installs.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -z "${VIRTUAL_ENV:-}" ] && [ -z "${CONDA_PREFIX:-}" ]; then
    [ -d .venv ] || python3 -m venv .venv
    . .venv/bin/activate
fi
echo "installing requirements.txt (the first time takes a minute or two) ..."
python -m pip install --quiet --disable-pip-version-check -r requirements.txt
