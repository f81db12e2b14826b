"""docs/own_dataset.md: the whole road on photographs, by its own commands."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from subprocess import CompletedProcess
from typing import Callable, Dict, List

import cv2
import pytest

sys.path.append(str(Path(__file__).parent))
from docs_commands import ROOT, blocks, commands, page  # noqa: E402

from ovd.artifacts.class_embeddings import ClassEmbeddings  # noqa: E402
from ovd.artifacts.embedding_store import EmbeddingStore  # noqa: E402

COCO_TINY = ROOT.parent / 'shared/data/coco_tiny'
PAGE = page('own_dataset')
NUM_IMAGES = 12
PICTURE = '000000329219.jpg'  # of the page
RUN = 'work_dirs/street/vild'  # where the run leaves its own config
# An R18 of 8 channels on images of 96 pixels, one epoch
SMALL = [
    'model.backbone.depth=18',
    '+model.backbone.base_channels=8',
    'model.backbone.init_cfg=None',
    'model.neck.in_channels=[8,16,32,64]',
    'model.neck.out_channels=16',
    'model.rpn_head.in_channels=16',
    'model.rpn_head.feat_channels=16',
    'model.test_cfg.rpn.nms_pre=100',
    'model.test_cfg.rpn.max_per_img=20',
    'train_cfg.max_epochs=1',
    'train_dataloader.batch_size=4',
    *(
        f'{subset}_dataloader.{option}'
        for subset in ('train', 'val', 'test')
        for option in ('num_workers=0', 'persistent_workers=False')
    ),
    *(
        f'{subset}_dataloader.dataset.pipeline.1.scale=96,96'
        for subset in ('val', 'test')
    ),
]
RPN = [*SMALL, 'train_dataloader.dataset.pipeline.2.scale=96,96']
VILD_MODEL = [
    f'model.roi_head.{part}'
    for part in (
        'bbox_roi_extractor.out_channels=16',
        'bbox_head.in_channels=16',
    )
] + [
    f'+model.roi_head.bbox_head.{branch}{size}'
    for branch in ('', 'image_branch.')
    for size in ('conv_out_channels=16', 'fc_out_channels=32')
]
VILD = [
    *SMALL,
    *VILD_MODEL,
    'model.test_cfg.rcnn.score_thr=0',
    'train_dataloader.dataset.pipeline.3.transforms.0.scale=96,96',
]
EXTRACT = [
    'model.precision=fp32',
    'model.batch_size=256',
    'train_dataloader.num_workers=0',
    'train_cfg.boxes.num_max=10',
]

pytestmark = [
    pytest.mark.skipif(
        not COCO_TINY.is_dir(), reason='needs ../shared/data/coco_tiny'
    )
]


def take_images(content: dict, more: str) -> dict:
    """Return the first images of an annotation file, and one more."""
    images = content['images'][:NUM_IMAGES]
    images += [
        image
        for image in content['images'][NUM_IMAGES:]
        if image['file_name'] == more
    ]
    ids = {image['id'] for image in images}
    return dict(
        content,
        images=images,
        annotations=[
            a for a in content['annotations'] if a['image_id'] in ids
        ],
    )


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page begins with, as a user of a checkout has it."""
    folder = tmp_path_factory.mktemp('own_dataset')
    (folder / 'configs').mkdir()
    (folder / 'configs/_base_').symlink_to(ROOT / 'configs/_base_')
    data = folder / 'data/street'
    (data / 'annotations').mkdir(parents=True)
    for subset in ('train2017', 'val2017'):
        (data / subset).symlink_to(COCO_TINY / subset)
        name = f'annotations/instances_{subset}.json'
        content = json.loads((COCO_TINY / name).read_text())
        (data / name).write_text(json.dumps(take_images(content, PICTURE)))
    return folder


class Walk:
    """Runs the commands of the page and keeps what they print."""

    def __init__(self, run_tool: Callable, folder: Path, clip: str) -> None:
        self.run_tool = run_tool
        self.folder = folder
        self.clip = clip
        self.commands = [command.words for command in commands(PAGE)]
        self.done: Dict[str, CompletedProcess] = {}

    def extras(self, words: List[str]) -> List[str]:
        """Return what makes a command small enough for a test."""
        tool, text = words[1], ' '.join(words)
        if tool in ('tools/new_dataset.py', 'tools/class_embeddings.py'):
            return ['--pretrained', self.clip]
        if tool in ('tools/train.py', 'tools/test.py'):
            options = (
                EXTRACT
                if 'feature_extractor' in text
                else RPN
                if '/rpn_' in text
                else VILD
            )
            return ['--cfg-options', *options]
        return []

    def run(self) -> None:
        for number, words in enumerate(self.commands):
            tool = words[1].removeprefix('tools/')
            options = words[2:]
            if tool == 'image_demo.py':  # it takes no --cfg-options
                options[1] = f'{RUN}/{Path(options[1]).name}'
            done = self.run_tool(
                tool, *options, *self.extras(words), cwd=self.folder
            )
            assert done.returncode == 0, (words, done.stderr[-3000:])
            self.done[f'{number} {tool}'] = done

    def printed(self, start: str) -> str:
        (text,) = (
            done.stdout for name, done in self.done.items() if name == start
        )
        return text


