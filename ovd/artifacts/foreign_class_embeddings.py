"""Class embeddings of other projects, in every form that they are found in.

Shapes: C classes, D embedding size. The forms are:

* DetPro: a tensor (1, C, D) or (C, D), perhaps with a row for the background;
* OADP: a dict of ``embeddings`` (N, D) and ``names``, of more than one
  dataset, perhaps with what else its classifier has;
* BARON, Detic and ViLD: an array (C, D) or (D, C), float16 or float32;
* RegionCLIP: a tensor (C, D) of its own CLIPs, with D 1024 or 640.

Some have rows of unit norm and some do not, which is no difference to cosines.
"""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .class_embeddings import check_class_names
from .files import PathLike, require_file
from .prompt_context import (
    have_unit_norm,
    is_class_embeddings,
    is_prompt_context,
)
from .torch_file import read_torch_file

# A file of ovd has all of these.
OURS = {'names', 'embeddings', 'clip', 'templates'}
MAX_KEYS = 10  # of a dict, that a message lists
EXPECTED = (
    'expected an array or tensor (classes, numbers) of floats, or a '
    'dict of such "embeddings" and their "names"'
)


@dataclass(frozen=True)
class ForeignTable:
    """The numbers of a file, which does not say which way they lie.

    Args:
        path (Path): The file.
        numbers (Tensor): Two-dimensional, float32, as they stand there.
        names (list[str], optional): The class names that the file gives.
        form (str): The form of the file, in words.
        may_be_prompt (bool): Whether it has the shape of a learned prompt,
            too. Defaults to False.
    """

    path: Path
    numbers: Tensor
    names: Optional[List[str]]
    form: str
    may_be_prompt: bool = False

    @property
    def how_to_use_as_prompt(self) -> str:
        """The command that embeds names with a learned prompt."""
        return (
            'python tools/class_embeddings.py learned --prompt '
            f'{quote(str(self.path))}'
        )


def read_foreign_table(path: PathLike) -> ForeignTable:
    """Read class embeddings of another project, without running anything.

    Args:
        path (PathLike): A ``.npy``, ``.pth`` or ``.pt``.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is damaged, of another form, or one of ovd's own.
    """
    path = require_file(path, 'class embeddings')
    content = _read(path)
    if not isinstance(content, dict):
        numbers, form = _as_table(content, path)
        return ForeignTable(
            path,
            numbers,
            None,
            form,
            is_prompt_context(content) and not is_class_embeddings(numbers),
        )
    if OURS <= content.keys():
        raise ValueError(
            f"{path} is in ovd's own form already: use it as it is"
        )
    if 'embeddings' not in content:
        raise ValueError(
            f'{path} holds a dict of '
            f'{_list_keys(content) or "nothing"}, {EXPECTED}'
        )
    if 'bboxes' in content:
        raise ValueError(
            f"{path} is OADP's embeddings of proposals, not of "
            f'classes: {EXPECTED}'
        )
    return _read_dict(content, path)


def arrange_rows(
    table: ForeignTable,
    names: Sequence[str],
    embed_dims: int,
    background: str = 'last',
    transposed: bool = False,
) -> Tuple[Tensor, str]:
    """Return one row for each name, and what was done to get there.

    Args:
        table (ForeignTable): What was read.
        names (Sequence[str]): The C classes of the rows, in their order.
        embed_dims (int): D of the CLIP that made them.
        background (str): ``'first'`` or ``'last'``, the row that is left out
            of C + 1; one of zeros at either end goes before. Defaults to
            ``'last'``.
        transposed (bool): Whether columns are classes. Where it is False and
            both fit, those are that alone have unit norm, else rows.

    Returns:
        tuple: (C, D) float32 of unit norm, and words.

    Raises:
        ValueError: If the table has another size, or a row no direction.
    """
    numbers, form = _turn(
        table, len(names), embed_dims, background, transposed
    )
    numbers, what = _drop_background(numbers, len(names), background)
    done = [form, what]
    norms = numbers.norm(dim=1)
    for bad, what in (
        (~torch.isfinite(norms), 'numbers that are NaN or infinite'),
        (norms == 0, 'only zeros'),
    ):
        if bad.any():
            raise ValueError(
                f'{table.path}: the row of '
                f'"{names[int(bad.int().argmax())]}" has {what}'
            )
    done.append(
        'rows of unit norm'
        if have_unit_norm(numbers)
        else f'rows of norms {norms.min():.3g} to {norms.max():.3g}, made 1'
    )
    return F.normalize(numbers, dim=1), '; '.join(done)


def _read(path: Path) -> Any:
    """Return what a file holds: an array, a tensor, or anything else."""
    if path.suffix in ('.pth', '.pt'):
        return read_torch_file(path, 'class embeddings')
    if path.suffix != '.npy':
        raise ValueError(
            f'{path} is no file of class embeddings: expected '
            '.npy, .pth or .pt'
        )
    try:
        with open(path, 'rb') as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (EOFError, TypeError, ValueError) as error:
        raise ValueError(
            f'{path} is damaged, or no array of numbers as '
            f'numpy.save writes it: {error}'
        ) from error


