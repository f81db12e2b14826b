#!/bin/sh
# Run the tests: sh tools/run_tests.sh [options of pytest]
# For one process, as a debugger needs: -n 0.
# Installs what is needed first, see tools/environment.sh.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
ovd_needs='pytest xdist open_clip gradio playwright supervision'
. "$root/tools/environment.sh"
cd "$root"
# Two processes, which two cores keep busy; the road is gone in one of them.
exec "$PYTHON" -m pytest -n 2 --dist loadfile "$@"
