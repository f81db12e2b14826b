"""What is written about every class."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovd.colours import NOVEL_COLOUR
from ovd.evaluation.ground_truth import load_ground_truth
from ovd.evaluation.metrics import GZSLCocoMetric
from ovd.evaluation.predictions import Predictions
from ovd.evaluation.report import read_classes, read_groups


def rgb(colour: str) -> list:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


@pytest.mark.parametrize('num_classes', [4, 200])
def test_report(tmp_path: Path, num_classes):
    """CSV with a row per class; bars and curves in the two colours."""
    names = [f'class {i}' for i in range(num_classes)]
    path = tmp_path / 'val.json'
    path.write_text(
        json.dumps(
            dict(
                gzsl=dict(base=names[::2], novel=names[1::2]),
                images=[dict(id=1, width=50, height=50)],
                # The last class has no object.
                annotations=[
                    dict(image_id=1, category_id=i, bbox=[0, 0, 20, 20])
                    for i in range(num_classes - 1)
                ],
                categories=[
                    dict(id=i, name=name) for i, name in enumerate(names)
                ],
            )
        )
    )
    metric = GZSLCocoMetric(path, report_dir=str(tmp_path / 'report'))
    metric.dataset_meta = dict(classes=names)
    predictions = Predictions.from_coco(
        [
            dict(image_id=1, category_id=i, bbox=[0, 0, 20, 20 - i], score=0.5)
            for i in range(2)
        ]
    )
    metrics = metric.evaluate_predictions(
        load_ground_truth(path), predictions.in_blocks
    )
    with open(tmp_path / 'report' / 'bbox_classes.csv') as file:
        rows = list(csv.DictReader(file))
    assert [row['class'] for row in rows] == names
    assert [row['part'] for row in rows[:2]] == ['base', 'novel']
    assert float(rows[0]['AP']) == 100 and float(rows[1]['AP50']) == 100
    # IoU 0.95 at ten thresholds of which the last is 0.95
    assert float(rows[1]['AP']) == pytest.approx(100, abs=1e-3)
    assert float(rows[2]['AP']) == 0 and rows[-1]['AP'] == ''
    assert rows[0]['objects'] == '1' and rows[-1]['objects'] == '0'
    mean = np.mean([float(row['AP50']) for row in rows if row['AP50']])
    assert metrics['bbox_AP50_all'] == pytest.approx(mean, abs=1e-3)
    groups = read_groups(tmp_path / 'report', 'bbox')
    assert groups['AP50']['all'] == pytest.approx(mean, abs=1e-3)
    assert [*groups['AP']] == ['all', 'base', 'novel', 'harmonic']
    ordered = read_classes(tmp_path / 'report', 'bbox')
    assert ordered[0].ap['AP50'] == 0 and ordered[-1].objects == 0
    assert {row.name for row in ordered[-3:-1]} == {*names[:2]}
    for name in ('classes', 'pr'):
        picture = np.asarray(
            Image.open(tmp_path / 'report' / f'bbox_{name}.png').convert('RGB')
        )
        assert (picture == rgb(NOVEL_COLOUR)).all(axis=-1).sum() > 50
    assert len(list((tmp_path / 'report').iterdir())) == 4
