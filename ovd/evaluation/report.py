"""What a table of groups hides: the AP of every class, as CSV and pictures."""

import csv
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Iterator

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ovd.artifacts.files import PathLike, atomic_write
from ovd.colours import BASE_COLOUR, NOVEL_COLOUR

from .ground_truth import GroundTruth
from .summary import STATS, ClassTable, summarise

COLOURS = dict(base=BASE_COLOUR, novel=NOVEL_COLOUR)
# Of the other groups; from the same palette as those of base and novel.
OTHER_COLOURS = ('#009E73', '#CC79A7', '#56B4E9', '#D55E00')
MOST_NAMES = 120  # that can be read below the bars of one picture
RECALLS = np.linspace(0, 1, 101)


def write_report(
    truth: GroundTruth, table: ClassTable, iou_type: str, folder: PathLike
) -> None:
    """Write ``{iou_type}_classes.csv``, ``..._classes.png``, ``..._pr.png``.

    And ``{iou_type}_groups.csv``, the means over groups of classes.

    Args:
        truth (GroundTruth): Has the names and which of them are novel.
        table (ClassTable): AP of the classes.
        iou_type (str): Goes before the names of the files.
        folder (PathLike): Made if it is missing; files are replaced.
    """
    stem = Path(folder) / iou_type
    with atomic_write(f'{stem}_classes.csv', 'w') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(
            ['class', 'part', 'frequency', 'objects', *STATS, 'AR']
        )
        writer.writerows(_rows(truth, table))
    with atomic_write(f'{stem}_groups.csv', 'w') as file:
        csv.writer(file, lineterminator='\n').writerows(
            _group_rows(truth, table)
        )
    for name, figure in (
        ('classes', _draw_classes(truth, table, iou_type)),
        ('pr', _draw_curves(truth, table, iou_type)),
    ):
        with atomic_write(f'{stem}_{name}.png') as file:
            figure.savefig(file, format='png', dpi=120)


def _rows(truth: GroundTruth, table: ClassTable) -> Iterator[list]:
    """Yield a row per class; what was not measured is left empty."""
    counts, novel = truth.count(), set(truth.groups['novel'])
    for i, name in enumerate(truth.cat_ids):
        values = [
            *(column[i] for column in table.ap.values()),
            table.recall[i],
        ]
        yield [
            name,
            'novel' if name in novel else 'base',
            truth.frequencies.get(name, ''),
            counts[name],
            *map(_format, values),
        ]


def _group_rows(truth: GroundTruth, table: ClassTable) -> Iterator[list]:
    """Yield the names of the groups, then a row per metric."""
    means, groups = summarise(truth, table, ''), [*truth.groups, 'harmonic']
    yield ['percent', *groups]
    for stat in STATS:
        yield [stat, *(_format(means[f'_{stat}_{name}']) for name in groups)]


def _format(value: float) -> str:
    return '' if np.isnan(value) else f'{value:.4f}'


@dataclass(frozen=True)
class ClassRow:
    """A class in ``{iou_type}_classes.csv``; NaN where it has no object.

    Args:
        name (str): Of the class.
        part (str): ``'base'`` or ``'novel'``.
        objects (int): How many there are.
        ap (dict[str, float]): Name of a metric -> percent.
    """

    name: str
    part: str
    objects: int
    ap: dict[str, float]


def read_classes(folder: PathLike, iou_type: str) -> list[ClassRow]:
    """Read what :func:`write_report` wrote, the worst AP50 first.

    Classes without an object come last.
    """
    path = Path(folder, f'{iou_type}_classes.csv')
    with path.open(encoding='utf-8', newline='') as file:
        rows = [
            ClassRow(
                row['class'],
                row['part'],
                int(row['objects']),
                {name: _parse(row[name]) for name in (*STATS, 'AR')},
            )
            for row in csv.DictReader(file)
        ]
    return sorted(
        rows,
        key=lambda row: (
            np.isnan(row.ap['AP50']),
            row.ap['AP50'],
            row.ap['AP'],
            row.name,
        ),
    )


def read_groups(
    folder: PathLike, iou_type: str
) -> dict[str, dict[str, float]]:
    """Read what :func:`write_report` wrote: metric -> group -> percent."""
    path = Path(folder, f'{iou_type}_groups.csv')
    with path.open(encoding='utf-8', newline='') as file:
        return {
            row.pop('percent'): {
                name: _parse(value) for name, value in row.items()
            }
            for row in csv.DictReader(file)
        }


def _parse(text: str) -> float:
    return float(text or 'nan')


def _draw_classes(
    truth: GroundTruth, table: ClassTable, iou_type: str
) -> Figure:
    """Draw the AP50 of all classes that have objects, the best first."""
    values, novel = table.ap['AP50'], set(truth.groups['novel'])
    names = np.array(list(truth.cat_ids))
    order = np.argsort(-values, kind='stable')
    order = order[: np.count_nonzero(~np.isnan(values))]
    colours = [
        COLOURS['novel' if name in novel else 'base'] for name in names[order]
    ]
    few = len(order) <= MOST_NAMES
    figure = Figure(
        figsize=(max(5, 0.17 * len(order) + 1.5) if few else 14, 4.2),
        layout='constrained',
    )
    axes = figure.subplots()
    axes.bar(
        range(len(order)), values[order], 0.8 if few else 1, color=colours
    )
    axes.set_xticks(
        range(len(order)) if few else [],
        names[order] if few else [],
        rotation=90,
        fontsize=7,
    )
    axes.set_xlabel('' if few else f'{len(order)} classes')
    axes.set_ylabel(f'{iou_type} AP50 (%)')
    axes.set_ylim(0, 100)
    axes.margins(x=0.01)
    axes.legend(
        [Line2D([], [], color=c, linewidth=5) for c in COLOURS.values()],
        list(COLOURS),
        frameon=False,
    )
    axes.spines[['top', 'right']].set_visible(False)
    return figure


def _draw_curves(
    truth: GroundTruth, table: ClassTable, iou_type: str
) -> Figure:
    """Draw precision by recall at IoU 0.5, the mean over each group."""
    row = {name: i for i, name in enumerate(truth.cat_ids)}
    figure = Figure(figsize=(5, 4.2), layout='constrained')
    axes = figure.subplots()
    others = cycle(OTHER_COLOURS)
    for group, names in truth.groups.items():
        curves = table.precision[[row[name] for name in names]]
        curves = curves[~np.isnan(curves).any(axis=1)]
        if not len(curves):
            continue
        mean = curves.mean(axis=0)
        axes.plot(
            RECALLS,
            mean,
            color=COLOURS.get(group)
            or ('black' if group == 'all' else next(others)),
            linewidth=2 if group in COLOURS else 1,
            linestyle='-' if group in (*COLOURS, 'all') else '--',
            zorder=2 if group in COLOURS else 3,
            label=f'{group} ({len(curves)} classes): {mean.mean():.1f}',
        )
    axes.set_xlabel('recall')
    axes.set_ylabel(f'{iou_type} precision at IoU 0.5 (%)')
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 102)
    axes.legend(frameon=False, fontsize=8, title='mean over classes: AP50')
    axes.spines[['top', 'right']].set_visible(False)
    return figure
