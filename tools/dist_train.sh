#!/bin/sh
# Train on several GPUs, or on several CPU processes where there is none.
set -eu
usage='usage: sh tools/dist_train.sh CONFIG GPUS [options of tools/train.py]

example: sh tools/dist_train.sh \
    configs/miniature/rpn_r18_fpn_miniature.py 2 --resume

All paths, in the config too, are relative to the current folder. From the
environment:
  NNODES, NODE_RANK, MASTER_ADDR  several machines; same command on each
  PORT             of the rendezvous; default: a free one, 29500 with NNODES
  OMP_NUM_THREADS  default: the cores of the machine shared out
  PYTHON           interpreter; default: that of OVD_VENV, of the active
                   environment, or of .venv in the repository'
case ${1:-} in -h | --help) echo "$usage" && exit ;; esac
if [ $# -lt 2 ]; then
    echo "$usage" >&2
    exit 2
fi
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
. "$root/tools/torchrun.sh"
config=$1
gpus=$2
shift 2
launch "$gpus" train.py "$config" --launcher pytorch "$@"
