#!/usr/bin/env bash
# All of AutoGAN in minutes, on 2 CPU cores and the 1,797 handwritten digits that come with scikit-learn: search three cells
# (8, 16, 32 px) in a small shared GAN, train the best architecture from scratch, score it.
# The scores are EfficientNet-Lite0's, not Inception's: they show that training works, and compare with nothing published.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_requirements

folders=$(mktemp -d) # search.py and train_derived.py write here which folder their run has
trap 'rm -rf "$folders"' EXIT
common=(--dataset digits --feature_net efficientnet-lite0 -gen_bs 32 -dis_bs 32 --n_critic 1 "$@")
SECONDS=0
python search.py "${common[@]}" --exp_name quickstart_search --folder_file "$folders/search" \
    --gf_dim 16 --df_dim 16 --max_search_iter 6 --grow_step1 2 --grow_step2 4 --shared_epoch 2 \
    --ctrl_step 5 --ctrl_lr 0.01 --rl_num_eval_img 200 --is_splits 1 --num_candidate 6 --topk 3 --val_freq 2
python train_derived.py "${common[@]}" --exp_name quickstart --folder_file "$folders/training" \
    --arch_file "$(<"$folders/search")/derived.json" --gf_dim 32 --df_dim 32 --max_iter 1500 --ema_decay 0.99 \
    --num_eval_imgs 1797 --score_start --val_freq 9 --sample_freq 2
python exps/report.py "$(<"$folders/training")" --seconds $SECONDS
python exps/report.py "$(<"$folders/search")" "$(<"$folders/training")" --output "$(<"$folders/training")/report.html"
