#!/usr/bin/env bash
# Architecture c of the paper on CIFAR-10, with the default options, which are the authors'. Published: IS 8.41 +- 0.11, FID 13.87.
# Hardware (estimated): one CUDA GPU with 8 GB; 50,000 generator iterations, hours not known. Needs Inception's weights (docs/METRICS.md).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python train_derived.py --gen_model autogan_cifar10_c --dis_model autogan_cifar10_c --exp_name autogan_cifar10_c "$@"
