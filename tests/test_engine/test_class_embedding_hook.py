"""Class embeddings are made before a run, or checked, by one process."""

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import List, Optional

import mmdet.registry
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop
from torch import nn

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.clip.class_embedding_recipe import Recipe
from ovd.engine import ClassEmbeddingHook
from ovd.engine.hooks import OpenVocabularyHook
from ovd.models import ClassEmbeddingClassifier

ROOT = Path(__file__).parents[2]
TRAIN, VAL = ('red circle', 'blue star'), ('blue star', 'green ring')
UNION = ['red circle', 'blue star', 'green ring']


class Loop(BaseLoop):
    """A loop that was built, over wrapped and concatenated datasets."""

    def __init__(self, runner: object, *classes: tuple) -> None:
        datasets = [
            SimpleNamespace(metainfo=dict(classes=names)) for names in classes
        ]
        inner = SimpleNamespace(datasets=datasets)
        super().__init__(
            runner, nn.Module()
        )  # anything that is no config of a loader
        self.dataloader = SimpleNamespace(
            dataset=SimpleNamespace(dataset=inner)
        )

    def run(self) -> None:
        """Do nothing."""


def make_runner(
    path: Path,
    train: Optional[tuple] = (TRAIN,),
    val: Optional[tuple] = (VAL,),
) -> SimpleNamespace:
    lines: List[str] = []
    runner = SimpleNamespace(
        model=nn.Sequential(
            *(
                ClassEmbeddingClassifier(str(path), embed_dims=64)
                for _ in range(2)
            )
        ),
        logger=SimpleNamespace(info=lines.append, warning=lines.append),
        lines=lines,
        _test_loop=dict(type='TestLoop'),
    )  # not built, and not to be
    runner._train_loop = train and Loop(runner, *train)
    runner._val_loop = val and Loop(runner, *val)
    return runner


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'prompt' / 'vild.pth'


def test_it_is_registered_where_every_scope_finds_it() -> None:
    assert HOOKS.module_dict['ClassEmbeddingHook'] is ClassEmbeddingHook
    assert mmdet.registry.HOOKS.get('ClassEmbeddingHook') is ClassEmbeddingHook


def test_a_missing_file_is_made(path: Path, tiny_clip_path: str) -> None:
    runner = make_runner(path)
    ClassEmbeddingHook(tiny_clip_path).before_run(runner)
    found = ClassEmbeddings.load(path)
    assert found.names == UNION
    expected = Recipe(tiny_clip_path).make(UNION)
    assert torch.equal(found.embeddings, expected.embeddings)
    before, after = runner.lines
    assert '3 classes' in before and tiny_clip_path in before
    assert str(path) in after
    for classifier in runner.model:
        classifier.set_classes(VAL)
        assert torch.equal(
            classifier.class_embeddings, expected.embeddings[1:]
        )


def test_the_weights_of_a_run_are_the_same_with_the_file_and_without(
    path: Path, tiny_clip_path: str
) -> None:
    """They are drawn after this hook."""
    runner = make_runner(path)
    state = torch.get_rng_state()
    for _ in ('made', 'checked'):
        ClassEmbeddingHook(tiny_clip_path).before_run(runner)
        assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    'train, val, expected',
    [
        (None, (VAL,), [*VAL]),
        ((TRAIN, ('heart',)), None, [*TRAIN, 'heart']),
        (
            (('speaker_(stero_equipment)',),),
            (('speaker_(stereo_equipment)',),),
            ['speaker_(stero_equipment)'],
        ),
    ],
)
def test_names_are_those_of_the_datasets_of_the_run(
    path: Path,
    tiny_clip_path: str,
    train: Optional[tuple],
    val: Optional[tuple],
    expected: List[str],
) -> None:
    ClassEmbeddingHook(tiny_clip_path, 'photo').before_run(
        make_runner(path, train, val)
    )
    assert ClassEmbeddings.load(path).names == expected


def test_a_file_that_fits_is_left_alone(
    path: Path, tiny_clip_path: str
) -> None:
    Recipe(tiny_clip_path).make([*UNION, 'heart']).save(path)
    before = path.stat().st_mtime_ns
    runner = make_runner(path)
    ClassEmbeddingHook(tiny_clip_path).before_run(runner)
    assert path.stat().st_mtime_ns == before and not runner.lines


def test_a_file_of_another_recipe_is_refused(
    path: Path, tiny_clip_path: str, tiny_vit_path: str
) -> None:
    Recipe(tiny_vit_path, 'photo').make(UNION).save(path)
    with pytest.raises(ValueError) as error:
        ClassEmbeddingHook(tiny_clip_path).before_run(make_runner(path))
    for part in (
        str(path),
        'CLIP weights, templates; two CLIPs ',
        tiny_clip_path,
        tiny_vit_path,
        'options',
        'away',
    ):
        assert part in str(error.value)


