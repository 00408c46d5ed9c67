#!/usr/bin/env bash
# Architecture a, found on CIFAR-10, trained on STL-10 (train and unlabeled) at 48 px. Published: IS 9.16 +- 0.12, FID 31.01.
# Late in training it is known to collapse; --max_grad_norm 50 is the known cure.
# Hardware (estimated): one CUDA GPU with 12 GB; 50,000 generator iterations, hours not known. Needs Inception's weights (docs/METRICS.md).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python train_derived.py \
    --gen_model autogan_cifar10_a --dis_model autogan_cifar10_a \
    --dataset stl10 --img_size 48 --bottom_width 6 \
    --val_freq 10 \
    --exp_name autogan_cifar10_a2stl10 \
    "$@"
