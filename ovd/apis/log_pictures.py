"""Draw curves of runs over their iterations."""

import re
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from ovd.colours import BASE_COLOUR, NOVEL_COLOUR

from .training_logs import TrainingLog

GROUP_COLOURS = dict(base=BASE_COLOUR, novel=NOVEL_COLOUR)
# Of runs; blue and orange are taken. Marks go with lines, for those who can't
# tell the colours apart.
RUN_COLOURS = (
    '#222222',
    '#009E73',
    '#CC79A7',
    '#8C564B',
    '#56B4E9',
    '#7F3C8D',
    '#999933',
)
RUN_LINES = ('-', '--', ':', '-.')
RUN_MARKS = 'os^Dv'
UNITS = dict(
    images_per_s='images/s',
    rois_per_s='RoIs/s',
    data_wait_share='share of the time',
    time='seconds per iteration',
    data_time='seconds per iteration',
    embed_time='seconds per iteration',
    memory='MB',
    lr='learning rate',
)
COLUMNS = 4
WINDOW = 1 / 20  # part of a run's logged iterations that is averaged


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Args:
        title (str): Goes above.
        keys (dict[str, str | None]): What is drawn -> ``'base'``,
            ``'novel'`` or None.
    """

    title: str
    keys: Dict[str, Optional[str]]


def draw_logs(logs: Sequence[TrainingLog], panels: Sequence[Panel]) -> Figure:
    """Draw the panels, those of base and novel in rows of their own.

    The legend of runs lies above them.
    """
    rows = [
        *_rows_of([p for p in panels if not any(p.keys.values())]),
        *_rows_of([p for p in panels if any(p.keys.values())]),
    ]
    columns = max(map(len, rows))
    figure = Figure(
        figsize=(max(4.6, 3.6 * columns), 0.7 + 2.7 * len(rows)),
        layout='constrained',
    )
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes, panel in chain.from_iterable(map(zip_longest, grid, rows)):
        if panel is None:
            axes.remove()
        else:
            _draw_panel(axes, logs, panel)
    handles = [
        figure.axes[0].plot([], [], marker=mark, markersize=4, **style)[0]
        for style, mark in map(_style, range(len(logs)))
    ]
    figure.legend(
        handles,
        [log.name for log in logs],
        frameon=False,
        loc='outside upper left',
        ncols=columns,
        fontsize=9,
    )
    return figure


def _rows_of(panels: List[Panel]) -> Iterator[List[Panel]]:
    for start in range(0, len(panels), COLUMNS):
        yield panels[start : start + COLUMNS]


def _style(i: int) -> Tuple[Dict[str, Any], str]:
    """Return how lines of the run with number i look, and their marks."""
    return dict(
        color=RUN_COLOURS[i % len(RUN_COLOURS)],
        linestyle=RUN_LINES[i % len(RUN_LINES)],
    ), RUN_MARKS[i % len(RUN_MARKS)]


def _draw_panel(axes: Axes, logs: Sequence[TrainingLog], panel: Panel) -> None:
    """Draw the curves of all runs that have them."""
    for i, log in enumerate(logs):
        for key, group in panel.keys.items():
            if key not in log.curves:
                continue
            style, mark = _style(i)
            if group is not None:
                style['color'] = GROUP_COLOURS[group]
            x, y = log.curves[key].T
            if key in log.trained:
                axes.plot(
                    x, y, color=style['color'], alpha=0.25, linewidth=0.8
                )
                axes.plot(x, smooth(y), linewidth=1.6, **style)
            else:
                axes.plot(
                    x, y, marker=mark, markersize=4, linewidth=1.6, **style
                )
    axes.set_title(panel.title, fontsize=10, loc='left')
    for group, place in (('base', 0.8), ('novel', 1)):
        if group in panel.keys.values():
            axes.text(
                place,
                1.03,
                group,
                color=GROUP_COLOURS[group],
                weight='bold',
                fontsize=9,
                ha='right',
                transform=axes.transAxes,
            )
            axes.set_ylim(bottom=0)
    axes.set_xlabel('iteration', fontsize=8)
    axes.set_ylabel(_unit(panel), fontsize=8)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=''))
    axes.grid(color='#eeeeee')
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)


def _unit(panel: Panel) -> str:
    """Return the label of a panel's values."""
    if any(panel.keys.values()):
        return 'percent'
    name = re.split('/', panel.title)[-1]
    return UNITS.get(name, 'loss' if 'loss' in name else '')


def smooth(values: np.ndarray) -> np.ndarray:
    """Return the mean of values (n,) about each place, fewer at the ends.

    Values that are not finite are left out.
    """
    kernel = np.ones(2 * int(len(values) * WINDOW / 2) + 1)
    finite = np.isfinite(values)
    total, count = (
        np.convolve(part, kernel, 'full')[len(kernel) // 2 :][: len(values)]
        for part in (np.where(finite, values, 0), finite.astype(float))
    )
    return np.where(finite, total / np.maximum(count, 1), np.nan)
