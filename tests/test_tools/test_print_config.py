"""Configs printed from the command line, as the README has it."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'print_config.py'


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the tool in this process and return its exit code."""
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *arguments])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as end:
            return end.code
    return 0


def test_command_of_the_readme(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    commands = re.findall(
        r'^python (tools/print_config.py .+)',
        (ROOT / 'README.md').read_text(),
        re.MULTILINE,
    )
    ((_, *arguments),) = map(shlex.split, commands)
    assert run(monkeypatch, *arguments) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert {
        'train_dataloader.batch_size = 4  # --cfg-options',
        "train_dataloader.dataset.type = 'GZSLCocoDataset'  # "
        'configs/_base_/datasets/miniature_instance.py',
        "default_scope = 'mmdet'  # mmdet::_base_/default_runtime.py",
    } <= set(lines)
    assert 'is set as train_dataloader.batch_size=4' in said.err


def test_help_and_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert run(monkeypatch, '-h') == 0
    assert 'example' in capsys.readouterr().out
    assert run(monkeypatch, 'configs/gone.py') == 2
    assert capsys.readouterr().err.startswith('error: config configs/gone.py')
