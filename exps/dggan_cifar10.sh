#!/usr/bin/env bash
# DGGAN's search on CIFAR-10 with the paper's values: K = 20, 100,000 steps of batch 16 after each growth, from 8x8 to 32x32.
# Published: FID 12.10 for 580 GPU days. p and the number of growing steps are ours (docs/DGGAN.md). With GPUs add --workers N.
# Hardware (estimated): CUDA GPUs with 8 GB each; GPU days not yet measured. Needs Inception's weights (docs/METRICS.md).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/activate.sh"
python search.py \
    --method dggan \
    --dataset cifar10 \
    --img_size 32 \
    --start_resolution 8 \
    --growth_iterations 100000 \
    -gen_bs 16 \
    -dis_bs 16 \
    --topk 20 \
    --action_probability 0.2 \
    --growing_steps 8 \
    --kernels 3 7 \
    --filters 32 64 128 256 512 1024 \
    --growth_width 512 \
    --latent_dim 512 \
    --loss wgan-gp \
    --g_lr 0.001 \
    --d_lr 0.001 \
    --beta1 0.0 \
    --beta2 0.99 \
    --reward fid \
    --exp_name dggan_cifar10 \
    "$@"
