"""Images of a dataset with their annotations, as they are or augmented."""

from dataclasses import dataclass
from typing import Any, Iterator, List, Optional, Tuple

import cv2
import numpy as np
import torch
from mmdet.structures.bbox import get_box_tensor
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.dataset import BaseDataset
from mmengine.fileio import get
from pycocotools import mask as mask_tools
from torch import Tensor
from tqdm import tqdm


@dataclass
class AnnotatedImage:
    """An image with its M annotations, in its own pixels.

    Args:
        path (str): Where the image was read.
        image (np.ndarray): RGB uint8 (H, W, 3).
        bboxes (Tensor): (M, 4) xyxy.
        labels (list[int]): M.
        is_crowd (list[bool]): M; what training ignores, too.
        masks (Tensor, optional): bool (M, H, W).
    """

    path: str
    image: np.ndarray
    bboxes: Tensor
    labels: List[int]
    is_crowd: List[bool]
    masks: Optional[Tensor]


def unwrap(dataset: Any) -> Iterator[BaseDataset]:
    """Yield the datasets inside RepeatDataset, ConcatDataset and the like."""
    if hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from unwrap(part)
    elif hasattr(dataset, 'dataset'):
        yield from unwrap(dataset.dataset)
    else:
        yield dataset


def _spread(length: int, number: int) -> Iterator[int]:
    """Yield `number` indices, evenly spread, with progress; 0 for all."""
    count = min(number or length, length)
    for i in tqdm(range(count), desc='drawing', unit='image'):
        yield i * length // count


def plain_images(
    dataset: Any, number: int
) -> Iterator[Tuple[dict, AnnotatedImage]]:
    """Yield metainfo and images as they are, each once however repeated."""
    places = [(part, i) for part in unwrap(dataset) for i in range(len(part))]
    for index in _spread(len(places), number):
        part, i = places[index]
        yield part.metainfo, plain_image(part, i)


def plain_image(dataset: BaseDataset, index: int) -> AnnotatedImage:
    """Return an image as it is.

    Args:
        dataset (BaseDataset): Not one round another.
        index (int): Of the image in it.

    Raises:
        FileNotFoundError: If the image does not exist.
        ValueError: If it is damaged.
    """
    info = dataset.get_data_info(index)
    content = get(info['img_path'], backend_args=dataset.backend_args)
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f'{info["img_path"]} is damaged or no image')
    return _read_annotations(info, np.ascontiguousarray(image[..., ::-1]))


def _read_annotations(info: dict, image: np.ndarray) -> AnnotatedImage:
    """Return the annotations of the host's data info."""
    found = info['instances']
    masks = None
    if any('mask' in item for item in found):
        masks = torch.from_numpy(
            np.stack(
                [
                    _decode_mask(item.get('mask'), image.shape[:2])
                    for item in found
                ]
            )
        )
    return AnnotatedImage(
        info['img_path'],
        image,
        torch.tensor([item['bbox'] for item in found]).reshape(-1, 4).float(),
        [item['bbox_label'] for item in found],
        [bool(item.get('ignore_flag')) for item in found],
        masks,
    )


def _decode_mask(mask: Any, size_hw: Tuple[int, int]) -> np.ndarray:
    """Return polygons or run lengths of COCO as bool (H, W)."""
    if not mask:
        return np.zeros(size_hw, bool)
    if isinstance(mask, list):
        mask = mask_tools.merge(mask_tools.frPyObjects(mask, *size_hw))
    elif isinstance(mask['counts'], list):
        mask = mask_tools.frPyObjects(mask, *mask['size'])
    return mask_tools.decode(mask).astype(bool)


def augmented_images(
    dataset: Any, number: int
) -> Iterator[Tuple[dict, AnnotatedImage]]:
    """Yield metainfo and what comes out of the config's pipeline."""
    meta = next(unwrap(dataset)).metainfo
    for index in _spread(len(dataset), number):
        item = dataset[index]
        inputs = item.get('inputs') if isinstance(item, dict) else None
        if not isinstance(inputs, Tensor) or 'data_samples' not in item:
            raise ValueError(
                f'the pipeline of {type(dataset).__name__} gives no single '
                'image with annotations: leave --augmented out'
            )
        sample = item['data_samples']
        truth = sample.gt_instances
        if 'bboxes' not in truth:
            raise ValueError(
                'the pipeline does not load annotations: leave '
                '--augmented out to see them'
            )
        parts = [truth, sample.get('ignored_instances', truth[:0])]
        image = inputs.clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        masks = [_stack_masks(part.masks) for part in parts if 'masks' in part]
        yield (
            meta,
            AnnotatedImage(
                sample.get('img_path', f'{index:06d}'),
                np.ascontiguousarray(image[..., ::-1]),  # the host's are BGR
                torch.cat([get_box_tensor(part.bboxes) for part in parts]),
                torch.cat([part.labels for part in parts]).tolist(),
                [False] * len(parts[0]) + [True] * len(parts[1]),
                torch.cat(masks) if len(masks) == len(parts) else None,
            ),
        )


def _stack_masks(masks: Any) -> Tensor:
    """Return the host's masks as bool (M, H, W)."""
    if isinstance(masks, (BitmapMasks, PolygonMasks)):
        masks = torch.from_numpy(masks.to_ndarray())
    return masks.bool()
