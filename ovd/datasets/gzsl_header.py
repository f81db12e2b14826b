"""What an annotation file says of itself: its `gzsl` block and categories."""

import mmap
from typing import Optional

import msgspec

from ovd.artifacts.files import PathLike, sha256_file
from ovd.datasets.annotation_file import decode, map_annotation_file
from ovd.datasets.gzsl_splits import Category

SPLITTER = 'python tools/build_zsl_dataset.py CONFIG --split 48_17'


class Header(msgspec.Struct):
    """The small part of a file that may be split or not."""

    categories: list[Category]
    gzsl: Optional[dict] = None


def read_gzsl(ann_file: PathLike) -> dict:
    """Return the `gzsl` block of an annotation file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not json or was never split.
    """
    return read_header(ann_file)[0]


def describe_annotations(ann_file: PathLike) -> dict[str, str]:
    """Return what an artefact notes of the annotation file it is made from.

    Returns:
        dict: ``file``, ``sha256`` and ``source_sha256``, the digest of the
        file that it was split from, or its own where it was not split.
    """
    gzsl, digest = load_header(ann_file).gzsl, sha256_file(ann_file)
    return dict(
        file=str(ann_file),
        sha256=digest,
        source_sha256=gzsl['source']['sha256'] if gzsl else digest,
    )


def read_header(ann_file: PathLike) -> tuple[dict, list[Category]]:
    """Return the `gzsl` block and the categories, skipping all the rest.

    The file is scanned to its end, so a truncated one is noticed.
    """
    header = load_header(ann_file)
    if header.gzsl is None:
        raise ValueError(
            f'{ann_file} has no `gzsl` block: it does not say which classes '
            f'are base and which are novel\nmake one with: {SPLITTER}'
        )
    return header.gzsl, header.categories


def load_header(ann_file: PathLike) -> Header:
    """Read the header of a file that may be split or not."""
    path, content = map_annotation_file(ann_file)
    try:
        return decode(content, Header, path)
    finally:
        if isinstance(content, mmap.mmap):
            content.close()
