#!/usr/bin/env bash
# ProgGAN on CIFAR-10, the baseline of DGGAN: doubles from 8x8 to 32x32 and trains as DGGAN does. Published: FID 18.33.
# Hardware (estimated): one CUDA GPU with 8 GB; 300,000 steps of batch 16, hours not known. Needs Inception's weights (docs/METRICS.md).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python search.py --method proggan --exp_name proggan_cifar10 "$@"
