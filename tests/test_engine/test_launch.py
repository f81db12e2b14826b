"""From the command line to a config: missing files, resume, --out."""

import os
from argparse import Namespace
from pathlib import Path

import pytest
from mmengine.config import Config

from ovd.engine.checkpoints import find_checkpoint
from ovd.engine.launch import build_runner, load_config
from ovd.engine.resuming import prepare_training

ROOT = Path(__file__).parents[2]


def arguments(config: str, **kwargs) -> Namespace:
    return Namespace(
        **dict(
            dict(
                config=config,
                cfg_options=[],
                launcher='none',
                seed=None,
                deterministic=False,
                work_dir=None,
            ),
            **kwargs,
        )
    )


def test_config_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(
        FileNotFoundError,
        match='did you mean "configs/miniature/rpn_r18_fpn_miniature',
    ):
        load_config(arguments('configs/miniature/rpn_r18_fpn_minature.py'))


def test_names_of_mmdet_2_in_a_file(tmp_path: Path) -> None:
    config = tmp_path / 'job.py'
    config.write_text('total_epochs = 3')
    with pytest.raises(ValueError, match='total_epochs: of mmdet 2.x'):
        load_config(arguments(str(config)))


def test_seed_and_work_dir(tmp_path: Path) -> None:
    config = tmp_path / 'job.py'
    config.write_text('randomness = dict(seed=0, deterministic=True)')
    cfg = load_config(arguments(str(config), seed=7))
    assert cfg.randomness == dict(seed=7, deterministic=True)
    assert Path(cfg.work_dir) == Path('work_dirs/job')
    cfg = load_config(arguments(str(config), work_dir='elsewhere'))
    assert cfg.work_dir == 'elsewhere' and cfg.randomness.seed == 0


def test_deterministic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG', raising=False)
    config = tmp_path / 'job.py'
    config.write_text('randomness = dict(seed=3)')
    cfg = load_config(arguments(str(config), deterministic=True))
    assert cfg.randomness == dict(seed=3, deterministic=True)
    assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'


def test_resume_starts_where_there_is_no_checkpoint(tmp_path: Path) -> None:
    cfg = Config(dict(work_dir=str(tmp_path), load_from='rpn.pth'))
    prepare_training(cfg, 'auto')
    assert not cfg.get('resume') and cfg.load_from == 'rpn.pth'
    pointer = tmp_path / 'last_checkpoint'
    pointer.write_text('')  # cut off while it was written
    prepare_training(cfg, 'auto')
    assert not cfg.get('resume') and cfg.load_from == 'rpn.pth'
    # The folder was moved since.
    pointer.write_text('/gone/iter_1.pth')
    (tmp_path / 'iter_1.pth').touch()
    prepare_training(cfg, 'auto')
    assert cfg.resume and cfg.load_from == str(tmp_path / 'iter_1.pth')


def test_checkpoint_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='holds no checkpoint'):
        find_checkpoint(str(tmp_path))
    (tmp_path / 'iter_2.pth').touch()
    # the folder was moved after training: only the name counts
    (tmp_path / 'last_checkpoint').write_text('/gone/iter_2.pth')
    assert find_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_2.pth')
    with pytest.raises(FileNotFoundError, match='did you mean "iter_2.pth"'):
        find_checkpoint(str(tmp_path / 'iter_3.pth'))


def test_a_gpu_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('LOCAL_RANK', '1')
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.device_count', lambda: 1)
    with pytest.raises(ValueError, match='2 processes .* with 1 GPUs'):
        build_runner(Config(dict(launcher='pytorch')))


@pytest.mark.parametrize(
    'loop, expected',
    [
        (
            dict(by_epoch=True, max_epochs=2),
            dict(type='ResumableEpochLoop', max_epochs=2),
        ),
        (
            dict(type='EpochBasedTrainLoop', max_epochs=2),
            dict(type='ResumableEpochLoop', max_epochs=2),
        ),
        (dict(by_epoch=False, max_iters=2), dict(by_epoch=False, max_iters=2)),
    ],
)
def test_epochs_can_be_taken_up_inside(
    tmp_path: Path, loop: dict, expected: dict
) -> None:
    cfg = Config(
        dict(
            train_cfg=loop,
            work_dir=str(tmp_path),
            train_dataloader=dict(dataset=dict(type='GZSLCocoDataset')),
        )
    )
    prepare_training(cfg)
    assert cfg.train_cfg == expected


def test_skip_broken_goes_to_who_loads_images(tmp_path: Path) -> None:
    cfg = Config(dict(train_cfg=dict(type='ExtractionLoop')))
    prepare_training(cfg)
    assert 'skip_broken' not in cfg.train_cfg
    prepare_training(cfg, skip_broken=True)
    assert cfg.train_cfg.skip_broken is True
    cfg = Config(
        dict(
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=1),
            work_dir=str(tmp_path),
            train_dataloader=dict(dataset=dict(type='GZSLCocoDataset')),
        )
    )
    prepare_training(cfg, skip_broken=True)
    assert cfg.train_dataloader.dataset.broken_file == str(
        tmp_path / 'broken_images.jsonl'
    )
