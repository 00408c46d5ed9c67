#!/usr/bin/env bash
# Measures on this machine what docs/BENCHMARKS.md lists. Let nothing else run meanwhile.
# bash exps/benchmarks.sh [FOLDER] [cpu|cuda] [options such as --quick]
# On a GPU the tests that need one run first.
set -euo pipefail
folder="${1:-benchmarks}" device="${2:-auto}"
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_requirements
mkdir -p "$folder"
more=("${@:3}") precisions=(float32 bfloat16)
net=(--feature_net efficientnet-lite0)
[ -z "${INCEPTION_PATH:-}" ] || net=(--feature_net inception --inception_path "$INCEPTION_PATH")
if python -c "import torch, sys; sys.exit('$device' == 'cpu' or not torch.cuda.is_available())"; then
    precisions=(float32 tf32 bfloat16)
    python -m pip install --quiet --disable-pip-version-check pytest
    python -m pytest -q tests/test_step_graphs.py tests/test_fast.py tests/test_spectral_norm.py ||
        echo "a test failed; measuring anyway"
fi

bench() { # NAME SCRIPT OPTIONS...: prints a table, writes FOLDER/NAME.json
    local name="$1" script="$2"
    echo "== bench/$script.py ${*:3}"
    python "bench/$script.py" --device "$device" --json "$folder/$name.json" "${@:3}" "${more[@]}"
}

bench operations operations
bench search_step search_step --precisions "${precisions[@]}"
bench search_step_compiled search_step --precisions "${precisions[@]}" --compile
bench train_step train_step --precisions "${precisions[@]}" --compile
bench scoring scoring "${net[@]}" --precisions "${precisions[@]}"
bench scoring_compiled scoring "${net[@]}" --precisions "${precisions[@]}" --compile
bench growth growth
for precision in "${precisions[@]}"; do
    bench "whole_search_$precision" whole_search "${net[@]}" --compile \
        --precisions "$precision" --feature_precision "$precision"
done
echo "figures in $folder"
