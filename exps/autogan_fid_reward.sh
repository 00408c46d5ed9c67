#!/usr/bin/env bash
# AutoGAN's search on CIFAR-10 with 1 / FID as reward (section 4.3.2, Fig. 8), IS and FID scored every 5 iterations. Published:
# comparable with IS as reward. Such rewards differ by some 0.001, so the unchanged --entropy_coeff weighs more than it does with IS.
# Hardware (estimated): one CUDA GPU with 8 GB. Needs Inception's weights (docs/METRICS.md).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python search.py --reward fid --score_freq 5 --exp_name autogan_fid_reward "$@"
