#!/bin/sh
# Train as a job of PAI where its client odpscmd is, else on this machine.
set -eu
usage='usage: sh tools/odps_train.sh JOB CONFIG GPUS [options of tools/train.py]

example: sh tools/odps_train.sh debug \
    configs/feature_extractor/proposal_feature_extractor.py 8 --seed 3407

Where odpscmd is on the PATH, submits the job to PAI; elsewhere runs it here
with tools/dist_train.sh and what that takes from the environment. The work
folder is work_dirs/JOB either way. To submit, set:
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
job=$1 config=$2 gpus=$3
shift 3
if submits; then
    submit "$gpus" train.py "$config" --launcher pytorch \
        --work-dir "work_dirs/$job" "$@"
else
    echo "no odpscmd here: running $job on this machine, in work_dirs/$job" >&2
    exec sh "$root/tools/dist_train.sh" "$config" "$gpus" \
        --work-dir "work_dirs/$job" "$@"
fi
