"""AP by group of classes: by hand, and against pycocotools as it comes."""

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Optional, Sequence

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ovd.datasets.gzsl_split import split_file
from ovd.evaluation.chance import chance_level
from ovd.evaluation.engines import Protocol
from ovd.evaluation.engines import evaluate as evaluate_blocks
from ovd.evaluation.ground_truth import GroundTruth, load_ground_truth
from ovd.evaluation.metrics import GZSLCocoMetric
from ovd.evaluation.predictions import Predictions, load_predictions
from ovd.evaluation.summary import class_table, summarise

COCO_TINY = Path(__file__).parents[3] / 'shared' / 'data' / 'coco_tiny'
CLASSES = ('dog', 'boat', 'cat', 'tree')
META = dict(classes=CLASSES)
SIZE = 40
# Of one val file with two images: (image, label, x, y, width, height)
OBJECTS = [
    (1, 'cat', 0, 0, 10, 10),
    (1, 'dog', 20, 0, 20, 10),
    (1, 'boat', 0, 20, 10, 10),
    (2, 'boat', 10, 10, 20, 20),
]
# cat: exact. dog: IoU 0.62 (124 of 200). boat: one of two, then a miss.
# tree has no object. Worked out by hand:
DETECTIONS = {
    1: [
        ('cat', 0, 0, 10, 10, 0.9),
        ('dog', 20, 0, 12.4, 10, 0.8),
        ('boat', 0, 20, 10, 10, 0.7),
        ('tree', 0, 0, 5, 5, 0.95),
    ],
    2: [('boat', 30, 30, 5, 5, 0.6)],
}
BOAT = 100 * 51 / 101  # precision 1 at recalls 0, 0.01, ... 0.50
EXPECTED = {
    'AP50_base': 100.0,
    'AP75_base': 50.0,
    'AP_base': (100 + 30) / 2,  # dog counts at IoU 0.5, 0.55 and 0.6
    'AP50_novel': BOAT,
    'AP75_novel': BOAT,
    'AP_novel': BOAT,
    'AP50_all': (200 + BOAT) / 3,
    'AP75_all': (100 + BOAT) / 3,
    'AP_all': (130 + BOAT) / 3,
    'AP50_boats': BOAT,
    'AP50_harmonic': 2 * 100 * BOAT / (100 + BOAT),
    'AP_harmonic': 2 * 65 * BOAT / (65 + BOAT),
}


def polygon(x: float, y: float, w: float, h: float) -> list:
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


@pytest.fixture
def ann_file(tmp_path: Path) -> str:
    ids = dict(dog=7, kite=3, boat=9, cat=2, tree=5)  # not in order
    (tmp_path / 'my.json').write_text(
        json.dumps(
            dict(
                base=['cat', 'dog', 'tree'],
                novel=['boat'],
                groups=dict(boats=['boat']),
            )
        )
    )
    (tmp_path / 'x.json').write_text(
        json.dumps(
            dict(
                images=[dict(id=i, height=SIZE, width=SIZE) for i in (1, 2)],
                # ids from 0: pycocotools takes a match with 0 for a miss
                annotations=[
                    dict(
                        id=number,
                        image_id=image_id,
                        category_id=ids[name],
                        bbox=[x, y, w, h],
                        segmentation=polygon(x, y, w, h),
                    )
                    for number, (image_id, name, x, y, w, h) in enumerate(
                        OBJECTS
                    )
                ],
                categories=[dict(id=i, name=n) for n, i in ids.items()],
            )
        )
    )
    return str(
        split_file(
            tmp_path / 'x.json', str(tmp_path / 'my.json'), 'val'
        ).output
    )


