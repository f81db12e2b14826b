# Sourced by slurm_train.sh and slurm_test.sh (POSIX sh), which set `root`.
# Starts a tool of this folder as tasks of Slurm.
. "$root/tools/torchrun.sh"

# start_tasks PARTITION JOB TOOL ARGUMENTS...: returns only if srun can't be
# started.
start_tasks() {
    partition=$1 job=$2 tool=$root/tools/$3
    shift 3
    gpus=${GPUS:-8}
    require_number GPUS "$gpus"
    per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
    require_number GPUS_PER_NODE "$per_node"
    cpus=${CPUS_PER_TASK:-5}
    require_number CPUS_PER_TASK "$cpus"
    if ! command -v srun >/dev/null; then
        echo 'there is no srun here: go to a machine of the cluster, or take' \
            'tools/dist_train.sh or tools/dist_test.sh' >&2
        exit 2
    fi
    python=$(interpreter)
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$cpus}"
    export_common
    [ -z "${PORT:-}" ] || export MASTER_PORT="$PORT"
    set -f # --nodelist=node[1-2] is no pattern of files
    # shellcheck disable=SC2086  # SRUN_ARGS is a list
    exec srun -p "$partition" "--job-name=$job" "--gres=gpu:$per_node" \
        "--ntasks=$gpus" "--ntasks-per-node=$per_node" \
        "--cpus-per-task=$cpus" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
        "$python" -u "$tool" "$@"
}
