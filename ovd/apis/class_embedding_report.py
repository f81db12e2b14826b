"""The work of tools/analysis/class_embeddings.py: numbers and pictures."""

import csv
from pathlib import Path
from typing import List, Optional, Sequence

import numpy as np
from terminaltables import AsciiTable

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.files import PathLike, atomic_write
from ovd.datasets.gzsl_splits import Split

from .class_embedding_agreement import Agreement, compare_embeddings
from .class_embedding_analysis import (
    Classes,
    check_number,
    choose_classes,
    closest_pairs,
    cosines_of,
    find_neighbours,
    find_split,
    pair_cosines,
)
from .class_embedding_pictures import (
    draw_agreement,
    draw_heat_map,
    save_picture,
)

PERCENTILES = (5, 25, 50, 75, 95)
MOST_LISTED = 20  # names on the terminal
MOST_DIFFERENT = 10


def analyse_class_embeddings(
    file: PathLike,
    other: Optional[PathLike] = None,
    split: Optional[str] = None,
    ann_file: Optional[PathLike] = None,
    top: int = 20,
    out_dir: Optional[PathLike] = None,
) -> List[Path]:
    """Print and draw which classes lie close, and how far two files agree.

    Args:
        file (PathLike): Class embeddings of ours.
        other (PathLike, optional): Others, to compare the first with.
        split (str, optional): Published split, or JSON file with ``base`` and
            ``novel``.
        ann_file (PathLike, optional): Annotation file that ``split`` is of,
            or split file, which says what is novel itself.
        top (int): How many pairs to print. Defaults to 20.
        out_dir (PathLike, optional): Folder of what is written. Defaults to
            ``work_dirs/class_embeddings/<path of the file>``.

    Returns:
        list[Path]: The files written.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If one is damaged, has too many or too few classes, or
            does not fit the others.
    """
    if top < 1:
        raise ValueError(f'--top must be at least 1, got {top}')
    folder = Path(out_dir or _default_folder(Path(file)))
    files = [file] if other is None else [file, other]
    found = [ClassEmbeddings.load(path) for path in files]
    for path, part in zip(files, found):
        check_number(part, path)
    groups = find_split(found[0].names, file, split, ann_file)
    classes = choose_classes(found[0], file, groups)
    agreement = (
        compare_embeddings(found[0], found[1], file, other) if other else None
    )

    for path, part in zip(files, found):
        number, size = part.embeddings.shape
        print(
            f'{path}: {number:,} classes of {size:,} numbers, '
            f'{_name_origin(part)}'
        )
    print(_format_cosines(files, found))
    print(_format_pairs(classes, groups, top))
    titles = [
        f'{path}\n{_name_origin(part)}' for path, part in zip(files, found)
    ]
    written = _write_classes(
        classes,
        folder,
        f'{titles[0]}, split {groups.name}' if groups else titles[0],
    )
    if agreement:
        print(_format_agreement(agreement, *map(str, files)))
        written += _write_agreement(agreement, folder, *titles)
    print(*written, sep='\n')
    return written


def _default_folder(file: Path) -> Path:
    """Return a folder of the file's own: many are called vild.pth."""
    parts = [
        part
        for part in file.with_suffix('').parts
        if part not in (file.anchor, '..')
    ]
    return Path('work_dirs/class_embeddings', *parts)


def _name_origin(found: ClassEmbeddings) -> str:
    return f'CLIP {found.clip["name"]}, templates {found.templates}'


def _format_cosines(
    files: Sequence[PathLike], found: Sequence[ClassEmbeddings]
) -> str:
    """Return the table of how the cosines of each file are spread."""
    rows = [
        [
            'cosines between classes',
            'mean',
            'lowest',
            *(f'{p} %' for p in PERCENTILES),
            'highest',
        ]
    ]
    for file, part in zip(files, found):
        pairs = pair_cosines(cosines_of(part.embeddings))
        values = [
            pairs.mean(),
            pairs.min(),
            *np.percentile(pairs, PERCENTILES),
            pairs.max(),
        ]
        rows.append([str(file), *map(_format_number, values)])
    return _format_table(rows)


