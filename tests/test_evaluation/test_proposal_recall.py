"""Recall of proposals by hand, and against pycocotools."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ovd.evaluation.engines import Protocol, evaluate
from ovd.evaluation.ground_truth import load_ground_truth
from ovd.evaluation.metrics import ProposalRecall
from ovd.evaluation.predictions import Predictions

COCO_TINY = Path(__file__).parents[3] / 'shared' / 'data' / 'coco_tiny'


@pytest.fixture
def ann_file(tmp_path: Path) -> Path:
    """One image: two base objects, one novel one and a novel crowd."""
    boxes = [
        (1, [0, 0, 10, 10], 0),
        (1, [50, 0, 10, 10], 0),
        (2, [0, 50, 40, 40], 0),
        (2, [50, 50, 40, 40], 1),
    ]
    path = tmp_path / 'val.json'
    path.write_text(
        json.dumps(
            dict(
                gzsl=dict(base=['cat'], novel=['dog']),
                images=[dict(id=1, width=99, height=99)],
                annotations=[
                    dict(image_id=1, category_id=i, bbox=box, iscrowd=crowd)
                    for i, box, crowd in boxes
                ],
                categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
            )
        )
    )
    return path


def test_by_hand(ann_file):
    """A label says nothing about a proposal; the best ones count."""
    metric = METRICS.build(
        dict(type='ProposalRecall', ann_file=ann_file, max_dets=[1, 2, 3])
    )
    metric.dataset_meta = dict(classes=['cat', 'dog'])
    boxes = [[0, 0, 10, 10], [0, 50, 40, 86], [50, 0, 60, 10]]
    metric.process(
        {},
        [
            dict(
                img_id=1,
                pred_instances=dict(
                    bboxes=torch.tensor(boxes, dtype=torch.float32),
                    scores=torch.tensor([0.9, 0.8, 0.7]),
                    labels=torch.zeros(3, dtype=torch.long),
                ),
            )
        ],
    )
    found = metric.evaluate(1)
    assert found['recall/AR_base@1'] == pytest.approx(50)
    assert found['recall/AR_base@3'] == pytest.approx(100)
    assert found['recall/AR_novel@1'] == 0
    # IoU 0.9: found at nine of ten thresholds
    assert found['recall/AR_novel@2'] == pytest.approx(90)
    assert found['recall/AR_all@2'] == pytest.approx((100 + 90) / 3)
    assert found['recall/ARs_base'] == pytest.approx(100)
    assert found['recall/ARm_novel'] == pytest.approx(90)


@pytest.mark.skipif(
    not COCO_TINY.is_dir(), reason='160 real COCO images are not at hand'
)
def test_equals_pycocotools():
    path = COCO_TINY / 'annotations' / 'instances_val2017.json'
    content = json.loads(path.read_text())
    names = [c['name'] for c in content['categories']]
    gzsl = dict(base=names[1:], novel=names[:1])
    rng = np.random.default_rng(0)
    rows = []
    for annotation in content['annotations'] * 2:
        x, y, w, h = annotation['bbox']
        rows.append(
            dict(
                image_id=annotation['image_id'],
                category_id=1,
                score=round(float(rng.random()), 2),
                bbox=[x + rng.normal(0, 3), y, w * rng.uniform(0.6, 1.2), h],
            )
        )
    predictions = Predictions.from_coco(rows)
    results = []
    for engine, num_images in (
        ('hotcoco', 500),
        ('pycocotools', 500),
        ('hotcoco', 7),
    ):
        metric = ProposalRecall(path, (5, 20, 100), engine)
        metric.dataset_meta = dict(
            classes=names,
            base_classes=gzsl['base'],
            novel_classes=gzsl['novel'],
        )
        results.append(
            metric.evaluate_predictions(
                metric.load_truth(),
                lambda n=num_images: predictions.in_blocks(n),
            )
        )
    for others in results[1:]:
        assert results[0] == pytest.approx(others, abs=1e-9, nan_ok=True)
    assert (
        20
        < results[0]['recall/AR_novel@5']
        < results[0]['recall/AR_novel@100']
        < 95
    )
    # The same by pycocotools' own way to forget classes, on all objects.
    truth = load_ground_truth(path, gzsl)
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(str(path))
        evaluator = COCOeval(known, known.loadRes(rows), 'bbox')
        evaluator.params.useCats = 0
        evaluator.params.maxDets = [5, 20, 100]
        evaluator.evaluate()
        evaluator.accumulate()
    expected = 100 * evaluator.eval['recall'][:, 0, 0].mean(axis=0)
    assert [
        results[0][f'recall/AR_all@{n}'] for n in (5, 20, 100)
    ] == pytest.approx(expected.tolist(), abs=1e-9)
    assert evaluate(
        truth, predictions.in_blocks(), Protocol()
    ).recall.shape == (10, 80, 4, 1)
