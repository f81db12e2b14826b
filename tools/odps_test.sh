#!/bin/sh
# Test as a job of PAI where its client odpscmd is, else on this machine.
set -eu
usage='usage: sh tools/odps_test.sh CONFIG CHECKPOINT GPUS [--out FILE]
           [options of tools/test.py]

example: sh tools/odps_test.sh configs/rpn/rpn_r101_fpn_1x_coco_train.py \
    work_dirs/rpn_r101_fpn_1x_coco_48_17 8 \
    --out data/coco/proposals/rpn_r101_fpn_coco_train_48_17.pkl

Where odpscmd is on the PATH, submits the job to PAI; elsewhere runs it here
with tools/dist_test.sh and what that takes from the environment. To submit,
set:
  ODPS_PROJECT        project of the pai command, such as algo_public
  ODPS_WORKSPACE      workspace to charge
  ODPS_BUCKET         folder of data: oss://BUCKET/FOLDER/
  ODPS_ROLE_ARN       role that may read and write it: acs:ram::…:role/…
  ODPS_CLUSTER_LABEL  machines to run on, such as V100
and, if needed:
  ODPS_HOST           endpoint of the bucket
  ODPS_PYTORCH        name of the pai command; default: pytorch
  DRY_RUN=1           print the submission and submit nothing; needs no client'
case ${1:-} in -h | --help) echo "$usage" && exit ;; esac
if [ $# -lt 3 ]; then
    echo "$usage" >&2
    exit 2
fi
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
. "$root/tools/torchrun.sh"
. "$root/tools/odps.sh"
config=$1 checkpoint=$2 gpus=$3
shift 3
if submits; then
    submit "$gpus" test.py "$config" "$checkpoint" --launcher pytorch "$@"
else
    echo 'no odpscmd here: running the test on this machine' >&2
    exec sh "$root/tools/dist_test.sh" "$config" "$checkpoint" "$gpus" "$@"
fi