@pytest.fixture(scope='module')
def walk(run_tool: Callable, folder: Path, tiny_clip_path: str) -> Walk:
    walk = Walk(run_tool, folder, tiny_clip_path)
    (folder / 'street_classes.json').write_text(blocks(PAGE, 'json')[0])
    walk.run()
    return walk


def test_the_page_has_the_commands_that_the_tool_prints(walk: Walk) -> None:
    first = walk.printed('0 new_dataset.py')
    printed = [
        shlex.split(line) for line in first.split('next:\n')[1].splitlines()
    ]
    ours = [
        [
            word.replace(f'{ROOT}/', '')
            for word in line
            if word not in ('--pretrained', walk.clip)
        ]
        for line in printed
    ]
    assert ours == walk.commands[2:9]
    assert [words[1] for words in walk.commands] == [
        f'tools/{name}.py'
        for name in (
            'new_dataset',
            'browse_dataset',
            'class_embeddings',
            'train',
            'test',
            'train',
            'train',
            'test',
            'image_demo',
            'image_demo',
            'new_dataset',
        )
    ]
    assert '77 base classes, 3 novel: cow, umbrella, cup' in first
    assert '25 were opened' in first


def test_each_step_leaves_what_the_next_one_takes(walk: Walk) -> None:
    data = walk.folder / 'data/street'
    names = ClassEmbeddings.load(data / 'prompt/vild.pth').names
    assert len(names) == 80 and 'umbrella' in names
    store = EmbeddingStore(data / 'proposal_embeddings/tiny')
    split = json.loads(
        (
            data / 'annotations/instances_train2017_street_split_1.json'
        ).read_text()
    )
    assert len(store) == len(split['images']) > 8
    assert split['gzsl']['novel'] == ['cow', 'umbrella', 'cup']


def test_the_table_and_the_pictures(walk: Walk) -> None:
    table = walk.done['7 test.py']
    text = table.stdout + table.stderr
    assert re.search(
        r'\| percent +\| all +\| base +\| novel +\| harmonic \|', text
    )
    assert re.search(r'\| bbox AP50( +\| \d+\.\d){4} +\|', text), text[-3000:]
    source = cv2.imread(str(COCO_TINY / 'val2017' / PICTURE))
    for part in ('pictures', 'words'):
        path = walk.folder / 'work_dirs/street' / part / PICTURE
        picture = cv2.imread(str(path.with_suffix('.png')))
        assert picture.shape[0] >= source.shape[0]
    assert (
        len(list((walk.folder / 'work_dirs/browse_dataset').rglob('*.png')))
        == 4
    )


def test_one_file_and_names_in_a_file(walk: Walk) -> None:
    out = walk.printed('10 new_dataset.py')
    assert '4 base classes, 3 novel: cow, umbrella, cup' in out
    assert 'warning: 73 categories are neither base nor novel' in out
    made = walk.folder / 'data/street_few/annotations'
    train, val = (
        json.loads((made / f'instances_train2017_{s}.json').read_text())
        for s in ('train', 'val')
    )
    source = json.loads(
        (
            walk.folder / 'data/street/annotations/instances_train2017.json'
        ).read_text()
    )
    assert len(val['images']) == round(0.2 * len(source['images']))
    ids = [{image['id'] for image in part['images']} for part in (train, val)]
    assert not ids[0] & ids[1]
    assert ids[0] | ids[1] == {image['id'] for image in source['images']}


def test_the_files_of_the_page_are_those_that_are_written(walk: Walk) -> None:
    written = {
        path.name
        for path in (walk.folder / 'configs/street').iterdir()
        if path.suffix == '.py'
    }
    assert {
        re.sub(r'.*/', '', name)
        for name in re.findall(r'`(configs/street/\w[\w.-]+\.py)`', PAGE)
    } <= written
    assert len(written) == 6


def test_all_photographs_are_checked(
    run_tool: Callable, tmp_path: Path, tiny_clip_path: str
) -> None:
    """The whole of the small COCO, annotations elsewhere than images."""
    (tmp_path / 'mine').mkdir()
    for subset in ('train2017', 'val2017'):
        shutil.copyfile(
            COCO_TINY / f'annotations/instances_{subset}.json',
            tmp_path / f'mine/instances_{subset}.json',
        )
    done = run_tool(
        'new_dataset.py',
        'mine/instances_train2017.json',
        '--val',
        'mine/instances_val2017.json',
        '--images',
        COCO_TINY,
        '--split',
        '48_17',
        '--pretrained',
        tiny_clip_path,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert '160 were opened' in done.stdout
    assert '48 base classes, 17 novel' in done.stdout
    assert 'val of 48_17' in done.stdout
    assert (tmp_path / 'configs/mine/mine_detection.py').is_file()
