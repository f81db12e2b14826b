"""The benchmark of detectors runs, compares and says what it found."""

import json
import runpy
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / 'tools/benchmarks/detector.py'


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """Run it in this process: importing torch and mmdet takes longest."""
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *options])
    monkeypatch.syspath_prepend(str(TOOL.parent))
    runpy.run_path(str(TOOL), run_name='__main__')


def test_quick(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    run(monkeypatch, '--quick')
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    ratios = (
        'nms_speedup',
        'nms_speedup_clustered',
        'names_10000_over_80',
        'train_over_host',
    )
    assert result.keys() == {
        *ratios,
        *(f'{name}_of_cpu' for name in ratios),
        'score_memory',
    }
    assert min(result.values()) > 0
    assert result['score_memory'] > 1  # the scores themselves


@pytest.mark.parametrize(
    'options', [['--proposals', '0'], ['--image', '0', '64']]
)
def test_bad_number(
    options: list,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    with pytest.raises(SystemExit, match='2'):
        run(monkeypatch, *options)
    assert 'must be positive' in capsys.readouterr().err


def test_too_few_regions_are_no_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(RuntimeError, match='take a larger image'):
        run(monkeypatch, '--quick', '--image', '8', '8')
