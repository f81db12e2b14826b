# Sourced by odps_train.sh and odps_test.sh (POSIX sh), which set `root`.
# Submits a tool of this folder as a job of PAI, with the client odpscmd.

# is_dry: whether to submit nothing: with any DRY_RUN but 0 and the empty one,
# for "DRY_RUN=true" must not start a job.
is_dry() {
    [ "${DRY_RUN:-0}" != 0 ]
}

# submits: whether the job is to be submitted, or shown as it would be.
submits() {
    is_dry || command -v odpscmd >/dev/null
}

# submit GPUS TOOL CONFIG ARGUMENTS...: send the code of this repository
# and run the tool on one worker for each GPU.
submit() {
    gpus=$1 tool=$2 config=$3
    shift 3
    require_number GPUS "$gpus"
    require_variables
    config=$(inside "$config")
    parameters=
    for argument in "$config" "$@"; do
        parameters="$parameters $(quoted "$argument")"
    done
    buckets="$ODPS_BUCKET?role_arn=$ODPS_ROLE_ARN"
    [ -z "${ODPS_HOST:-}" ] || buckets="$buckets&host=$ODPS_HOST"
    folder=$(mktemp -d)
    archive=$folder/job.tar.gz  # whatever the job is called: slashes, too
    trap 'rm -rf "$folder"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    submission="set odps.algo.hybrid.deploy.info=LABEL:$ODPS_CLUSTER_LABEL:OPER_EQUAL;
use $ODPS_WORKSPACE;
pai -name ${ODPS_PYTORCH:-pytorch}
    -project $ODPS_PROJECT
    -Dscript=\"file://$archive\"
    -DentryFile=\"tools/$tool\"
    -DworkerCount=$gpus
    -Dcluster=\"{\\\"worker\\\":{\\\"gpu\\\":100}}\"
    -DuserDefinedParameters=\"$(escaped "${parameters# }")\"
    -Dbuckets=\"$buckets\";"
    if is_dry; then
        printf '%s\n' "$submission"
        return
    fi
    tar -C "$root" -czf "$archive" configs ovd tools pyproject.toml setup.py
    odpscmd -e "$submission"
}

# Each of the variables that say where a job goes must be set.
require_variables() {
    missing=
    for name in ODPS_BUCKET ODPS_CLUSTER_LABEL ODPS_PROJECT ODPS_ROLE_ARN \
        ODPS_WORKSPACE; do
        eval "[ -n \"\${$name:-}\" ]" || missing="$missing $name"
    done
    if [ -n "$missing" ]; then
        echo "to submit a job, set${missing} (see -h)" >&2
        exit 2
    fi
}

# inside CONFIG: its path in the repository, which is what is sent.
inside() {
    if [ ! -f "$1" ]; then
        echo "config $1 does not exist" >&2
        exit 2
    fi
    path=$(CDPATH='' cd -- "$(dirname -- "$1")" && pwd)/$(basename -- "$1")
    case $path in
        "$root"/*) printf '%s\n' "${path#"$root"/}" ;;
        *)
            echo "config $1 lies outside of $root, which is all that is sent" >&2
            exit 2
            ;;
    esac
}

# quoted ARGUMENT: as a shell would have to read it.
quoted() {
    case $1 in
        '' | *[!A-Za-z0-9_./=,:+@%-]*)
            printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
        *) printf '%s' "$1" ;;
    esac
}

# escaped TEXT: for between double quotes.
escaped() {
    printf '%s' "$1" | sed 's/[\\"]/\\&/g'
}
