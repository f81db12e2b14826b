"""Put the metrics of several test runs side by side."""

import json
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence

from terminaltables import AsciiTable

from ovd.artifacts.files import PathLike, atomic_write, require_file
from ovd.colours import BASE_COLOUR, NOVEL_COLOUR

# method -> 'bbox' or 'segm' -> e.g. 'AP50_novel' -> percent
Results = Dict[str, Dict[str, Dict[str, float]]]
IOU_TYPES = {'bbox': 'box', 'segm': 'mask'}
GROUPS = ('novel', 'base', 'all')


def collect_results(files: Mapping[str, PathLike]) -> Results:
    """Read what ``tools/test.py --metrics`` wrote, one file per method.

    Args:
        files (Mapping[str, PathLike]): Method -> JSON file.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file holds no metrics of :class:`GZSLCocoMetric`.
    """
    results: Results = {}
    for method, file in files.items():
        path = require_file(
            file, 'metrics', f'python tools/test.py … --metrics {file}'
        )
        metrics = json.loads(path.read_text())
        results[method] = {
            iou_type: {
                name.removeprefix(f'{iou_type}_'): value
                for name, value in metrics.items()
                if name.startswith(f'{iou_type}_')
            }
            for iou_type in IOU_TYPES
        }
        if 'AP50_novel' not in results[method]['bbox']:
            raise ValueError(
                f'{path} has no bbox_AP50_novel, only {", ".join(metrics)}; '
                'was it tested with GZSLCocoMetric?'
            )
    return results


def format_table(results: Results, metric: str = 'AP50') -> str:
    """Return a table: methods by box and mask, novel, base and all."""
    rows = [
        ['method']
        + [
            f'{word} {metric} {group}'
            for word in IOU_TYPES.values()
            for group in GROUPS
        ]
    ]
    for method, by_type in results.items():
        values = [
            by_type[iou_type].get(f'{metric}_{group}')
            for iou_type in IOU_TYPES
            for group in GROUPS
        ]
        rows.append([method] + _format(values))
    table = AsciiTable(rows)
    table.justify_columns = dict.fromkeys(range(1, len(rows[0])), 'right')
    return table.table


def format_groups(results: Results, metric: str = 'AP50') -> str:
    """Return a table of box AP over the further groups of the split."""
    prefix = f'{metric}_'
    groups = [
        name.removeprefix(prefix)
        for name in next(iter(results.values()))['bbox']
        if name.startswith(prefix)
        and name.removeprefix(prefix) not in (*GROUPS, 'harmonic')
    ]
    rows = [['method'] + [f'box {metric} {group}' for group in groups]]
    for method, by_type in results.items():
        rows.append(
            [method]
            + _format(
                [by_type['bbox'].get(prefix + group) for group in groups]
            )
        )
    return AsciiTable(rows).table


def _format(values: Sequence[Optional[float]]) -> List[str]:
    return ['-' if value is None else f'{value:.1f}' for value in values]


def draw_bars(
    results: Results,
    out_file: PathLike,
    groups: Sequence[str] = ('base', 'novel'),
) -> None:
    """Draw box AP50 of all methods as bars into a PNG file."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(1.2 + 1.4 * len(results), 3))
    width = 0.8 / len(groups)
    colours = (BASE_COLOUR, NOVEL_COLOUR)
    for i, (group, colour) in enumerate(zip(groups, colours)):
        values = [
            by_type['bbox'].get(f'AP50_{group}') or 0.0
            for by_type in results.values()
        ]
        places = [
            x + (i - (len(groups) - 1) / 2) * width for x in range(len(values))
        ]
        bars = axes.bar(places, values, width, label=group, color=colour)
        axes.bar_label(bars, fmt='%.0f', fontsize=8)
    axes.set_xticks(range(len(results)), list(results))
    axes.set_ylabel('box AP50 (%)')
    axes.set_ylim(0, 108)
    axes.legend(frameon=False, ncols=len(groups), loc='upper left')
    axes.spines[['top', 'right']].set_visible(False)
    figure.tight_layout()
    with atomic_write(out_file) as file:
        figure.savefig(file, format='png', dpi=150)
    plt.close(figure)


def compare(
    files: Mapping[str, PathLike], out: PathLike, notes: Sequence[str] = ()
) -> None:
    """Write the results as JSON, tables and bars; print the tables.

    Args:
        files (Mapping[str, PathLike]): Method -> JSON file.
        out (PathLike): JSON file; beside it go ``.txt`` and ``.png``.
        notes (Sequence[str]): Lines to print below the tables.
    """
    results = collect_results(files)
    tables = '\n'.join([format_table(results), format_groups(results), *notes])
    with atomic_write(Path(out).with_suffix('.txt'), 'w') as file:
        file.write(tables + '\n')
    draw_bars(results, Path(out).with_suffix('.png'))
    with atomic_write(out, 'w') as file:
        json.dump(results, file, indent=2)
    print(tables)
