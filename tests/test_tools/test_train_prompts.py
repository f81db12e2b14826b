"""Learning prompts from DetPro's own training data, as the config says."""

import json
import re
import shlex
from pathlib import Path
from typing import Callable, List

import pytest
import torch
import torch.nn.functional as F
from mmdet.datasets import LVISV1Dataset

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.datasets.gzsl_split import split_file

ROOT = Path(__file__).parents[2]
CONFIG = 'configs/detpro/prompt_vit-b32_lvis_v1_866_337.py'
ANN_FILE = 'data/lvis_v1/annotations/lvis_v1_train.json'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with annotations of one box, which are split."""
    monkeypatch.chdir(tmp_path)
    path = Path(ANN_FILE)
    path.parent.mkdir(parents=True)
    path.write_text(
        json.dumps(
            dict(
                images=[
                    dict(
                        id=1,
                        height=40,
                        width=60,
                        neg_category_ids=[],
                        not_exhaustive_category_ids=[],
                        coco_url='http://images.cocodataset.org/train2017/1.jpg',
                    )
                ],
                annotations=[
                    dict(
                        id=1,
                        image_id=1,
                        category_id=1,
                        iscrowd=0,
                        bbox=[0, 0, 9, 9],
                        area=81,
                    )
                ],
                categories=[
                    dict(id=i, name=name, frequency='f' if i <= 866 else 'r')
                    for i, name in enumerate(
                        LVISV1Dataset.METAINFO['classes'], 1
                    )
                ],
            )
        )
    )
    split_file(path, '866_337', 'train')


@pytest.fixture
def command() -> List[str]:
    """The words that the config names: tool, config, and options."""
    text = re.sub(r' \\\n# +', ' ', (ROOT / CONFIG).read_text())
    (found,) = re.findall('python tools/(train.py .+)', text)
    return shlex.split(found)


def test_the_command_of_the_config(
    command: List[str], tiny_clip_path: str, run_tool: Callable
) -> None:
    tool, config, *options = command
    assert config == CONFIG
    torch.manual_seed(0)
    ious = torch.linspace(0.1, 1, 60)
    labels = (torch.arange(60) % 2).where(ious >= 0.5, torch.tensor(-1))
    torch.save(
        (F.normalize(torch.randn(60, 64)), labels, ious),
        options[-1].rpartition('=')[2],
    )
    done = run_tool(
        tool,
        ROOT / config,
        *options,
        f'model.clip={tiny_clip_path}',
        'train_cfg.max_epochs=1',
    )
    assert done.returncode == 0, done.stderr[-3000:]
    learned = ClassEmbeddings.load('data/lvis_v1/prompt/learned.pth')
    assert len(learned.names) == 1203
    assert learned.contexts.shape == (5, 8, 64)


@pytest.mark.parametrize('first', [2, 1])
def test_without_a_store_the_message_has_its_options(
    first: int, command: List[str], tiny_clip_path: str, run_tool: Callable
) -> None:
    """Neither of the two options; and the file without store=None."""
    tool, config, option, *values = command
    done = run_tool(
        tool,
        ROOT / config,
        option,
        f'model.clip={tiny_clip_path}',
        *values[first:],
    )
    assert done.returncode
    assert ' '.join([option, *values]) in done.stderr.splitlines()[-1]
