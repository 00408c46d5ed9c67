#!/usr/bin/env bash
# The last step of the paper's search (section 3.3.3): trains every architecture that a search kept from scratch, one after the other,
# and ranks them by Inception score: bash exps/retrain_topk.sh RUN/derived.json [options of train_derived.py]
# With RUN alone, data set, resolution and feature network are those of the search.
# Hardware and time: those of exps/autogan_cifar10_a.sh, once for each architecture (5 by default).
set -euo pipefail
[ -f "${1:-}" ] || [ -f "${1:-}/derived.json" ] || { echo "error: give the derived.json of a search: bash exps/retrain_topk.sh RUN/derived.json [options]" >&2; exit 2; }
searched=$(realpath "$1") derived=$(realpath "$1")
[ -f "$derived" ] || derived="$searched/derived.json"
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
folder=$(mktemp) # train_derived.py writes here which folder its run has
trap 'rm -f "$folder"' EXIT
runs=()
for rank in $(python -c "import json, sys; print(*range(1, 1 + len(json.load(open(sys.argv[1]))['architectures'])))" "$derived"); do
    status=0
    python train_derived.py --arch_file "$searched" --rank "$rank" --exp_name "rank_$rank" "${@:2}" --folder_file "$folder" || status=$?
    if [ $status = 3 ]; then # diverged: the others may not
        echo "rank $rank is left out"
    elif [ $status != 0 ]; then
        exit $status
    elif [ -s "$folder" ]; then # empty with --dry_run
        runs+=("$(<"$folder")")
    fi
done
[ ${#runs[@]} -gt 0 ] || exit $status # all diverged, or --dry_run
python exps/report.py "${runs[@]}"
