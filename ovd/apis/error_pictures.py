"""Ground truth beside detections, of the classes that are found worst."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Iterator, List, Optional, Sequence, Set, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pycocotools import mask as mask_tools
from torch import Tensor

from ovd.evaluation.error_analysis import ErrorAnalysis
from ovd.evaluation.ground_truth import Id
from ovd.evaluation.predictions import Predictions
from ovd.spelling import canonical_spelling

from .annotated_images import AnnotatedImage, plain_image, unwrap
from .drawing import BASE_COLOUR, NOVEL_COLOUR, render_instances, shrink_image

NUM_PICTURES = 24
LONGEST = 960  # pixels of the longer side; photos of more are shrunk
SHORTEST = 400  # of the shorter side; smaller ones are enlarged


@dataclass(frozen=True)
class ErrorPicture:
    """An image, and how a class fares in it.

    Args:
        name (str): The class.
        file (str): File name of the image.
        objects (int): Objects of the class.
        missed (int): Those that were not found.
        wrong (int): Detections of the class that found no object.
        truth (Image): All ground truth of the image.
        found (Image): All detections from the score threshold on.
    """

    name: str
    file: str
    objects: int
    missed: int
    wrong: int
    truth: Image.Image
    found: Image.Image


def choose_images(
    analysis: ErrorAnalysis, worst: Sequence[str], number: int = NUM_PICTURES
) -> List[Tuple[str, Id]]:
    """Return (class, image id), an image per class and then further ones.

    Of the images that hold a class, those with the most errors of it come
    first; an image is taken once.

    Args:
        analysis (ErrorAnalysis): Counts the errors.
        worst (Sequence[str]): Class names, the worst first.
        number (int): How many at most.
    """
    names = {i: name for name, i in analysis.truth.cat_ids.items()}
    images: dict = {name: set() for name in worst}
    for image_id, annotations in analysis.truth.annotations.items():
        for annotation in annotations:
            if not annotation.iscrowd:
                images.get(names[annotation.category_id], set()).add(image_id)
    left = {
        name: sorted(
            ids,
            key=lambda image_id: (
                analysis.missed[image_id, name]
                + analysis.wrong[image_id, name],
                image_id,
            ),
            reverse=True,
        )
        for name, ids in images.items()
    }
    chosen: List[Tuple[str, Id]] = []
    taken: Set[Id] = set()
    while len(chosen) < number and any(left.values()):
        for name, ids in left.items():
            while ids and ids[0] in taken:
                ids.pop(0)
            if ids and len(chosen) < number:
                taken.add(ids[0])
                chosen.append((name, ids.pop(0)))
    order = {name: i for i, name in enumerate(worst)}
    return sorted(chosen, key=lambda item: order[item[0]])


def draw_errors(
    analysis: ErrorAnalysis,
    dataset: Any,
    worst: Sequence[str],
    notices: List[str],
) -> Iterator[ErrorPicture]:
    """Yield the pictures, the worst class first.

    Args:
        analysis (ErrorAnalysis): Says which images, and has the detections.
        dataset (Any): Has the images, with the ids of ``analysis``.
        worst (Sequence[str]): Class names, the worst first.
        notices (list[str]): Gets a line for each image that can't be read.
    """
    places = {
        part.get_data_info(i)['img_id']: (part, i)
        for part in unwrap(dataset)
        for i in range(len(part))
    }
    for name, image_id in choose_images(analysis, worst):
        if image_id not in places:
            notices.append(
                f'no picture of image {image_id}: the test '
                'dataset of the config lacks it'
            )
            continue
        part, index = places[image_id]
        try:
            item = plain_image(part, index)
        except (FileNotFoundError, ValueError) as error:
            notices.append(f'no picture of image {image_id}: {error}')
            continue
        cat_id = analysis.truth.cat_ids[name]
        yield ErrorPicture(
            name,
            Path(item.path).name,
            sum(
                annotation.category_id == cat_id and not annotation.iscrowd
                for annotation in analysis.truth.annotations[image_id]
            ),
            analysis.missed[image_id, name],
            analysis.wrong[image_id, name],
            _draw(
                analysis,
                item,
                [
                    canonical_spelling(part.metainfo['classes'][label])
                    for label in item.labels
                ],
            ),
            _draw_found(analysis, item, image_id),
        )


def _draw_found(
    analysis: ErrorAnalysis, item: AnnotatedImage, image_id: Id
) -> Image.Image:
    """Draw the detections of an image."""
    found = analysis.found.take(
        np.flatnonzero(analysis.found.image_ids == image_id)
    )
    known = {i: name for name, i in analysis.truth.cat_ids.items()}
    masks = _decode(found) if analysis.iou_type == 'segm' else None
    return _draw(
        analysis,
        replace(
            item,
            bboxes=_boxes(found),
            is_crowd=[False] * len(found),
            masks=None if masks is None else torch.from_numpy(masks),
        ),
        [known[i] for i in found.cat_ids.tolist()],
        found.scores.tolist(),
    )


def _decode(found: Predictions) -> Optional[np.ndarray]:
    """Return masks (N, H, W), if all have one."""
    if not found.masks or None in found.masks:
        return None
    return mask_tools.decode(found.masks).astype(bool).transpose(2, 0, 1)


def _boxes(found: Predictions) -> Tensor:
    """Return boxes (N, 4) xyxy, of masks where there are no boxes."""
    boxes = found.bboxes.copy()
    for i in np.flatnonzero(np.isnan(boxes).any(axis=1)):
        assert found.masks is not None
        boxes[i] = mask_tools.toBbox(found.masks[i])
    boxes[:, 2:] += boxes[:, :2]
    return torch.from_numpy(boxes).float()


def _draw(
    analysis: ErrorAnalysis,
    item: AnnotatedImage,
    names: Sequence[str],
    scores: Optional[Sequence[float]] = None,
) -> Image.Image:
    novel = set(analysis.truth.groups['novel'])
    texts = (
        list(names)
        if scores is None
        else [f'{name} {score:.2f}' for name, score in zip(names, scores)]
    )
    # Their tint would hide colours, and only errors of masks need them.
    masks = item.masks if analysis.iou_type == 'segm' else None
    item = _shrink(replace(item, masks=masks))
    return render_instances(
        item.image,
        item.bboxes,
        texts,
        [NOVEL_COLOUR if name in novel else BASE_COLOUR for name in names],
        item.masks,
        item.is_crowd,
        SHORTEST,
    )


def _shrink(item: AnnotatedImage) -> AnnotatedImage:
    """Return a large photo at a size for a page."""
    image = shrink_image(item.image, LONGEST)
    if image is item.image:
        return item
    factor = LONGEST / max(item.image.shape[:2])
    masks = item.masks
    if masks is not None and len(masks):
        masks = F.interpolate(masks[None].to(torch.uint8), image.shape[:2])[
            0
        ].bool()
    return replace(item, image=image, bboxes=item.bboxes * factor, masks=masks)
