"""Draw what runs logged over their iterations, as one picture."""

import re
from itertools import chain
from typing import Dict, List, Optional, Sequence, Tuple

from ovd.artifacts.files import PathLike
from ovd.suggest import did_you_mean

from .class_embedding_pictures import save_picture
from .log_pictures import Panel, draw_logs
from .training_logs import TrainingLog, read_training_logs


def plot_logs(
    folders: Sequence[PathLike],
    out: PathLike,
    keys: Optional[Sequence[str]] = None,
) -> None:
    """Draw losses and base/novel metrics of runs; print where.

    Args:
        folders (Sequence[PathLike]): Work folders of the runs.
        out (PathLike): The PNG to write.
        keys (Sequence[str], optional): What to draw in place of that.

    Raises:
        FileNotFoundError: If a folder has no log.
        ValueError: If a log is broken or empty, or no run has a key.
    """
    logs = read_training_logs(folders)
    for notice in chain.from_iterable(log.notices for log in logs):
        print(f'notice: {notice}')
    panels = choose_panels(logs, keys)
    save_picture(draw_logs(logs, panels), out)
    print(f'{", ".join(log.name for log in logs)}: {out}')


def choose_panels(
    logs: Sequence[TrainingLog], keys: Optional[Sequence[str]] = None
) -> List[Panel]:
    """Return what to draw: base and novel of one metric go together.

    Args:
        logs (Sequence[TrainingLog]): The runs.
        keys (Sequence[str], optional): Keys of them; None are the losses,
            then AP and AP50 of base and novel classes, or what else there is
            of base and novel.

    Raises:
        ValueError: If no run has a key, with the nearest ones, or no run has
            a loss or metric.
    """
    known = [*dict.fromkeys(chain.from_iterable(log.curves for log in logs))]
    for key in keys or ():
        if key not in known:
            raise ValueError(
                f'no run logged "{key}"'
                f'{did_you_mean(key, known)}\nlogged: '
                f'{" ".join(sorted(known))}'
            )
    if keys is None:
        trained = set().union(*(log.trained for log in logs))
        losses = [key for key in known if key in trained and 'loss' in key]
        losses.sort(key=lambda key: not key.endswith('loss'))  # the sum first
        groups = [key for key in known if _split_group(key)[1]]
        precisions = [key for key in groups if re.search('_AP(50)?_', key)]
        keys = losses + (precisions or groups)
    panels: Dict[str, Panel] = {}
    for key in keys:
        title, group = _split_group(key)
        panels.setdefault(title, Panel(title, {})).keys[key] = group
    if not panels:
        raise ValueError(
            'no run logged a loss, or a metric of base and novel '
            f'classes: give --keys, of {" ".join(known)}'
        )
    return [*panels.values()]


def _split_group(key: str) -> Tuple[str, Optional[str]]:
    """Return ``'bbox_AP50', 'base'`` for ``'bbox_AP50_base'``."""
    found = re.search(r'(?<![a-zA-Z])(base|novel)(?![a-zA-Z])', key)
    if found is None:
        return key, None
    title = (key[: found.start()].rstrip('_/') + key[found.end() :]).strip(
        '_/'
    )
    return title or 'base and novel', found[1]
