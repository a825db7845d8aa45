#!/usr/bin/env bash
# Test under slurm.
#
#   tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of test.py]
#
# Environment, with defaults:
#   GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5   what to ask for; GPUS_PER_NODE=0 asks for no GPU
#   TASKS_PER_NODE=GPUS_PER_NODE             processes a node, where no GPU is asked for
#   SRUN_ARGS=                               further options of srun
#   PYTHON=python                            the interpreter
set -euo pipefail

if [ "$#" -lt 4 ]; then
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
CHECKPOINT=$4
shift 4

GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
RESOURCES=()
if [ "$GPUS_PER_NODE" -gt 0 ]; then
    RESOURCES+=("--gres=gpu:$GPUS_PER_NODE")
    TASKS_PER_NODE=${TASKS_PER_NODE:-$GPUS_PER_NODE}
fi
read -r -a FURTHER <<<"${SRUN_ARGS:-}"

exec srun --partition="$PARTITION" \
    --job-name="$JOB_NAME" \
    "${RESOURCES[@]}" \
    --ntasks="$GPUS" \
    --ntasks-per-node="${TASKS_PER_NODE:-$GPUS}" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    "${FURTHER[@]}" \
    "${PYTHON:-python}" -u "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" \
    --launcher=slurm "$@"
