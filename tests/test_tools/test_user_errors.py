"""Tools end user errors in one line, and import no more than they need."""

import runpy
import sys
from pathlib import Path
from typing import Callable, Iterator

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


@pytest.mark.parametrize(
    'tool, arguments, message',
    [
        ('train.py', ['gone.py'], 'config gone.py does not exist'),
        (
            'train.py',
            ['job.py', '--cfg-options', 'model.typo=1'],
            'no key "model.typo"',
        ),
        (
            'train.py',
            ['job.py', '--cfg-options', '+train_cfg.epochs=1'],
            '--cfg-options: train_cfg.epochs: EpochBasedTrainLoop takes no '
            '"epochs"',
        ),
        (
            'train.py',
            ['job.py'],
            'error: job.py: model.backbone.base_channel: '
            'ResNet takes no "base_channel"; did you mean "base_channels"',
        ),
        (
            'train.py',
            [
                'job.py',
                '--cfg-options',
                "model.backbone={'type': 'FPN', '_delete_': True}",
            ],
            '--cfg-options: model.backbone.type: FPN.__init__() missing 3 '
            'required',
        ),
        ('train.py', ['job.py', '--resume', 'gone.pth'], 'gone.pth'),
        ('test.py', ['job.py', 'gone.pth'], 'gone.pth'),
    ],
)
def test_one_line(
    tool: str,
    arguments: list,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('job.py').write_text(CONFIG)
    monkeypatch.setattr(sys, 'argv', [tool, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(TOOLS / tool), run_name='__main__')
    said = capsys.readouterr().err.splitlines()
    assert end.value.code == 2
    assert said[-1].startswith('error: ') and message in said[-1]


# A call of each tool that a user gets wrong
WRONG = {
    'analysis/class_embeddings.py': ['gone.pth'],
    'analysis/plot_logs.py': ['gone'],
    'browse_dataset.py': ['gone.py'],
    'build_miniature.py': ['job.py/data'],
    'build_zsl_dataset.py': ['gone.py', '--split', '48_17'],
    'check_data.py': ['cocoo'],
    'class_embeddings.py': ['vilt'],
    'compare_results.py': ['a=gone.json', '--out', 'out.json'],
    'convert_checkpoint.py': ['gone.pth', 'out.pth'],
    'convert_proposals.py': ['gone.pkl', 'out.pkl', '--ann-file', 'gone.json'],
    'embedding_store.py': ['stat', 'gone'],
    'eval.py': ['gone.py', 'gone.json'],
    'export_weights.py': ['gone.pth', 'out.safetensors'],
    'image_demo.py': ['gone.jpg', 'job.py', 'gone.pth'],
    'new_dataset.py': ['gone.json', '--novel', 'cat', '--val-fraction', '.2'],
    'print_config.py': ['gone.py'],
    'report.py': ['gone'],
    'test.py': ['gone.py', 'gone.pth'],
    'train.py': ['gone.py'],
    'web_demo.py': ['gone.py', 'gone.pth'],
}
# They judge what they are given, which may be gone, or hand on to others
OTHERS = {'inspect_artifact.py', 'torchrun.py'}
# Those that do without mmdet
NO_HOST = {
    **{
        tool: WRONG[tool]
        for tool in (
            'analysis/class_embeddings.py',
            'analysis/plot_logs.py',
            'build_miniature.py',
            'check_data.py',
            'compare_results.py',
            'convert_checkpoint.py',
            'convert_proposals.py',
            'embedding_store.py',
            'new_dataset.py',
        )
    },
    'build_zsl_dataset.py': ['--verify', 'gone.json'],
    'inspect_artifact.py': ['gone.pth'],
}


def test_all_tools_are_called() -> None:
    found = {
        str(path.relative_to(TOOLS))
        for path in [*TOOLS.glob('*.py'), *TOOLS.glob('analysis/*.py')]
    }
    assert found == WRONG.keys() | OTHERS


@pytest.mark.parametrize('tool', WRONG)
def test_one_exit_code(tool: str, tmp_path: Path, run_tool: Callable) -> None:
    (tmp_path / 'job.py').write_text(CONFIG)
    done = run_tool(tool, *WRONG[tool], cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert 'Traceback' not in done.stderr and done.stdout == ''
    assert any(
        line.startswith('error: ') for line in done.stderr.splitlines()
    ), done.stderr


@pytest.fixture
def no_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the package, and don't let the host be imported for it."""
    before = {
        name: module
        for name, module in sys.modules.items()
        if name.partition('.')[0] == 'ovd'
    }
    for name in before:
        monkeypatch.delitem(sys.modules, name)
    for name in ('mmcv', 'mmdet', 'mmengine'):
        monkeypatch.setitem(sys.modules, name, None)
    yield
    for name in [*sys.modules]:
        if name.partition('.')[0] == 'ovd' and name not in before:
            del sys.modules[name]


@pytest.mark.usefixtures('no_host')
@pytest.mark.parametrize('tool', NO_HOST)
def test_what_needs_no_detector_imports_none(
    tool: str, tmp_path: Path, run_tool: Callable
) -> None:
    """It would take most of the time of these tools, and of the memory."""
    (tmp_path / 'job.py').touch()
    done = run_tool(tool, *NO_HOST[tool], cwd=tmp_path)
    assert 'Traceback' not in done.stderr
    assert done.returncode == 1 + (
        tool in WRONG and NO_HOST[tool][0] != '--verify'
    ), done.stderr
    said = done.stderr + done.stdout
    assert 'gone' in said or 'error: ' in said
    assert "setdefault('mmdet', None)" in (TOOLS / tool).read_text()


def test_a_bug_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('job.py').write_text(
        CONFIG.replace('base_channel=8', 'base_channels="8"')
    )
    monkeypatch.setattr(sys, 'argv', ['train.py', 'job.py'])
    with pytest.raises(TypeError):
        runpy.run_path(str(TOOLS / 'train.py'), run_name='__main__')
