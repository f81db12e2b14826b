"""What a bug report says of the machine."""

import re
import runpy
import subprocess
import warnings
from pathlib import Path

import pytest
import torch

from ovd.utils import collect_env
from ovd.version import __version__


def test_versions_and_operators_are_printed(
    capsys: pytest.CaptureFixture,
) -> None:
    with warnings.catch_warnings():  # the module is imported already
        warnings.simplefilter('ignore', RuntimeWarning)
        runpy.run_module('ovd.utils.collect_env', run_name='__main__')
    printed = capsys.readouterr().out
    for line in (
        f'PyTorch: {re.escape(torch.__version__)}',
        r'mmdet: 3\.',
        r'mmcv ops: \S+',
        f'ovd: {re.escape(__version__)}, ',
    ):
        assert re.search(f'^{line}', printed, re.MULTILINE), printed


def test_the_commit_is_named_and_changes_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect_env, 'SOURCE', tmp_path)
    assert collect_env.describe_source() == 'not a git checkout'
    git = ['git', '-c', 'user.name=n', '-c', 'user.email=e']
    (tmp_path / 'file').write_text('1')
    for words in (['init', '-q'], ['add', 'file'], ['commit', '-qm', 'One']):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    assert re.fullmatch('commit [0-9a-f]+', collect_env.describe_source())
    (tmp_path / 'file').write_text('2')
    assert collect_env.describe_source().endswith('-dirty')
