#!/usr/bin/env bash
# Trains a searched architecture from scratch: replace --arch by yours, or pass --arch_file RUN/derived.json --rank 1
# (which takes precedence). As it stands: architecture a. Hardware (estimated): one CUDA GPU with 8 GB, hours not yet measured.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/activate.sh"
python train_derived.py \
    -gen_bs 128 \
    -dis_bs 64 \
    --dataset cifar10 \
    --bottom_width 4 \
    --img_size 32 \
    --max_iter 50000 \
    --gen_model shared_gan --dis_model shared_gan --arch 1 0 1 1 1 0 0 1 1 1 0 1 0 3 \
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
    --val_freq 20 \
    --exp_name derive \
    "$@"
