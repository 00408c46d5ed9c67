#!/usr/bin/env bash
# Architecture a on CIFAR-10 with what later work found to lower FID at an equal generator.
# Nobody has published this combination: each part is published, elsewhere and alone, and what they add up to is unknown.
# Cost on one GPU: not measured. The same networks trained as in autogan_cifar10_a.sh take three times its steps, and the
# discriminator four times its work in each. docs/RECIPES.md has the formulas; published differences in FID, "->" from without to with:
#   --ema_halflife 500000         StyleGAN2-ADA's configuration for CIFAR-10, with its ramp of 5 %; no isolated figure
#   --lr_schedule linear          SN-GAN (pfnet's code), GN-GAN, mimicry: from the start to 0; no isolated figure
#   --max_iter 150000             three times AutoGAN's length, as in E2GAN, AdversarialNAS and EAGAN; no isolated figure
#   --augment translation,cutout  DiffAugment: BigGAN, conditional, 9.59 -> 8.70; StyleGAN2, unconditional, with color,cutout 11.07 -> 9.89
#   --df_dim 256                  MMD-AdversarialNAS: 10.87 -> 7.48 with 512, another generator, --loss mmd and --n_critic 1 at once
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python train_derived.py --gen_model autogan_cifar10_a --dis_model autogan_cifar10_a --exp_name autogan_cifar10_a_best \
    --max_iter 150000 --lr_schedule linear --ema_halflife 500000 --augment translation,cutout --df_dim 256 "$@"