def _format_pairs(classes: Classes, split: Optional[Split], top: int) -> str:
    """Return the table of the closest pairs, and what was left out."""
    heads = ['novel class', 'base class'] if split else ['class', 'class']
    rows = [[*heads, 'cosine']]
    rows += [
        [*pair[:2], _format_number(pair.cosine)]
        for pair in closest_pairs(classes, top)
    ]
    lines = []
    if split:
        lines.append(
            f'split {split.name}: {len(split.base):,} base and '
            f'{len(split.novel):,} novel classes'
        )
    if left_out := classes.left_out:
        total = len(classes.names) + len(left_out)
        lines.append(
            f'{len(left_out):,} of {total:,} classes are neither '
            f'base nor novel: left out: {_list_names(left_out)}'
        )
    lines.append(
        'closest pairs of a novel and a base class:'
        if split
        else 'closest pairs of classes; --split or --ann-file say which '
        'are base and novel:'
    )
    return '\n'.join([*lines, _format_table(rows, 2)])


def _write_classes(classes: Classes, folder: Path, title: str) -> List[Path]:
    """Write the heat map, and who is nearest to whom."""
    picture, table = folder / 'heat_map.png', folder / 'neighbours.csv'
    save_picture(draw_heat_map(classes, title), picture)
    heads = ['class', 'nearest', 'cosine']
    if classes.novel_mask is not None:
        heads = [
            'class',
            'nearest_base',
            'cosine_base',
            'nearest_novel',
            'cosine_novel',
        ]
    _write_csv(table, [heads, *find_neighbours(classes)])
    return [picture, table]


def _format_agreement(agreement: Agreement, first: str, second: str) -> str:
    """Return what two files have in common, in lines and a table."""
    lines = [f'{len(agreement.names):,} classes are in both files']
    for file, names in (
        (first, agreement.only_first),
        (second, agreement.only_second),
    ):
        if names:
            lines.append(
                f'in {file} only ({len(names):,}): {_list_names(names)}'
            )
    lines += [
        f'same nearest class among them: {agreement.same_neighbour:.1%}',
        "rank correlation (Spearman's) of the cosines between them: "
        + (
            'undefined, those of a file are all equal'
            if np.isnan(agreement.rank_correlation)
            else _format_number(agreement.rank_correlation)
        ),
    ]
    same = agreement.same_class
    if same is None:
        lines.append(
            'the files are of two CLIPs: the cosine of a class in the one '
            'and in the other means nothing and is left out'
        )
        return '\n'.join(lines)
    lines.append(
        'cosine of a class in the one and in the other file: mean '
        f'{_format_number(same.mean())}, lowest '
        f'{_format_number(same.min())}; it is least for:'
    )
    worst = np.argsort(same, kind='stable')[:MOST_DIFFERENT]
    rows = [[agreement.names[i], _format_number(same[i])] for i in worst]
    return '\n'.join(
        [*lines, _format_table([['class that differs', 'cosine'], *rows])]
    )


def _write_agreement(
    agreement: Agreement, folder: Path, first: str, second: str
) -> List[Path]:
    """Write the picture, and a row for every class of either file."""
    picture, table = folder / 'agreement.png', folder / 'agreement.csv'
    save_picture(draw_agreement(agreement, first, second), picture)
    same = (
        [''] * len(agreement.names)
        if agreement.same_class is None
        else agreement.same_class.tolist()
    )
    rows: List[Sequence] = [
        ['class', 'file', 'nearest_first', 'nearest_second', 'cosine']
    ]
    rows += zip(
        agreement.names,
        ['both'] * len(same),
        agreement.nearest_first,
        agreement.nearest_second,
        same,
    )
    rows += [[name, 'first', '', '', ''] for name in agreement.only_first]
    rows += [[name, 'second', '', '', ''] for name in agreement.only_second]
    _write_csv(table, rows)
    return [picture, table]


def _write_csv(path: Path, rows: Sequence[Sequence]) -> None:
    with atomic_write(path, 'w') as file:
        csv.writer(file, lineterminator='\n').writerows(
            [
                f'{value:.4f}' if isinstance(value, float) else value
                for value in row
            ]
            for row in rows
        )


def _format_number(value: float) -> str:
    return f'{round(float(value), 3) + 0:.3f}'  # never -0.000


def _list_names(names: Sequence[str]) -> str:
    """Return names in a line, of many the first ones."""
    text = ', '.join(names[:MOST_LISTED])
    more = len(names) - MOST_LISTED
    return text + (f' and {more:,} more' if more > 0 else '')


def _format_table(rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Return a table whose columns are numbers after so many of words."""
    table = AsciiTable(rows)
    table.justify_columns = dict.fromkeys(range(words, len(rows[0])), 'right')
    return table.table
