#!/usr/bin/env bash
# A conditional GAN in minutes, on one CPU core and the 1,797 handwritten digits that come with scikit-learn: train it, draw 1,000
# digits, and ask a classifier of real digits which they are. Further options go to the training. docs/CONDITIONAL.md
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_requirements

folders=$(mktemp -d)
trap 'rm -rf "$folders"' EXIT
python train_derived.py --dataset digits --conditional --exp_name conditional_digits --folder_file "$folders/training" \
    --feature_net efficientnet-lite0 --is_splits 1 --num_eval_imgs 1000 --val_freq 1000 --sample_freq 20 \
    --img_size 16 --arch 1 0 1 1 1 0 0 1 1 --gf_dim 32 --df_dim 32 -gen_bs 32 -dis_bs 32 --n_critic 1 --d_lr 4e-4 \
    --ema_decay 0.99 --max_iter 3000 "$@"
training=$(<"$folders/training")
python test.py --load_path "$training" --checkpoint last --save_images "$training/digits" --num_images 1000
python exps/label_accuracy.py "$training/digits"
