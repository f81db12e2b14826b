"""The annotation files that a dataset config names."""

import os.path as osp
from importlib.util import find_spec
from typing import Any, Iterator

from ovd.artifacts.files import PathLike, require_file
from ovd.datasets.annotation_file import how_to_make
from ovd.datasets.gzsl_split import SplitReport, split_file
from ovd.datasets.gzsl_splits import check_split

LOADERS = {'train': 'train_dataloader', 'val': 'val_dataloader'}


def annotation_files(config: PathLike) -> list[tuple[str, str]]:
    """Return the annotation files of a config as (subset, path).

    Wrappers such as ``RepeatDataset`` are opened, and all the parts of a
    ``ConcatDataset``. Nothing is built and no data is read, but types and
    their arguments are checked.

    Raises:
        FileNotFoundError: If the config does not exist.
        ValueError: If it names no annotation file for a subset, or the same
            one for both, or a type does not take what the config gives it.
    """
    cfg = _read(require_file(config, 'config'))
    found = []
    for subset, loader in LOADERS.items():
        dataset = (cfg.get(loader) or {}).get('dataset')
        paths = list(dict.fromkeys(_open(dataset) if dataset else ()))
        if not paths:
            raise ValueError(
                f'{config} has no {loader}.dataset with an ann_file: expected '
                'a dataset config such as '
                'configs/_base_/datasets/coco_detection.py'
            )
        found += [(subset, path) for path in paths]
    paths = [path for _, path in found]
    if len(set(paths)) != len(paths):
        raise ValueError(
            f'{config} trains and validates on the same '
            f'annotation file: {", ".join(paths)}'
        )
    return found


def _read(config: PathLike) -> Any:
    """Read a config, checked where mmdet can say what it takes.

    Nothing of the host is imported before: who verifies needs none of it.
    """
    if find_spec('mmdet') is None:
        from mmengine.config import Config

        return Config.fromfile(config)
    from ovd.engine.config_check import check_types
    from ovd.engine.config_origins import read_config

    cfg = read_config(str(config))
    check_types(cfg)
    return cfg


def _open(dataset: dict) -> Iterator[str]:
    """Yield the annotation files of a dataset and of what it wraps."""
    if 'dataset' in dataset:
        yield from _open(dataset['dataset'])
    for part in dataset.get('datasets', ()):
        yield from _open(part)
    if dataset.get('ann_file'):
        # join keeps an absolute ann_file as it is, like the host does
        yield osp.join(dataset.get('data_root') or '', dataset['ann_file'])


def split_sources(
    config: PathLike,
    split: str,
    min_annotations: int = 1,
    overwrite: bool = False,
) -> Iterator[SplitReport]:
    """Split the train and val annotation files of a dataset config.

    Yields:
        SplitReport: One per file, once it is done; see
        :func:`ovd.datasets.gzsl_split.split_file` for what it raises.
    """
    check_split(split)
    found = annotation_files(config)
    for _, path in found:  # of all, before one is split
        require_file(path, 'annotation file', how_to_make(path))
    for subset, path in found:
        yield split_file(path, split, subset, min_annotations, overwrite)
