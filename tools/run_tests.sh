#!/bin/sh
# Run the tests: sh tools/run_tests.sh [options of pytest]
# Installs what is needed first, see tools/environment.sh.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
ovd_needs='pytest open_clip'
. "$root/tools/environment.sh"
cd "$root"
exec "$PYTHON" -m pytest "$@"
