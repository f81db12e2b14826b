"""Class embeddings of another project in, a file of ours out."""

from pathlib import Path
from typing import Dict, Optional

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.files import PathLike, sha256_file
from ovd.artifacts.foreign_class_embeddings import (
    ForeignTable,
    arrange_rows,
    read_foreign_table,
)
from ovd.clip.weights import EMBED_DIMS, identify_clip
from ovd.suggest import check_choice

from .class_embeddings import load_reusable, output_path, refuse_other
from .class_names import ClassNames


def convert_class_embeddings(
    file: PathLike,
    dataset: Optional[str] = None,
    classes: Optional[str] = None,
    classes_file: Optional[PathLike] = None,
    ann_file: Optional[PathLike] = None,
    pretrained: Optional[str] = None,
    background: str = 'last',
    transposed: bool = False,
    out: Optional[PathLike] = None,
    overwrite: bool = False,
) -> Path:
    """Write class embeddings of another project in ovd's form.

    Where the file has names, those asked for are taken from it, or all; else
    its rows are those of the names asked for, in their order. A file of the
    same content is left as it is. No weights of a published CLIP are needed.

    Args:
        file (PathLike): See :mod:`ovd.artifacts.foreign_class_embeddings`.
        dataset (str, optional): A key of ``DATASETS``. Gives the names where
            no other argument does, the default CLIP and the default file.
        classes (str, optional): Names with commas between.
        classes_file (PathLike, optional): Text file, one name per line.
        ann_file (PathLike, optional): COCO or LVIS annotation file.
        pretrained (str, optional): The CLIP that made them, by name or path.
            Defaults to that of the dataset.
        background (str): ``'first'`` or ``'last'``: which of one row more
            than classes is left out. Defaults to ``'last'``.
        transposed (bool): Whether columns and not rows are classes; what
            fits one way alone is found without. Defaults to False.
        out (PathLike, optional): The file to write. Defaults to
            ``data/<dataset>/prompt/<stem of file>.pth``, with the CLIP's
            name in it if it is not the default one.
        overwrite (bool): Whether to replace a file of other content.

    Returns:
        Path: The file, written or found.

    Raises:
        ValueError: If the file is of another form or size than expected, a
            name is not in it, or ``out`` exists with other content.
        FileNotFoundError: If an input file is missing.
    """
    check_choice(background, ('first', 'last'), 'background')
    names = ClassNames(dataset, classes, classes_file, ann_file)
    table = read_foreign_table(file)
    clip, embed_dims = identify_clip(pretrained or names.pretrained)
    path = _find_output(out, names, table, clip['name'])
    made = _convert(table, names, clip, embed_dims, background, transposed)
    print(f'{file}: {made.settings["converted_from"]["form"]}')
    if table.names is None:
        print(f'rows taken in the order of the classes of {_source(names)}')
    if pretrained is None:
        print(
            f'made by {clip["name"]} as far as told; say --pretrained if by '
            'another'
        )
    if path.exists() and not overwrite:
        _check_reusable(path, made)
        print(f'{path} has these {len(made.names)} classes already: reused')
        return path
    made.save(path)
    print(f'{path}: {len(made.names)} classes, converted, CLIP {clip["name"]}')
    return path


def _find_output(
    out: Optional[PathLike],
    names: ClassNames,
    table: ForeignTable,
    pretrained: str,
) -> Path:
    """Return the file to write, if it is clear what the classes are."""
    if not names.given:
        if table.names is None:
            prompt = ''
            if table.may_be_prompt:
                prompt = (
                    '\nif it is a learned prompt: '
                    + table.how_to_use_as_prompt
                )
            raise ValueError(
                f'{table.path} has no names: give those of its '
                f'{len(table.numbers)} rows with --dataset, --classes, '
                f'--classes-file or --ann-file{prompt}'
            )
        if out is None:
            raise ValueError(
                f'all {len(table.names)} names of {table.path} are taken: say '
                'with --out which file to write, or choose some of them with '
                '--dataset'
            )
    path = output_path(out, names, pretrained, table.path.stem)
    if path.resolve() == table.path.resolve():
        raise ValueError(
            f'{path} is the file to convert: say with --out '
            'which other file to write'
        )
    return path


def _convert(
    table: ForeignTable,
    names: ClassNames,
    clip: Dict[str, str],
    embed_dims: int,
    background: str,
    transposed: bool,
) -> ClassEmbeddings:
    """Return the rows of the names that were asked for."""
    row_names = table.names or names.names
    try:
        rows, form = arrange_rows(
            table, row_names, embed_dims, background, transposed
        )
    except ValueError as error:
        hint = _explain_shape(table, names, clip['name'], embed_dims)
        raise ValueError(f'{error}{hint}') from error
    origin = dict(
        file=table.path.name, sha256=sha256_file(table.path), form=form
    )
    found = ClassEmbeddings(
        row_names, rows, clip, 'converted', dict(converted_from=origin)
    )
    if table.names is None or not names.given:
        return found
    try:
        chosen = found.select(names.names)
    except ValueError as error:
        raise ValueError(f'{table.path}: {error}') from error
    return ClassEmbeddings(
        names.names, chosen, clip, 'converted', found.settings
    )


def _explain_shape(
    table: ForeignTable, names: ClassNames, pretrained: str, embed_dims: int
) -> str:
    """Say where the sizes that do not fit a table come from, if so."""
    num_names = len(table.names or names.names)
    shape = set(table.numbers.shape)
    if embed_dims in shape and shape & {num_names, num_names + 1}:
        return ''
    source = 'the file itself' if table.names else _source(names)
    text = (
        f'\n{num_names} is the number of classes of {source}, '
        f'{embed_dims} the size of embeddings of CLIP {pretrained}'
    )
    fitting = [name for name, size in EMBED_DIMS.items() if size in shape]
    if embed_dims not in shape and fitting:
        text += (
            f'; if {" or ".join(fitting)} made them, say so with --pretrained'
        )
    return text


def _source(names: ClassNames) -> str:
    """Return the option that gives the names."""
    for option, value in (
        ('--classes', names.classes),
        ('--classes-file', names.classes_file),
        ('--ann-file', names.ann_file),
    ):
        if value is not None:
            return option if option == '--classes' else f'{option} {value}'
    return f'--dataset {names.dataset}'


def _check_reusable(path: Path, made: ClassEmbeddings) -> None:
    """Raise unless a file has what was made."""
    found = load_reusable(path)
    theirs, ours = (
        item.settings.get('converted_from', {}).get('sha256')
        for item in (found, made)
    )
    refuse_other(
        path,
        {
            'classes': found.names == made.names,
            'CLIP weights': found.clip['sha256'] == made.clip['sha256'],
            'origin': theirs == ours,
            'embeddings': found.embeddings.equal(made.embeddings),
        },
    )
