#!/bin/sh
# Test on a cluster with Slurm.
set -eu
usage='usage: sh tools/slurm_test.sh PARTITION JOB CONFIG CHECKPOINT [--out FILE]
           [options of tools/test.py]

example: GPUS=8 sh tools/slurm_test.sh gpu proposals \
    configs/rpn/rpn_r101_fpn_1x_coco_train.py \
    work_dirs/rpn_r101_fpn_1x_coco_48_17 \
    --out data/coco/proposals/rpn_r101_fpn_coco_train_48_17.pkl

All paths, in the config too, are relative to the current folder, which all
nodes must see. From the environment:
  GPUS             tasks, one for each GPU; default: 8
  GPUS_PER_NODE    default: 8, or GPUS if that is less
  CPUS_PER_TASK    default: 5
  SRUN_ARGS        further options of srun, separated by spaces; nodes without
                   a GPU want --gres=none
  PORT             of the rendezvous; default: one made of the job number
  OMP_NUM_THREADS  default: CPUS_PER_TASK
  PYTHON           interpreter; default: that of OVD_VENV, of the active
                   environment, or of .venv in the repository'
case ${1:-} in -h | --help) echo "$usage" && exit ;; esac
if [ $# -lt 4 ]; then
    echo "$usage" >&2
    exit 2
fi
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
. "$root/tools/slurm.sh"
partition=$1 job=$2 config=$3 checkpoint=$4
shift 4
start_tasks "$partition" "$job" test.py "$config" "$checkpoint" \
    --launcher slurm "$@"
