#!/bin/sh
# Run the tests: sh tools/run_tests.sh [options of pytest]
# Installs what is needed first, see tools/environment.sh.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
ovd_needs='pytest xdist open_clip'
. "$root/tools/environment.sh"
cd "$root"
# Two workers with a thread each; tests/conftest.py says what stays together.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec "$PYTHON" -m pytest -n 2 --no-loadscope-reorder "$@"
