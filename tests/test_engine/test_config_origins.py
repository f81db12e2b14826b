"""Each entry of a config is known by its file, or by the command line."""

from pathlib import Path

import pytest

from ovd.apis.print_config import config_lines
from ovd.engine.config_origins import HOST_CONFIGS, read_config, shown

BASE = """
pipeline = [dict(type='Resize', scale=(8, 8)), dict(type='RandomFlip')]
model = dict(type='FasterRCNN', backbone=dict(depth=50, out=(1, 2)))
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=pipeline))
val_dataloader = train_dataloader
work_dir = 'a'
load_from = None
"""
OTHER = "env_cfg = dict(cudnn_benchmark=False)\nlog_level = 'INFO'"
MIDDLE = """
_base_ = ['base.py', 'other.py']
model = dict(backbone=dict(depth=101))
work_dir = 'a'
val_dataloader = dict(_delete_=True, batch_size=3)
"""
TOP = """
_base_ = 'middle.py'
pipeline = _base_.pipeline[:1] + [dict(type='Pad')]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
env_cfg = dict()
load_from = {{_base_.work_dir}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ('base', BASE),
        ('other', OTHER),
        ('middle', MIDDLE),
        ('top', TOP),
    ):
        Path(f'{name}.py').write_text(text)
    return tmp_path


@pytest.mark.usefixtures('folder')
def test_files() -> None:
    lines = list(
        config_lines(
            'top.py',
            [
                'model.backbone.out=(3,)',
                '+model.roi_head={}',
                'train_dataloader.dataset.pipeline.0.scale=(9,9)',
            ],
        )
    )
    assert lines == [
        "model.type = 'FasterRCNN'  # base.py",
        'model.backbone.depth = 101  # middle.py',
        'model.backbone.out = (3,)  # --cfg-options',
        'model.roi_head = {}  # --cfg-options',
        'train_dataloader.batch_size = 2  # base.py',
        # a list is taken over as a whole
        "train_dataloader.dataset.pipeline.0.type = 'Resize'  # top.py",
        'train_dataloader.dataset.pipeline.0.scale = (9, 9)  # --cfg-options',
        "train_dataloader.dataset.pipeline.1.type = 'Pad'  # top.py",
        'val_dataloader.batch_size = 3  # middle.py',
        # middle.py says the same
        "work_dir = 'a'  # base.py",
        "load_from = 'a'  # top.py",
        'env_cfg.cudnn_benchmark = False  # other.py',
        "log_level = 'INFO'  # other.py",
    ]


def test_names_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown(f'{HOST_CONFIGS}/a/b.py') == 'mmdet::a/b.py'
    assert shown(str(tmp_path / 'b.py')) == 'b.py'


@pytest.mark.usefixtures('folder')
def test_a_file_that_does_not_exist() -> None:
    with pytest.raises(FileNotFoundError, match='config no.py does not'):
        read_config('no.py')


@pytest.mark.usefixtures('folder')
@pytest.mark.parametrize(
    'text, message',
    [
        ('model = dict(', r'bad.py: SyntaxError: .* line 1'),
        ('\nmodel = dict(depth=size)', 'bad.py, line 2: NameError: .*size'),
        (
            "_base_ = 'base.py'\nwork_dir = dict()",
            'user.py: TypeError: work_dir=',
        ),
        ("_base_ = ['base.py', 'top.py']", 'user.py: KeyError: .*Duplicate'),
    ],
)
def test_files_that_cannot_be_run(text: str, message: str) -> None:
    Path('bad.py').write_text(text)
    Path('user.py').write_text("_base_ = 'bad.py'")
    with pytest.raises(ValueError, match=message):
        read_config('user.py')
