#!/usr/bin/env bash
# Proxy against real (section 4.3.1, Fig. 7): do the scores in the shared GAN of a finished search order architectures as training each
# alone does? bash exps/proxy_correlation.sh RUN [--architectures 20] [--epochs 30] [--workers 1] [--engine ray] [options of train_derived.py]
# The paper: Spearman's coefficient 0.779, after 30 epochs; how many architectures, it does not say. Here they cover the space evenly.
# Hardware (estimated): as exps/autogan_cifar10_a.sh; 20 trainings of 4,692 generator iterations, about two of the full length.
set -euo pipefail
[ -d "${1:-}" ] || { echo "error: give a search's folder: bash exps/proxy_correlation.sh RUN [options]" >&2; exit 2; }
run=$(realpath "$1")
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python exps/proxy_correlation.py "$run" "${@:2}"
