"""Pictures of a dataset's annotations: the work of tools/browse_dataset.py."""
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, List, Optional, Sequence, Tuple

import cv2
import numpy as np
import torch
from mmdet.registry import DATASETS
from mmdet.structures.bbox import get_box_tensor
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.fileio import get
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from pycocotools import mask as mask_tools
from torch import Tensor
from tqdm import tqdm

from ovd.artifacts.files import PathLike, require_file
from ovd.engine.overrides import apply_overrides
from ovd.suggest import check_choice

from .drawing import draw_instances

SUBSETS = ('train', 'val', 'test')
MIN_SIDE = 640  # shorter side of a picture; COCO's images are doubled


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


def browse_dataset(config: PathLike,
                   subset: str = 'train',
                   number: int = 20,
                   augmented: bool = False,
                   out_dir: PathLike = 'work_dirs/browse_dataset',
                   seed: int = 0,
                   cfg_options: Sequence[str] = ()) -> List[Path]:
    """Draw annotations of a config's dataset, base blue and novel orange.

    Args:
        config (PathLike): Config whose dataloader names the dataset.
        subset (str): ``'train'``, ``'val'`` or ``'test'``.
        number (int): How many images, evenly spread; 0 for all.
        augmented (bool): Draw what comes out of the config's pipeline, not
            the images as they are.
        out_dir (PathLike): Folder of the pictures, `<image>.png`.
        seed (int): Of the pipeline's randomness.
        cfg_options (Sequence[str]): Overrides, `key=value`.

    Returns:
        List[Path]: The pictures.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If there is no such dataset, it is empty, a picture would
            replace an image, or training data shows a novel class.
    """
    if number < 0:
        raise ValueError(f'the number must not be negative, got {number}')
    dataset = _build_dataset(config, subset, cfg_options)
    set_random_seed(seed)
    images = _augmented_images if augmented else _plain_images
    pictures: List[Path] = []
    count: Counter = Counter()
    for meta, item in images(dataset, number):
        pictures.append(_name_picture(Path(out_dir), item.path, pictures))
        classes = meta['classes']
        base = set(meta.get('base_classes', classes))
        names = [classes[label] for label in item.labels]
        draw_instances(
            item.image, item.bboxes, names, base, pictures[-1],
            masks=item.masks, is_crowd=item.is_crowd, legend=True,
            min_side=MIN_SIDE)
        count.update('base' if name in base else 'novel' for name in names)
    print(f'{len(pictures)} pictures in {out_dir}: {count["base"]} base and '
          f'{count["novel"]} novel annotations')
    if not any('base_classes' in part.metainfo for part in _unwrap(dataset)):
        print(f'{type(dataset).__name__} does not say which classes are '
              'base: all are drawn as such')
    if subset == 'train' and count['novel']:
        raise ValueError(
            f'{count["novel"]} annotations of novel classes are in the '
            'training data, where none may be; check its file with: python '
            'tools/build_zsl_dataset.py --verify FILE')
    return pictures


def _build_dataset(config: PathLike, subset: str,
                   cfg_options: Sequence[str]) -> Any:
    """Build the dataset of a dataloader."""
    check_choice(subset, SUBSETS, 'the subset')
    cfg = Config.fromfile(require_file(config, 'config'))
    apply_overrides(cfg, cfg_options)
    loader = cfg.get(f'{subset}_dataloader')
    if not loader:
        others = [name for name in SUBSETS if cfg.get(f'{name}_dataloader')]
        raise ValueError(f'{config} has no {subset}_dataloader, only those '
                         f'of {", ".join(others) or "no subset"}')
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    dataset = DATASETS.build(loader.dataset)
    if not len(dataset):
        raise ValueError(f'the {subset} dataset of {config} has no images')
    return dataset


def _unwrap(dataset: Any) -> Iterator[BaseDataset]:
    """Yield the datasets inside RepeatDataset, ConcatDataset and the like."""
    if hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from _unwrap(part)
    elif hasattr(dataset, 'dataset'):
        yield from _unwrap(dataset.dataset)
    else:
        yield dataset


