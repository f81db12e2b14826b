"""Where the images of an annotation file are, and whether they fit it."""

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Iterator, List, Optional, Sequence, Tuple

from PIL import Image, UnidentifiedImageError

from ovd.artifacts.files import PathLike
from ovd.artifacts.proposals import image_key
from ovd.datasets.image_names import ImageName
from ovd.suggest import did_you_mean

EXIF_ORIENTATION = 0x0112
TURNED = (5, 6, 7, 8)  # by 90 degrees: width and height change places
MOST_TO_SUGGEST_FROM = 5000
SHORTEST = 3  # of what is taken for a word in the names of files


def find_image_folder(
    images: Sequence[ImageName],
    ann_file: Path,
    given: Optional[PathLike] = None,
) -> Path:
    """Return the folder that the file names of images are relative to.

    Looked at are the folder that the user gives and those in it; else the
    folder of the annotation file, the one above, and those in both. It must
    hold the first, the last and a middle image. Of several that do, the one
    whose name is most like a part of the file's wins, as `train2017` is like
    `instances_train2017.json`: images of other sets may have the same names.

    Args:
        images (Sequence[ImageName]): Of the annotation file, at least one.
        ann_file (Path): The annotation file.
        given (PathLike, optional): What the user says.

    Raises:
        FileNotFoundError: If there is none, with where it was looked for.
        ValueError: If there are several that may be meant.
    """
    if given is not None and not Path(given).is_dir():
        raise FileNotFoundError(
            f'--images {given} is no folder; expected the one of the images, '
            'or one above'
        )
    roots = (
        [Path(given)]
        if given is not None
        else [ann_file.parent, ann_file.parent.parent]
    )
    probes = [
        images[i].file_name for i in (0, len(images) // 2, len(images) - 1)
    ]
    found = [
        folder
        for folder in _candidates(roots)
        if all((folder / name).is_file() for name in probes)
    ]
    if not found:
        raise FileNotFoundError(
            f'the images of {ann_file}, such as {probes[0]}, are neither in '
            f'{" nor in ".join(map(str, roots))}, nor in a folder there\nsay '
            'where they are with --images FOLDER'
        )
    likeness = [_likeness(folder.name, ann_file.stem) for folder in found]
    best = [
        folder
        for folder, like in zip(found, likeness)
        if like == max(likeness)
    ]
    if len(best) > 1:
        raise ValueError(
            f'the images of {ann_file} are in several folders: '
            f'{", ".join(map(str, best))}; choose one with --images FOLDER'
        )
    return best[0]


def _likeness(folder: str, stem: str) -> Tuple[int, int]:
    """Return how much a folder's name is like a part of a file's."""
    folder = folder.lower()
    parts = [
        part
        for part in re.split(r'[\W_]+', stem.lower())
        if min(len(part), len(folder)) >= SHORTEST
    ]
    if folder in parts:
        return 3, 0
    if any(part.startswith(folder) for part in parts):
        return 2, len(folder)  # `train`, `train20` of `train2017`
    return int(any(folder.startswith(part) for part in parts)), 0


def _candidates(roots: Sequence[Path]) -> Iterator[Path]:
    """Yield folders and those in them, each once."""
    seen = set()
    for root in roots:
        first = _folders_in(root)
        # `images/train` is common, and not worth a search of the whole disk
        second = [
            inner
            for folder in first
            if folder.name.lower() in ('images', 'jpegimages', 'img')
            for inner in _folders_in(folder)
        ]
        for folder in (root, *first, *second):
            if folder not in seen:
                seen.add(folder)
                yield folder


def _folders_in(folder: Path) -> List[Path]:
    with os.scandir(folder) as entries:  # need not ask the disk for each
        return sorted(
            folder / entry.name
            for entry in entries
            if entry.is_dir() and not entry.name.startswith('.')
        )


def check_images_are_there(
    images: Sequence[ImageName], ann_file: Path, folder: Path
) -> None:
    """Raise unless every image is in the folder, under a name of its own.

    Raises:
        FileNotFoundError: With how many are missing, and the first.
        ValueError: If two have one name in the files of proposals.
    """
    by_parent = defaultdict(list)
    keys: dict = {}
    for image in images:
        path = folder / image.file_name
        by_parent[path.parent].append(path.name)
        other = keys.setdefault(image_key(path.absolute()), image)
        if other is not image:
            raise ValueError(
                f'the images {other.id} and {image.id} of {ann_file} are '
                f'both called {image_key(path.absolute())}, by which '
                'proposals are found: rename one, or its folder'
            )
    missing: List[Path] = []
    hint = ''
    for parent, names in sorted(by_parent.items()):
        there = set(os.listdir(parent)) if parent.is_dir() else set()
        absent = [name for name in names if name not in there]
        if absent and not missing and len(there) <= MOST_TO_SUGGEST_FROM:
            hint = did_you_mean(absent[0], there)
        missing += [parent / name for name in absent]
    if missing:
        raise FileNotFoundError(
            f'{ann_file} names {len(images):,} images, {len(missing):,} of '
            f'them are not there, the first: {missing[0]}{hint}'
        )


def check_image_sizes(
    images: Sequence[ImageName], ann_file: Path, folder: Path, number: int
) -> int:
    """Compare sizes with those of the files, evenly spread; return how many.

    Headers alone are read. Images that EXIF turns count as turned, since the
    host and CLIP read them so.

    Args:
        images (Sequence[ImageName]): Of the annotation file.
        ann_file (Path): The annotation file.
        folder (Path): See :func:`find_image_folder`.
        number (int): How many images at most; 0 for all.

    Raises:
        ValueError: If a size is missing or wrong, or a file is no image;
            with how many are, and the first.
    """
    count = min(number or len(images), len(images))
    wrong = []
    for i in range(count):
        image = images[i * len(images) // count]
        if not image.width or not image.height:
            raise ValueError(
                f'image {image.id} of {ann_file} has no `width` and '
                '`height`: add the size of each image in pixels'
            )
        path = folder / image.file_name
        try:
            size, turned = _read_size(path)
        except (UnidentifiedImageError, SyntaxError, OSError) as error:
            raise ValueError(
                f'{path} is damaged or no image: {error}'
            ) from error
        if size != (image.width, image.height):
            wrong.append(
                f'{path} is {size[0]} x {size[1]} pixels'
                f'{", turned as its EXIF says" * turned}, the file says '
                f'{image.width} x {image.height}'
            )
    if wrong:
        raise ValueError(
            f'{len(wrong):,} of {count:,} images have another size than '
            f'{ann_file} says, and their boxes would be wrong; the first: '
            f'{wrong[0]}'
        )
    return count


def _read_size(path: Path) -> Tuple[Tuple[int, int], bool]:
    """Return width and height as the image is shown, and if it is turned."""
    with Image.open(path) as image:
        turned = image.getexif().get(EXIF_ORIENTATION) in TURNED
        return image.size[::-1] if turned else image.size, turned
