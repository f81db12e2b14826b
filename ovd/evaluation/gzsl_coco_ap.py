"""AP of COCO predictions over all, base and novel classes jointly.

Every class has its own AP, whatever the other classes are; a group's AP is
the mean over its classes that have ground truth. The precision array of
pycocotools is read directly: with maxDets other than (1, 10, 100), entries
of its `stats` are -1 or taken at another maxDets than they claim.
"""
import contextlib
import io
from dataclasses import dataclass
from typing import Optional, Sequence

import msgspec
import numpy as np
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ovd.artifacts.files import PathLike, require_file
from ovd.datasets.gzsl_split import SPLITTER, how_to_make

IOU_TYPES = ('bbox', 'segm')
STATS = ('AP', 'AP50', 'AP75')


@dataclass(frozen=True)
class GroundTruth:
    """A split annotation file, made ready for many evaluations.

    Args:
        ann_file (str): Its name, for messages.
        images (list[dict]): The images, all of which are evaluated.
        annotations (list[dict]): Of base and novel classes.
        cat_ids (dict[str, int]): Class name -> category id, in file order.
        groups (dict[str, list[str]]): ``all``, ``base``, ``novel`` and the
            further groups of the split -> class names.
        split (str): Name of the split.
    """

    ann_file: str
    images: list
    annotations: list
    cat_ids: dict
    groups: dict
    split: str


def load_ground_truth(ann_file: PathLike,
                      gzsl: Optional[dict] = None) -> GroundTruth:
    """Read the ground truth of an evaluation.

    Args:
        ann_file (PathLike): COCO annotation file.
        gzsl (dict, optional): ``base``, ``novel`` and ``groups`` of a file
            that has no ``gzsl`` block of its own.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not json, or nothing says what is novel in it.
    """
    path = require_file(ann_file, 'annotation file', how_to_make(ann_file))
    try:
        content = msgspec.json.decode(path.read_bytes())
        categories = content['categories']
        images, annotations = content['images'], content['annotations']
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise ValueError(f'{path} is not a COCO annotation file: '
                         f'{error!r}') from error
    gzsl = content.get('gzsl') or gzsl
    if gzsl is None:
        raise ValueError(f'{path} has no `gzsl` block that says which classes '
                         f'are novel\nmake one with: {SPLITTER}')
    named = {*gzsl['base'], *gzsl['novel']}
    cat_ids = {c['name']: c['id'] for c in categories if c['name'] in named}
    if missing := sorted(named - set(cat_ids)):
        raise ValueError(f'{path} lacks the classes {", ".join(missing)}')
    kept = set(cat_ids.values())
    return GroundTruth(
        str(path), images,
        [_complete(ann, i) for i, ann in enumerate(
            (a for a in annotations if a['category_id'] in kept), 1)],
        cat_ids,
        dict(all=list(cat_ids), base=list(gzsl['base']),
             novel=list(gzsl['novel']), **gzsl.get('groups', {})),
        gzsl.get('split', 'metainfo'))


def _complete(annotation: dict, number: int) -> dict:
    """Return an annotation with all that COCOeval reads.

    It is numbered anew: COCOeval takes a match with id 0 for none.
    """
    width, height = annotation['bbox'][2:]
    return {'iscrowd': 0, 'area': width * height, **annotation, 'id': number}


def evaluate_predictions(truth: GroundTruth,
                         predictions: Sequence[dict],
                         iou_type: str = 'bbox',
                         max_dets: int = 300) -> np.ndarray:
    """Return the AP of every class.

    Args:
        truth (GroundTruth): What is there.
        predictions (Sequence[dict]): COCO results: ``image_id``,
            ``category_id``, ``score`` and ``bbox`` (xywh, pixels of the
            original image) or ``segmentation`` (RLE).
        iou_type (str): ``'bbox'`` or ``'segm'``.
        max_dets (int): The best of one class in one image that count.

    Returns:
        ndarray: (C, 10) AP in percent at IoU 0.5, 0.55, ... 0.95, classes in
        the order of ``truth.cat_ids``; NaN where a class has no object.

    Raises:
        ValueError: If a prediction is of an unknown image or class, or has
            no mask where masks are evaluated.
    """
    detections = _to_detections(truth, predictions, iou_type)
    if iou_type == 'segm':
        _require_masks(truth)
    # COCOeval writes into the annotations, so it gets copies.
    annotations = [dict(annotation) for annotation in truth.annotations]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(
            _index(truth, annotations), _index(truth, detections), iou_type)
        cat_ids = np.array(list(truth.cat_ids.values()))
        evaluator.params.catIds = sorted(cat_ids.tolist())
        evaluator.params.maxDets = [max_dets]
        evaluator.params.areaRng = [[0, 1e10]]
        evaluator.params.areaRngLbl = ['all']
        evaluator.evaluate()
        evaluator.accumulate()
    # (IoU thresholds, recalls, C, areas, maxDets) -> (C, IoU thresholds)
    precision = evaluator.eval['precision'][:, :, :, 0, 0]
    class_ap = 100 * precision.mean(axis=1).T
    class_ap[(precision < 0).all(axis=(0, 1))] = np.nan
    # accumulate has the classes by id, which need not be the file's order
    return class_ap[np.searchsorted(evaluator.params.catIds, cat_ids)]


