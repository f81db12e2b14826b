"""A dataset of one's own: what is checked, refused, written and said."""

import json
import os
import shlex
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config
from PIL import Image

from ovd.apis.dataset_parts import draw_images
from ovd.datasets.gzsl_sources import annotation_files

ROOT = Path(__file__).parents[2]
NAMES = ['fox', 'snow leopard', 'cow']
TRAIN, VAL = 'data/zoo/annotations/train.json', 'data/zoo/annotations/val.json'


def content_of(subset: str) -> Dict[str, Any]:
    """Four images with a fox, a leopard and a cow each."""
    return dict(
        images=[
            dict(id=i, file_name=f'{subset}_{i}.png', width=64, height=48)
            for i in range(1, 5)
        ],
        annotations=[
            dict(
                id=10 * i + j,
                image_id=i,
                category_id=j,
                iscrowd=0,
                bbox=[5 * j, 4, 20, 30],
                area=600,
            )
            for i in range(1, 5)
            for j in (1, 2, 3)
        ],
        categories=[dict(id=j, name=name) for j, name in enumerate(NAMES, 1)],
    )


class Zoo:
    """A folder with two annotation files and their images."""

    def __init__(self, folder: Path, run_tool: Callable) -> None:
        self.folder = folder
        self.run_tool = run_tool
        self.content = {s: content_of(s) for s in ('train', 'val')}
        (folder / 'configs').mkdir()
        (folder / 'configs/_base_').symlink_to(ROOT / 'configs/_base_')
        for subset, content in self.content.items():
            images = folder / 'data/zoo' / subset
            images.mkdir(parents=True)
            for image in content['images']:
                Image.new('RGB', (64, 48)).save(images / image['file_name'])

    def save(self) -> None:
        (self.folder / 'data/zoo/annotations').mkdir(exist_ok=True)
        for subset, content in self.content.items():
            (self.folder / f'data/zoo/annotations/{subset}.json').write_text(
                json.dumps(content)
            )

    def files(self) -> List[str]:
        return sorted(
            str(path.relative_to(self.folder))
            for path in self.folder.rglob('*')
            if path.is_file()
        )

    def run(self, *options: str, train: str = TRAIN) -> str:
        """Return what the tool prints."""
        done = self.run_tool(
            'new_dataset.py', train, *options, cwd=self.folder
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        return done.stdout

    def fail(self, *options: str, train: str = TRAIN) -> str:
        """Return the error; nothing is written then."""
        before = self.files()
        done = self.run_tool(
            'new_dataset.py', train, *options, cwd=self.folder
        )
        assert done.returncode == 2, (done.stdout, done.stderr)
        assert self.files() == before
        first, _, rest = done.stderr.partition('\n')
        assert first.startswith('error: ') and 'Traceback' not in rest
        return done.stderr

    def both(self, *options: str) -> List[str]:
        return ['--val', VAL, '--novel', 'cow', *options]


@pytest.fixture
def zoo(tmp_path: Path, run_tool: Callable) -> Zoo:
    zoo = Zoo(tmp_path, run_tool)
    zoo.save()
    return zoo


def test_two_files(zoo: Zoo) -> None:
    """Everything is written, builds, and fits together."""
    before = zoo.files()
    out = zoo.run(*zoo.both())
    made = [name for name in zoo.files() if name not in before]
    assert made == [
        'configs/zoo/proposal_feature_extractor_zoo.py',
        'configs/zoo/rpn_r50_fpn_1x_zoo.py',
        'configs/zoo/rpn_r50_fpn_1x_zoo_train.py',
        'configs/zoo/vild-ensemble_faster-rcnn_r50_fpn_1x_zoo.py',
        'configs/zoo/zoo_detection.py',
        'configs/zoo/zoo_split_detection.py',
        'data/zoo/annotations/train_zoo_split_1.json',
        'data/zoo/annotations/val_zoo_split_1.json',
        'data/zoo/zoo_split.json',
    ]
    assert all(f'{name} written' in out for name in made)
    assert out.count('no leak; agrees with') == 2
    assert '2 base classes, 1 novel: cow' in out
    assert '8 were opened' in out and 'warning' not in out
    split = json.loads((zoo.folder / 'data/zoo/zoo_split.json').read_text())
    assert split == dict(base=['fox', 'snow leopard'], novel=['cow'])


def test_the_configs_agree(zoo: Zoo, monkeypatch) -> None:
    zoo.run(*zoo.both())
    monkeypatch.chdir(zoo.folder)
    assert [
        path for _, path in annotation_files('configs/zoo/zoo_detection.py')
    ] == [TRAIN, VAL]
    vild, rpn, dump, extract = (
        Config.fromfile(f'configs/zoo/{name}.py')
        for name in (
            'vild-ensemble_faster-rcnn_r50_fpn_1x_zoo',
            'rpn_r50_fpn_1x_zoo',
            'rpn_r50_fpn_1x_zoo_train',
            'proposal_feature_extractor_zoo',
        )
    )
    trained = vild.train_dataloader.dataset
    for cfg in (
        rpn.train_dataloader,
        dump.test_dataloader,
        extract.train_dataloader,
    ):
        for key in ('data_root', 'ann_file', 'data_prefix', 'type'):
            assert cfg.dataset[key] == trained[key]
    assert trained.ann_file == 'annotations/train_zoo_split_1.json'
    assert vild.train_pipeline[2].store == extract.train_cfg.store
    assert vild.model.roi_head.bbox_head.num_classes == 3
    assert vild.model.roi_head.bbox_head.classifier.embed_dims == 512
    assert vild.model.backbone.init_cfg.checkpoint == 'torchvision://resnet50'
    assert dump.test_evaluator.recall_ann_file == TRAIN
    assert (
        vild.test_evaluator.ann_file
        == rpn.val_evaluator.ann_file
        == 'data/zoo/annotations/val_zoo_split_1.json'
    )
    assert vild.work_dir != rpn.work_dir


@pytest.mark.parametrize(
    'pretrained, dims, store',
    [('ViT-L/14', 768, 'ViT-L-14'), ('tiny', 64, 'tiny')],
)
def test_another_clip(
    zoo: Zoo,
    tiny_clip_path: str,
    monkeypatch,
    pretrained: str,
    dims: int,
    store: str,
) -> None:
    clip = tiny_clip_path if pretrained == 'tiny' else pretrained
    out = zoo.run(*zoo.both('--pretrained', clip))
    monkeypatch.chdir(zoo.folder)
    vild = Config.fromfile(
        'configs/zoo/vild-ensemble_faster-rcnn_r50_fpn_1x_zoo.py'
    )
    assert vild.model.roi_head.bbox_head.classifier.embed_dims == dims
    assert vild.default_hooks.class_embeddings.pretrained == clip
    assert (
        vild.train_pipeline[2].store == f'data/zoo/proposal_embeddings/{store}'
    )
    assert f'--pretrained {clip}' in out


def test_one_file_for_both(zoo: Zoo) -> None:
    out = zoo.run('--novel', 'cow')
    assert 'train and val are one file' in out
    folder = zoo.folder / 'data/zoo/annotations'
    for subset in ('train', 'val'):
        assert (
            json.loads((folder / f'train_{subset}.json').read_text())
            == zoo.content['train']
        )


def test_a_share_of_the_images(zoo: Zoo) -> None:
    out = zoo.run('--novel', 'cow', '--val-fraction', '0.25')
    assert '3 of its 4 images, 9 annotations' in out
    assert '1 of its 4 images, 3 annotations' in out
    parts = [
        json.loads(
            (
                zoo.folder / 'data/zoo/annotations' / f'train_{subset}.json'
            ).read_text()
        )
        for subset in ('train', 'val')
    ]
    ids = [{image['id'] for image in part['images']} for part in parts]
    assert ids[0] | ids[1] == {1, 2, 3, 4} and not ids[0] & ids[1]
    for part, own in zip(parts, ids):
        assert {a['image_id'] for a in part['annotations']} == own
        assert part['categories'] == zoo.content['train']['categories']


def test_images_are_drawn_by_their_ids_alone() -> None:
    ids = list(range(200))
    drawn = {i for i, is_in in zip(ids, draw_images(ids, 0.2)) if is_in}
    assert len(drawn) == 40
    turned = {
        i for i, is_in in zip(ids[::-1], draw_images(ids[::-1], 0.2)) if is_in
    }
    assert turned == drawn
    assert draw_images(ids[:2], 0.01).sum() == 1
    with pytest.raises(ValueError, match='a single image'):
        draw_images([1], 0.5)


def test_images_and_configs_elsewhere(zoo: Zoo, monkeypatch) -> None:
    """Paths out of the working folder are absolute; the commands, too."""
    other = zoo.folder / 'my files'
    (zoo.folder / 'data/zoo').rename(other)
    work = zoo.folder / 'work'
    work.mkdir()
    done = zoo.run_tool(
        'new_dataset.py',
        '../my files/annotations/train.json',
        '--novel',
        'cow',
        '--name',
        'zoo',
        '--out-dir',
        'deep/configs/of zoo',
        cwd=work,
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(work)
    cfg = Config.fromfile('deep/configs/of zoo/zoo_split_detection.py')
    dataset = cfg.train_dataloader.dataset
    assert Path(dataset.data_root) == zoo.folder
    assert (
        Path(zoo.folder, dataset.ann_file)
        == work / 'data/zoo/annotations/train_train_zoo_split_1.json'
    )
    assert zoo.folder / dataset.data_prefix.img == other / 'train'
    commands = [
        shlex.split(line)
        for line in done.stdout.split('next:\n')[1].splitlines()
    ]
    assert all(Path(words[1]).is_file() for words in commands)
    assert 'deep/configs/of zoo/rpn_r50_fpn_1x_zoo.py' in commands[1]


def test_images_beside_the_annotations(zoo: Zoo, monkeypatch) -> None:
    """One in a folder of its own, as file names may say."""
    images = zoo.folder / 'data/zoo/annotations'
    for subset in ('train', 'val'):
        for path in (zoo.folder / 'data/zoo' / subset).iterdir():
            path.rename(images / path.name)
    (images / 'deep').mkdir()
    (images / 'train_2.png').rename(images / 'deep/train_2.png')
    image(zoo, file_name='deep/train_2.png')
    zoo.save()
    assert 'images in data/zoo/annotations\n' in zoo.run(*zoo.both())
    monkeypatch.chdir(zoo.folder)
    cfg = Config.fromfile('configs/zoo/zoo_split_detection.py')
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, pipeline=[]))
    paths = [dataset.get_data_info(i)['img_path'] for i in range(4)]
    assert all(map(os.path.isfile, paths))
    assert paths[1] == 'data/zoo/annotations/deep/train_2.png'


