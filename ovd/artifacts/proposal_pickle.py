"""Pickles of proposals: ours, mmdet 3.x's dicts and mmdet 2.x's lists.

Shapes: P proposals of one image. An entry is ``{'bboxes': (P, 4) xyxy in
pixels of the original image, 'scores': (P,)}``.
"""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Dict, List, Sequence, Tuple, Union

import numpy as np

from .array_pickle import load_arrays

Entry = Dict[str, np.ndarray]
_FOREIGN = '{"provenance": {}}'  # What stands for a second pickle of others


def write_pickle(
    file: IO[bytes], entries: Mapping, info: Dict[str, Any]
) -> None:
    """Write a dict of entries, then a second pickle with what made it.

    mmdet's ``load_proposals`` reads the first one and doesn't look further.
    """
    for content in (dict(entries), json.dumps(info)):
        pickler = pickle.Pickler(file, protocol=4)
        # No memo: it would hold the bytes of all arrays until the end, when
        # writing and when reading.
        pickler.fast = True
        pickler.dump(content)


def read_pickle(path: Path) -> Tuple[Union[dict, list], Dict[str, Any]]:
    """Read what any of these pickles holds, and the provenance of ours.

    Returns:
        tuple: A dict of entries or a list of arrays, neither of them checked;
        and the provenance, empty for foreign ones.

    Raises:
        ValueError: If it is damaged or holds anything else. Nothing that the
            pickle says is executed.
    """
    with open(path, 'rb') as file:
        try:
            content = load_arrays(file)
            text = load_arrays(file) if file.peek(1) else _FOREIGN
        except ValueError as error:
            raise ValueError(f'{path} is refused: {error}') from error
    if not isinstance(content, (dict, list)):
        raise ValueError(
            f'{path} holds a {type(content).__name__}, expected a dict '
            '"<folder>/<file>" -> boxes'
        )
    return content, check_provenance(_parse_info(text, path), str(path))


def _parse_info(text: Any, path: Path) -> Any:
    """Return what the second pickle says, which must be JSON."""
    try:
        return json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f'{path} is damaged: its second pickle is no JSON '
            f'({error}); make it again'
        ) from error


def check_provenance(info: Any, source: str) -> Dict[str, Any]:
    """Return what made a file, of the information that is stored with it.

    Raises:
        ValueError: If the information is not a dict that has such a dict.
    """
    found = info.get('provenance') if isinstance(info, dict) else info
    if not isinstance(info, dict) or not isinstance(found, dict):
        raise ValueError(
            f'{source} is damaged: what is stored beside its boxes must be an '
            'object with an object "provenance", which says what made them; '
            f'got a {type(found).__name__}; make it again'
        )
    return found


def check_entry(key: Any, entry: Any, source: str) -> int:
    """Return the number of proposals of an entry, P.

    Raises:
        ValueError: If the name or the arrays are malformed.
    """
    if not isinstance(key, str) or not key or '\n' in key:
        raise ValueError(
            f'{source}: an image is named by "<folder>/<file>", got {key!r}'
        )
    counts = []
    for name, shape in (('bboxes', (4,)), ('scores', ())):
        value = entry.get(name) if isinstance(entry, Mapping) else None
        expected = '(P, 4)' if shape else '(P,)'
        if not isinstance(value, np.ndarray) or value.dtype.kind != 'f':
            raise ValueError(
                f'{source}: {key}: {name} must be a float array {expected}, '
                f'got {getattr(value, "dtype", type(value).__name__)}'
            )
        if not value.ndim or value.shape[1:] != shape:
            raise ValueError(
                f'{source}: {key}: {name} must be {expected}, '
                f'got {value.shape}'
            )
        counts.append(len(value))
    if counts[0] != counts[1]:
        raise ValueError(
            f'{source}: {key} has {counts[0]} boxes and {counts[1]} scores'
        )
    return counts[0]


def check_rows(rows: Sequence[Any], source: str) -> None:
    """Raise unless these are arrays (P, 5) of boxes and scores.

    Raises:
        ValueError: With the position of the first one that is not.
    """
    for i, array in enumerate(rows):
        if not isinstance(array, np.ndarray) or array.dtype.kind != 'f':
            raise ValueError(
                f'{source}: [{i}] must be a float array (P, 5) of x1, y1, '
                'x2, y2 and score, got '
                f'{getattr(array, "dtype", type(array).__name__)}'
            )
        if array.size and (array.ndim != 2 or array.shape[1] != 5):
            raise ValueError(
                f'{source}: [{i}] must be (P, 5): x1, y1, x2, y2 and score; '
                f'got {array.shape}'
            )


def name_rows(rows: List[np.ndarray], keys: Sequence[str]) -> Dict[str, Entry]:
    """Return the entries of mmdet 2.x's list, named in its order.

    Args:
        rows (list[ndarray]): (P, 5) arrays that :func:`check_rows` passed;
            the list is emptied.
        keys (Sequence[str]): As many names ``'<folder>/<file>'``.
    """
    tables = (array.reshape(-1, 5) for array in rows)
    entries = {
        key: dict(bboxes=table[:, :4], scores=table[:, 4])
        for key, table in zip(keys, tables)
    }
    rows.clear()
    return entries
