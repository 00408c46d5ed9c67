#!/usr/bin/env bash
# Random search with weight sharing on CIFAR-10 (AutoGAN's paper, section 4.3.5): ends by the clock, as the paper's 48 hours.
# Published: IS 8.09, FID 17.34 after retraining. On a faster GPU than that of 2019 fewer hours are comparable: --budget_hours N.
# Hardware (estimated): one CUDA GPU with 8 GB. Needs Inception's weights (docs/METRICS.md).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python search.py --method random_sharing --budget_hours 48 --max_search_iter 100000 --exp_name random_sharing_cifar10 "$@"