def samples(detections: dict, masks: bool = False) -> list:
    """Return what a detector hands to the metric."""
    result = []
    for image_id, rows in detections.items():
        boxes = torch.tensor([row[1:5] for row in rows]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        found = dict(
            bboxes=boxes,
            labels=torch.tensor(
                [CLASSES.index(row[0]) for row in rows], dtype=torch.long
            ),
            scores=torch.tensor([row[5] for row in rows]),
        )
        if masks:
            pixels = torch.zeros(len(rows), SIZE, SIZE, dtype=torch.bool)
            for i, (x1, y1, x2, y2) in enumerate(boxes.int().tolist()):
                pixels[i, y1:y2, x1:x2] = True
            found['masks'] = pixels
        result.append(dict(img_id=image_id, pred_instances=found))
    return result


def evaluate(
    metric: GZSLCocoMetric, batch: list, meta: Optional[dict] = META
) -> dict:
    metric.dataset_meta = meta
    metric.process({}, batch)
    return metric.evaluate(len(batch))


def measure(
    truth: GroundTruth,
    predictions: Predictions,
    iou_type: str = 'bbox',
    **kwargs,
) -> dict:
    curves = evaluate_blocks(
        truth, predictions.in_blocks(1), Protocol(iou_type, **kwargs)
    )
    return summarise(truth, class_table(curves), iou_type)


def test_by_hand(ann_file):
    """A case small enough to work out, in percent and unrounded."""
    metric = METRICS.build(dict(type='GZSLCocoMetric', ann_file=ann_file))
    found = evaluate(metric, samples(DETECTIONS))
    for name, value in EXPECTED.items():
        assert found[f'bbox_{name}'] == pytest.approx(value, abs=1e-9), name
    assert len(found) == 30 and all(k.startswith('bbox_') for k in found)
    # All objects have less than 32^2 pixels.
    assert found['bbox_APs_base'] == found['bbox_AP_base']
    assert math.isnan(found['bbox_APl_base'])


def test_masks_by_hand(ann_file):
    """Masks are evaluated apart from boxes: the dog's has IoU 0.6."""
    metric = GZSLCocoMetric(ann_file, ['bbox', 'segm'], prefix='x')
    found = evaluate(metric, samples(DETECTIONS, masks=True))
    assert found['x/bbox_AP_base'] == pytest.approx(65, abs=1e-9)
    # 12 of 20 columns of pixels: a box of 12.4 makes a mask of 12
    assert found['x/segm_AP50_base'] == pytest.approx(100, abs=1e-9)
    assert found['x/segm_AP_base'] == pytest.approx(65, abs=1e-9)
    assert found['x/segm_AP50_novel'] == pytest.approx(BOAT, abs=1e-9)


@pytest.mark.parametrize('masks', [False, True])
def test_nothing_detected(ann_file, masks):
    """No detection at all is an AP of 0, not an error."""
    metric = GZSLCocoMetric(ann_file, ['bbox', 'segm'] if masks else 'bbox')
    found = evaluate(metric, samples({1: [], 2: []}, masks))
    assert {v for k, v in found.items() if k[7:8] not in 'ml'} == {0.0}


def test_group_without_objects_is_nan(tmp_path, ann_file):
    """What was not measured is no number."""
    content = json.loads(Path(ann_file).read_text())
    content['annotations'] = [
        a for a in content['annotations'] if a['category_id'] != 9
    ]
    Path(ann_file).write_text(json.dumps(content))
    found = evaluate(GZSLCocoMetric(ann_file), samples(DETECTIONS))
    assert math.isnan(found['bbox_AP50_novel'])
    assert math.isnan(found['bbox_AP50_harmonic'])
    assert found['bbox_AP50_all'] == pytest.approx(100)


def test_max_dets(ann_file):
    """Only the best detections of a class in an image count."""
    rows = [('cat', 30, 30, 5, 5, 0.9), ('cat', 0, 0, 10, 10, 0.5)]
    batch = samples({1: rows, 2: []})
    cat = (100 + 0) / 2 / 2  # precision 1/2 for the cat; the dog is missed
    assert evaluate(GZSLCocoMetric(ann_file), batch)[
        'bbox_AP50_base'
    ] == pytest.approx(cat)
    assert (
        evaluate(GZSLCocoMetric(ann_file, max_dets=1), batch)['bbox_AP50_base']
        == 0
    )


def test_out_file(ann_file, tmp_path):
    """Kept predictions give the same numbers again, and are plain COCO."""
    metric = GZSLCocoMetric(ann_file, ['bbox', 'segm'])
    metric.out_file = str(tmp_path / 'new' / 'predictions.json')
    found = evaluate(metric, samples(DETECTIONS, masks=True))
    predictions = load_predictions(metric.out_file)
    assert len(predictions) == 5
    assert set(predictions.cat_ids) == {2, 7, 9, 5}
    assert predictions.bboxes[0].tolist() == [0, 0, 10, 10]
    truth = load_ground_truth(ann_file)
    for iou_type in ('bbox', 'segm'):
        again = measure(truth, predictions, iou_type)
        assert again == pytest.approx(
            {k: found[k] for k in again}, nan_ok=True, abs=0
        )
    with contextlib.redirect_stdout(io.StringIO()):
        assert len(COCO(ann_file).loadRes(metric.out_file).anns) == 5


def test_table_is_logged(ann_file, monkeypatch):
    """The table says split, images and limit; missing images are told."""
    lines = []

    class Logger:
        info = warning = lines.append

    monkeypatch.setattr(
        'mmengine.logging.MMLogger.get_current_instance', lambda: Logger
    )
    evaluate(GZSLCocoMetric(ann_file), samples(DETECTIONS)[:1])
    assert 'no prediction came for 1 of 2 images' in lines[0]
    assert 'split my, ' in lines[1]
    assert '2 images: all of the file; at most 100' in lines[1]
    assert (
        '| percent   | all  | base  | novel | boats | harmonic |' in lines[1]
    )
    assert '| bbox AP50 | 83.5 | 100.0 | 50.5' in lines[1]


def test_file_without_block_takes_the_classes_of_the_dataset(ann_file):
    """Another dataset's val file can be evaluated, too."""
    content = json.loads(Path(ann_file).read_text())
    del content['gzsl']
    Path(ann_file).write_text(json.dumps(content))
    with pytest.raises(ValueError, match='no `gzsl` block .*\n.*--split'):
        evaluate(GZSLCocoMetric(ann_file), samples(DETECTIONS))
    meta = dict(
        META, base_classes=('cat', 'dog', 'tree'), novel_classes=('boat',)
    )
    found = evaluate(GZSLCocoMetric(ann_file), samples(DETECTIONS), meta)
    assert found['bbox_AP50_novel'] == pytest.approx(BOAT)


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(image_id=8), 'prediction for image 8, which'),
        (dict(category_id=3), 'category 3, neither base nor novel'),
        (dict(score=float('nan')), 'image 1 has the score nan'),
        (dict(bbox=None), 'needs the `bbox` of every prediction'),
        (dict(bbox=[0, 0, 1]), 'not a COCO prediction'),
    ],
)
def test_foreign_predictions(ann_file, change, message):
    """Predictions of another dataset are refused."""
    prediction = dict(image_id=1, category_id=2, bbox=[0, 0, 1, 1], score=1.0)
    truth = load_ground_truth(ann_file)
    with pytest.raises(ValueError, match=message):
        measure(truth, Predictions.from_coco([{**prediction, **change}]))
    with pytest.raises(ValueError, match='needs the `segmentation`'):
        measure(truth, Predictions.from_coco([prediction]), 'segm')


