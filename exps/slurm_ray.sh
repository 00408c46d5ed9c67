#!/usr/bin/env bash
#SBATCH --job-name=gan_search
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=48:00:00
#SBATCH --signal=B:TERM@120
# Starts Ray on the machines of a Slurm allocation and runs a command there, to which it adds --engine and --workers:
#   sbatch exps/slurm_ray.sh exps/dggan_cifar10.sh
#   sbatch --nodes=10 exps/slurm_ray.sh exps/retrain_topk.sh logs/RUN/derived.json --seeds 5
# The project, its Python environment and the data must lie on storage that all machines see. Two minutes before the
# time is over the search saves itself; the same command goes on. --workers: one training for each GPU, or for each core
# where there are no GPUs; set WORKERS for another number, such as with --gpus_per_task 0.5.
set -euo pipefail
[ -n "${SLURM_JOB_NODELIST:-}" ] || { echo "error: no Slurm allocation; type sbatch exps/slurm_ray.sh SCRIPT [options]" >&2; exit 2; }
[ $# -gt 0 ] || { echo "error: name a script, such as exps/dggan_cifar10.sh" >&2; exit 2; }
cd "${SLURM_SUBMIT_DIR:-.}"
[ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] || [ ! -d .venv ] || . .venv/bin/activate
python -c "import ray" 2>/dev/null || { echo "error: Ray is not installed; pip install -r requirements-ray.txt" >&2; exit 2; }

export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token
# Who shares these machines must not reach the cluster: a token of this job, for all of its machines.
RAY_AUTH_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))")
export RAY_AUTH_TOKEN
cores=${SLURM_CPUS_PER_TASK:-1} gpus=${SLURM_GPUS_ON_NODE:-0} count=${SLURM_JOB_NUM_NODES:-1}
nodes=($(scontrol show hostnames "$SLURM_JOB_NODELIST"))
address=$(srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" hostname --ip-address | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 20000))

start_ray() { # MACHINE OPTIONS...: stays until the job ends
    srun --nodes=1 --ntasks=1 --nodelist="$1" --cpus-per-task="$cores" --overlap \
        ray start --block --disable-usage-stats --num-cpus="$cores" --num-gpus="$gpus" "${@:2}" >"ray_$SLURM_JOB_ID.$1.log" 2>&1 &
}
start_ray "${nodes[0]}" --head --node-ip-address="$address" --port="$port" --include-dashboard=false
until ray status --address="$address:$port" >/dev/null 2>&1; do sleep 2; done
for node in "${nodes[@]:1}"; do
    start_ray "$node" --address="$address:$port"
done
workers=${WORKERS:-$((count * (gpus > 0 ? gpus : cores)))}
echo "Ray at $address:$port on $count machines, $workers trainings at once"

# Slurm's signal comes to this script, which hands it on; the search saves itself and ends.
bash "$1" "${@:2}" --engine "ray:$address:$port" --workers "$workers" &
search=$!
trap 'pkill -TERM -P $search || kill -TERM $search' TERM INT
code=0
wait $search || code=$?
while kill -0 $search 2>/dev/null; do wait $search && code=0 || code=$?; done
exit $code
