"""The README: its files exist, its jobs are the demo's, its code runs."""

import json
import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Callable, List, Optional

import cv2
import numpy as np
import pytest
import torch
import yaml
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.registry import HOOKS

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.embedding_store import BOX_KINDS, EmbeddingStore
from ovd.artifacts.proposals import load_proposals

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / 'tests'))
from docs_commands import table  # noqa: E402

README = (ROOT / 'README.md').read_text()
CLASS_EMBEDDINGS = (ROOT / 'docs/class_embeddings.md').read_text()
PROPOSAL_EMBEDDINGS = (ROOT / 'docs/proposal_embeddings.md').read_text()


@pytest.fixture(autouse=True)
def this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PYTHONPATH', str(ROOT))


def commands_in(text: str) -> List[str]:
    """Return the commands of a text that call a tool."""
    found = re.findall(r'(?:python|sh) tools/[^`\n]+', text)
    return [re.sub(r'\s+#.*', '', command).strip() for command in found]


def run_command(
    command: str, run_tool: Callable, *more: str, cwd: Optional[Path] = None
) -> str:
    """Run ``python tools/NAME.py …`` and return what it prints."""
    tool, *rest = shlex.split(command)[1:]
    done = run_tool(tool.removeprefix('tools/'), *rest, *more, cwd=cwd)
    assert done.returncode == 0, (command, done.stderr[-3000:])
    return done.stdout + done.stderr


def called(command: str) -> List[str]:
    """Return the tools and configs that a command names."""
    return re.findall(r'tools/[\w/]+\.\w+|configs/[\w/.-]+\.py', command)


def test_the_table_of_jobs_is_what_the_demo_does() -> None:
    jobs_table = README[README.index('| job |') : README.index('| question |')]
    demo = (ROOT / 'tools/demo.sh').read_text()
    demo = (
        demo.replace('${here}', '')
        .replace('$configs', 'configs/miniature')
        .replace(
            '$detector',
            'configs/miniature/vild-ensemble_mask-rcnn_r18_fpn_miniature.py',
        )
    )
    # The demo trains on two processes, by the launcher of tools/train.py.
    demo = demo.replace('dist_train.sh', 'train.py')
    steps = [set(called(step)) for step in demo.split('\nstep ')[1:]]
    jobs = [set(called(command)) for command in commands_in(jobs_table)]
    assert len(jobs) == 10
    assert [j for j in jobs if not any(j <= step for step in steps)] == []


def test_the_table_of_questions_is_answered(
    road: Path, run_tool: Callable
) -> None:
    start = README.index('| question |')
    questions = README[start : README.index('On several GPUs')]
    commands = commands_in(questions)
    assert len(commands) == 10
    if not (road / 'configs').exists():
        (road / 'configs').symlink_to(ROOT / 'configs')
    for command in commands:
        run_command(command, run_tool, cwd=road)
    for folder in ('browse_dataset', 'class_embeddings'):
        assert list((road / 'work_dirs' / folder).rglob('*.png'))
    assert (road / 'work_dirs/plot_logs.png').is_file()
    assert (
        road / 'work_dirs/miniature/vild-ensemble/report/index.html'
    ).is_file()
    assert (road / 'work_dirs/vild-ensemble.safetensors').is_file()