def test_nothing_is_replaced_unless_told(zoo: Zoo) -> None:
    zoo.run(*zoo.both())
    config = zoo.folder / 'configs/zoo/rpn_r50_fpn_1x_zoo.py'
    config.write_text('edited = 1\n')
    said = zoo.fail(*zoo.both())
    assert 'rpn_r50_fpn_1x_zoo.py exists, and 2 more: give another' in said
    assert config.read_text() == 'edited = 1\n'
    zoo.run('--val', VAL, '--novel', 'fox', '--force')
    assert 'edited' not in config.read_text()
    split = json.loads(
        (zoo.folder / 'data/zoo/annotations/val_zoo_split_1.json').read_text()
    )
    assert split['gzsl']['novel'] == ['fox']


def test_names_in_a_file(zoo: Zoo) -> None:
    (zoo.folder / 'own.json').write_text(
        json.dumps(dict(base=['fox'], novel=['cow']))
    )
    out = zoo.run('--val', VAL, '--split', 'own.json')
    assert (
        'warning: 1 categories are neither base nor novel, and their '
        'boxes are left out: "snow leopard"' in out
    )
    assert 'val of own' in out
    assert not (zoo.folder / 'data/zoo/zoo_split.json').exists()


@pytest.mark.parametrize(
    'options, message',
    [
        (['--novel', 'cow, fix'], 'lack: "fix"; did you mean "fox"?'),
        (['--novel', ','], 'must name some of the 3 categories'),
        (['--novel', 'cow, fox, snow leopard'], 'leave some as base; got 3'),
        (['--split', 'lvis.txt'], 'ends with .json, or 48_17 or 65_15, got'),
        (['--split', '48_17'], 'names what the categories of'),
        (['--split', 'no.json'], 'split file no.json does not exist'),
        (['--novel', 'cow', '--name', 'coco'], 'give another --name'),
        (['--novel', 'cow', '--name', '1/2'], 'must begin with a letter'),
        (['--novel', 'cow', '--val', TRAIN], 'is the file to train on, too'),
        (['--novel', 'cow', '--val', 'vel.json'], 'vel.json does not exist'),
        (['--novel', 'cow', '--val', 'configs'], 'configs is a folder'),
        (['--novel', 'cow', '--val-fraction', '1'], 'between 0 and 1, got 1'),
        (['--novel', 'cow', '--check-images', '-1'], 'must not be negative'),
        (['--novel', 'cow', '--images', 'nowhere'], 'nowhere is no folder'),
        (
            ['--novel', 'cow', '--images', 'configs'],
            'are neither in configs, nor',
        ),
        (
            ['--novel', 'cow', '--pretrained', 'ViT-B32'],
            'did you mean "ViT-B/32"',
        ),
    ],
)
def test_bad_options(zoo: Zoo, options: List[str], message: str) -> None:
    assert message in zoo.fail(*options)


