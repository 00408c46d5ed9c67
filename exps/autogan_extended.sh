#!/usr/bin/env bash
# AutoGAN's search on CIFAR-10 in the extended space: attention, self-modulated batch norm, AdaIN, modulated convolutions (docs/SPACE.md).
# Not published: section 5 of the paper names these as what its space lacks. Hardware (estimated): one CUDA GPU with 8 GB.
# Needs Inception's weights (docs/METRICS.md).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python search.py --space extended --exp_name autogan_extended "$@"
