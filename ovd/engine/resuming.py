"""Training that can be cut off anywhere and taken up there."""

import inspect
import logging
from pathlib import Path
from typing import List, Optional

from mmdet.registry import LOOPS
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop

from .broken_images import record_file, watch_images
from .checkpoints import find_checkpoint, read_whole


def prepare_training(
    cfg: Config, resume: Optional[str] = None, skip_broken: bool = False
) -> None:
    """Say where training begins, and make what it sees depend on that alone.

    Args:
        cfg (Config): Changed in place.
        resume (str, optional): ``'auto'`` goes on from the last checkpoint of
            the work folder, or starts, ``load_from`` included, where there is
            none; anything else is a checkpoint to go on from. Defaults to
            None: start.
        skip_broken (bool): Record images that can't be used in the work
            folder, and go on. Defaults to False.

    Raises:
        FileNotFoundError: If the checkpoint does not exist.
        ValueError: If it is damaged, or holds more than plain content.
    """
    _set_resume(cfg, resume)
    watch_images(cfg, skip_broken)
    loop = LOOPS.get(
        (cfg.get('train_cfg') or {}).get('type') or 'EpochBasedTrainLoop'
    )
    if 'skip_broken' in inspect.signature(loop).parameters:
        if skip_broken:
            cfg.train_cfg.skip_broken = True
    elif cfg.get('train_dataloader'):
        _make_resumable(cfg, skip_broken)
        # Without a type the host goes by by_epoch.
        if loop is EpochBasedTrainLoop and (
            'type' in cfg.train_cfg or cfg.train_cfg.get('by_epoch')
        ):
            cfg.train_cfg.type = 'ResumableEpochLoop'
            cfg.train_cfg.pop('by_epoch', None)


def _set_resume(cfg: Config, resume: Optional[str]) -> None:
    if resume is None and cfg.get('resume') and not cfg.get('load_from'):
        resume = 'auto'  # what the host means by it
    if resume is None:
        return
    if resume != 'auto':
        cfg.resume, cfg.load_from = True, find_checkpoint(resume)
        return
    pointer = Path(cfg.work_dir) / 'last_checkpoint'
    # The host alone writes the pointer in place: a kill may leave it empty.
    if pointer.is_file() and pointer.read_text().strip():
        cfg.resume, cfg.load_from = True, find_checkpoint(cfg.work_dir)
        return
    cfg.resume = False
    saved = [
        path
        for folder in _checkpoint_folders(cfg)
        for path in folder.glob('*.pth')
        if not path.name.startswith('best_')
    ]
    if saved:
        newest = max(saved, key=lambda path: path.stat().st_mtime)
        print_log(
            f'{pointer} is missing or empty: going on from the newest '
            f'checkpoint, {newest}',
            'current',
            logging.WARNING,
        )
        cfg.resume, cfg.load_from = True, str(newest)
    else:
        print_log(
            f'{cfg.work_dir} has no checkpoint: starting from the beginning',
            'current',
        )


def _checkpoint_folders(cfg: Config) -> List[Path]:
    """Return the work folder, and where the host's hook has the others."""
    folders = [Path(cfg.work_dir)]
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if hook.get('out_dir'):
        folders.append(Path(hook['out_dir'], folders[0].name))
    return folders


def _make_resumable(cfg: Config, skip_broken: bool) -> None:
    """Put our dataset and batch sampler round those of the config."""
    done = None
    if cfg.get('resume') and cfg.get('load_from'):
        meta = read_whole(cfg.load_from).get('meta', {})
        done = meta.get('position')
        if meta.get('seed') is not None:
            # The order of samples is that of the run that is resumed.
            other = (cfg.get('randomness') or {}).get('seed')
            if other not in (None, meta['seed']):
                print_log(
                    f'the run goes on with its own seed, {meta["seed"]}; '
                    f'{other} is for one that starts',
                    'current',
                    logging.WARNING,
                )
            cfg.randomness = dict(
                cfg.get('randomness') or {}, seed=meta['seed']
            )
    loader = cfg.train_dataloader
    loader.dataset = dict(
        type='SeededDataset',
        dataset=loader.dataset,
        broken_file=record_file(cfg) if skip_broken else None,
    )
    loader.setdefault('worker_init_fn', dict(type='patient_worker'))
    loader.batch_sampler = dict(
        type='ResumableBatchSampler',
        batch_sampler=loader.get('batch_sampler'),
        drop_last=loader.pop('drop_last', False),
        done=done,
    )
