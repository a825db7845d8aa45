#!/usr/bin/env bash
# Test on several devices with torchrun; without an accelerator, on several CPU processes.
#
#   tools/dist_test.sh CONFIG CHECKPOINT PROCESSES_PER_NODE [options of test.py]
#
# Environment, with defaults:
#   NNODES=1 NODE_RANK=0 MASTER_ADDR=127.0.0.1 PORT=29500   the nodes and where they meet
#   PYTHON=python                                           the interpreter
set -euo pipefail

if [ "$#" -lt 3 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
CONFIG=$1
CHECKPOINT=$2
PROCESSES=$3
shift 3

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node-rank="${NODE_RANK:-0}" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" \
    --master-port="${PORT:-29500}" \
    --nproc-per-node="$PROCESSES" \
    "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