def test_a_file_without_a_name_is_refused(
    path: Path, tiny_clip_path: str
) -> None:
    Recipe(tiny_clip_path).make(['red circel', *UNION[1:]]).save(path)
    with pytest.raises(
        ValueError,
        match='vild.pth .*\n *"red circle"; did you mean "red circel".*'
        '\nname another file',
    ):
        ClassEmbeddingHook(tiny_clip_path).before_run(make_runner(path))


def test_files_made_otherwise_by_the_same_clip_pass(
    path: Path, tiny_clip_path: str
) -> None:
    """Their sentences are not known, or synonyms were averaged with names."""
    hook = ClassEmbeddingHook(tiny_clip_path)
    made = hook.recipe.make(UNION)
    for kept in (
        replace(made, templates='converted'),
        hook.recipe.make(UNION, [['sun'], [], []]),
    ):
        kept.save(path)
        hook.before_run(make_runner(path))
    other = replace(
        made, templates='converted', clip=dict(name='RN50', sha256='a' * 64)
    )
    other.save(path)
    with pytest.raises(ValueError, match='differs in CLIP weights; two CLIPs'):
        hook.before_run(make_runner(path))


def test_all_categories_of_the_annotation_files_are_embedded(
    path: Path, tiny_clip_path: str
) -> None:
    """So the file is what tools/class_embeddings.py makes, and others use."""
    ann_file = path.with_suffix('.json')
    ann_file.parent.mkdir(parents=True, exist_ok=True)
    categories = ['green ring', 'heart', 'red circle', 'blue star']
    ann_file.write_text(
        json.dumps(
            dict(
                categories=[
                    dict(id=i, name=name) for i, name in enumerate(categories)
                ]
            )
        )
    )
    runner = make_runner(path)
    dataset = runner._train_loop.dataloader.dataset.dataset.datasets[0]
    dataset.ann_file = str(ann_file)
    ClassEmbeddingHook(tiny_clip_path, 'photo').before_run(runner)
    assert ClassEmbeddings.load(path).names == categories
    path.unlink()
    ann_file.write_text(
        json.dumps(
            dict(  # mmengine's own form
                metainfo=dict(classes=TRAIN), data_list=[]
            )
        )
    )
    ClassEmbeddingHook(tiny_clip_path, 'photo').before_run(runner)
    assert ClassEmbeddings.load(path).names == UNION


def test_a_clip_of_another_size_writes_nothing(
    path: Path, tiny_clip_path: str
) -> None:
    runner = make_runner(path)
    runner.model = nn.Sequential(
        *(
            ClassEmbeddingClassifier(str(path), embed_dims=size)
            for size in (512, 64)
        )
    )
    with pytest.raises(ValueError, match='embed_dims=64, 512 and CLIP .* 64'):
        ClassEmbeddingHook(tiny_clip_path).before_run(runner)
    with pytest.raises(ValueError, match='vild.npy is to be made, but class'):
        ClassEmbeddingHook(tiny_clip_path).before_run(
            make_runner(path.with_suffix('.npy'))
        )
    assert not path.exists()


def test_a_test_run_needs_no_clip(path: Path, tiny_clip_path: str) -> None:
    Recipe(tiny_clip_path).make(UNION).save(path)
    runner = make_runner(path)
    ClassEmbeddingHook('gone.pt').before_run(runner)
    (line,) = runner.lines
    assert 'could not be compared' in line and 'gone.pt' in line
    with pytest.raises(ValueError, match='it differs in templates'):
        ClassEmbeddingHook('gone.pt', 'photo').before_run(make_runner(path))
    path.unlink()
    with pytest.raises(FileNotFoundError, match='gone.pt'):
        ClassEmbeddingHook('gone.pt').before_run(make_runner(path))