def _spread(length: int, number: int) -> Iterator[int]:
    """Yield `number` indices, evenly spread, with progress; 0 for all."""
    count = min(number or length, length)
    for i in tqdm(range(count), desc='drawing', unit='image'):
        yield i * length // count


def _plain_images(dataset: Any,
                  number: int) -> Iterator[Tuple[dict, AnnotatedImage]]:
    """Yield metainfo and images as they are, each once however repeated."""
    places = [(part, i) for part in _unwrap(dataset)
              for i in range(len(part))]
    for index in _spread(len(places), number):
        part, i = places[index]
        info = part.get_data_info(i)
        content = get(info['img_path'], backend_args=part.backend_args)
        image = cv2.imdecode(
            np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f'{info["img_path"]} is damaged or no image')
        yield part.metainfo, _read_annotations(
            info, np.ascontiguousarray(image[..., ::-1]))


def _read_annotations(info: dict, image: np.ndarray) -> AnnotatedImage:
    """Return the annotations of the host's data info."""
    found = info['instances']
    masks = None
    if any('mask' in item for item in found):
        masks = torch.from_numpy(np.stack([
            _decode_mask(item.get('mask'), image.shape[:2]) for item in found
        ]))
    return AnnotatedImage(
        info['img_path'], image,
        torch.tensor([item['bbox'] for item in found]).reshape(-1, 4).float(),
        [item['bbox_label'] for item in found],
        [bool(item.get('ignore_flag')) for item in found], masks)


def _decode_mask(mask: Any, size_hw: Tuple[int, int]) -> np.ndarray:
    """Return polygons or run lengths of COCO as bool (H, W)."""
    if not mask:
        return np.zeros(size_hw, bool)
    if isinstance(mask, list):
        mask = mask_tools.merge(mask_tools.frPyObjects(mask, *size_hw))
    elif isinstance(mask['counts'], list):
        mask = mask_tools.frPyObjects(mask, *mask['size'])
    return mask_tools.decode(mask).astype(bool)


def _augmented_images(dataset: Any,
                      number: int) -> Iterator[Tuple[dict, AnnotatedImage]]:
    """Yield metainfo and what comes out of the config's pipeline."""
    meta = next(_unwrap(dataset)).metainfo
    for index in _spread(len(dataset), number):
        item = dataset[index]
        inputs = item.get('inputs') if isinstance(item, dict) else None
        if not isinstance(inputs, Tensor) or 'data_samples' not in item:
            raise ValueError(
                f'the pipeline of {type(dataset).__name__} gives no single '
                'image with annotations: leave --augmented out')
        sample = item['data_samples']
        truth = sample.gt_instances
        if 'bboxes' not in truth:
            raise ValueError('the pipeline does not load annotations: leave '
                             '--augmented out to see them')
        parts = [truth, sample.get('ignored_instances', truth[:0])]
        image = inputs.clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        masks = [_stack_masks(part.masks) for part in parts if 'masks' in part]
        yield meta, AnnotatedImage(
            sample.get('img_path', f'{index:06d}'),
            np.ascontiguousarray(image[..., ::-1]),  # the host's are BGR
            torch.cat([get_box_tensor(part.bboxes) for part in parts]),
            torch.cat([part.labels for part in parts]).tolist(),
            [False] * len(parts[0]) + [True] * len(parts[1]),
            torch.cat(masks) if len(masks) == len(parts) else None)


def _stack_masks(masks: Any) -> Tensor:
    """Return the host's masks as bool (M, H, W)."""
    if isinstance(masks, (BitmapMasks, PolygonMasks)):
        masks = torch.from_numpy(masks.to_ndarray())
    return masks.bool()


def _name_picture(out_dir: Path, image: str, taken: Sequence[Path]) -> Path:
    """Return `<image>.png`, numbered if another picture is called so."""
    stem = Path(image).stem
    picture, number = out_dir / f'{stem}.png', 1
    while picture in taken:
        number += 1
        picture = out_dir / f'{stem}_{number}.png'
    if picture.exists() and picture.samefile(image):
        raise ValueError(f'{picture} is one of the images: give another '
                         'folder for the pictures')
    return picture
