"""The CLIP config end to end: train, resume, measure, export."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.runner import Runner

from ovd.clip.loading import load_clip
from ovd.datasets.miniature import write_world

CONFIG = Path(__file__).parents[2] / 'configs/miniature/clip_rn_miniature.py'


@pytest.fixture(scope='module')
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('world')
    write_world(
        root, num_train=1, num_val=1, num_crops=64, num_heldout_crops=64
    )
    return root


class NoteIterations(Hook):
    """Remember which iterations were trained."""

    def __init__(self) -> None:
        self.seen = []

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict = None
    ) -> None:
        self.seen.append(batch_idx)


def tiny_config(data_root: Path, folder: Path, max_iters: int) -> Config:
    """The shipped config on a small world, with batches of 16."""
    text = CONFIG.read_text().replace(
        "'data/miniature/'", repr(f'{data_root}/')
    )
    text = text.replace('../_base_', str(CONFIG.parents[1] / '_base_'))
    copy = folder / 'clip.py'
    copy.write_text(text)
    cfg = Config.fromfile(str(copy))
    cfg.work_dir = str(folder / 'work')
    cfg.train_cfg.update(max_iters=max_iters, val_interval=max_iters)
    cfg.train_dataloader.batch_size = 16
    cfg.default_hooks.checkpoint.interval = 2
    cfg.custom_hooks[0].out_file = str(folder / 'clip.pt')
    cfg.log_level = 'ERROR'
    cfg.experiment_name = folder.name
    return cfg


def test_same_seed_gives_the_same_clip(data_root: Path, tmp_path: Path):
    digests = []
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        cfg = tiny_config(data_root, tmp_path / name, 2)
        Runner.from_cfg(cfg).train()
        digests.append(load_clip(str(tmp_path / name / 'clip.pt')).sha256)
    assert digests[0] == digests[1]


def test_training_resumes_and_reports_accuracy(
    data_root: Path, tmp_path: Path
):
    Runner.from_cfg(tiny_config(data_root, tmp_path, 2)).train()
    first = torch.load(tmp_path / 'clip.pt', weights_only=True)
    cfg = tiny_config(data_root, tmp_path, 4)
    cfg.resume = True
    cfg.experiment_name = 'resumed'
    runner = Runner.from_cfg(cfg)
    notes = NoteIterations()
    runner.register_hook(notes)
    runner.train()
    assert notes.seen == [2, 3]
    again = torch.load(tmp_path / 'clip.pt', weights_only=True)
    assert not torch.equal(first['text_projection'], again['text_projection'])
    found = MessageHub.get_current_instance().log_scalars
    assert {'val/zero_shot/base', 'val/zero_shot/novel'} <= set(found)