def image(zoo: Zoo, **values: Any) -> None:
    zoo.content['train']['images'][1].update(values)


def box(zoo: Zoo, **values: Any) -> None:
    zoo.content['val']['annotations'][2].update(values)


def name(zoo: Zoo, text: str) -> None:
    for content in zoo.content.values():
        content['categories'][0]['name'] = text


def each_box(zoo: Zoo, **values: Any) -> None:
    for annotation in zoo.content['train']['annotations']:
        annotation.update(values)


def png(zoo: Zoo, content: bytes) -> None:
    (zoo.folder / 'data/zoo/train/train_2.png').write_bytes(content)


def turned(zoo: Zoo) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (64, 48)).save(
        zoo.folder / 'data/zoo/train/train_2.png', exif=exif
    )


@pytest.mark.parametrize(
    'spoil, message',
    [
        (lambda z: z.content['train'].pop('images'), 'lacks the key `images`'),
        (
            lambda z: z.content['train'].update(gzsl={}),
            'is a split file already',
        ),
        (
            lambda z: z.content['train'].update(images=[], annotations=[]),
            'has no images',
        ),
        (lambda z: z.content['val'].update(annotations=[]), 'no annotations'),
        (
            lambda z: z.content['val']['categories'][0].update(name='wolf'),
            'val.json lacks "fox"',
        ),
        (
            lambda z: image(z, file_name='train_2.jpg'),
            '1 of them are not there, the first: '
            'data/zoo/train/train_2.jpg; did '
            'you mean "train_2.png"',
        ),
        (
            lambda z: image(z, file_name='train_1.png'),
            'the images 1 and 2 of data/zoo/annotations/train.json are '
            'both called '
            'train/train_1.png',
        ),
        (lambda z: image(z, file_name=''), 'must have a `file_name`'),
        (lambda z: image(z, width=None), 'has no `width`'),
        (
            lambda z: image(z, width=48, height=64),
            '1 of 4 images have another size than '
            'data/zoo/annotations/train.json '
            'says, and their boxes would be wrong; the first: '
            'data/zoo/train/train_2.png is 64 x 48 pixels, the file says '
            '48 x 64',
        ),
        (
            turned,
            '48 x 64 pixels, turned as its EXIF says, the file says 64 x 48',
        ),
        (lambda z: png(z, b'no image'), 'train_2.png is damaged or no image'),
        (
            lambda z: box(z, bbox=[1, 2, 3]),
            '`annotations[2]`: Expected `array`',
        ),
        (lambda z: box(z, area=None), '`annotations[2]`: Expected `float`'),
        (
            lambda z: each_box(z, bbox=[0.1, 0.1, 0.5, 0.5]),
            'in pixels, not shares of the image',
        ),
        (lambda z: each_box(z, category_id=3), 'nothing to train on'),
        (lambda z: name(z, ' '), 'must be non-empty strings'),
        (lambda z: name(z, 'cow'), 'has category name cow twice'),
        (
            lambda z: name(z, 'Snow_Leopard'),
            'CLIP reads the categories "Snow_Leopard" and "snow leopard" of',
        ),
        (
            lambda z: name(z, 'very ' * 70 + 'long'),
            'long" of data/zoo/annotations/train.json does not fit into CLIP',
        ),
        (lambda z: name(z, 'odd ' * 90), 'does not fit into CLIP'),
    ],
)
def test_bad_data(zoo: Zoo, spoil: Callable, message: str) -> None:
    spoil(zoo)
    zoo.save()
    assert message in zoo.fail(*zoo.both())


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda z: name(z, 'class_7'), '1 class names say nothing that CLIP'),
        (lambda z: name(z, 'ключ'), '1 class names are not plain ASCII'),
        (lambda z: name(z, 'red  fox'), '1 class names have spaces'),
        (
            lambda z: box(z, bbox=[50, 4, 20, 30]),
            '1 of 12 boxes of data/zoo/annotations/val.json reach out of '
            'their '
            'images (`bbox` is [x, y, width, height] in pixels); the first '
            'is of '
            'annotation 13: [50, 4, 20, 30]',
        ),
        (
            lambda z: box(z, area=0),
            '1 of 12 boxes of data/zoo/annotations/'
            'val.json are smaller than a pixel or have no area',
        ),
        (
            lambda z: [
                a.update(category_id=1)
                for a in z.content['val']['annotations']
            ],
            '1 novel classes have no box to be tested on: "cow"',
        ),
        (
            lambda z: [
                a.update(category_id=1)
                for a in z.content['train']['annotations']
            ],
            '1 base classes have no box to train on: "snow leopard"',
        ),
        (
            lambda z: [
                c.update(frequency='f')
                for c in z.content['train']['categories']
            ],
            'lvis_v1_detection.py',
        ),
    ],
)
def test_warnings(zoo: Zoo, change: Callable, message: str) -> None:
    change(zoo)
    zoo.save()
    lines = zoo.run(*zoo.both()).splitlines()
    warnings = [line for line in lines if line.startswith('warning: ')]
    assert len(warnings) == 1 and message in warnings[0]


