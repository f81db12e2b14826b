"""Real runs stop before their first iteration where classes disagree."""

import json
from pathlib import Path
from typing import Optional

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.datasets.gzsl_split import split_file
from ovd.models.layers import ClassEmbeddingClassifier

NAMES = ('cat', 'red fox', 'speaker_(stero_equipment)')
OTHER = ('cat', 'red foxes', 'speaker_(stero_equipment)')


class Detector(BaseModel):
    """The smallest model with a vocabulary that a runner trains."""

    def __init__(self, class_embeddings: str, num_classes: int) -> None:
        super().__init__()
        self.classifier = ClassEmbeddingClassifier(class_embeddings)
        self.num_classes = num_classes

    def set_vocabulary(self, names: tuple, novel_classes: tuple) -> None:
        self.classifier.set_classes(names, novel_classes)
        self.num_classes = len(names)

    def forward(
        self, inputs: torch.Tensor, data_samples: Optional[list], mode: str
    ) -> dict:
        return dict(loss=self.classifier.bg_embedding.sum())


class CountIterations(Hook):
    count = 0

    def before_train_iter(self, *args, **kwargs) -> None:
        type(self).count += 1

    before_val_iter = before_test_iter = before_train_iter


def write(folder: Path, stem: str, names: tuple) -> None:
    """Write a file whose last class is novel, and split it."""
    path = folder / f'{stem}.json'
    path.write_text(
        json.dumps(
            dict(
                images=[dict(id=1, file_name='a.png', height=9, width=9)],
                annotations=[
                    dict(
                        id=1,
                        image_id=1,
                        category_id=1,
                        area=16,
                        iscrowd=0,
                        bbox=[1, 1, 4, 4],
                    )
                ],
                categories=[
                    dict(id=i, name=name) for i, name in enumerate(names, 1)
                ],
            )
        )
    )
    split = folder / 's.json'
    split.write_text(
        json.dumps(dict(base=list(names[:-1]), novel=[names[-1]]))
    )
    for subset, k in (('train', 1), ('val', 0)):
        split_file(path, str(split), subset, k)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, 'one', NAMES)
    write(tmp_path, 'other', OTHER)
    write(tmp_path, 'fewer', NAMES[:2])
    for stem, names in (
        ('stereo', [*NAMES[:2], 'speaker_(stereo_equipment)']),
        ('few', NAMES[1:]),
    ):
        ClassEmbeddings(
            names=list(names),
            embeddings=torch.eye(len(names), 4),
            clip=dict(name='RN50', sha256='a' * 64),
            templates='vild',
        ).save(tmp_path / f'{stem}.pth')
    return tmp_path


def run(
    folder: Path,
    job: str = 'train',
    embeddings: str = 'stereo',
    num_classes: int = 3,
    train: tuple = ('one',),
    val: tuple = ('one',),
    metric: str = 'one_s_0.json',
    wrap: bool = False,
) -> int:
    """Train or test; return how many iterations began."""

    def loader(stems: tuple, k: int) -> dict:
        parts = [
            dict(
                type='GZSLCocoDataset',
                ann_file=str(folder / f'{stem}_s_{k}.json'),
                data_prefix=dict(img=''),
                test_mode=k == 0,
            )
            for stem in stems
        ]
        dataset = (
            parts[0]
            if len(parts) == 1 and not wrap
            else dict(type='ConcatDataset', datasets=parts)
        )
        if wrap:
            dataset = dict(type='RepeatDataset', times=2, dataset=dataset)
        return dict(
            dataset=dataset,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=lambda batch: dict(inputs=None, data_samples=None),
        )

    CountIterations.count = 0
    evaluator = dict(type='GZSLCocoMetric', ann_file=str(folder / metric))
    root = Path(__file__).parents[2]
    cfg = Config.fromfile(root / 'configs/_base_/default_runtime.py')
    with DefaultScope.overwrite_default_scope('mmdet'):
        runner = Runner(
            Detector(str(folder / f'{embeddings}.pth'), num_classes),
            work_dir=str(folder / 'work'),
            train_dataloader=loader(train, 1),
            val_dataloader=loader(val, 0),
            test_dataloader=loader(val, 0),
            train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=1),
            val_cfg=dict(),
            test_cfg=dict(),
            val_evaluator=evaluator,
            test_evaluator=evaluator,
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(
                open_vocabulary=cfg.default_hooks.open_vocabulary,
                checkpoint=None,
                logger=None,
            ),
            custom_hooks=[CountIterations()],
            default_scope='mmdet',
            experiment_name=f'{folder}{job}',
        )
        getattr(runner, job)()
    return CountIterations.count


DISAGREEMENTS = {
    'embeddings of fewer classes': (
        dict(embeddings='few'),
        '1 of 3 classes have no embedding among the 2 there are:\n  "cat"',
    ),
    'train data with another name': (
        dict(train=('other',)),
        '"red foxes"; did you mean "red fox"',
    ),
    'val data with another name': (
        dict(val=('other',), metric='other_s_0.json'),
        'other_s_0.json does not fit .*"red foxes"; did you mean "red fox"',
    ),
    'number of classes in the config': (
        dict(num_classes=80),
        'has 3 classes: set num_classes=3',
    ),
    'parts of the train data': (
        dict(train=('one', 'other')),
        'but their classes differ\n.*other_s_1.json lacks: "red fox"; did '
        'you mean "red foxes"\\?\n.*one_s_1.json lacks: "red foxes"',
    ),
    'parts of the val data': (
        dict(val=('one', 'fewer')),
        'fewer_s_0.json lacks: "speaker_',
    ),
    'metric of another split': (
        dict(metric='fewer_s_0.json'),
        'GZSLCocoMetric reads .*other base',
    ),
    'metric of other classes': (
        dict(metric='other.json'),
        'other.json lacks: "red fox"',
    ),
    'metric without a file': (dict(metric='absent.json'), 'does not exist'),
}


@pytest.mark.parametrize('name', DISAGREEMENTS)
def test_disagreements_stop_a_training(folder: Path, name: str) -> None:
    """Nothing is trained before they are told, by name."""
    settings, message = DISAGREEMENTS[name]
    with pytest.raises(
        (ValueError, FileNotFoundError), match=f'(?s){message}'
    ):
        run(folder, **settings)
    assert CountIterations.count == 0


@pytest.mark.parametrize(
    'name',
    [
        name
        for name in DISAGREEMENTS
        if 'train' not in name and 'number' not in name
    ],
)
def test_disagreements_stop_a_test(folder: Path, name: str) -> None:
    settings, message = DISAGREEMENTS[name]
    with pytest.raises(
        (ValueError, FileNotFoundError), match=f'(?s){message}'
    ):
        run(folder, 'test', **settings)
    assert CountIterations.count == 0


@pytest.mark.parametrize(
    'settings',
    [dict(), dict(metric='one.json'), dict(train=('one', 'one'), wrap=True)],
)
def test_what_agrees_begins(folder: Path, settings: dict) -> None:
    """LVIS's speaker passes in both spellings, an unsplit file as well."""

    class Begun(Exception):
        pass

    def begin(self: Detector, *args, **kwargs) -> None:
        assert self.classifier.novel_mask.tolist() == [False, False, True]
        raise Begun

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Detector, 'forward', begin)
        patch.setattr(Detector, 'train_step', begin)
        for job in ('train', 'test'):
            patch.setattr(Detector, f'{job}_step', begin)
            with pytest.raises(Begun):
                run(folder, job, **settings)
            assert CountIterations.count == 1
