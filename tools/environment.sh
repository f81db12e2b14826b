# Sourced by the scripts beside it (POSIX sh), which set `root`, the absolute
# path of the repository, and may set `ovd_needs`, more modules to ask for.
# Chooses the interpreter, installs what is missing, and exports PYTHON:
#
#   1. OVD_VENV, if it is set: that virtual environment, created if absent;
#   2. the active environment (venv or conda), if it has all that is needed;
#      if not it is left alone;
#   3. .venv in the repository, created if absent.
#
# An environment is created with OVD_PYTHON, if that is set, or the first of
# python3.12, 3.11, 3.10, 3.13 and python3 that can. It holds a note of what
# it was installed from, so that the next run starts at once and an
# install that was cut off is taken up again. pip's configuration, its index
# included, is the user's.

ovd_note=.ovd-installed

ovd_say() {
    printf 'ovd: %s\n' "$*" >&2
}

# Succeed if the interpreter $1 has all that is needed, else say in ovd_fault
# what is wrong. Imports what may break on import: a torchvision of another
# torch, a missing system library.
ovd_works() {
    # shellcheck disable=SC2086  # ovd_needs is a list
    ovd_fault=$("$1" -c '
import importlib.util, runpy, sys
sys.path[:] = filter(None, sys.path)  # not what lies in the current folder
root, *modules = sys.argv[1:]
lacking = [m for m in modules if importlib.util.find_spec(m) is None]
if lacking:
    sys.exit("it has no " + ", ".join(lacking))
try:
    runpy.run_path(root + "/ovd/host.py")["check_host"]()
    import cv2, pycocotools.mask, torch, torchvision.ops
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}".splitlines()[0])
' "$root" packaging torch torchvision mmengine mmcv mmdet clip lvis \
        pycocotools safetensors msgspec ${ovd_needs:-} 2>&1) && return
    ovd_fault=$(printf '%s\n' "$ovd_fault" | tail -n 1)
    return 1
}

# Print the interpreter to create an environment with. Each candidate is run:
# a shim of pyenv may be there and not work.
ovd_find_python() {
    ovd_bare=
    for ovd_candidate in ${OVD_PYTHON:+"$OVD_PYTHON"} \
        python3.12 python3.11 python3.10 python3.13 python3 python; do
        case $("$ovd_candidate" -c '
import sys
if (3, 10) <= sys.version_info[:2] <= (3, 13):
    try:
        import ensurepip, venv
        print("usable")
    except ImportError:
        print("bare")
' 2>/dev/null) in
            usable)
                printf '%s\n' "$ovd_candidate"
                return
                ;;
            bare) ovd_bare=${ovd_bare:-$ovd_candidate} ;;
        esac
    done
    if [ -n "$ovd_bare" ]; then
        ovd_say "$ovd_bare can't create virtual environments; on Debian or" \
            "Ubuntu: apt-get install python3-venv"
    else
        ovd_say "found no Python 3.10 to 3.13; on Debian or Ubuntu:" \
            "apt-get install python3 python3-venv; or set OVD_PYTHON to one"
    fi
    return 1
}

ovd_digest() {
    cat "$root/tools/constraints.txt" "$root/setup.py" | cksum
}

ovd_is_installed() {
    [ -x "$1/bin/python" ] \
        && [ "$(cat "$1/$ovd_note" 2>/dev/null)" = "$(ovd_digest)" ]
}

# Mark ovd_venv as ours to install into, unless it is someone's work.
ovd_claim() {
    if [ -e "$ovd_venv/$ovd_note" ]; then
        return
    elif [ -x "$ovd_venv/bin/python" ]; then
        # A new torch or mmcv could break what it was made for.
        if "$ovd_venv/bin/python" -c 'import torch' 2>/dev/null \
            || "$ovd_venv/bin/python" -c 'import mmcv' 2>/dev/null; then
            ovd_say "$ovd_venv is not usable ($ovd_fault) and not changed," \
                'since it has a torch or mmcv of its own: install what it' \
                'lacks, or set OVD_VENV to a new folder'
            return 1
        fi
    elif [ -n "$(ls -A "$ovd_venv" 2>/dev/null)" ]; then
        ovd_say "$ovd_venv is not empty and no virtual environment"
        return 1
    fi
    mkdir -p "$ovd_venv" && echo unfinished >"$ovd_venv/$ovd_note"
}

