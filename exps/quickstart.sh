#!/usr/bin/env bash
# The whole of AutoGAN in minutes, on 2 CPU cores and images that come with scikit-learn (1,797 handwritten digits):
# search three cells (8 -> 16 -> 32 px) with a scaled-down shared GAN, train the best architecture from scratch, score it.
# Figures are on EfficientNet-Lite0's scale, not Inception's: they show that training works, nothing more.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

common=(--dataset digits --feature_net efficientnet-lite0 -gen_bs 32 -dis_bs 32 "$@")
SECONDS=0
python search.py "${common[@]}" --exp_name quickstart_search --gf_dim 16 --df_dim 16 --n_critic 1 \
    --max_search_iter 6 --grow_step1 2 --grow_step2 4 --shared_epoch 2 --ctrl_step 5 --ctrl_lr 0.01 --rl_num_eval_img 200 --is_splits 1 \
    --num_candidate 6 --topk 3 --val_freq 2
search_run=$(ls -td logs/quickstart_search_* | head -n 1)
python train_derived.py "${common[@]}" --exp_name quickstart --arch_file "$search_run/derived.json" --rank 1 --gf_dim 32 --df_dim 32 \
    --n_critic 1 --max_iter 1500 --num_eval_imgs 1797 --score_start --val_freq 9 --sample_freq 2 --ema_decay 0.99
run=$(ls -td logs/quickstart_2* | head -n 1)
python exps/summary.py "$run" --seconds $SECONDS
