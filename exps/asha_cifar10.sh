#!/usr/bin/env bash
# Random search without weight sharing on CIFAR-10 (section 4.3.5; ASHA, Li and Talwalkar 2019): random architectures, each trained alone,
# the better ones longer. The paper gives it 48 hours and reports IS 7.97, FID 21.39. Rungs and eta are this project's: 5, 20, 80 and 320
# passes over the data, one in 4 goes on. With several GPUs add --workers N. Needs Inception's weights (docs/METRICS.md).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python search.py --method asha --budget_hours 48 --exp_name asha_cifar10 "$@"
