# Sourced by the launchers (POSIX sh), which set `root`.
# Starts a tool of this folder on several processes with torchrun.

# The interpreter: PYTHON, or the one of OVD_VENV, of the active environment,
# of .venv in the repository, or whichever is first on the path.
interpreter() {
    if [ -n "${PYTHON:-}" ]; then
        printf '%s\n' "$PYTHON"
    elif [ -n "${OVD_VENV:-}" ]; then
        printf '%s\n' "$OVD_VENV/bin/python"
    elif [ -z "${VIRTUAL_ENV:-${CONDA_PREFIX:-}}" ] \
        && [ -x "$root/.venv/bin/python" ]; then
        printf '%s\n' "$root/.venv/bin/python"
    else
        command -v python || printf 'python3\n'
    fi
}

# require_number NAME VALUE: a swapped argument is seen before Python starts.
require_number() {
    case $2 in
        '' | *[!0-9]* | 0)
            echo "$1 must be a number from 1 on, got '$2'" >&2
            exit 2
            ;;
    esac
}

# export_common: what Python takes from the environment under every launcher.
export_common() {
    export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"
    export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
}

# launch PROCESSES TOOL ARGUMENTS...: one process per GPU of this machine, or
# that many CPU processes. Returns only if torchrun can't be started.
launch() {
    processes=$1 tool=$root/tools/$2
    shift 2
    require_number GPUS "$processes"
    python=$(interpreter)
    if [ -z "${OMP_NUM_THREADS:-}" ]; then
        cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
        OMP_NUM_THREADS=$((cores > processes ? cores / processes : 1))
        export OMP_NUM_THREADS
    fi
    export_common
    nodes=${NNODES:-1}
    if [ "$nodes" = 1 ] && [ -z "${PORT:-}" ]; then
        set -- --standalone -- "$tool" "$@" # takes a free port
    elif [ "$nodes" = 1 ] || [ -n "${MASTER_ADDR:-}" ]; then
        set -- --nnodes "$nodes" --node-rank "${NODE_RANK:-0}" \
            --master-addr "${MASTER_ADDR:-127.0.0.1}" \
            --master-port "${PORT:-29500}" -- "$tool" "$@"
    else
        echo "NNODES is $nodes: set MASTER_ADDR to the node of NODE_RANK 0" >&2
        exit 2
    fi
    exec "$python" "$root/tools/torchrun.py" \
        --nproc-per-node "$processes" "$@"
}