# Relative names, because pip splits these variables at spaces. Variables and
# not -c, because what is built from source has to obey them too.
ovd_pip_install() {
    PIP_CONSTRAINT="${PIP_CONSTRAINT:+$PIP_CONSTRAINT }tools/constraints.txt" \
        PIP_BUILD_CONSTRAINT=tools/constraints.txt PIP_USER=0 \
        "$ovd_venv/bin/python" -m pip install --no-input \
        --disable-pip-version-check "$@"
}

# In a subshell, with which the lock goes, however it ends.
ovd_install() (
    ovd_claim || exit 1
    exec 9<"$ovd_venv" || exit 1
    if command -v flock >/dev/null && ! flock -n 9; then
        ovd_say "waiting for another install into $ovd_venv"
        flock 9
    fi
    ovd_is_installed "$ovd_venv" && exit 0

    if ! "$ovd_venv/bin/python" -m pip --version >/dev/null 2>&1; then
        ovd_python=$(ovd_find_python) || exit 1
        ovd_say "creating the environment $ovd_venv with $ovd_python"
        "$ovd_python" -m venv --clear "$ovd_venv" || exit 1
    fi
    echo unfinished >"$ovd_venv/$ovd_note"
    ovd_say "installing into $ovd_venv (the first time about 2 GB are" \
        'downloaded, 6 GB on disk, some minutes)'
    cd "$root" || exit 1
    ovd_pip_install --use-pep517 torch torchvision setuptools \
        -e '.[lite,dev,open-clip,demo]' || exit 1
    if ! "$ovd_venv/bin/python" -c 'import cv2' 2>/dev/null; then
        ovd_say 'no libGL or X11 here: taking the OpenCV without windows'
        # Over the other one, whose name mmengine requires.
        ovd_pip_install --no-deps opencv-python-headless || exit 1
    fi
    if ! ovd_works "$ovd_venv/bin/python"; then
        ovd_say "installed, but it does not work: $ovd_fault"
        exit 1
    fi
    ovd_digest >"$ovd_venv/$ovd_note"
)

# Set PYTHON to the interpreter of the first environment that will do.
ovd_choose() {
    ovd_venv=${OVD_VENV:-$root/.venv}
    case $ovd_venv in
        /*) ;;
        *) ovd_venv=$PWD/$ovd_venv ;;
    esac
    ovd_active=${VIRTUAL_ENV:-${CONDA_PREFIX:-}}
    if [ -z "${OVD_VENV:-}" ] && [ -n "$ovd_active" ] \
        && [ "$ovd_active" != "$ovd_venv" ]; then
        if ovd_works "$ovd_active/bin/python"; then
            ovd_say "using the active environment $ovd_active"
            PYTHON=$ovd_active/bin/python
            return
        fi
        ovd_say "leaving the active environment $ovd_active alone: $ovd_fault"
    fi
    if ! ovd_is_installed "$ovd_venv"; then
        # One that the user made may have all that is needed.
        if [ -e "$ovd_venv/$ovd_note" ] || ! [ -x "$ovd_venv/bin/python" ] \
            || ! ovd_works "$ovd_venv/bin/python"; then
            ovd_install || return 1
        fi
    fi
    ovd_say "using the environment $ovd_venv"
    PYTHON=$ovd_venv/bin/python
}

# Where stdin is closed the next file that is opened would take its place.
[ -t 0 ] || exec </dev/null
ovd_choose || exit 1
export PYTHON
# This checkout's ovd, whichever the environment has.
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
# Threads that spin while they wait slow other processes down manifold.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"
export MPLBACKEND="${MPLBACKEND:-Agg}"