@pytest.mark.parametrize(
    'mask, message',
    [
        ([[0, 0, 9, 0, 9, 9]], 'no compressed RLE'),
        (dict(size=[SIZE, SIZE], counts=[0, 9]), 'no compressed RLE'),
        (dict(size=[9, 9], counts='04'), r'has the size \[9, 9\], the image'),
    ],
)
def test_malformed_masks(ann_file, mask, message):
    prediction = dict(image_id=1, category_id=2, score=1.0, segmentation=mask)
    with pytest.raises(ValueError, match=message):
        measure(
            load_ground_truth(ann_file),
            Predictions.from_coco([prediction]),
            'segm',
        )


def test_predictions_of_other_images_are_refused_in_any_case(ann_file):
    """Also where images without objects are left out."""
    metric = GZSLCocoMetric(ann_file, only_annotated=True)
    metric.dataset_meta = META
    predictions = Predictions.from_coco(
        [dict(image_id=8, category_id=2, bbox=[0, 0, 1, 1], score=1.0)]
    )
    with pytest.raises(ValueError, match='prediction for image 8'):
        metric.evaluate_predictions(metric.load_truth(), predictions.in_blocks)


def test_errors(ann_file, tmp_path):
    """Arguments, files and models that don't fit."""
    with pytest.raises(ValueError, match='did you mean "bbox"'):
        GZSLCocoMetric(ann_file, 'box')
    with pytest.raises(ValueError, match='positive and ascending, got'):
        GZSLCocoMetric(ann_file, max_dets=0)
    with pytest.raises(ValueError, match='model predicts none'):
        evaluate(GZSLCocoMetric(ann_file, 'segm'), samples(DETECTIONS))
    with pytest.raises(ValueError, match='disagree about the classes cow'):
        evaluate(
            GZSLCocoMetric(ann_file),
            samples(DETECTIONS),
            dict(classes=(*CLASSES, 'cow')),
        )
    with pytest.raises(FileNotFoundError, match='--split 48_17'):
        evaluate(
            GZSLCocoMetric(str(tmp_path / 'y_48_17_1.json')),
            samples(DETECTIONS),
        )
    (tmp_path / 'bad.json').write_text('[]')
    with pytest.raises(ValueError, match='is not a COCO annotation file'):
        load_ground_truth(tmp_path / 'bad.json')


