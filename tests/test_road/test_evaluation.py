"""The metrics on a trained detector."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(road: Path, tool: str, *options: str) -> None:
    subprocess.run(
        [sys.executable, str(ROOT / 'tools' / tool), *options],
        cwd=road,
        check=True,
    )


def test_proposal_recall(road: Path) -> None:
    """The RPN was trained on base boxes and finds novel objects, too."""
    metrics = road / 'recall.json'
    run(
        road,
        'test.py',
        str(ROOT / 'configs/miniature/rpn_r18_fpn_miniature_val.py'),
        'work_dirs/miniature/rpn',
        '--metrics',
        str(metrics),
    )
    found = json.loads(metrics.read_text())
    for group in ('base', 'novel'):
        values = [found[f'recall/AR_{group}@{n}'] for n in (5, 10, 20)]
        assert 5 < values[0] <= values[1] <= values[2] < 100


def test_kept_predictions_are_evaluated_again(road: Path) -> None:
    """Without the model, to the same numbers; and every class is reported."""
    work = road / 'work_dirs/miniature'
    detector = str(
        ROOT / 'configs/miniature/vild-ensemble_mask-rcnn_r18_fpn_miniature.py'
    )
    run(
        road,
        'eval.py',
        detector,
        str(work / 'predictions.json'),
        '--metrics',
        'again.json',
    )
    expected = json.loads((work / 'metrics/ViLD-ensemble.json').read_text())
    assert json.loads((road / 'again.json').read_text()) == pytest.approx(
        expected, abs=1e-9
    )
    report = work / 'vild-ensemble/report'
    assert len((report / 'segm_classes.csv').read_text().splitlines()) == 66
    assert (report / 'bbox_pr.png').stat().st_size > 10_000


def test_other_sentences_for_a_trained_detector(road: Path) -> None:
    """The vocabulary is an argument; nothing but it changes."""
    names, values = 'work_dirs/photo.pth', 'work_dirs/photo.json'
    run(
        road,
        'class_embeddings.py',
        'photo',
        '--dataset',
        'miniature',
        '--out',
        names,
    )
    detector = str(
        ROOT / 'configs/miniature/vild-ensemble_mask-rcnn_r18_fpn_miniature.py'
    )
    run(
        road,
        'test.py',
        detector,
        'work_dirs/miniature/vild-ensemble',
        '--class-embeddings',
        names,
        '--metrics',
        values,
        '--work-dir',
        'work_dirs/photo',
    )
    found = json.loads((road / values).read_text())
    usual = json.loads(
        (road / 'work_dirs/miniature/metrics/ViLD-ensemble.json').read_text()
    )
    assert found != usual and found['bbox_AP50_base'] > 10