def _to_detections(truth: GroundTruth, predictions: Sequence[dict],
                   iou_type: str) -> list[dict]:
    """Return predictions with the fields that COCOeval reads."""
    if iou_type not in IOU_TYPES:
        raise ValueError(f'the IoU type must be one of {", ".join(IOU_TYPES)},'
                         f' got "{iou_type}"')
    image_ids = {image['id'] for image in truth.images}
    cat_ids = set(truth.cat_ids.values())
    field = 'bbox' if iou_type == 'bbox' else 'segmentation'
    for prediction in predictions:
        if prediction['image_id'] not in image_ids:
            raise ValueError(f'prediction for image {prediction["image_id"]}, '
                             f'which {truth.ann_file} lacks')
        if prediction['category_id'] not in cat_ids:
            raise ValueError(
                f'prediction of category {prediction["category_id"]}, neither '
                f'base nor novel in {truth.ann_file}')
        if field not in prediction:
            raise ValueError(f'"{iou_type}" needs the `{field}` of every '
                             'prediction, one has none')
    shapes = [prediction[field] for prediction in predictions]
    # One mask a call: pycocotools 2.0.11 overflows at 256 under NumPy 2.
    areas = [
        shape[2] * shape[3] if iou_type == 'bbox' else float(
            mask_utils.area(shape)) for shape in shapes
    ]
    return [{
        'id': i,
        'image_id': prediction['image_id'],
        'category_id': prediction['category_id'],
        'score': prediction['score'],
        'area': area,
        'iscrowd': 0,
        field: shape
    } for i, (prediction, shape, area) in enumerate(
        zip(predictions, shapes, areas), 1)]


def _require_masks(truth: GroundTruth) -> None:
    for annotation in truth.annotations:
        if 'segmentation' not in annotation:
            raise ValueError(
                f'{truth.ann_file} has objects without a `segmentation`: '
                'masks cannot be evaluated on it')


def _index(truth: GroundTruth, annotations: list[dict]) -> COCO:
    """Put annotations into pycocotools' form without going through a file."""
    coco = COCO()
    coco.dataset = dict(
        images=truth.images,
        categories=[dict(id=i, name=n) for n, i in truth.cat_ids.items()],
        annotations=annotations)
    coco.createIndex()
    return coco


def summarise(truth: GroundTruth, class_ap: np.ndarray,
              prefix: str) -> dict[str, float]:
    """Average the AP of classes over groups.

    Args:
        truth (GroundTruth): What is there.
        class_ap (ndarray): (C, 10) of :func:`evaluate_predictions`.
        prefix (str): Goes before the names, ``'bbox'``.

    Returns:
        dict: ``{prefix}_{AP|AP50|AP75}_{group}`` in percent for each group
        of the split, and ``..._harmonic``, the harmonic mean of base and
        novel. NaN where no class of a group has an object.
    """
    row = {name: i for i, name in enumerate(truth.cat_ids)}
    columns = dict(AP=slice(None), AP50=slice(0, 1), AP75=slice(5, 6))
    result = {}
    for stat in STATS:
        for group, names in truth.groups.items():
            values = class_ap[[row[name] for name in names], columns[stat]]
            values = values[~np.isnan(values)]
            result[f'{prefix}_{stat}_{group}'] = float(
                values.mean()) if values.size else float('nan')
        base = result[f'{prefix}_{stat}_base']
        novel = result[f'{prefix}_{stat}_novel']
        total = base + novel
        result[f'{prefix}_{stat}_harmonic'] = (
            0.0 if total == 0 else 2 * base * novel / total)
    return result
