#!/usr/bin/env bash
# Architecture a, found on CIFAR-10, trained on STL-10 (train + unlabeled) at 48 px. Published: IS 9.16 +- 0.12, FID 31.01.
# Training is known to collapse late; --max_grad_norm 50 is the known cure.
# Hardware (estimated): one CUDA GPU with 12 GB, hours not yet measured.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/activate.sh"
python train_derived.py \
    -gen_bs 128 \
    -dis_bs 64 \
    --dataset stl10 \
    --bottom_width 6 \
    --img_size 48 \
    --max_iter 50000 \
    --gen_model autogan_cifar10_a --dis_model autogan_cifar10_a \
    --latent_dim 128 \
    --gf_dim 256 \
    --df_dim 128 \
    --g_spectral_norm False \
    --d_spectral_norm True \
    --g_lr 0.0002 \
    --d_lr 0.0002 \
    --beta1 0.0 \
    --beta2 0.9 \
    --init_type xavier_uniform \
    --n_critic 5 \
    --val_freq 10 \
    --exp_name autogan_cifar10_a2stl10 \
    "$@"
