"""Read what runs logged, and join what interruptions cut apart."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Set, Tuple

import numpy as np

from ovd.artifacts.files import PathLike
from ovd.suggest import did_you_mean

SCALARS = 'vis_data/scalars.json'  # in a work folder's time-stamped folders
# Where a line is, and what lines of a validation say of its speed
PLACES = {'iter', 'step', 'epoch'}
VALIDATION_TIMES = {'time', 'data_time'}
# (iteration, key -> value, whether a training iteration logged it)
Line = Tuple[int, Dict[str, float], bool]


@dataclass(frozen=True)
class TrainingLog:
    """What a run logged.

    Args:
        name (str): The run's, for people.
        curves (dict[str, ndarray]): Key -> (n, 2) iterations, ascending, and
            values.
        trained (set[str]): The keys that training iterations logged; the
            others are metrics of validations.
        notices (list[str]): What was passed over.
    """

    name: str
    curves: Dict[str, np.ndarray]
    trained: Set[str]
    notices: List[str]


def read_training_logs(folders: Sequence[PathLike]) -> List[TrainingLog]:
    """Read the logs of several runs, each under a name of its own.

    Args:
        folders (Sequence[PathLike]): Work folders, or single time-stamped
            folders in them.

    Raises:
        FileNotFoundError: If there is no log in a folder.
        ValueError: If a log is broken or empty, or a folder given twice.
    """
    paths = [Path(os.path.abspath(folder)) for folder in folders]
    if len(set(paths)) < len(paths):
        raise ValueError(
            'a folder is given twice: ' + ', '.join(map(str, folders))
        )
    return [
        read_training_log(path, name)
        for path, name in zip(folders, _short_names(paths))
    ]


def _short_names(paths: List[Path]) -> List[str]:
    """Return the last parts of paths, as many as tell them apart."""
    for size in range(1, max(len(path.parts) for path in paths) + 1):
        names = ['/'.join(path.parts[-size:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names


def read_training_log(folder: PathLike, name: str) -> TrainingLog:
    """Join the logs of a run that was resumed, perhaps several times.

    A later start replaces what earlier ones logged from its first iteration
    on.

    Args:
        folder (PathLike): The run's.
        name (str): For people.

    Raises:
        FileNotFoundError, ValueError: See :func:`read_training_logs`.
    """
    lines: List[Line] = []
    notices: List[str] = []
    for path in find_logs(Path(folder)):
        part = list(_read_lines(path, notices))
        if part:
            lines = [line for line in lines if line[0] < part[0][0]] + part
    if not lines:
        raise ValueError(f'nothing is logged yet in {folder}')
    points: Dict[str, List[Tuple[int, float]]] = {}
    for iteration, values, _ in lines:
        for key, value in values.items():
            points.setdefault(key, []).append((iteration, value))
    return TrainingLog(
        name,
        {key: np.array(rows, float) for key, rows in points.items()},
        {key for _, values, trained in lines if trained for key in values},
        notices,
    )


def find_logs(folder: Path) -> List[Path]:
    """Return the log files of a run, the earliest start first.

    Raises:
        FileNotFoundError: If there are none.
    """
    if not folder.is_dir():
        siblings = [path.name for path in folder.parent.glob('*/')]
        raise FileNotFoundError(
            f'work folder {folder} does not exist'
            f'{did_you_mean(folder.name, siblings)}'
        )
    found = sorted([*folder.glob(SCALARS), *folder.glob(f'*/{SCALARS}')])
    if found:
        return found
    runs = sorted(
        {str(path.parents[2]) for path in folder.glob(f'*/*/{SCALARS}')}
    )
    raise FileNotFoundError(
        f'no {SCALARS} in {folder} or a folder in it'
        + (
            f'; give the runs in it: {" ".join(runs)}'
            if runs
            else ': expected the work_dir of a training'
        )
    )


def _read_lines(path: Path, notices: List[str]) -> Iterator[Line]:
    """Yield the lines of one start of a run.

    A validation's line says its iteration, or, by the host's default, its
    epoch: then it is put where the last iteration before it was logged.
    """
    iteration = 0
    texts = path.read_text(encoding='utf-8').splitlines()
    for number, text in enumerate(texts, 1):
        try:
            logged: Dict[str, Any] = json.loads(text)
            step = int(logged['step'])
        except (ValueError, KeyError, TypeError) as error:
            if number == len(texts):
                notices.append(
                    f'the last line of {path} is cut off and passed over'
                )
                return
            raise ValueError(
                f'line {number} of {path} is none of a log: {text[:60]!r}'
            ) from error
        trained = 'iter' in logged
        iteration = step if trained else max(step, iteration)
        passed_over = PLACES if trained else PLACES | VALIDATION_TIMES
        yield (
            iteration,
            {
                key: float(value)
                for key, value in logged.items()
                if isinstance(value, (int, float)) and key not in passed_over
            },
            trained,
        )
