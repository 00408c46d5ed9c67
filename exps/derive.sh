#!/usr/bin/env bash
# Trains an architecture from scratch. As it stands: architecture a. Put yours after --arch, or add --arch_file RUN/derived.json
# --rank N, which wins over --arch. Hardware and time (estimated): as in exps/autogan_cifar10_a.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python train_derived.py --arch 1 0 1 1 1 0 0 1 1 1 0 1 0 3 "$@"
