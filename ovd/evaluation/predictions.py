"""Predictions of a detector as columns, and COCO json files of them.

Shapes: N predictions.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Any, Iterable, Iterator, Optional, Sequence, Union

import msgspec
import numpy as np

from ovd.artifacts.files import PathLike, atomic_write, require_file

from .ground_truth import GroundTruth

BLOCK = 500  # images that are evaluated at a time


@dataclass(frozen=True)
class Predictions:
    """Predictions of some images; all those of an image are in one object.

    Args:
        image_ids (ndarray): (N,) ids of the images.
        cat_ids (ndarray): (N,) category ids.
        scores (ndarray): (N,) float64.
        bboxes (ndarray): (N, 4) float64 xywh in pixels of the original
            image, NaN where a prediction has a mask alone.
        masks (list, optional): N COCO segmentations (RLE with ``size`` and
            ``counts`` as text), None where a prediction has none.
    """

    image_ids: np.ndarray
    cat_ids: np.ndarray
    scores: np.ndarray
    bboxes: np.ndarray
    masks: Optional[list] = None

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: np.ndarray) -> 'Predictions':
        """Return the predictions of these rows, in this order."""
        return Predictions(
            self.image_ids[rows],
            self.cat_ids[rows],
            self.scores[rows],
            self.bboxes[rows],
            None if self.masks is None else [self.masks[i] for i in rows],
        )

    def in_blocks(self, num_images: int = BLOCK) -> Iterator['Predictions']:
        """Yield parts of at most ``num_images`` images, sorted by image.

        Predictions of one image keep their order, which decides between
        equal scores.
        """
        order = np.argsort(self.image_ids, kind='stable')
        starts = np.unique(self.image_ids[order], return_index=True)[1]
        edges = [*starts[::num_images], len(order)]
        for start, end in zip(edges, edges[1:]):
            yield self.take(order[start:end])

    def to_coco(self) -> list[dict]:
        """Return COCO results; boxes and masks as far as they are there."""
        results = []
        for i, (image_id, cat_id, score, bbox) in enumerate(
            zip(
                self.image_ids.tolist(),
                self.cat_ids.tolist(),
                self.scores.tolist(),
                self.bboxes.tolist(),
            )
        ):
            result = dict(image_id=image_id, category_id=cat_id, score=score)
            if bbox[0] == bbox[0]:
                result['bbox'] = bbox
            if self.masks is not None and self.masks[i] is not None:
                result['segmentation'] = self.masks[i]
            results.append(result)
        return results

    @classmethod
    def from_coco(cls, results: Sequence[Any]) -> 'Predictions':
        """Make columns of COCO results (dicts, or structs of this module).

        Raises:
            ValueError: If a result lacks a field or a field is malformed.
        """
        try:
            rows = [
                result
                if isinstance(result, _Result)
                else msgspec.convert(result, _Result)
                for result in results
            ]
        except msgspec.ValidationError as error:
            raise ValueError(f'not a COCO prediction: {error}') from error
        nothing = (float('nan'),) * 4
        bboxes = chain.from_iterable(row.bbox or nothing for row in rows)
        masks = [row.segmentation for row in rows]
        return cls(
            np.array([row.image_id for row in rows]),
            np.fromiter((row.category_id for row in rows), np.int64),
            np.fromiter((row.score for row in rows), np.float64),
            np.fromiter(bboxes, np.float64).reshape(-1, 4),
            masks if any(mask is not None for mask in masks) else None,
        )

    @classmethod
    def join(cls, parts: Iterable['Predictions']) -> 'Predictions':
        """Put parts together, in their order."""
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls.from_coco([])
        has_masks = any(part.masks is not None for part in parts)
        masks = [
            mask for part in parts for mask in part.masks or [None] * len(part)
        ]
        return cls(
            masks=masks if has_masks else None,
            **{
                name: np.concatenate([getattr(part, name) for part in parts])
                for name in ('image_ids', 'cat_ids', 'scores', 'bboxes')
            },
        )


class _Result(msgspec.Struct, gc=False):
    image_id: Union[int, str]
    category_id: int
    score: float
    bbox: Optional[tuple[float, float, float, float]] = None
    segmentation: Union[dict, list, None] = None


def load_predictions(path: PathLike) -> Predictions:
    """Read a COCO results file.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is not a json list of predictions.
    """
    path = require_file(
        path,
        'predictions file',
        'python tools/test.py CONFIG CHECKPOINT --out FILE',
    )
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=list[_Result])
    except msgspec.DecodeError as error:
        raise ValueError(
            f'{path} is not a list of COCO predictions: {error}'
        ) from error
    return Predictions.from_coco(rows)


def save_predictions(path: PathLike, blocks: Iterable[Predictions]) -> int:
    """Write a COCO results file, block by block; return their number."""
    count = 0
    with atomic_write(path) as file:
        file.write(b'[')
        for block in blocks:
            rows = msgspec.json.encode(block.to_coco())[1:-1]
            if rows:
                file.write(b',\n' * (count > 0) + rows)
            count += len(block)
        file.write(b']\n')
    return count


def check_predictions(
    predictions: Predictions, truth: GroundTruth, iou_type: str
) -> None:
    """Raise unless these are predictions for that ground truth.

    Raises:
        ValueError: If one is of an unknown image or class, its score is no
            number, or the box or mask that is to be evaluated is missing or
            malformed.
    """
    unknown = np.setdiff1d(predictions.image_ids, truth.image_ids)
    if len(unknown):
        raise ValueError(
            f'prediction for image {unknown[0]}, which {truth.ann_file} lacks'
        )
    unknown = np.setdiff1d(predictions.cat_ids, list(truth.cat_ids.values()))
    if len(unknown):
        raise ValueError(
            f'prediction of category {unknown[0]}, neither base nor novel in '
            f'{truth.ann_file}'
        )
    if not np.isfinite(predictions.scores).all():
        row = np.flatnonzero(~np.isfinite(predictions.scores))[0]
        raise ValueError(
            f'a prediction for image {predictions.image_ids[row]} has the '
            f'score {predictions.scores[row]}'
        )
    if iou_type == 'bbox':
        lacking = np.isnan(predictions.bboxes).any(axis=1)
        if lacking.any():
            raise ValueError(
                '"bbox" needs the `bbox` of every prediction, one for image '
                f'{predictions.image_ids[np.argmax(lacking)]} has none'
            )
    else:
        _check_masks(predictions, truth)


def _check_masks(predictions: Predictions, truth: GroundTruth) -> None:
    """Raise unless every prediction has a compressed RLE of its image."""
    sizes = {image.id: [image.height, image.width] for image in truth.images}
    masks = predictions.masks or [None] * len(predictions)
    for image_id, mask in zip(predictions.image_ids.tolist(), masks):
        if mask is None:
            raise ValueError(
                '"segm" needs the `segmentation` of every prediction, one for '
                f'image {image_id} has none'
            )
        if not isinstance(mask, dict) or not isinstance(
            mask.get('counts'), str
        ):
            raise ValueError(
                f'a mask of image {image_id} is no compressed RLE with '
                '`size` and `counts` as text; pycocotools.mask makes one'
            )
        if list(mask.get('size', ())) != sizes[image_id]:
            raise ValueError(
                f'a mask of image {image_id} has the size {mask.get("size")}, '
                f'the image {sizes[image_id]} (height, width)'
            )
