"""The training and the validation part of a dataset of one's own, checked."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence

import numpy as np

from ovd.artifacts.files import PathLike
from ovd.datasets.annotation_file import AnnotationFile, load_annotation_file
from ovd.datasets.gzsl_classes import listed
from ovd.datasets.image_names import ImageName, read_images

from .box_checks import check_boxes
from .class_name_checks import check_names_for_clip
from .image_folders import (
    check_image_sizes,
    check_images_are_there,
    find_image_folder,
)

SUBSETS = ('train', 'val')


@dataclass
class Part:
    """The training or the validation part.

    Args:
        data (AnnotationFile): The file that the user has.
        images (list[ImageName]): Its images.
        folder (Path): Where they are.
        ann_file (Path): The file that the configs name: the same, or a part
            of it that is to be written.
        kept (np.ndarray): bool, the images of ``data`` that are in it.
    """

    data: AnnotationFile
    images: List[ImageName]
    folder: Path
    ann_file: Path
    kept: np.ndarray

    @property
    def is_written(self) -> bool:
        """Whether its file is to be written."""
        return self.ann_file != self.data.path

    def num_of(self, names: Sequence[str]) -> Dict[str, int]:
        """Return how many annotations each of these names has here."""
        annotations = self.kept[self.data.image_index]
        counts = np.bincount(
            self.data.category_index[annotations],
            minlength=len(self.data.categories),
        )
        by_name = {
            category.name: int(count)
            for category, count in zip(self.data.categories, counts)
        }
        return {name: by_name.get(name, 0) for name in names}


def read_parts(
    ann_file: Path,
    val: Optional[PathLike],
    val_fraction: Optional[float],
    images: Optional[PathLike],
    name: str,
) -> List[Part]:
    """Return what is trained and what is validated on.

    The arguments are those of :func:`ovd.apis.new_dataset.new_dataset`. Of
    one file, the parts are to be written to ``data/<name>/annotations``.

    Raises:
        FileNotFoundError: If a file or the images are missing.
        ValueError: If a file is not in COCO's format, or split already.
    """
    parts = [
        _read_part(path, images)
        for path in (ann_file, *([] if val is None else [Path(val)]))
    ]
    if len(parts) == 2:
        if parts[0].data.path.samefile(parts[1].data.path):
            raise ValueError(
                f'--val {val} is the file to train on, too: leave it out to '
                'use one file for both'
            )
        return parts
    (whole,) = parts
    in_val = (
        np.ones_like(whole.kept)
        if val_fraction is None
        else draw_images(whole.data.image_ids, val_fraction)
    )
    in_train = in_val if val_fraction is None else ~in_val
    folder = Path(f'data/{name}/annotations')
    return [
        Part(
            whole.data,
            whole.images,
            whole.folder,
            folder / f'{ann_file.stem}_{subset}.json',
            kept,
        )
        for subset, kept in zip(SUBSETS, (in_train, in_val))
    ]


def _read_part(path: Path, images: Optional[PathLike]) -> Part:
    data = load_annotation_file(path)
    if data.gzsl is not None:
        raise ValueError(
            f'{path} is a split file already; name the file '
            'that it was made from'
        )
    if not data.images:
        raise ValueError(f'{path} has no images')
    found = read_images(path)
    for image in found:
        if not image.file_name or not isinstance(image.id, int):
            raise ValueError(
                f'image {image.id!r} of {path} must have a `file_name` and a '
                'number as `id`'
            )
    return Part(
        data,
        found,
        find_image_folder(found, path, images),
        path,
        np.ones(len(found), bool),
    )


def draw_images(image_ids: Sequence[int], fraction: float) -> np.ndarray:
    """Return which images are drawn, bool (I,): at least one, and not all.

    By a digest of their ids, so that other images hardly change the lot.
    """
    if len(image_ids) < 2:
        raise ValueError(
            'a single image can not be shared out: leave out --val-fraction'
        )
    number = min(max(round(fraction * len(image_ids)), 1), len(image_ids) - 1)
    digests = [
        hashlib.sha256(str(image_id).encode()).digest()
        for image_id in image_ids
    ]
    drawn = np.zeros(len(image_ids), bool)
    drawn[sorted(range(len(drawn)), key=digests.__getitem__)[:number]] = True
    return drawn


def _sources(parts: Sequence[Part]) -> List[Part]:
    """Return one part for each file that the user has."""
    return list({part.data.path: part for part in parts}.values())


def check_parts(parts: Sequence[Part]) -> Iterator[str]:
    """Yield warnings about the files; raise at what can't be used."""
    train, val = (
        [category.name for category in part.data.categories] for part in parts
    )
    for names, others, part in (
        (train, val, parts[1]),
        (val, train, parts[0]),
    ):
        if missing := [name for name in names if name not in set(others)]:
            raise ValueError(
                f'train and val must have the same categories; '
                f'{part.data.path} lacks {listed(missing, others)}'
            )
    both = set.intersection(
        *(
            {part.folder / image.file_name for image in part.images}
            for part in parts
        )
    )
    if both and parts[0].data is not parts[1].data:
        yield (
            f'{len(both):,} images are in train and in val, the first: '
            f'{min(both)}'
        )
    yield from check_names_for_clip(train, str(parts[0].data.path))
    for part in _sources(parts):
        yield from check_boxes(part.data, part.images)
    if any(c.frequency for c in parts[0].data.categories):
        yield (
            'the categories have a `frequency` as those of LVIS have: its '
            'rules of evaluation are not those of these configs, see '
            'configs/_base_/datasets/lvis_v1_detection.py'
        )


def check_files(parts: Sequence[Part], number: int) -> int:
    """Check the images of all parts; return how many were opened."""
    opened = 0
    for part in _sources(parts):
        check_images_are_there(part.images, part.data.path, part.folder)
        opened += check_image_sizes(
            part.images, part.data.path, part.folder, number
        )
    return opened