def test_an_image_turned_by_exif_has_the_size_it_is_shown_in(zoo: Zoo) -> None:
    turned(zoo)
    image(zoo, width=48, height=64)
    zoo.save()
    zoo.run(*zoo.both())


def test_few_images_are_opened(zoo: Zoo) -> None:
    """The first of two is spoilt and seen, the other is not looked at."""
    png(zoo, b'')
    assert '4 were opened' in zoo.run(*zoo.both('--check-images', '2'))


def test_images_in_several_folders(zoo: Zoo) -> None:
    """A folder that is in the file's name wins, others are asked for."""
    content = zoo.content['train']
    for folder in ('a', 'b'):
        (zoo.folder / 'data/zoo' / folder).mkdir()
        for item in content['images']:
            Image.fromarray(np.zeros((48, 64), np.uint8)).save(
                zoo.folder / 'data/zoo' / folder / item['file_name']
            )
    assert 'images in data/zoo/train\n' in zoo.run(*zoo.both())
    (zoo.folder / 'data/zoo/train').rename(zoo.folder / 'data/zoo/c')
    said = zoo.fail('--novel', 'cow', '--name', 'other')
    assert 'are in several folders: data/zoo/a, data/zoo/b, data/zoo/c' in said
    out = zoo.run(
        '--novel', 'cow', '--name', 'other', '--images', 'data/zoo/b'
    )
    assert 'images in data/zoo/b\n' in out


def test_images_in_both_files(zoo: Zoo) -> None:
    shared = zoo.content['train']['images'][0]['file_name'] = 'both.png'
    zoo.content['val']['images'][0]['file_name'] = shared
    zoo.save()
    images = zoo.folder / 'data/zoo/images'
    images.mkdir()
    for subset in ('train', 'val'):
        for path in (zoo.folder / 'data/zoo' / subset).iterdir():
            path.rename(images / path.name)
    Image.new('RGB', (64, 48)).save(images / 'both.png')
    assert (
        'warning: 1 images are in train and in val, the first: '
        'data/zoo/images/both.png' in zoo.run(*zoo.both())
    )


def test_either_novel_or_split(zoo: Zoo) -> None:
    for options in ([], ['--novel', 'cow', '--split', '48_17']):
        done = zoo.run_tool('new_dataset.py', TRAIN, *options, cwd=zoo.folder)
        assert done.returncode == 2 and '--novel' in done.stderr
