#!/usr/bin/env bash
# DGGAN against ProgGAN in minutes, on 2 CPU cores and images that come with scikit-learn (1,797 handwritten digits): both grow from
# 8 to 16 px, with as many training images on the path to the last network. Ends with the FID of each resolution and the paths of
# growth tree and samples.
# Figures are on EfficientNet-Lite0's scale, not Inception's: they show that growing and training work, nothing more.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

common=(--dataset digits --feature_net efficientnet-lite0 --device cpu --img_size 16 --start_resolution 8 --latent_dim 32
    --growth_width 16 -gen_bs 16 -dis_bs 16 --ema_decay 0.99 --rl_num_eval_img 500 --is_splits 1 "$@")
SECONDS=0
python search.py --method proggan "${common[@]}" --growth_iterations 1500 --exp_name quickstart_proggan
proggan=$(ls -td logs/quickstart_proggan_2* | head -n 1)
python search.py --method dggan "${common[@]}" --workers 2 --growth_iterations 1000 --growing_steps 2 --topk 2 --action_probability 0.5 \
    --kernels 3 --filters 8 16 --exp_name quickstart_dggan
dggan=$(ls -td logs/quickstart_dggan_2* | head -n 1)
python exps/growth_table.py "$proggan" "$dggan" --minutes $((SECONDS / 60)).$((SECONDS % 60 * 10 / 60))
