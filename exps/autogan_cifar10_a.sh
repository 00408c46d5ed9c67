#!/usr/bin/env bash
# Architecture a of the paper on CIFAR-10, with the default options, which are the authors'.
# Published: IS 8.55 +- 0.10, FID 12.42 (users who retrain it report FID 13 to 15).
# Hardware (estimated): one CUDA GPU with 8 GB; 50,000 generator iterations, hours not known. Needs Inception's weights (docs/METRICS.md).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python train_derived.py --gen_model autogan_cifar10_a --dis_model autogan_cifar10_a --exp_name autogan_cifar10_a "$@"
