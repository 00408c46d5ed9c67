#!/usr/bin/env bash
# Architecture b of the paper on CIFAR-10, with the default options, which are the authors'. Published: IS 8.42 +- 0.07, FID 13.67.
# Hardware (estimated): one CUDA GPU with 8 GB; 50,000 generator iterations, hours not known. Needs Inception's weights (docs/METRICS.md).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python train_derived.py --gen_model autogan_cifar10_b --dis_model autogan_cifar10_b --exp_name autogan_cifar10_b "$@"