def test_every_file_that_the_readme_names_exists() -> None:
    links = re.findall(r'\]\((?!http)(.+?)\)', README)
    named = {*called(README), *links}
    assert len(named) > 12
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_python_example_runs(road: Path, monkeypatch, capsys) -> None:
    (code,) = re.findall(r'```python\n(.+?)```', README, re.DOTALL)
    if not (road / 'configs').exists():
        (road / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.chdir(road)
    exec(compile(code, 'README.md', 'exec'), {})
    assert 'tensor(' in capsys.readouterr().out


def test_the_hook_of_class_embeddings_is_one() -> None:
    (code,) = re.findall(r'```python\n(.+?)```', CLASS_EMBEDDINGS, re.DOTALL)
    config = Config.fromstring(code, '.py')
    hook = HOOKS.build(config.default_hooks.class_embeddings)
    assert hook.recipe.pretrained == 'ViT-B/32'


def test_the_image_demo_with_the_words_of_the_readme(
    road: Path, tmp_path: Path
) -> None:
    (command,) = [c for c in commands_in(README) if 'image_demo' in c]
    texts = re.search(r'--texts "(.+?)"', command)[1]
    config = (
        ROOT
        / 'configs/miniature'
        / 'vild-ensemble_mask-rcnn_r18_fpn_miniature.py'
    )
    subprocess.run(
        [
            sys.executable,
            str(ROOT / 'tools/image_demo.py'),
            'data/miniature/val/000001.png',
            str(config),
            'work_dirs/miniature/vild-ensemble',
            '--texts',
            texts,
            '--out-dir',
            str(tmp_path),
        ],
        cwd=road,
        check=True,
    )
    assert (tmp_path / '000001.png').is_file()


def test_the_ways_to_class_embeddings(
    tmp_path: Path, tiny_clip_path: str, monkeypatch, run_tool: Callable
) -> None:
    """Each command of the table, with a small CLIP and files of the forms."""
    text, _ = CLASS_EMBEDDINGS.split('## Learned prompts')
    commands = commands_in(text)
    assert len(commands) == 5
    for i in (1, 2):
        torch.save(torch.randn(8, 64), tmp_path / f'{i}_prompt.pth')
    torch.save(torch.randn(1203, 64), tmp_path / 'iou_neg5_ens.pth')
    (tmp_path / 'lvis_v1_val.json').write_text(
        json.dumps(
            dict(categories=[dict(id=1, name='bull', synonyms=['horned_cow'])])
        )
    )
    monkeypatch.chdir(tmp_path)
    for command in commands:
        run_command(command, run_tool, '--pretrained', tiny_clip_path)
    made = {
        str(path)
        for folder in ('data', 'work_dirs')
        for path in Path(folder).rglob('*.pth')
    }
    assert made == {
        'data/voc/prompt/vild_tiny.pth',
        'work_dirs/zoo.pth',
        'work_dirs/lvis.pth',
        'data/voc/prompt/learned_tiny.pth',
        'data/lvis_v1/prompt/iou_neg5_ens_tiny.pth',
    }


def test_prompts_are_learned_and_taken_to_names(
    road: Path, run_tool: Callable
) -> None:
    """Both commands of the section, with the demo's store."""
    _, section = CLASS_EMBEDDINGS.split('## Learned prompts')
    train, embed, *benchmarks = commands_in(section)
    assert [called(command) for command in benchmarks] == [
        ['tools/benchmarks/learned_prompts.py']
    ]
    if not (road / 'configs').exists():
        (road / 'configs').symlink_to(ROOT / 'configs')
    # for the sake of time
    run_command(
        train, run_tool, '--cfg-options', 'train_cfg.max_epochs=2', cwd=road
    )
    run_command(embed, run_tool, cwd=road)
    learned = ClassEmbeddings.load(road / 'data/miniature/prompt/learned.pth')
    words = ClassEmbeddings.load(road / 'work_dirs/words.pth')
    assert learned.contexts.shape == (5, 8, 64)
    assert torch.allclose(
        words.select(learned.names), learned.embeddings, atol=1e-4
    )


def test_published_numbers_are_those_of_the_metafiles() -> None:
    """Each config of the methods has an entry, and each row its numbers."""
    published = README[
        README.index('| config in `configs/` |') : README.index(
            '* Same method, other start'
        )
    ]
    rows = dict(
        re.findall(r'^\| `(.+?)` \| (.+) \|$', published, re.MULTILINE)
    )
    for folder in ('vild', 'detpro', 'mask_rcnn', 'transfer'):
        path = ROOT / 'configs' / folder
        models = yaml.safe_load((path / 'metafile.yml').read_text())['Models']
        configs = {
            file.name
            for file in path.glob('*.py')
            if not file.name.startswith('prompt_')
        }
        assert sorted(
            Path(model['Config']).name for model in models
        ) == sorted(configs)
        for model in models:
            row = rows.pop(f'{folder}/{Path(model["Config"]).name}', None)
            assert (row is None) == (not model['Results'])
            for result in model['Results']:
                assert result['Source'] in row
                for value in result['Metrics'].values():
                    assert f'{value:.1f}' in row
    assert not rows


def write_tiny(folder: Path, stem: str, categories: List[dict]) -> None:
    """Write train and val annotations with one object per category."""
    folder.mkdir(parents=True)
    for subset in ('train', 'val'):
        content = dict(
            images=[dict(id=1, file_name='1.jpg', width=9, height=9)],
            annotations=[
                dict(
                    id=i,
                    image_id=1,
                    category_id=c['id'],
                    iscrowd=0,
                    bbox=[1, 1, 5, 5],
                    area=25,
                )
                for i, c in enumerate(categories, 1)
            ],
            categories=categories,
        )
        (folder / stem.format(subset)).write_text(json.dumps(content))


def test_the_commands_for_real_data(
    tmp_path: Path, tiny_clip_path: str, monkeypatch, run_tool: Callable
) -> None:
    write_tiny(
        tmp_path / 'data/coco/annotations',
        'instances_{}2017.json',
        [
            dict(id=i, name=name)
            for i, name in enumerate(CocoDataset.METAINFO['classes'], 1)
        ],
    )
    write_tiny(
        tmp_path / 'data/lvis_v1/annotations',
        'lvis_v1_{}.json',
        [
            dict(id=i, name=f'thing {i}', frequency='f' if i <= 866 else 'r')
            for i in range(1, 1204)
        ],
    )
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    section = README[README.index('The first commands on them') :]
    split_coco, split_lvis, embed, check = commands_in(section)
    monkeypatch.chdir(tmp_path)
    for command in (
        split_coco,
        split_lvis,
        f'{embed} --pretrained {tiny_clip_path} '
        '--out data/lvis_v1/prompt/vild.pth',
    ):
        run_command(command, run_tool)
    tool, *rest = shlex.split(check)[1:]
    checked = run_tool(tool.removeprefix('tools/'), *rest)
    # One image of each file is no COCO, and no image is there.
    assert checked.returncode == 1
    assert 'lvis_v1_train_866_337_1.json' in checked.stdout
    made = {
        str(path.relative_to(tmp_path / 'data'))
        for path in (tmp_path / 'data').rglob('*')
        if path.is_file()
    }
    assert {
        'coco/annotations/instances_train2017_48_17_1.json',
        'coco/annotations/instances_val2017_48_17_1.json',
        'lvis_v1/annotations/lvis_v1_train_866_337_1.json',
        'lvis_v1/prompt/vild.pth',
    } <= made


def test_the_way_to_proposal_embeddings(
    tmp_path: Path, tiny_clip_path: str, monkeypatch, run_tool: Callable
) -> None:
    """Each command of the table, with few small images and one process."""
    write_small_coco(tmp_path / 'data/coco')
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHON', sys.executable)
    split = commands_in(README[README.index('The first commands on them') :])[
        0
    ]
    train, dump, convert, embed, verify, stat = commands_in(
        PROPOSAL_EMBEDDINGS
    )
    small = [
        f'{loader}_dataloader.dataset.pipeline.{step}.scale=96,96'
        for loader, step in (('train', 2), ('test', 1))
    ]
    options = {
        train: [
            '--cfg-options',
            'model.backbone.init_cfg=None',
            'train_cfg.max_epochs=1',
            'train_dataloader.num_workers=0',
            'train_dataloader.persistent_workers=False',
            *small,
        ],
        dump: ['--cfg-options', *small],
        embed: [
            '--cfg-options',
            f'model.clip={tiny_clip_path}',
            'train_cfg.boxes.num_max=20',
        ],
    }
    for command in (split, train, dump, convert, embed, verify, stat):
        more = options.get(command, [])
        if command.startswith('python'):
            run_command(command, run_tool, *more)
            continue
        shell, tool, *rest = shlex.split(command)
        rest = ['1' if word == '8' else word for word in rest]
        done = subprocess.run(
            [shell, str(ROOT / tool), *rest, *more],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (command, done.stderr[-3000:])
        if command == dump:
            assert 'AR@1000' in done.stdout + done.stderr
    store = EmbeddingStore('data/coco/proposal_embeddings/ViT-B-32')
    proposals = load_proposals(
        'data/coco/proposals/rpn_r101_fpn_coco_train_48_17.pkl'
    )
    assert len(store) == len(proposals) == 3
    found = store.get(1)
    kinds = np.array(BOX_KINDS)[found['kinds']]
    assert 0 < (kinds == 'proposal').sum() <= 20
    assert (kinds == 'ground_truth').sum() == 2  # the third is novel
    assert set(map(tuple, found['bboxes'][kinds == 'proposal'])) <= set(
        map(tuple, proposals['train2017/000001.png']['bboxes'])
    )


def write_small_coco(folder: Path) -> None:
    """Write 3 train and 3 val images, and what mmdet 2.x dumps of them."""
    rng = np.random.default_rng(0)
    names = CocoDataset.METAINFO['classes']
    (folder / 'annotations').mkdir(parents=True)
    for subset in ('train', 'val'):
        (folder / f'{subset}2017').mkdir()
        images = [
            dict(
                id=i,
                file_name=f'{i:06d}.png',
                width=64,
                height=48,
                coco_url=f'http://images.cocodataset.org/{subset}2017/'
                f'{i:06d}.png',
            )
            for i in (1, 2, 3)
        ]
        for image in images:
            pixels = rng.integers(0, 256, (48, 64, 3), np.uint8)
            cv2.imwrite(
                str(folder / f'{subset}2017' / image['file_name']), pixels
            )
        (folder / f'annotations/instances_{subset}2017.json').write_text(
            json.dumps(
                dict(
                    images=images,
                    annotations=[
                        dict(
                            id=10 * i + j,
                            image_id=i,
                            category_id=j,
                            iscrowd=0,
                            bbox=[5 * j, 4, 20, 30],
                            area=600,
                        )
                        for i in (1, 2, 3)
                        for j in (1, 2, 5)
                    ],
                    categories=[
                        dict(id=i, name=name)
                        for i, name in enumerate(names, 1)
                    ],
                )
            )
        )
    boxes = np.array([[1, 2, 30, 40, 0.9], [5, 5, 60, 20, 0.4]], np.float32)
    with open(folder.parents[1] / 'rpn_train2017.pkl', 'wb') as file:
        pickle.dump([boxes] * 3, file)


def test_the_results_are_there() -> None:
    section = README[README.index('## The miniature world') :]
    rows = re.findall(r'^\| \**([\w-]+)\** \|(.+)\|$', section, re.MULTILINE)
    values = {name: re.findall(r'\d+\.\d', row) for name, row in rows}
    assert {
        'ViLD-text',
        'ViLD-image',
        'ViLD-ensemble',
        'CLIP-on-boxes',
        'chance',
    } <= set(values)
    assert float(values['ViLD-ensemble'][0]) > 60


def test_the_figures_are_there() -> None:
    rows = table((ROOT / 'docs/figures.md').read_text(), 'what')
    assert len(rows) == 15
    for what, _, result, command in rows:
        assert re.search(r'\d', result), what
        assert command == 'the same' or called(command), what


def test_few_variables_are_needed() -> None:
    found = {*re.findall(r'\b[A-Z]+_[A-Z]+\b', README)} - {'WORK_DIR'}
    assert found == {'OVD_VENV', 'OVD_CACHE'}
