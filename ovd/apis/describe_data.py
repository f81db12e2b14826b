"""What annotation files and proposals say of themselves."""

from typing import Any

from ovd.artifacts.files import PathLike
from ovd.artifacts.proposals import load_proposals
from ovd.datasets.annotation_file import load_annotation_file
from ovd.datasets.gzsl_header import SPLITTER
from ovd.datasets.gzsl_verify import verify_split

from .artifact_description import Description, counted, flatten, list_names


def describe_annotation_file(path: PathLike) -> Description:
    """Describe and check annotations, split or not.

    Raises:
        ValueError: If they are damaged, not COCO's form, or leak.
    """
    data = load_annotation_file(path)
    if data.gzsl is not None:
        return _describe_split(path, data.gzsl)
    kind = (
        'LVIS'
        if any(category.frequency for category in data.categories)
        else 'COCO'
    )
    return Description(
        f'annotations in {kind} format',
        {
            'images': f'{len(data.images):,}',
            'annotations': f'{len(data.annotations):,}',
            'classes': list_names([c.name for c in data.categories]),
            'split': f'none, make one with: {SPLITTER}',
        },
    )


def _describe_split(path: PathLike, gzsl: dict) -> Description:
    verified = verify_split(path)  # raises where an entry is missing
    details = {
        what: f'{gzsl["kept"][what]:,} kept, {gzsl["removed"][what]:,} removed'
        for what in ('images', 'annotations')
    }
    for group in ('base', 'novel'):
        number = counted(len(gzsl[group]), 'class', 'classes')
        details[group] = f'{number}: {list_names(gzsl[group])}'
    details['source'] = gzsl['source']['file']
    details['source sha256'] = gzsl['source']['sha256']
    details['verified'] = verified.removeprefix(f'{path}: ')
    return Description(
        f'annotations, {gzsl["subset"]} part of split {gzsl["split"]}', details
    )


def describe_proposals(path: PathLike) -> Description:
    """Describe and check proposals.

    Raises:
        ValueError: If they are damaged or something else.
    """
    found = load_proposals(path)
    numbers = [len(found[key]['scores']) for key in found]
    details = dict(boxes=f'{sum(numbers):,}')
    if numbers:
        details['per image'] = f'{min(numbers):,} to {max(numbers):,}'
        details['first image'] = next(iter(found))
    details.update(
        {
            key: _shorten(value)
            for key, value in flatten(
                found.provenance or {'made by': 'the file does not say'}
            ).items()
        }
    )
    number = counted(len(found), 'image', 'images')
    return Description(f'proposals of {number}', details)


def _shorten(value: Any) -> Any:
    """Cut a long list of names, such as that of the classes trained on."""
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return list_names(value) or 'none'
    return value
