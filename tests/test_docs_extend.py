"""docs/extend.md: each example is built, learns and detects."""

import re
import sys
from pathlib import Path
from typing import Callable, List

import pytest
import torch
from mmdet.registry import MODELS

sys.path.append(str(Path(__file__).parent))
from docs_commands import (  # noqa: E402
    ROOT,
    blocks,
    commands,
    page,
    section,
    table,
    write_files,
)
from docs_world import NUM_TRAIN, write_tiny_world  # noqa: E402

from ovd.artifacts.class_embeddings import ClassEmbeddings  # noqa: E402
from ovd.artifacts.embedding_store import EmbeddingStore  # noqa: E402

PAGE = page('extend')
# What the user has after the demo and a test has not: an RPN to start from.
SMALL = (
    'load_from=None',
    'train_dataloader.batch_size=2',
    'test_dataloader.batch_size=1',
)


@pytest.fixture(scope='module')
def project(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_clip_path: str,
    run_tool: Callable,
) -> Path:
    """A folder with the files of the page and a tiny world."""
    folder = tmp_path_factory.mktemp('extend')
    write_tiny_world(folder, tiny_clip_path, run_tool)
    assert len(write_files(PAGE, folder / 'my_project')) == 8
    return folder


@pytest.fixture(autouse=True)
def my_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What PYTHONPATH=my_project does."""
    monkeypatch.syspath_prepend(str(project / 'my_project'))
    monkeypatch.chdir(project)


def run(heading: str, run_tool: Callable, project: Path) -> List[str]:
    """Run the commands of a section; return what each prints."""
    printed = []
    for command in commands(section(PAGE, heading)):
        assert command.variables == dict(PYTHONPATH='my_project')
        python, script, *options = command.words
        assert python == 'python'
        if script == '-c':
            exec(compile(options[0], 'extend.md', 'exec'), {})
            continue
        if '--dry-run' in options:
            options += ['--cfg-options', *SMALL]
        elif script == 'tools/train.py':
            options += [
                '--cfg-options',
                'model.batch_size=8',
                'train_dataloader.num_workers=0',
            ]
        path = (
            ROOT / script if script.startswith('tools/') else project / script
        )
        done = run_tool(path, *options, cwd=project)
        assert done.returncode == 0, (command.text, done.stderr[-3000:])
        printed.append(done.stdout + done.stderr)
    return printed


def trained_and_tested(printed: str) -> bool:
    """Whether a dry run got through both."""
    return bool(
        re.search(r'^  train +\d', printed, re.MULTILINE)
        and re.search(r'^  test +\d', printed, re.MULTILINE)
    )


@pytest.mark.parametrize('heading', ['## A loss', '## A head', '## A teacher'])
def test_examples_are_short(heading: str) -> None:
    """Under 60 lines of code each, configs and all."""
    lines = [
        line
        for block in blocks(section(PAGE, heading), 'python')
        for line in block.splitlines()[1:]
    ]  # the first names the file
    assert 0 < sum(bool(line.strip()) for line in lines) < 60


def test_the_loss(project: Path, run_tool: Callable) -> None:
    (printed,) = run('## A loss', run_tool, project)
    assert trained_and_tested(printed)
    assert 'loss_distill' in printed
    loss = MODELS.build(dict(type='CosineDistillationLoss', loss_weight=2.0))
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    b = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    assert loss(a, b) == 2.0  # twice the mean of 0 and 2
    empty = loss(a[:0], b[:0])
    assert empty == 0 and empty.requires_grad


def test_the_head(project: Path, run_tool: Callable) -> None:
    (printed,) = run('## A head', run_tool, project)
    assert trained_and_tested(printed)
    head = MODELS.build(
        dict(
            type='CalibratedBBoxHead',
            base_factor=0.6,
            in_channels=4,
            num_shared_fcs=1,
            fc_out_channels=8,
            num_classes=2,
            reg_class_agnostic=True,
            classifier=dict(
                type='ClassEmbeddingClassifier',
                embed_dims=64,
                class_embeddings='data/miniature/prompt/vild.pth',
            ),
        )
    ).eval()
    plain = MODELS.get('ViLDBBoxHead').score
    head.set_vocabulary(['red star', 'red circle'], ['red star'])
    x = torch.randn(3, 4, 7, 7)
    scores, region_embeddings = head(x)[0], torch.randn(3, 64)
    assert scores.shape == (3, 3) and len(head.fc_cls) == 3
    expected = plain(head, region_embeddings, x) * torch.tensor([1, 0.6, 1])
    assert torch.allclose(head.score(region_embeddings, x), expected)
    with pytest.raises(ValueError, match='base_factor must be in'):
        MODELS.get('CalibratedBBoxHead')(
            base_factor=0,
            num_shared_fcs=1,
            reg_class_agnostic=True,
            classifier=dict(
                type='ClassEmbeddingClassifier',
                embed_dims=64,
                class_embeddings='data/miniature/prompt/vild.pth',
            ),
        )


def test_methods_of_a_head_are_those_of_the_page() -> None:
    head = MODELS.get('ViLDBBoxHead')
    for name, *_ in table(PAGE, 'method'):
        assert callable(getattr(head, name.strip('`').partition('(')[0]))


def test_the_teacher(project: Path, run_tool: Callable) -> None:
    torch.manual_seed(0)
    *_, inspected, printed = run('## A teacher', run_tool, project)
    assert trained_and_tested(printed)
    assert 'class embeddings' in inspected
    classes = ClassEmbeddings.load('data/miniature/prompt/my_teacher.pth')
    store = EmbeddingStore('data/miniature/proposal_embeddings/my_teacher')
    assert len(classes.names) == 65 and len(store) == NUM_TRAIN
    assert classes.clip == store.clip
    assert store.embed_dims == 64
    mixed = run_tool(
        'train.py',
        'my_project/vild_cosine.py',
        '--dry-run',
        '--cfg-options',
        *SMALL,
        'train_dataloader.dataset.pipeline.2.store='
        'data/miniature/proposal_embeddings/my_teacher',
        cwd=project,
    )
    assert mixed.returncode == 2
    assert "embeddings of two CLIPs can't be compared" in mixed.stderr
