"""Names at the top of a config file that nothing reads.

That no config of ours is complained about is tested in test_configs.py.
"""

from pathlib import Path

import pytest
from mmengine.config import Config

from ovd.engine.config_names import check_names

BASE = """
train_dataloader = dict(batch_size=2)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.02))
randomness = dict(seed=0)
env_cfg = dict(cudnn_benchmark=False)
param_scheduler = [dict(type='LinearLR')]
"""


def read(text: str) -> Config:
    Path('base.py').write_text(BASE)
    Path('top.py').write_text(f"_base_ = 'base.py'\n{text}\n")
    return Config.fromfile('top.py')


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    'text, message',
    [
        ('total_epochs = 4', 'total_epochs: .* it is train_cfg.max_epochs'),
        (
            'data = dict(samples_per_gpu=4)',
            'data.samples_per_gpu: .* train_dataloader.batch_size',
        ),
        (
            "optimizer = dict(type='SGD', lr=0.1)",
            'optimizer: .* optim_wrapper.optimizer in 3.x',
        ),
        ('lr_config = dict(step=[8])', 'lr_config: .* list param_scheduler'),
        (
            'train_cfg = dict(rcnn=dict(pos_weight=1))',
            'train_cfg.rcnn: .* model.train_cfg.rcnn',
        ),
        ('seed = 3', 'seed: .* randomness.seed'),
    ],
)
def test_names_of_mmdet_2(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f'^top.py: {message}'):
        check_names(read(text))


def test_a_line_for_each() -> None:
    with pytest.raises(ValueError) as error:
        check_names(read('total_epochs = 4\nfp16 = dict(loss_scale=512)'))
    assert str(error.value).count('\nerror: top.py: ') == 1


@pytest.mark.parametrize(
    'text',
    [
        'seed = 3\nrandomness = dict(seed=seed)',
        "optimizer = dict(type='Adam', lr=1)\n"
        'optim_wrapper = dict(optimizer=dict(_delete_=True, **optimizer))',
        "data = dict(dataset='CocoDataset')",
        'resume_from = None',
        'data_root = train_file = norm_cfg = max_epochs = head = 1',
        'test_pipeline = [1]',
        'model_wrapper = [1]\nmodel_wrapper_cfg = dict(a=model_wrapper)',
    ],
)
def test_variables_are_left_alone(
    text: str, capsys: pytest.CaptureFixture
) -> None:
    check_names(read(text))
    assert capsys.readouterr().err == ''


def test_a_name_with_a_typo(capsys: pytest.CaptureFixture) -> None:
    check_names(read("param_schedular = [dict(type='ConstantLR')]"))
    warning = capsys.readouterr().err
    assert 'warning: top.py: param_schedular has no effect' in warning
    assert 'did you mean "param_scheduler"?' in warning


def test_what_the_host_left_behind(capsys: pytest.CaptureFixture) -> None:
    Path('top.py').write_text(
        BASE + "_base_ = 'mmdet::_base_/models/ssd300.py'"
    )
    check_names(Config.fromfile('top.py'))
    assert (
        'warning: mmdet::_base_/models/ssd300.py: cudnn_benchmark has no '
        'effect' in capsys.readouterr().err
    )
