#!/usr/bin/env bash
# Single-level search on CIFAR-10 (AutoGAN's paper, section 4.3.4, Fig. 10): one controller draws all three cells, images have 32 px
# throughout. Published: multi-level search ends higher, single-level takes longer. At 32 px an iteration is dear: for equal hours give
# both --budget_hours. Hardware (estimated): one CUDA GPU with 8 GB. Needs Inception's weights (docs/METRICS.md).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python search.py --method slas --score_freq 5 --exp_name slas_cifar10 "$@"