def _read_dict(content: Dict[Any, Any], path: Path) -> ForeignTable:
    """Return what OADP's form holds."""
    numbers, form = _as_table(content['embeddings'], path, 'embeddings in ')
    form = f'a dict of embeddings ({form.partition("(")[2]}'
    names = content.get('names')
    if names is not None:
        if not isinstance(names, (list, tuple)) or not names:
            what = (
                'an empty one'
                if names in ([], ())
                else f'a {type(names).__name__}'
            )
            raise ValueError(f'{path}: names must be a list, got {what}')
        try:
            check_class_names(names)
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from error
        form += f' and {len(names)} names'
    others = [key for key in content if key not in ('embeddings', 'names')]
    if others:
        form += f', without its {_list_keys(others)}'
    return ForeignTable(
        path, numbers, None if names is None else list(names), form
    )


def _list_keys(keys: Iterable[Any]) -> str:
    """Return the first keys in words: a state dict has hundreds."""
    texts = [*map(str, keys)]
    return ', '.join(texts[:MAX_KEYS] + ['...'] * (len(texts) > MAX_KEYS))


def _as_table(content: Any, path: Path, what: str = '') -> Tuple[Tensor, str]:
    """Return a table of floats in single precision, and what it was."""
    form = f'content of type {type(content).__name__}'
    if isinstance(content, (Tensor, np.ndarray)):
        is_array = isinstance(content, np.ndarray)
        dtype = str(content.dtype).removeprefix('torch.')
        shape = tuple(content.shape)
        form = f'{"an array" if is_array else "a tensor"} {shape} {dtype}'
        is_table = len(shape) == 2 or len(shape) == 3 and shape[0] == 1
        if is_table and 0 not in shape and 'float' in dtype:
            numbers = (
                torch.from_numpy(content.astype(np.float32))
                if isinstance(content, np.ndarray)
                else content.detach().float()
            )
            return numbers.reshape(shape[-2:]), form
    raise ValueError(f'{path} holds {what}{form}, {EXPECTED}')


def _turn(
    table: ForeignTable,
    num_names: int,
    embed_dims: int,
    background: str,
    transposed: bool,
) -> Tuple[Tensor, str]:
    """Return the numbers with rows for classes, and how they lay."""
    rows, columns = table.numbers, table.numbers.T
    rows_fit, columns_fit = (
        len(turned) in (num_names, num_names + 1)
        and turned.shape[1] == embed_dims
        for turned in (rows, columns)
    )
    if transposed and columns_fit:
        return columns, f'{table.form}, transposed as told'
    if transposed or not (rows_fit or columns_fit):
        raise _misfit(table, num_names, embed_dims, transposed, rows_fit)
    if rows_fit != columns_fit:
        return (
            (rows, table.form)
            if rows_fit
            else (columns, f'{table.form}, transposed')
        )
    rows_unit, columns_unit = (
        have_unit_norm(_drop_background(turned, num_names, background)[0])
        for turned in (rows, columns)
    )
    why = ', as they alone have unit norm'
    if columns_unit and not rows_unit:
        return columns, (
            f'{table.form}, transposed; square: columns taken for classes{why}'
        )
    return rows, f'{table.form}; square: rows taken for classes' + (
        why
        if rows_unit and not columns_unit
        else '; say --transposed if columns are'
    )


def _misfit(
    table: ForeignTable,
    num_names: int,
    embed_dims: int,
    transposed: bool,
    rows_fit: bool,
) -> ValueError:
    """Return the error of a table of another size."""
    text = f'{table.path} holds {table.form}'
    if transposed:
        text += f', which transposed is {tuple(table.numbers.T.shape)}'
    text += (
        f', expected {num_names, embed_dims}, or '
        f'{num_names + 1, embed_dims} with a background'
    )
    if not transposed:
        text += ', or one of them transposed'
    elif rows_fit:
        text += '; it fits as it is: leave --transposed out'
    if table.may_be_prompt:
        text += (
            f'\nit may be a learned prompt of {len(table.numbers)} '
            f'tokens: {table.how_to_use_as_prompt}'
        )
    return ValueError(text)


def _drop_background(
    numbers: Tensor, num_names: int, background: str
) -> Tuple[Tensor, str]:
    """Return the rows but that of the background, and which one that is."""
    total = len(numbers)
    if total == num_names:
        return numbers, 'no background row'
    zeros = [row for row in (0, total - 1) if not numbers[row].any()]
    row = (
        zeros[0]
        if len(zeros) == 1
        else 0
        if background == 'first'
        else total - 1
    )
    rest = numbers[1:] if row == 0 else numbers[:-1]
    return rest, f'row {row + 1} of {total}' + (
        ', all zeros, is the background and left out'
        if row in zeros
        else ' is taken for the background and left out'
    )
