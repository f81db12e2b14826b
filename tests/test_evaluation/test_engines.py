"""The fast evaluator gives the numbers of the reference ones."""

import copy
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from ovd.evaluation.engines import Protocol, evaluate
from ovd.evaluation.ground_truth import GroundTruth, load_ground_truth
from ovd.evaluation.predictions import Predictions

ROOT = Path(__file__).parents[2]
COCO_TINY = ROOT.parent / 'shared' / 'data' / 'coco_tiny'
LVIS_100 = ROOT.parent / 'shared' / 'data' / 'lvis_v0.5_val_100.json'
IOU_TYPES = ['bbox', 'segm']


def load_benchmark():
    path = ROOT / 'tools/benchmarks/evaluation.py'
    spec = importlib.util.spec_from_file_location('benchmark', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def perturb(ann_file: Path, seed: int = 0, repeats: int = 1) -> Predictions:
    """Return misses, duplicates, wrong classes and many equal scores.

    Boxes and masks are those of the annotations (crowds too), moved by some
    pixels, in an order that has nothing to do with the images.
    """
    rng = np.random.default_rng(seed)
    known = COCO(str(ann_file))
    cat_ids = known.getCatIds()
    results = []
    for annotation in known.dataset['annotations'] * repeats:
        mask = known.annToMask(annotation)
        for _ in range(rng.choice(4, p=[0.2, 0.5, 0.2, 0.1])):
            moved = np.roll(mask, rng.integers(-6, 7, 2), (0, 1))
            rle = mask_utils.encode(np.asfortranarray(moved))
            box = mask_utils.toBbox(rle).tolist()
            rle['counts'] = rle['counts'].decode()
            wrong = rng.random() < 0.15
            results.append(
                dict(
                    image_id=annotation['image_id'],
                    category_id=int(rng.choice(cat_ids))
                    if wrong
                    else annotation['category_id'],
                    bbox=box,
                    segmentation=rle,
                    score=round(float(rng.random()), 1),
                )
            )
    rng.shuffle(results)
    return Predictions.from_coco(results)


def assert_equal(
    truth: GroundTruth,
    predictions: Predictions,
    iou_type: str,
    style: str,
    reference: str,
    max_dets: tuple,
) -> None:
    """Compare every number of the two evaluators, one and many blocks."""
    expected = evaluate(
        truth, [predictions], Protocol(iou_type, style, max_dets, reference)
    )
    for size in (7, 10**6):
        found = evaluate(
            truth,
            predictions.in_blocks(size),
            Protocol(iou_type, style, max_dets),
        )
        assert found.precision.shape == expected.precision.shape
        assert np.abs(found.precision - expected.precision).max() < 1e-9
        assert np.abs(found.recall - expected.recall).max() < 1e-9
    if len(predictions):
        assert 0.05 < expected.recall[expected.recall >= 0].mean() < 0.95


@pytest.mark.skipif(
    not COCO_TINY.is_dir(), reason='160 real COCO images are not at hand'
)
@pytest.mark.parametrize('iou_type', IOU_TYPES)
@pytest.mark.parametrize('max_dets', [(1, 10, 100), (3,), (100, 300, 1000)])
def test_equals_pycocotools_on_coco(tmp_path, iou_type, max_dets):
    source = COCO_TINY / 'annotations' / 'instances_val2017.json'
    content = json.loads(source.read_text())
    assert any(a['iscrowd'] for a in content['annotations'])
    # An image without an object, too.
    content['images'].append(dict(id=10**7, width=50, height=50))
    ann_file = tmp_path / 'val.json'
    ann_file.write_text(json.dumps(content))
    names = [c['name'] for c in content['categories']]
    truth = load_ground_truth(
        ann_file, dict(base=names[:60], novel=names[60:])
    )
    assert_equal(
        truth, perturb(ann_file), iou_type, 'coco', 'pycocotools', max_dets
    )


@pytest.fixture
def lvis_truth(tmp_path: Path) -> tuple[Path, GroundTruth]:
    """Forty images, each searched for some of thirty classes alone."""
    content = load_benchmark().generate_truth(40, 30, 9)
    path = tmp_path / 'lvis.json'
    path.write_text(json.dumps(content))
    return path, load_ground_truth(path)


@pytest.mark.parametrize('iou_type', IOU_TYPES)
@pytest.mark.parametrize('limit', [300, 20])
def test_equals_lvis_on_generated_data(lvis_truth, iou_type, limit):
    path, truth = lvis_truth
    assert {'rare', 'common', 'frequent'} < set(truth.groups)
    predictions = perturb(path, repeats=3)
    most = np.unique(predictions.image_ids, return_counts=True)[1].max()
    assert 20 < most < 300
    assert_equal(truth, predictions, iou_type, 'lvis', 'lvis', (limit,))


@pytest.mark.skipif(
    not LVIS_100.is_file(), reason='100 real LVIS images are not at hand'
)
@pytest.mark.parametrize('iou_type', IOU_TYPES)
def test_equals_lvis_on_lvis(iou_type):
    content = json.loads(LVIS_100.read_text())
    named = {
        letter: [
            c['name']
            for c in content['categories']
            if c['frequency'] in letter
        ]
        for letter in ('cf', 'r')
    }
    truth = load_ground_truth(
        LVIS_100, dict(base=named['cf'], novel=named['r'])
    )
    assert_equal(truth, perturb(LVIS_100), iou_type, 'lvis', 'lvis', (300,))


@pytest.mark.parametrize(
    'style, reference', [('coco', 'pycocotools'), ('lvis', 'lvis')]
)
@pytest.mark.parametrize('iou_type', IOU_TYPES)
def test_no_predictions(lvis_truth, iou_type, style, reference):
    assert_equal(
        lvis_truth[1],
        Predictions.from_coco([]),
        iou_type,
        style,
        reference,
        (100,),
    )


def federated(tmp_path: Path) -> GroundTruth:
    """One image with a cat, searched for dogs in vain, not for cows.

    Of birds one was drawn and there may be more.
    """
    names = ['cat', 'dog', 'cow', 'bird']
    content = dict(
        images=[
            dict(
                id='a',
                width=99,
                height=99,
                neg_category_ids=[2],
                not_exhaustive_category_ids=[4],
            ),
            dict(
                id='b',
                width=99,
                height=99,
                neg_category_ids=[],
                not_exhaustive_category_ids=[],
            ),
        ],
        annotations=[
            dict(image_id='a', category_id=1, bbox=[0, 0, 10, 10]),
            dict(image_id='a', category_id=4, bbox=[50, 50, 10, 10]),
            dict(image_id='b', category_id=2, bbox=[0, 0, 10, 10]),
            dict(image_id='b', category_id=3, bbox=[0, 0, 10, 10]),
        ],
        categories=[
            dict(id=i, name=name, frequency='f')
            for i, name in enumerate(names, 1)
        ],
    )
    path = tmp_path / 'x.json'
    path.write_text(json.dumps(content))
    return load_ground_truth(path, dict(base=names, novel=[]))


def test_federated_rules_by_hand(tmp_path):
    """A false positive counts only where the image was searched."""
    right = [
        (4, 'a', [50, 50, 10, 10], 0.8),
        (2, 'b', [0, 0, 10, 10], 0.8),
        (3, 'b', [0, 0, 10, 10], 0.8),
    ]
    wrong = [(i, 'a', [20, 20, 5, 5], 0.9) for i in (2, 3, 4)]
    predictions = Predictions.from_coco(
        [
            dict(category_id=i, image_id=image, bbox=box, score=score)
            for i, image, box, score in right + wrong
        ]
    )
    truth = federated(tmp_path)
    for engine in ('hotcoco', 'lvis'):
        curves = evaluate(
            truth,
            predictions.in_blocks(),
            Protocol(style='lvis', max_dets=(300,), engine=engine),
        )
        ap = curves.precision[0, :, :, 0, 0].mean(axis=0)
        # cat: missed; dog: half; cow and bird: the false ones don't count
        np.testing.assert_allclose(ap, [0, 0.5, 1, 1], atol=1e-9)
    curves = evaluate(truth, predictions.in_blocks(), Protocol())
    ap = curves.precision[0, :, :, 0, 0].mean(axis=0)
    np.testing.assert_allclose(ap, [0, 0.5, 0.5, 0.5], atol=1e-9)


def test_the_best_of_an_image_count_in_lvis(tmp_path):
    """The limit of LVIS is per image, that of COCO per class."""
    predictions = Predictions.from_coco(
        [
            dict(image_id='b', category_id=i, bbox=[0, 0, 10, 10], score=score)
            for i, score in ((2, 0.8), (3, 0.9))
        ]
    )
    truth = federated(tmp_path)
    for style, expected in (('lvis', [0, 0, 1, 0]), ('coco', [0, 1, 1, 0])):
        curves = evaluate(
            truth, [predictions], Protocol(style=style, max_dets=(1,))
        )
        np.testing.assert_allclose(
            curves.precision[0, :, :, 0, 0].mean(axis=0), expected, atol=1e-9
        )


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(iou_type='boxes'), 'metric must be one of bbox, segm'),
        (dict(style='voc'), 'style must be one of coco, lvis'),
        (dict(engine='hotcocoa'), 'did you mean "hotcoco"'),
        (dict(style='lvis', engine='pycocotools'), 'hotcoco, lvis'),
        (dict(max_dets=(10, 1)), 'positive and ascending'),
        (dict(max_dets=()), 'positive and ascending'),
        (dict(style='lvis', max_dets=(1, 2)), 'one limit per image'),
    ],
)
def test_protocol_errors(change, message):
    with pytest.raises(ValueError, match=message):
        Protocol(**change)


