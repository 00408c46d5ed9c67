#!/usr/bin/env bash
# ProgGAN on CIFAR-10: the fixed list of doublings from 8x8 to 32x32, trained as DGGAN's networks are. Published: FID 18.33.
# Hardware (estimated): one CUDA GPU with 8 GB; 300,000 steps of batch 16, hours not known. Needs Inception's weights (docs/METRICS.md).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/activate.sh"
python search.py \
    --method proggan \
    --dataset cifar10 \
    --img_size 32 \
    --start_resolution 8 \
    --growth_iterations 100000 \
    -gen_bs 16 \
    -dis_bs 16 \
    --growth_width 512 \
    --latent_dim 512 \
    --loss wgan-gp \
    --g_lr 0.001 \
    --d_lr 0.001 \
    --beta1 0.0 \
    --beta2 0.99 \
    --exp_name proggan_cifar10 \
    "$@"
