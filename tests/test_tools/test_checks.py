"""CI and pre-commit are about the same checks."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
# What mends files before a commit only looks at them in CI.
LOOKS = {
    'ruff check --fix': 'ruff check .',
    'ruff format': 'ruff format --check .',
}


def test_ci_runs_the_checks_of_pre_commit() -> None:
    config = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())
    entries = [h['entry'] for repo in config['repos'] for h in repo['hooks']]
    ci = (ROOT / '.ci/run').read_text()
    assert re.findall(r'^"\$PYTHON" -m (.+)$', ci, re.M) == [
        LOOKS.get(entry, entry) for entry in entries
    ]
