#!/usr/bin/env bash
# The last step of the paper's search (section 3.3.3): trains every architecture that a search has kept from scratch, one after the other,
# and names the one of the highest Inception score: bash exps/retrain_topk.sh RUN/derived.json [options of train_derived.py]
# Hardware and time: those of exps/autogan_cifar10_a.sh, as many times as architectures were kept (5).
set -euo pipefail
[ -f "${1:-}" ] || { echo "error: give the derived.json of a search: bash exps/retrain_topk.sh RUN/derived.json [options]" >&2; exit 2; }
derived=$(realpath "$1")
. "$(dirname "${BASH_SOURCE[0]}")/activate.sh"
runs=()
for rank in $(python -c "import json, sys; print(*range(1, 1 + len(json.load(open(sys.argv[1]))['architectures'])))" "$derived"); do
    status=0
    python train_derived.py --arch_file "$derived" --rank "$rank" --exp_name "rank_$rank" "${@:2}" || status=$?
    if [ $status = 3 ]; then # diverged: the others may not
        echo "rank $rank is left out"
    elif [ $status != 0 ]; then
        exit $status
    else
        runs+=("$(ls -td logs/rank_"${rank}"_2* | head -n 1)")
    fi
done
python exps/retrained_table.py "${runs[@]}"
