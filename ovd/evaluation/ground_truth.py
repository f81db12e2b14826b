"""Ground truth of an evaluation: what is where, and which classes are novel.

Masks stay raw json until an engine asks for them, so that a file of LVIS's
size takes a fraction of the memory of its objects.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Iterable, Optional, Union

import msgspec
import numpy as np

from ovd.artifacts.files import PathLike, require_file
from ovd.datasets.gzsl_split import SPLITTER, how_to_make
from ovd.spelling import canonical_spelling

Id = Union[int, str]
# What LVIS calls its categories by the number of their training images.
FREQUENCIES = dict(r='rare', c='common', f='frequent')


class Image(msgspec.Struct, gc=False):
    """What an evaluation reads of an image; the lists are LVIS's."""

    id: Id
    width: int
    height: int
    neg_category_ids: Optional[list[int]] = None
    not_exhaustive_category_ids: Optional[list[int]] = None


class Annotation(msgspec.Struct, gc=False):
    """What an evaluation reads of an object; bbox is xywh in pixels."""

    image_id: Id
    category_id: int
    bbox: tuple[float, float, float, float]
    area: Optional[float] = None
    iscrowd: Union[int, bool] = 0
    ignore: Union[int, bool] = 0
    segmentation: msgspec.Raw = msgspec.Raw()


class _Category(msgspec.Struct):
    id: int
    name: str
    frequency: Optional[str] = None


class _File(msgspec.Struct):
    images: list[Image]
    annotations: list[Annotation]
    categories: list[_Category]
    gzsl: Optional[dict[str, Any]] = None


@dataclass(frozen=True)
class GroundTruth:
    """An annotation file, made ready for many evaluations.

    Args:
        ann_file (str): Its name, for messages.
        images (list[Image]): All that are evaluated, sorted by id.
        annotations (dict): Image id -> annotations of base and novel classes.
        cat_ids (dict[str, int]): Class name -> category id, in file order.
        groups (dict[str, list[str]]): ``all``, ``base``, ``novel`` and the
            further groups of the split -> class names; ``rare``, ``common``
            and ``frequent`` where the categories have a frequency.
        frequencies (dict[str, str]): Class name -> r, c or f, if from LVIS.
        split (str): Name of the split.
        num_source_images (int): Images of the file that it was split from.
    """

    ann_file: str
    images: list[Image]
    annotations: dict[Id, list[Annotation]]
    cat_ids: dict[str, int]
    groups: dict[str, list[str]]
    frequencies: dict[str, str]
    split: str
    num_source_images: int

    @property
    def image_ids(self) -> np.ndarray:
        """(N,) ids of all images, ascending."""
        return np.array([image.id for image in self.images])

    def count(self) -> dict[str, int]:
        """Return class name -> number of objects, crowds not counted."""
        counts: dict[int, int] = defaultdict(int)
        for annotations in self.annotations.values():
            for annotation in annotations:
                counts[annotation.category_id] += not annotation.iscrowd
        return {name: counts[i] for name, i in self.cat_ids.items()}

    def describe_images(self) -> str:
        """Say on which images is evaluated; AP depends on it."""
        empty = sum(not self.annotations.get(i.id) for i in self.images)
        removed = self.num_source_images - len(self.images)
        return (
            f'{len(self.images):,} images: '
            + (
                f'those with base or novel objects ({removed:,} more left out)'
                if removed
                else 'all of the file'
            )
            + (f', {empty:,} of them without an object' if empty else '')
        )

    @cached_property
    def _by_id(self) -> dict[Id, Image]:
        return {image.id: image for image in self.images}

    def of_images(self, image_ids: Iterable[Id]) -> 'GroundTruth':
        """Return the same for those of these images that it has."""
        kept = sorted(self._by_id.keys() & set(image_ids))
        return replace(
            self,
            images=[self._by_id[image_id] for image_id in kept],
            annotations={
                image_id: self.annotations[image_id]
                for image_id in kept
                if image_id in self.annotations
            },
        )

    def only_annotated(self) -> 'GroundTruth':
        """Return the same without the images that have no object."""
        kept = [i for i in self.images if self.annotations.get(i.id)]
        return replace(self, images=kept)


