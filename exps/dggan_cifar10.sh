#!/usr/bin/env bash
# DGGAN's search on CIFAR-10, from 8x8 to 32x32, with the default options of --method dggan. The paper's: K = 20, 100,000 steps of
# batch 16 after each growth. This project's: p = 0.2 and 8 growing steps (docs/DGGAN.md). With several GPUs add --workers N.
# Published: FID 12.10 for 580 GPU days. Hardware (estimated): CUDA GPUs with 8 GB each; GPU days not known. Needs Inception's weights
# (docs/METRICS.md).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python search.py --method dggan --exp_name dggan_cifar10 "$@"
