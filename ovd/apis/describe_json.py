"""What json files say of themselves: annotations, splits and results."""

from pathlib import Path
from shlex import quote
from typing import Dict, List, Mapping, Optional, Union

import msgspec
import numpy as np

from ovd.artifacts.embedding_store import MANIFEST
from ovd.artifacts.files import PathLike
from ovd.datasets.annotation_file import decode, map_annotation_file
from ovd.datasets.gzsl_splits import Category, check_split, load_split

from .artifact_description import Description, counted, list_names
from .describe_data import describe_annotation_file
from .describe_store import describe_store

# Of the entries of a COCO results file
RESULT_KEYS = {'image_id', 'category_id', 'score'}
MAX_METRICS = 10


def describe_json(path: Path) -> Description:
    """Describe and check a json file, whichever it is.

    Raises:
        ValueError: If it is damaged or something else.
    """
    if path.name == MANIFEST:
        return describe_store(path.parent)
    path, text = map_annotation_file(path)
    try:
        metrics = msgspec.json.decode(text, type=Dict[str, Optional[float]])
    except (msgspec.DecodeError, UnicodeDecodeError):
        metrics = {}
    if metrics:
        return _describe_metrics(metrics)
    # What is large stays undecoded
    content = decode(
        text, Union[Dict[str, msgspec.Raw], List[msgspec.Raw]], path
    )
    if isinstance(content, list) and (not content or _is_result(content[0])):
        return describe_predictions(path)
    if (
        isinstance(content, dict)
        and {'base', 'novel'} <= content.keys()
        and 'categories' not in content
    ):
        return describe_split_definition(path)
    return describe_annotation_file(path)


def describe_predictions(path: PathLike) -> Description:
    """Describe and check the predictions of a detector in COCO's form.

    Raises:
        ValueError: If one of them is malformed.
    """
    # It imports mmdet, which takes seconds and nothing else here needs
    from ovd.evaluation.predictions import load_predictions

    found = load_predictions(path)
    is_box = ~np.isnan(found.bboxes).all(axis=1)
    masks = sum(mask is not None for mask in found.masks or ())
    number = counted(len(np.unique(found.image_ids)), 'image', 'images')
    return Description(
        f'predictions for {number} in COCO results format',
        {
            'predictions': f'{len(found):,}',
            'boxes': f'{is_box.sum():,}',
            'masks': f'{masks:,}',
            'classes': f'{len(np.unique(found.cat_ids)):,} of the ids of '
            'categories occur',
            'scores': f'{found.scores.min():.4g} to {found.scores.max():.4g}'
            if len(found)
            else 'none',
            'made by': 'the file does not say',
        },
    )


def describe_split_definition(path: PathLike) -> Description:
    """Describe and check a user's own split into base and novel names.

    Raises:
        ValueError: If it is malformed or contradicts itself.
    """
    check_split(str(path))
    content = msgspec.json.decode(Path(path).read_bytes())
    names = dict.fromkeys(content['base'] + content['novel'])
    split = load_split(
        str(path),
        [Category(i, name) for i, name in enumerate(names)],
        str(path),
    )
    parts = dict(
        base=split.base,
        novel=split.novel,
        **{f'group {name}': group for name, group in split.groups.items()},
    )
    return Description(
        'split of class names into base and novel',
        {
            **{
                part: f'{counted(len(group), "class", "classes")}: '
                f'{list_names(group)}'
                for part, group in parts.items()
            },
            'to use it': 'python tools/build_zsl_dataset.py CONFIG --split '
            f'{quote(str(path))}',
        },
    )


def _describe_metrics(metrics: Mapping[str, Optional[float]]) -> Description:
    """Describe what a test run measured."""
    known = {k: value for k, value in metrics.items() if value is not None}
    details = dict(
        metrics=f'{len(metrics):,}',
        **{name: f'{known[name]:.4g}' for name in [*known][:MAX_METRICS]},
    )
    if len(known) > MAX_METRICS:
        details['...'] = f'{len(known) - MAX_METRICS:,} more'
    empty = [name for name in metrics if name not in known]
    if empty:
        details['without ground truth'] = list_names(empty)
    return Description(
        'a table of numbers, such as the metrics of a test run', details
    )


def _is_result(entry: msgspec.Raw) -> bool:
    """Whether an entry of a list is a prediction, sound or not."""
    try:
        return (
            RESULT_KEYS
            <= msgspec.json.decode(entry, type=Dict[str, msgspec.Raw]).keys()
        )
    except msgspec.ValidationError:
        return False