def test_nothing_to_do(path: Path, tiny_clip_path: str) -> None:
    runner = make_runner(path)
    runner.model = nn.Linear(1, 1)
    with pytest.raises(ValueError, match='no part of the model, a Linear, '):
        ClassEmbeddingHook(tiny_clip_path).before_run(runner)
    with pytest.raises(ValueError, match='no class names'):
        ClassEmbeddingHook(tiny_clip_path).before_run(
            make_runner(path, None, None)
        )


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(templates='vidl'), 'did you mean "vild"'),
        (dict(precision='fp8'), 'precision must be one of'),
    ],
)
def test_wrong_options_fail_at_once(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassEmbeddingHook('RN50', **wrong)


def test_others_wait_until_a_network_disk_shows_the_file(
    path: Path, tiny_clip_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = 'ovd.engine.hooks.class_embedding_hook'
    monkeypatch.setattr(f'{module}.run_on_first', lambda job: None)
    made = Recipe(tiny_clip_path).make(UNION)
    monkeypatch.setattr(f'{module}.time.sleep', lambda s: made.save(path))
    ClassEmbeddingHook(tiny_clip_path).before_run(make_runner(path))
    assert path.is_file()


@pytest.mark.parametrize('name', ['clip-on-boxes', 'vild-ensemble'])
def test_configs_have_it_beside_the_other_hooks(name: str) -> None:
    folder = ROOT / 'configs/miniature'
    cfg = Config.fromfile(folder / f'{name}_mask-rcnn_r18_fpn_miniature.py')
    types = [hook.type for hook in cfg.default_hooks.values()]
    assert {
        'ClassEmbeddingHook',
        'OpenVocabularyHook',
        'PlainCheckpointHook',
    } <= {*types}
    clip = Config.fromfile(folder / 'clip_rn_miniature.py')
    assert (
        cfg.model.roi_head.bbox_head.classifier.embed_dims
        == clip.model.clip.embed_dim
    )
    assert (
        cfg.default_hooks.class_embeddings.pretrained
        == clip.custom_hooks[0].out_file
    )


class Detector(BaseModel):
    """The smallest model with a vocabulary that a runner tests."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.classifier = ClassEmbeddingClassifier(path, embed_dims=64)

    def set_vocabulary(self, names: tuple, novel_classes: tuple) -> None:
        self.classifier.set_classes(names, novel_classes)

    def forward(self, inputs: List[torch.Tensor], mode: str) -> List[dict]:
        return [dict(logits=self.classifier(torch.stack(inputs)))]


WORKER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from unittest.mock import patch

    import torch
    import torch.distributed as dist
    from mmengine.evaluator import BaseMetric, Evaluator
    from mmengine.runner import Runner

    import ovd
    from ovd.artifacts.class_embeddings import ClassEmbeddings
    from test_class_embedding_hook import Detector

    path, clip, work_dir = sys.argv[1:]
    dist.init_process_group('gloo')

    class Samples(torch.utils.data.Dataset):
        metainfo = dict(classes=('red circle', 'blue star'),
                        novel_classes=())

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return dict(inputs=torch.ones(64))

    class Shape(BaseMetric):
        def process(self, data_batch, data_samples):
            self.results += [tuple(data_samples[0]['logits'].shape)]

        def compute_metrics(self, results):
            return dict(columns=results[0][1])

    save = ClassEmbeddings.save
    with patch.object(ClassEmbeddings, 'save', autospec=True) as saved:
        saved.side_effect = save
        runner = Runner(
            Detector(path), work_dir, launcher='none',
            test_dataloader=dict(
                dataset=Samples(), batch_size=1, num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False)),
            test_cfg=dict(), test_evaluator=Evaluator(Shape()),
            default_scope='mmdet', log_level='WARNING',
            custom_hooks=[
                dict(type='ClassEmbeddingHook', pretrained=clip),
                dict(type='OpenVocabularyHook')])
        try:
            outcome = f'columns {runner.test()["columns"]}'
        except (FileNotFoundError, RuntimeError) as error:
            outcome = f'{type(error).__name__}: {error}'.splitlines()[0]
    Path(work_dir, f'rank_{dist.get_rank()}.txt').write_text(
        f'saved {saved.call_count} {outcome}')
    dist.barrier()  # who ends first has the other one killed
    dist.destroy_process_group()
""")


def run_two(tmp_path: Path, clip: str) -> subprocess.CompletedProcess:
    script = tmp_path / 'worker.py'
    script.write_text(WORKER)
    return subprocess.run(
        [
            sys.executable,
            '-m',
            'torch.distributed.run',
            '--standalone',
            '--nproc_per_node=2',
            str(script),
            str(tmp_path / 'vild.pth'),
            clip,
            str(tmp_path),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            'PYTHONPATH': f'{ROOT}:{Path(__file__).parent}',
            'CUDA_VISIBLE_DEVICES': '',
            'OMP_NUM_THREADS': '1',
        },
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.parametrize(
    'clip, first, second',
    [
        (None, 'saved 1 columns 3', 'saved 0 columns 3'),
        (
            'gone.pt',
            'saved 0 FileNotFoundError: CLIP weights gone.pt does not exist',
            'saved 0 RuntimeError: the first process failed: '
            'FileNotFoundError: CLIP weights gone.pt does not exist',
        ),
    ],
)
def test_one_process_writes_and_all_learn_if_it_fails(
    tmp_path: Path,
    tiny_clip_path: str,
    clip: Optional[str],
    first: str,
    second: str,
) -> None:
    done = run_two(tmp_path, clip or tiny_clip_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [
        (tmp_path / f'rank_{rank}.txt').read_text() for rank in (0, 1)
    ] == [first, second]


def test_the_vocabulary_hook_says_what_is_missing(path: Path) -> None:
    """Without this hook, and without the file."""
    runner = make_runner(path)
    runner.model = Detector(str(path))
    runner.test_dataloader = Loop(runner, TRAIN).dataloader
    runner.test_evaluator = None
    with pytest.raises(
        FileNotFoundError,
        match='vild.pth does not exist\nmake it with: python',
    ):
        OpenVocabularyHook().before_test(runner)