def test_chance(ann_file):
    """Labels drawn by lot, with the boxes and scores as they are."""
    truth = load_ground_truth(ann_file)
    predictions = Predictions.from_coco(
        [dict(image_id=1, category_id=2, bbox=[0, 0, 10, 10], score=0.9)]
    )
    drawn = [
        chance_level(ann_file, predictions, seed)['bbox_AP50_all']
        for seed in range(200)
    ]
    # One in four draws says "cat" of the cat: AP 100 for one of 3 classes
    assert set(np.round(drawn, 6)) == {0.0, round(100 / 3, 6)}
    assert np.mean(np.array(drawn) > 0) == pytest.approx(1 / 4, abs=0.1)
    assert chance_level(ann_file, predictions, 3) == pytest.approx(
        chance_level(ann_file, predictions, 3), abs=0, nan_ok=True
    )
    perfect = measure(truth, predictions)
    assert perfect['bbox_AP50_all'] == pytest.approx(100 / 3)


def perturb(content: dict, rng: np.random.Generator) -> list:
    """Return predictions with misses, duplicates, wrong classes and ties."""
    cat_ids = sorted({a['category_id'] for a in content['annotations']})
    sizes = {i['id']: (i['height'], i['width']) for i in content['images']}
    predictions = []
    for ann in content['annotations']:
        for _ in range(rng.choice(4, p=[0.2, 0.5, 0.2, 0.1])):
            x, y, w, h = ann['bbox']
            x, w = x + rng.normal(0, 0.1) * w, w * rng.uniform(0.7, 1.3)
            y, h = y + rng.normal(0, 0.1) * h, h * rng.uniform(0.7, 1.3)
            height, width = sizes[ann['image_id']]
            rle = mask_utils.frPyObjects(
                [np.clip(polygon(x, y, w, h)[0], 0, max(height, width))],
                height,
                width,
            )[0]
            rle['counts'] = rle['counts'].decode()
            predictions.append(
                dict(
                    image_id=ann['image_id'],
                    category_id=int(rng.choice(cat_ids))
                    if rng.random() < 0.15
                    else ann['category_id'],
                    bbox=[x, y, w, h],
                    segmentation=rle,
                    score=round(float(rng.random()), 1),
                )
            )
    rng.shuffle(predictions)
    return predictions


def reference(
    ann_file: Path,
    predictions: list,
    names: Sequence[str],
    iou_type: str,
    folder: Path,
) -> list:
    """What pycocotools says of files that have these classes alone."""
    content = json.loads(ann_file.read_text())
    cat_ids = {c['id'] for c in content['categories'] if c['name'] in names}
    content['categories'] = [
        c for c in content['categories'] if c['id'] in cat_ids
    ]
    content['annotations'] = [
        a for a in content['annotations'] if a['category_id'] in cat_ids
    ]
    predictions = [
        {k: v for k, v in p.items() if k != 'bbox' or iou_type == 'bbox'}
        for p in predictions
        if p['category_id'] in cat_ids
    ]
    (folder / 'gt.json').write_text(json.dumps(content))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / 'gt.json'))
        evaluator = COCOeval(truth, truth.loadRes(predictions), iou_type)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return [100 * value for value in evaluator.stats[:6]]


@pytest.mark.skipif(
    not COCO_TINY.is_dir(), reason='80 real COCO images are not at hand'
)
@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
@pytest.mark.parametrize('split', ['48_17', '65_15'])
def test_equals_pycocotools_on_groups(tmp_path, split, iou_type):
    """One joint evaluation equals one of filtered files per group.

    With 100 detections per class, where the `stats` of pycocotools hold.
    """
    source = tmp_path / 'instances_val2017.json'
    original = COCO_TINY / 'annotations' / source.name
    source.write_bytes(original.read_bytes())
    ann_file = split_file(source, split, 'val').output
    content = json.loads(ann_file.read_text())
    predictions = perturb(content, np.random.default_rng(0))
    truth = load_ground_truth(ann_file)
    found = measure(truth, Predictions.from_coco(predictions), iou_type)
    for group, names in truth.groups.items():
        expected = reference(ann_file, predictions, names, iou_type, tmp_path)
        assert 10 < expected[1] < 90  # neither trivial
        assert [
            found[f'{iou_type}_{stat}_{group}']
            for stat in ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl')
        ] == pytest.approx(
            [np.nan if value < 0 else value for value in expected],
            abs=1e-9,
            nan_ok=True,
        )
