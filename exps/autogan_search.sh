#!/usr/bin/env bash
# AutoGAN's search on CIFAR-10 as in the authors' script: 65 iterations, growing at 15 and 35. The paper has 90 iterations, growing at
# 25 and 55: those are the defaults of search.py. Published: architecture a (autogan_cifar10_a), after retraining IS 8.55, FID 12.42.
# Published cost: 43 GPU hours. Hardware (estimated): one CUDA GPU with 8 GB. Needs Inception's weights (docs/METRICS.md).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python search.py --max_search_iter 65 --grow_step1 15 --grow_step2 35 --exp_name autogan_search "$@"
