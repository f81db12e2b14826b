#!/bin/sh
# Test on several GPUs, or on several CPU processes where there is none.
set -eu
usage='usage: sh tools/dist_test.sh CONFIG CHECKPOINT GPUS [--out FILE]
           [options of tools/test.py]

example: sh tools/dist_test.sh \
    configs/miniature/rpn_r18_fpn_miniature_train.py work_dirs/miniature/rpn 2 \
    --out data/miniature/proposals/rpn_train_48_17.safetensors

All paths, in the config too, are relative to the current folder. From the
environment:
  NNODES, NODE_RANK, MASTER_ADDR  several machines; same command on each
  PORT             of the rendezvous; default: a free one, 29500 with NNODES
  OMP_NUM_THREADS  default: the cores of the machine shared out
  PYTHON           interpreter; default: that of OVD_VENV, of the active
                   environment, or of .venv in the repository'
case ${1:-} in -h | --help) echo "$usage" && exit ;; esac
if [ $# -lt 3 ]; then
    echo "$usage" >&2
    exit 2
fi
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
. "$root/tools/torchrun.sh"
config=$1
checkpoint=$2
gpus=$3
shift 3
launch "$gpus" test.py "$config" "$checkpoint" --launcher pytorch "$@"