def load_ground_truth(
    ann_file: PathLike, gzsl: Optional[dict] = None
) -> GroundTruth:
    """Read the ground truth of an evaluation.

    Args:
        ann_file (PathLike): COCO or LVIS annotation file.
        gzsl (dict, optional): ``base``, ``novel`` and ``groups`` for a file
            that has no ``gzsl`` block of its own.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is malformed, or nothing says what is novel in it.
    """
    path = require_file(ann_file, 'annotation file', how_to_make(ann_file))
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_File)
    except msgspec.DecodeError as error:
        raise ValueError(
            f'{path} is not a COCO annotation file: {error}'
        ) from error
    gzsl = content.gzsl or gzsl
    if gzsl is None:
        raise ValueError(
            f'{path} has no `gzsl` block that says which classes '
            f'are novel\nmake one with: {SPLITTER}'
        )
    _check_content(content, path)
    gzsl = {
        key: _spelled(value) if key in ('base', 'novel') else value
        for key, value in gzsl.items()
    }
    named = {*gzsl['base'], *gzsl['novel']}
    categories = [c for c in content.categories if c.name in named]
    if missing := sorted(named - {c.name for c in categories}):
        raise ValueError(f'{path} lacks the classes {", ".join(missing)}')
    cat_ids = {c.name: c.id for c in categories}
    images = sorted(content.images, key=lambda image: image.id)
    groups = dict(
        all=list(cat_ids),
        base=list(gzsl['base']),
        novel=list(gzsl['novel']),
        **{
            name: _spelled(names)
            for name, names in gzsl.get('groups', {}).items()
        },
    )
    frequencies = {
        c.name: c.frequency for c in categories if c.frequency in FREQUENCIES
    }
    for letter, group in FREQUENCIES.items() if frequencies else ():
        groups[group] = [n for n, f in frequencies.items() if f == letter]
    return GroundTruth(
        str(path),
        images,
        _by_image(content, set(cat_ids.values())),
        cat_ids,
        groups,
        frequencies,
        gzsl.get('split', 'of the dataset'),
        len(images) + gzsl.get('removed', {}).get('images', 0),
    )


def _spelled(names: Iterable[str]) -> list[str]:
    return [canonical_spelling(name) for name in names]


def _check_content(content: _File, path: PathLike) -> None:
    """Raise unless ids and names are unique and refer to what is there.

    Names of categories become those that classes are compared by.
    """
    for category in content.categories:
        category.name = canonical_spelling(category.name)
    for what, values in (
        ('image id', [i.id for i in content.images]),
        ('category id', [c.id for c in content.categories]),
        ('category name', [c.name for c in content.categories]),
    ):
        if len(set(values)) != len(values):
            doubled = Counter(values).most_common(1)[0][0]
            raise ValueError(f'{path} has the {what} {doubled} twice')
    if len({type(image.id) for image in content.images}) > 1:
        raise ValueError(
            f'{path} has image ids that are numbers and image '
            'ids that are texts: give all of one kind'
        )
    images = {image.id for image in content.images}
    categories = {category.id for category in content.categories}
    for annotation in content.annotations:
        if annotation.image_id not in images:
            raise ValueError(
                f'{path} has an annotation of image '
                f'{annotation.image_id}, which the file lacks'
            )
        if annotation.category_id not in categories:
            raise ValueError(
                f'{path} has an annotation of category '
                f'{annotation.category_id}, which the file lacks'
            )


def _by_image(content: _File, cat_ids: set[int]) -> dict[Id, list[Annotation]]:
    """Group the annotations of these categories, in the order of the file."""
    grouped = defaultdict(list)
    for annotation in content.annotations:
        if annotation.category_id in cat_ids:
            grouped[annotation.image_id].append(annotation)
    return dict(grouped)
