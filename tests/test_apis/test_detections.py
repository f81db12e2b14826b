"""Detections as other programs take them: COCO json and supervision."""

import json
import sys

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from pycocotools import mask as mask_tools
from pycocotools.coco import COCO

from ovd.apis.detections import Detections

BOXES = [
    [10.0, 20.0, 50.0, 60.0],
    [11.0, 20.0, 50.0, 60.0],
    [70.0, 30.0, 110.0, 90.0],
]


def sample(path=None, boxes=BOXES, masks=True) -> DetDataSample:
    made = DetDataSample(
        metainfo=dict(img_path=path, ori_shape=(100, 120), img_id=0)
    )
    found = InstanceData(
        bboxes=torch.tensor(boxes).reshape(-1, 4),
        scores=torch.tensor([0.9, 0.5, 0.4][: len(boxes)]),
        labels=torch.tensor([1, 0, 0][: len(boxes)], dtype=torch.long),
    )
    if masks:
        found.masks = torch.zeros(len(boxes), 100, 120, dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(found.masks, boxes):
            mask[int(y1) : int(y2), int(x1) : int(x2) - 10] = True
    made.pred_instances = found
    return made


@pytest.fixture
def found() -> Detections:
    return Detections([sample('a/1.png'), sample(boxes=[])], ['cat', 'dog'])


def test_it_is_a_list(found):
    assert isinstance(found, list) and len(found) == 2
    first, second = found
    assert len(first.pred_instances) == 3 and not len(second.pred_instances)


def test_one_per_object(found):
    """The lesser of two boxes that overlap goes, and only from the copy."""
    best = found.one_per_object()
    assert best[0].pred_instances.scores.tolist() == pytest.approx([0.9, 0.4])
    assert best[0].img_path == 'a/1.png' and best.classes == ['cat', 'dog']
    assert len(best[1].pred_instances) == 0
    assert len(found[0].pred_instances) == 3


def test_coco(found, tmp_path, capsys):
    """As pycocotools reads it, with masks of the right pixels."""
    found.save_coco(tmp_path / 'a.json')
    read = COCO(str(tmp_path / 'a.json'))
    assert read.loadCats([1, 2]) == [
        dict(id=1, name='cat'),
        dict(id=2, name='dog'),
    ]
    assert read.loadImgs([1, 2]) == [
        dict(id=1, file_name='a/1.png', height=100, width=120),
        dict(id=2, file_name='', height=100, width=120),
    ]
    assert not read.getAnnIds(imgIds=[2])
    annotations = read.loadAnns(read.getAnnIds(imgIds=[1]))
    assert [a['category_id'] for a in annotations] == [2, 1, 1]
    assert annotations[0]['bbox'] == [10, 20, 40, 40]
    assert annotations[0]['score'] == pytest.approx(0.9)
    assert annotations[0]['area'] == 30 * 40
    for annotation, mask in zip(annotations, found[0].pred_instances.masks):
        assert (
            mask_tools.decode(annotation['segmentation']) == mask.numpy()
        ).all()


def test_coco_of_boxes_alone(tmp_path):
    found = Detections([sample(masks=False)], ['cat', 'dog'])
    first = json.loads(json.dumps(found.to_coco()))['annotations'][0]
    assert first['area'] == 40 * 40 and 'segmentation' not in first


def test_supervision(found):
    pytest.importorskip('supervision', reason='pip install supervision')
    first, second = found.to_supervision()
    np.testing.assert_allclose(first.xyxy, BOXES)
    np.testing.assert_allclose(first.confidence, [0.9, 0.5, 0.4], rtol=1e-6)
    assert first.class_id.tolist() == [1, 0, 0]
    assert first.data['class_name'].tolist() == ['dog', 'cat', 'cat']
    assert first.mask.shape == (3, 100, 120) and first.mask.dtype == bool
    assert len(second) == 0 and len(second.data['class_name']) == 0
    best = first[first.confidence > 0.6]
    assert best.data['class_name'].tolist() == ['dog']


def test_supervision_is_absent(found, monkeypatch):
    monkeypatch.setitem(sys.modules, 'supervision', None)
    with pytest.raises(ImportError, match='pip install supervision'):
        found.to_supervision()
