"""Have every job name images that are broken, or do without them."""

from pathlib import Path
from typing import Any

from mmengine.config import Config

BROKEN_IMAGES = 'broken_images.jsonl'
HOSTS = (
    'LoadImageFromFile',
    'mmdet.LoadImageFromFile',
    'mmcv.LoadImageFromFile',
)
EVALUATED = ('val', 'test')


def record_file(cfg: Config) -> str:
    """Return the file that lists the broken images of a run."""
    return str(Path(cfg.work_dir, BROKEN_IMAGES))


def watch_images(cfg: Config, skip_broken: bool = False) -> None:
    """Have images checked for being whole, and broken ones named.

    Args:
        cfg (Config): Changed in place; has ``work_dir``.
        skip_broken (bool): Record broken images of val and test in the work
            folder, and evaluate as if nothing had been found in them: their
            objects count as missed. Defaults to False.
    """
    for name in ('train', *EVALUATED):
        _replace_loaders((cfg.get(f'{name}_dataloader') or {}).get('dataset'))
    if not skip_broken:
        return
    for name in EVALUATED:
        loader, evaluator = f'{name}_dataloader', f'{name}_evaluator'
        if cfg.get(loader) and cfg.get(evaluator):
            cfg[loader].dataset = _wrapped(
                cfg[loader].dataset, record_file(cfg)
            )
            cfg[evaluator] = dict(
                type='BrokenImageEvaluator', metrics=cfg[evaluator]
            )


def _wrapped(dataset: dict, broken_file: str) -> dict:
    """Return the config with :class:`EvaluatedDataset` round each part."""
    if 'dataset' in dataset:
        return dict(dataset, dataset=_wrapped(dataset['dataset'], broken_file))
    if 'datasets' in dataset:
        parts = [_wrapped(part, broken_file) for part in dataset['datasets']]
        return dict(dataset, datasets=parts)
    return dict(
        type='EvaluatedDataset', dataset=dataset, broken_file=broken_file
    )


def _replace_loaders(node: Any) -> None:
    """Put our loader in the place of the host's, wherever it is named."""
    if isinstance(node, dict):
        if node.get('type') in HOSTS:
            node['type'] = 'mmdet.LoadWholeImage'  # in any scope
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for item in node:
            _replace_loaders(item)
