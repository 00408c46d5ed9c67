#!/usr/bin/env bash
# The last step of the paper's search (section 3.3.3): trains every architecture that a search kept from scratch and ranks them by
# Inception score: bash exps/retrain_topk.sh RUN/derived.json [--topk K] [--seeds N] [options of train_derived.py]
# With RUN alone, data set, resolution and feature network are those of the search.
# The same command goes on where it stopped. Hardware and time: those of exps/autogan_cifar10_a.sh, once for each architecture and seed.
set -euo pipefail
[ -f "${1:-}" ] || [ -f "${1:-}/derived.json" ] || { echo "error: give the derived.json of a search: bash exps/retrain_topk.sh RUN/derived.json [options]" >&2; exit 2; }
searched=$(realpath "$1")
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python train_derived.py --derive "$searched" "${@:2}"
