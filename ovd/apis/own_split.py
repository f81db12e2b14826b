"""Base and novel names of a dataset of one's own, and whether they will do."""

from pathlib import Path
from typing import Iterator, Optional, Sequence

import msgspec

from ovd.datasets.annotation_file import AnnotationFile
from ovd.datasets.gzsl_classes import listed
from ovd.datasets.gzsl_splits import NAMED_SPLITS, Split, load_split

from .class_names import split_class_names
from .dataset_parts import Part


def split_path(name: str) -> Path:
    """Return the file of the split that --novel makes."""
    return Path(f'data/{name}/{name}_split.json')


def choose_names(
    novel: Optional[str], split: Optional[str], data: AnnotationFile, name: str
) -> Split:
    """Return base and novel names, all of which the categories have.

    Args:
        novel (str, optional): Names with commas between.
        split (str, optional): In its place, a file or a split of COCO.
        data (AnnotationFile): Has the categories.
        name (str): Of the dataset.

    Raises:
        ValueError: If a name is unknown, or all or none are novel.
        FileNotFoundError: If the file does not exist.
    """
    if (novel is None) == (split is None):
        raise ValueError('give either --novel or --split')
    if split is not None:
        if not split.endswith('.json') and split not in NAMED_SPLITS:
            raise ValueError(
                f'--split must be a file {{"base": [names], "novel": [names]}}'
                f' that ends with .json, or {" or ".join(NAMED_SPLITS)}, got '
                f'"{split}"; LVIS has configs of its own'
            )
        return load_split(split, data.categories, str(data.path))
    assert novel is not None
    names = [category.name for category in data.categories]
    chosen = split_class_names(novel)
    if unknown := [name for name in chosen if name not in names]:
        raise ValueError(
            f'--novel names what the categories of {data.path} lack: '
            f'{listed(unknown, names)}\nnames that have commas in them go '
            'into a file for --split'
        )
    base = [name for name in names if name not in chosen]
    if not chosen or not base:
        raise ValueError(
            f'--novel must name some of the {len(names)} categories of '
            f'{data.path}, and leave some as base; got {len(set(chosen))}'
        )
    return Split(
        split_path(name).stem, base, [name for name in names if name in chosen]
    )


def check_split(chosen: Split, parts: Sequence[Part]) -> Iterator[str]:
    """Yield what the numbers of boxes say about a split.

    Raises:
        ValueError: If nothing is left to train or to validate on.
    """
    train, val = parts
    if not any(train.num_of(chosen.base).values()):
        raise ValueError(
            f'none of the {len(chosen.base)} base classes has a box in '
            f'{train.data.path}: there is nothing to train on'
        )
    if not any(val.num_of([*chosen.base, *chosen.novel]).values()):
        raise ValueError(
            f'no base or novel class has a box in '
            f'{val.data.path}: there is nothing to validate on'
        )
    named = {*chosen.base, *chosen.novel}
    others = [
        category.name
        for category in train.data.categories
        if category.name not in named
    ]
    if others:
        yield (
            f'{len(others)} categories are neither base nor novel, and '
            f'their boxes are left out: {listed(others, ())}'
        )
    for names, part, what in (
        (chosen.base, train, 'base classes have no box to train on'),
        (chosen.novel, val, 'novel classes have no box to be tested on'),
    ):
        counts = part.num_of(names)
        if absent := [name for name in names if not counts[name]]:
            yield f'{len(absent)} {what}: {listed(absent, ())}'


def split_text(chosen: Split) -> str:
    """Return a split as tools/build_zsl_dataset.py takes it."""
    content = dict(base=chosen.base, novel=chosen.novel)
    return msgspec.json.format(msgspec.json.encode(content)).decode() + '\n'
