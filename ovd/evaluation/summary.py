"""From the curves of classes to their AP and to that of groups of classes.

Every class has its own AP, whatever the other classes are; a group's AP is
the mean over its classes that have ground truth, as in COCO and LVIS.
"""

from dataclasses import dataclass
from typing import Union

import numpy as np

from .engines import AREAS, Curves
from .ground_truth import GroundTruth

# name -> (IoU thresholds, area); APs is that of objects up to 32^2 pixels,
# APm up to 96^2, APl above
STATS = dict(
    AP=(slice(None), 'all'),
    AP50=(slice(0, 1), 'all'),
    AP75=(slice(5, 6), 'all'),
    APs=(slice(None), 'small'),
    APm=(slice(None), 'medium'),
    APl=(slice(None), 'large'),
)


@dataclass(frozen=True)
class ClassTable:
    """AP of every class, in percent; NaN where a class has no object.

    Args:
        ap (dict[str, ndarray]): Name of :data:`STATS` -> (C,).
        recall (ndarray): (C,) mean recall over the IoU thresholds.
        precision (ndarray): (C, 101) at IoU 0.5 and recalls 0, 0.01, ... 1.
    """

    ap: dict[str, np.ndarray]
    recall: np.ndarray
    precision: np.ndarray


def class_table(curves: Curves) -> ClassTable:
    """Return the AP of every class at the largest limit of detections."""
    return ClassTable(
        {
            stat: _percent(
                curves.precision[thresholds, :, :, AREAS.index(area), -1],
                (0, 1),
            )
            for stat, (thresholds, area) in STATS.items()
        },
        _percent(curves.recall[:, :, 0, -1], 0),
        _percent(curves.precision[:1, :, :, 0, -1], 0).T,
    )


def _percent(
    values: np.ndarray, axis: Union[int, tuple[int, ...]]
) -> np.ndarray:
    """Return 100 times the mean; evaluators write -1 for "no object"."""
    return 100 * np.where(values < 0, np.nan, values).mean(axis=axis)


def group_mean(truth: GroundTruth, values: np.ndarray, group: str) -> float:
    """Return the mean of (C,) values over a group, NaN if it has none."""
    row = {name: i for i, name in enumerate(truth.cat_ids)}
    chosen = values[[row[name] for name in truth.groups[group]]]
    chosen = chosen[~np.isnan(chosen)]
    return float(chosen.mean()) if chosen.size else float('nan')


def summarise(
    truth: GroundTruth, table: ClassTable, prefix: str
) -> dict[str, float]:
    """Average the AP of classes over groups.

    Args:
        truth (GroundTruth): What is there.
        table (ClassTable): AP of its classes.
        prefix (str): Goes before the names, ``'bbox'``.

    Returns:
        dict: ``{prefix}_{stat}_{group}`` in percent for each of
        :data:`STATS` and each group of the split, and ``..._harmonic``, the
        harmonic mean of base and novel. NaN where no class of a group has an
        object.
    """
    result = {}
    for stat, values in table.ap.items():
        for group in truth.groups:
            result[f'{prefix}_{stat}_{group}'] = group_mean(
                truth, values, group
            )
        base = result[f'{prefix}_{stat}_base']
        novel = result[f'{prefix}_{stat}_novel']
        total = base + novel
        result[f'{prefix}_{stat}_harmonic'] = (
            0.0 if total == 0 else 2 * base * novel / total
        )
    return result
