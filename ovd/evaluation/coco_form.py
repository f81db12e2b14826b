"""Ground truth and predictions in the form that evaluators take."""

from itertools import count
from typing import Iterable, Iterator

import msgspec

from .ground_truth import GroundTruth
from .predictions import Predictions


def to_images(truth: GroundTruth) -> list[dict]:
    """Return the images, numbered, with LVIS's lists where they have them."""
    return [
        {
            key: value
            for key, value in msgspec.structs.asdict(image).items()
            if value is not None
        }
        | {'id': number}
        for number, image in enumerate(truth.images, 1)
    ]


def to_categories(truth: GroundTruth) -> list[dict]:
    """Return base and novel classes in the order of their ids."""
    return [
        dict(id=i, name=name, frequency=truth.frequencies.get(name, ''))
        for name, i in sorted(truth.cat_ids.items(), key=lambda item: item[1])
    ]


def to_objects(
    truth: GroundTruth,
    numbers: Iterable[int],
    ids: Iterator[int],
    iou_type: str,
) -> list[dict]:
    """Return the objects of numbered images, with masks if they count."""
    found = []
    for number in numbers:
        image_id = truth.images[number - 1].id
        for annotation in truth.annotations.get(image_id, ()):
            width, height = annotation.bbox[2:]
            item = dict(
                id=next(ids),
                image_id=number,
                category_id=annotation.category_id,
                bbox=list(annotation.bbox),
                area=width * height
                if annotation.area is None
                else annotation.area,
                iscrowd=int(annotation.iscrowd),
            )
            if annotation.ignore:
                item['ignore'] = 1
            if iou_type == 'segm':
                item['segmentation'] = msgspec.json.decode(
                    annotation.segmentation
                )
            found.append(item)
    return found


def to_results(predictions: Predictions, iou_type: str) -> list[dict]:
    """Return COCO results with the one field that is evaluated.

    With a box beside its mask, a result's area would be the box's.
    """
    results = predictions.to_coco()
    for result in results if iou_type == 'segm' else ():
        result.pop('bbox', None)
    return results


def to_dataset(truth: GroundTruth, iou_type: str) -> dict:
    """Return the whole ground truth as one COCO dict."""
    return dict(
        images=to_images(truth),
        categories=to_categories(truth),
        annotations=to_objects(
            truth, range(1, len(truth.images) + 1), count(1), iou_type
        ),
    )
