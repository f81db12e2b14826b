"""tools/train.py and tools/test.py end user errors in one line."""
import runpy
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / 'tools'
CONFIG = """
custom_imports = dict(imports=['ovd'])
default_scope = 'mmdet'
model = dict(
    type='RPN', backbone=dict(type='ResNet', depth=18, base_channel=8),
    neck=None, rpn_head=dict(type='RPNHead'), train_cfg=None, test_cfg=None)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
train_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler'),
    dataset=dict(type='CocoDataset', ann_file='gone.json'))
"""


@pytest.mark.parametrize('tool, arguments, message', [
    ('train.py', ['gone.py'], 'config gone.py does not exist'),
    ('train.py', ['job.py', '--cfg-options', 'model.typo=1'], 'no key "model.'
     'typo"'),
    ('train.py', ['job.py', '--cfg-options', '+train_cfg.epochs=1'],
     '--cfg-options: train_cfg.epochs: EpochBasedTrainLoop takes no "epochs"'),
    ('train.py', ['job.py'], 'error: job.py: model.backbone.base_channel: '
     'ResNet takes no "base_channel"; did you mean "base_channels"'),
    ('train.py', ['job.py', '--cfg-options',
      "model.backbone={'type': 'FPN', '_delete_': True}"],
     '--cfg-options: model.backbone.type: FPN.__init__() missing 3 required'),
    ('train.py', ['job.py', '--resume', 'gone.pth'], 'gone.pth'),
    ('test.py', ['job.py', 'gone.pth'], 'gone.pth'),
])
def test_one_line(tool: str, arguments: list, message: str, tmp_path: Path,
                  monkeypatch: pytest.MonkeyPatch,
                  capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    Path('job.py').write_text(CONFIG)
    monkeypatch.setattr(sys, 'argv', [tool, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(TOOLS / tool), run_name='__main__')
    said = capsys.readouterr().err.splitlines()
    assert end.value.code == 2
    assert said[-1].startswith('error: ') and message in said[-1]


def test_a_bug_keeps_its_traceback(tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path('job.py').write_text(
        CONFIG.replace('base_channel=8', 'base_channels="8"'))
    monkeypatch.setattr(sys, 'argv', ['train.py', 'job.py'])
    with pytest.raises(TypeError):
        runpy.run_path(str(TOOLS / 'train.py'), run_name='__main__')
