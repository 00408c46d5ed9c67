#!/usr/bin/env bash
# DGGAN against ProgGAN in minutes, on 2 CPU cores and the 1,797 handwritten digits that come with scikit-learn. Both grow from 8 to
# 16 px, with as many training images on the path to the last network. Ends with the FID at each resolution, the growth trees and samples.
# The scores are EfficientNet-Lite0's, not Inception's: they show that growing works, and compare with nothing published.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_requirements

folders=$(mktemp -d) # search.py writes here which folder its run has
trap 'rm -rf "$folders"' EXIT
common=(--dataset digits --feature_net efficientnet-lite0 --device cpu --img_size 16 --latent_dim 32 --growth_width 16
    --ema_decay 0.99 --rl_num_eval_img 500 --is_splits 1 "$@")
SECONDS=0
python search.py --method proggan "${common[@]}" --exp_name quickstart_proggan --folder_file "$folders/proggan" \
    --growth_iterations 1500
python search.py --method dggan "${common[@]}" --exp_name quickstart_dggan --folder_file "$folders/dggan" \
    --growth_iterations 1000 --growing_steps 2 --topk 2 --action_probability 0.5 --kernels 3 --filters 8 16 --workers 2
python exps/report.py "$(<"$folders/proggan")" "$(<"$folders/dggan")" --seconds $SECONDS
python exps/report.py "$(<"$folders/proggan")" "$(<"$folders/dggan")" --output "$(<"$folders/dggan")/report.html"
