"""Pictures of a dataset's annotations: the work of tools/browse_dataset.py."""

from collections import Counter
from pathlib import Path
from typing import Any, Container, Dict, List, Sequence

from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed

from ovd.artifacts.files import PathLike
from ovd.engine.config_check import check_types
from ovd.engine.config_origins import read_config
from ovd.engine.overrides import apply_overrides
from ovd.suggest import check_choice

from .annotated_images import augmented_images, plain_images, unwrap
from .drawing import draw_instances

SUBSETS = ('train', 'val', 'test')
MIN_SIDE = 640  # shorter side of a picture; COCO's images are doubled


def browse_dataset(
    config: PathLike,
    subset: str = 'train',
    number: int = 20,
    augmented: bool = False,
    out_dir: PathLike = 'work_dirs/browse_dataset',
    seed: int = 0,
    cfg_options: Sequence[str] = (),
) -> List[Path]:
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
        ValueError: If a type or an argument of the config does not exist,
            there is no such dataset, it is empty, a picture would
            replace an image, or training data shows a novel class.
    """
    if number < 0:
        raise ValueError(f'the number must not be negative, got {number}')
    dataset = build_dataset(config, subset, augmented, cfg_options)
    set_random_seed(seed)
    images = augmented_images if augmented else plain_images
    pictures: Dict[Path, None] = {}  # in order, and quick to search
    count: Counter = Counter()
    for meta, item in images(dataset, number):
        picture = _name_picture(Path(out_dir), item.path, pictures)
        pictures[picture] = None
        classes = meta['classes']
        base = set(meta.get('base_classes', classes))
        names = [classes[label] for label in item.labels]
        draw_instances(
            item.image,
            item.bboxes,
            names,
            base,
            picture,
            masks=item.masks,
            is_crowd=item.is_crowd,
            legend=True,
            min_side=MIN_SIDE,
        )
        count.update('base' if name in base else 'novel' for name in names)
    print(
        f'{len(pictures)} pictures in {out_dir}: {count["base"]} base and '
        f'{count["novel"]} novel annotations'
    )
    if not any('base_classes' in part.metainfo for part in unwrap(dataset)):
        print(
            f'{type(dataset).__name__} does not say which classes are '
            'base: all are drawn as such'
        )
    if subset == 'train' and count['novel']:
        raise ValueError(
            f'{count["novel"]} annotations of novel classes are in the '
            'training data, where none may be; check its file with: python '
            'tools/build_zsl_dataset.py --verify FILE'
        )
    return list(pictures)


def build_dataset(
    config: PathLike,
    subset: str,
    augmented: bool,
    cfg_options: Sequence[str] = (),
) -> Any:
    """Build the dataset of a dataloader, its pipeline if it is needed.

    Args:
        config (PathLike): Config whose dataloader names the dataset.
        subset (str): ``'train'``, ``'val'`` or ``'test'``.
        augmented (bool): Whether the pipeline is needed.
        cfg_options (Sequence[str]): Overrides, `key=value`.

    Raises:
        FileNotFoundError, ValueError: See :func:`browse_dataset`.
    """
    check_choice(subset, SUBSETS, 'the subset')
    cfg = read_config(str(config))
    apply_overrides(cfg, cfg_options)
    check_types(cfg)
    loader = cfg.get(f'{subset}_dataloader')
    if not loader:
        others = [name for name in SUBSETS if cfg.get(f'{name}_dataloader')]
        raise ValueError(
            f'{config} has no {subset}_dataloader, only those '
            f'of {", ".join(others) or "no subset"}'
        )
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    if not augmented:
        _remove_pipelines(loader.dataset)
    dataset = DATASETS.build(loader.dataset)
    for part in unwrap(dataset):
        if not isinstance(part, BaseDetDataset):
            raise ValueError(
                f'{subset} of {config} is a {type(part).__name__}, which has '
                'no boxes; expected a detection dataset'
            )
    if not len(dataset):
        raise ValueError(f'the {subset} dataset of {config} has no images')
    return dataset


def _remove_pipelines(dataset: dict) -> None:
    """Empty all pipelines: they are not run, and may not even build."""
    if 'pipeline' in dataset:
        dataset['pipeline'] = []
    for part in (*dataset.get('datasets', ()), dataset.get('dataset')):
        if part:
            _remove_pipelines(part)


def _name_picture(out_dir: Path, image: str, taken: Container[Path]) -> Path:
    """Return `<image>.png`, numbered if another picture is called so."""
    stem = Path(image).stem
    picture, number = out_dir / f'{stem}.png', 1
    while picture in taken:
        number += 1
        picture = out_dir / f'{stem}_{number}.png'
    if picture.exists() and picture.samefile(image):
        raise ValueError(
            f'{picture} is one of the images: give another '
            'folder for the pictures'
        )
    return picture
