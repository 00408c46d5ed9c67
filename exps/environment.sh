# Source this first: it goes to the project's folder and activates .venv, if there is one and no other environment is active.
# Then install_requirements makes .venv where no environment is active, and installs requirements.txt.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] || [ ! -d .venv ] || . .venv/bin/activate

install_requirements() {
    if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]; then
        python3 -m venv .venv
        . .venv/bin/activate
    fi
    echo "installing requirements.txt (the first time takes a minute or two) ..."
    python -m pip install --quiet --disable-pip-version-check -r requirements.txt
}
