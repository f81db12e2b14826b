"""Which files ``tools/image_demo.py`` writes."""

from collections import Counter
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from ovd.artifacts.files import PathLike


def name_outputs(
    images: Sequence[Path], out_dir: PathLike, suffix: str
) -> List[Path]:
    """Return where the pictures of images go.

    They are called like the images; of those that differ in their suffixes
    alone it is kept: ``a.jpg.png`` beside ``a.png.png``.

    Args:
        images (Sequence[Path]): N files.
        out_dir (PathLike): Folder of the pictures.
        suffix (str): Of the pictures, with its dot.

    Raises:
        ValueError: If two of them would be one file, with both.
    """
    stems = Counter(image.stem for image in images)
    taken: Dict[Path, Path] = {}
    for image in images:
        name = image.stem if stems[image.stem] == 1 else image.name
        picture = Path(out_dir) / f'{name}{suffix}'
        other = taken.setdefault(picture, image)
        if other is not image:
            raise ValueError(
                f'the pictures of {other} and {image} would both be '
                f'{picture}: draw one of them alone, into another folder'
            )
    return [*taken]


def check_outputs(
    pictures: Sequence[Path],
    images: Sequence[Path],
    out_dir: PathLike,
    coco_json: Optional[PathLike],
) -> None:
    """Check that writing would neither fail nor lose something.

    Args:
        pictures (Sequence[Path]): Of :func:`name_outputs`.
        images (Sequence[Path]): What they are of.
        out_dir (PathLike): Folder of the pictures.
        coco_json (PathLike, optional): Where detections go.

    Raises:
        ValueError: If it would.
    """
    if Path(out_dir).exists() and not Path(out_dir).is_dir():
        raise ValueError(
            f'{out_dir} is a file: expected a folder for the pictures'
        )
    if coco_json is not None and Path(coco_json).is_dir():
        raise ValueError(
            f'{coco_json} is a folder: expected the name of a json file'
        )
    for picture in pictures:
        if picture.exists() and any(
            image.samefile(picture) for image in images
        ):
            raise ValueError(
                f'{picture} is one of the images: give another '
                'folder for the pictures'
            )