def test_a_coco_file_is_not_evaluated_as_lvis(tmp_path):
    path = tmp_path / 'x.json'
    path.write_text(
        json.dumps(
            dict(
                images=[dict(id=1, width=9, height=9)],
                annotations=[],
                categories=[dict(id=1, name='cat')],
            )
        )
    )
    truth = load_ground_truth(path, dict(base=['cat'], novel=[]))
    with pytest.raises(ValueError, match='no LVIS file.*frequency'):
        evaluate(truth, [], Protocol(style='lvis', max_dets=(300,)))


def test_evaluating_changes_nothing(lvis_truth):
    """Ground truth and predictions can be used again."""
    path, truth = lvis_truth
    predictions = perturb(path)
    before = copy.deepcopy((truth, predictions.to_coco()))
    for engine in ('hotcoco', 'pycocotools'):
        evaluate(truth, [predictions], Protocol('segm', engine=engine))
    assert (truth, predictions.to_coco()) == before


@pytest.mark.parametrize('mask', [None, [], {}])
def test_objects_without_a_mask(tmp_path, mask):
    path = tmp_path / 'x.json'
    path.write_text(
        json.dumps(
            dict(
                images=[dict(id=1, width=9, height=9)],
                annotations=[
                    dict(
                        image_id=1,
                        category_id=1,
                        bbox=[0, 0, 5, 5],
                        segmentation=mask,
                    )
                ],
                categories=[dict(id=1, name='cat')],
            )
        )
    )
    truth = load_ground_truth(path, dict(base=['cat'], novel=[]))
    with pytest.raises(ValueError, match='objects without a `segmentation`'):
        evaluate(truth, [], Protocol('segm'))
