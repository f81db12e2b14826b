"""Annotations drawn from the command line."""

import json
import runpy
import sys
from pathlib import Path, PurePath
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from ovd.apis.browse_dataset import browse_dataset
from ovd.apis.drawing import BASE_COLOUR, NOVEL_COLOUR
from ovd.datasets.gzsl_split import split_file

TOOL = Path(__file__).parents[2] / 'tools' / 'browse_dataset.py'
COCO_TINY = Path(__file__).parents[3] / 'shared' / 'data' / 'coco_tiny'
PIPELINE = """[
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomFlip', prob=1.0),
    dict(type='PackDetInputs')]"""
CONFIG = """custom_imports = dict(imports=['ovd'], allow_failed_imports=False)
common = dict(type='GZSLCocoDataset', data_root={root!r},
              data_prefix=dict(img='images/'), pipeline={pipeline})
train = dict(common, ann_file='train_my_1.json')
val = dict(common, ann_file='val_my_1.json', test_mode=True)
train_dataloader = dict(dataset={train})
val_dataloader = dict(dataset=val)
test_dataloader = None
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """Images 1 to 4: a cat left, a dog (novel) right; in 4 a crowd of cats."""
    (tmp_path / 'images').mkdir()
    images, annotations = [], []
    for i in range(1, 5):
        cv2.imwrite(
            str(tmp_path / f'images/{i}.png'),
            np.full((320, 400, 3), (30, 60, 90), np.uint8),
        )
        images.append(dict(id=i, file_name=f'{i}.png', height=320, width=400))
        for cat_id, x in ((1, 20), (2, 220)):
            crowd = i == 4 and cat_id == 1
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=i,
                    category_id=cat_id,
                    bbox=[x, 100, 100, 150],
                    area=15000,
                    iscrowd=int(crowd),
                    segmentation=dict(
                        size=[320, 400], counts=[0, 320, 320 * 399]
                    )
                    if crowd
                    else [[x, 100, x + 100, 100, x + 100, 250, x, 250]],
                )
            )
    (tmp_path / 'my.json').write_text('{"base": ["cat"], "novel": ["dog"]}')
    for subset in ('train', 'val'):
        (tmp_path / f'{subset}.json').write_text(
            json.dumps(
                dict(
                    images=images,
                    annotations=annotations,
                    categories=[
                        dict(id=1, name='cat'),
                        dict(id=2, name='dog'),
                    ],
                )
            )
        )
        split_file(
            tmp_path / f'{subset}.json', str(tmp_path / 'my.json'), subset
        )
    return tmp_path


@pytest.fixture
def browse(folder, monkeypatch, capsys):
    """Call the tool; return what it printed, or the message it exits with."""

    def call(
        *arguments: str, train: str = 'train', pipeline: str = PIPELINE
    ) -> str:
        config = folder / 'config.py'
        config.write_text(
            CONFIG.format(root=str(folder), train=train, pipeline=pipeline)
        )
        monkeypatch.setattr(
            sys,
            'argv',
            [
                str(TOOL),
                str(config),
                '--out-dir',
                str(folder / 'out'),
                *arguments,
            ],
        )
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as error:
            assert error.code == 2
            said = capsys.readouterr().err
            return said[said.index('error: ') :]  # behind the progress
        return capsys.readouterr().out

    return call


def picture(folder: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(folder / 'out' / name)).astype(int)


def is_colour(pixel: np.ndarray, colour: tuple) -> bool:
    return tuple(pixel) == colour


def names(folder: Path) -> list:
    return sorted(path.name for path in (folder / 'out').iterdir())


def test_val_shows_base_and_novel(folder, browse):
    """Boxes and masks; pictures are twice the size of these images."""
    out = browse('--subset', 'val')
    assert '4 pictures in' in out and ': 4 base and 4 novel annot' in out
    assert names(folder) == ['1.png', '2.png', '3.png', '4.png']
    shown = picture(folder, '1.png')
    assert shown.shape[:2] > (640, 800) and shown.shape[1] == 800
    assert is_colour(shown[500, 140], BASE_COLOUR)
    assert is_colour(shown[500, 540], NOVEL_COLOUR)
    background = np.array([90, 60, 30])  # red first, unlike on the disk
    assert is_colour(shown[600, 400], tuple(background))
    tint = 0.7 * background + 0.3 * np.array(NOVEL_COLOUR)
    assert np.abs(shown[400, 540] - tint).max() <= 1


def test_crowds_can_be_told(folder, browse):
    """Dashed, and their run lengths are decoded: the first column."""
    browse('--subset', 'val')
    crowd, single = picture(folder, '4.png'), picture(folder, '1.png')
    edge = [
        (shown[500, 50:230] == BASE_COLOUR).all(1).mean()
        for shown in (crowd, single)
    ]
    assert edge[1] == 1 and 0.3 < edge[0] < 0.7
    tint = 0.7 * np.array([90, 60, 30]) + 0.3 * np.array(BASE_COLOUR)
    assert np.abs(crowd[300, 1] - tint).max() <= 1
    assert is_colour(crowd[300, 2], (90, 60, 30))


def test_train_shows_no_novel(folder, browse):
    """The split took them out; what is left is blue."""
    out = browse()
    assert '4 base and 0 novel annotations' in out
    shown = picture(folder, '1.png')
    assert is_colour(shown[500, 140], BASE_COLOUR)
    assert is_colour(shown[500, 540], (90, 60, 30))


def test_leak_in_training_data_is_an_error(folder, browse):
    """It is drawn, and then the tool fails."""
    path = folder / 'train_my_1.json'
    content = json.loads(path.read_text())
    content['annotations'].append(
        dict(
            id=99,
            image_id=1,
            category_id=2,
            bbox=[220, 100, 100, 150],
            area=15000,
            iscrowd=0,
        )
    )
    path.write_text(json.dumps(content))
    out = browse()
    assert out.startswith('error: 1 annotations of novel classes are in the')
    assert '--verify' in out
    assert is_colour(picture(folder, '1.png')[500, 540], NOVEL_COLOUR)


def test_augmented(folder, browse):
    """The pipeline flips all, so the cats are on the right."""
    out = browse('--augmented')
    assert '4 base and 0 novel annotations' in out
    shown = picture(folder, '1.png')
    assert is_colour(shown[500, 660], BASE_COLOUR)
    assert is_colour(shown[500, 140], (90, 60, 30))
    tint = 0.7 * np.array([90, 60, 30]) + 0.3 * np.array(BASE_COLOUR)
    assert np.abs(shown[400, 660] - tint).max() <= 1
    edge = (picture(folder, '4.png')[500, 570:750] == BASE_COLOUR).all(1)
    assert 0.3 < edge.mean() < 0.7


@pytest.mark.parametrize(
    'train, plain, augmented',
    [
        ("dict(type='RepeatDataset', times=3, dataset=train)", 4, 12),
        (
            "dict(type='ClassBalancedDataset', oversample_thr=1., "
            'dataset=train)',
            4,
            4,
        ),
        ("dict(type='ConcatDataset', datasets=[train, train])", 8, 8),
    ],
)
def test_wrappers(folder, browse, train, plain, augmented):
    """Images come once however often they are repeated in training."""
    assert f'{plain} pictures' in browse('--number', '0', train=train)
    assert f'{augmented} pictures' in browse(
        '--number', '0', '--augmented', train=train
    )
    assert '1.png' in names(folder)
    assert ('1_2.png' in names(folder)) == (max(plain, augmented) > 4)


def test_names_are_found_in_time(tmp_path, monkeypatch):
    """A picture's name is not compared with those of all before it."""
    image = dict(image=None, bboxes=(), masks=None, labels=(), is_crowd=None)
    compared = []
    equal = PurePath.__eq__
    for name, value in (
        ('build_dataset', lambda *_: None),
        ('draw_instances', lambda *_, **__: None),
        ('unwrap', lambda _: ()),
        (
            'plain_images',
            lambda *_: (
                (
                    dict(classes=()),
                    SimpleNamespace(path=f'{i % 150}.jpg', **image),
                )
                for i in range(200)
            ),
        ),
    ):
        monkeypatch.setattr(f'ovd.apis.browse_dataset.{name}', value)
    monkeypatch.setattr(
        PurePath,
        '__eq__',
        lambda self, other: compared.append(self) or equal(self, other),
    )
    pictures = browse_dataset('config.py', out_dir=tmp_path)
    assert len(compared) < 200
    assert [path.name for path in pictures] == [
        *(f'{i}.png' for i in range(150)),
        *(f'{i}_2.png' for i in range(50)),
    ]


def test_number_and_options(folder, browse):
    """Evenly spread; options change the dataset."""
    browse('--number', '2')
    assert names(folder) == ['1.png', '3.png']
    out = browse(
        '--cfg-options',
        'train_dataloader.dataset.ann_file=val_my_1.json',
        '+train_dataloader.dataset.test_mode=True',
    )
    assert '4 novel annotations of' in out or '4 annotations of novel' in out


def test_host_dataset_without_base_classes(folder, browse):
    """All is drawn in one colour, and the tool says so."""
    out = browse(
        '--number',
        '1',
        train="dict(common, type='CocoDataset', "
        "ann_file='train.json', metainfo=dict("
        "classes=('cat', 'dog')))",
    )
    assert 'CocoDataset does not say which classes are base' in out
    assert is_colour(picture(folder, '1.png')[500, 540], BASE_COLOUR)


def test_dataset_without_boxes(folder, browse):
    """The captioned crops of CLIP's training can't be drawn."""
    np.save(folder / 'crops.npy', np.zeros((1, 8, 8, 3), np.uint8))
    np.save(folder / 'crops_labels.npy', np.zeros(1, np.int64))
    (folder / 'names.json').write_text('["a cat"]')
    error = browse(
        train="dict(type='CaptionedCrops', "
        f"data_root={str(folder)!r}, ann_file='names.json', "
        "crops_file='crops.npy')"
    )
    assert 'is a CaptionedCrops, which has no boxes' in error


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--subset', 'vall'], 'did you mean "val"'),
        (
            ['--subset', 'test'],
            'has no test_dataloader, only those of train, val',
        ),
        (['--number', '-1'], 'must not be negative, got -1'),
        (['--cfg-options', 'train_dataloader.datset=1'], 'has no key'),
        (
            ['--cfg-options', 'train_dataloader.dataset.ann_file=no.json'],
            'no.json does not exist',
        ),
        (
            ['--cfg-options', '+train_dataloader.dataset.ann_fil=no.json'],
            'takes no "ann_fil"',
        ),
    ],
)
def test_errors(folder, browse, arguments, message):
    """Errors end the tool with one message, and nothing is drawn."""
    error = browse(*arguments)
    assert error.startswith('error: ') and message in error
    assert not (folder / 'out').exists()


def test_images_are_not_overwritten(folder, browse):
    """The folder of the images is no place for pictures of their names."""
    before = (folder / 'images/1.png').read_bytes()
    error = browse('--out-dir', str(folder / 'images'))
    assert 'is one of the images' in error
    assert (folder / 'images/1.png').read_bytes() == before


def test_pipelines_that_show_nothing(browse):
    """What a test pipeline lacks, and what is no single image."""
    plain = "[dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]"
    assert 'does not load annotations' in browse(
        '--subset', 'val', '--augmented', pipeline=plain
    )
    assert 'gives no single image' in browse(
        '--subset',
        'val',
        '--augmented',
        pipeline="[dict(type='LoadImageFromFile')]",
    )


def test_pipeline_that_does_not_build(browse):
    """It is built only where it is run, inside of wrappers too."""
    pipeline = (
        f"{PIPELINE[:-1]}, dict(type='LoadProposalEmbeddings', "
        "store='store', num_max=0)]"
    )
    wrapped = "dict(type='RepeatDataset', times=2, dataset=train)"
    assert '4 pictures' in browse(pipeline=pipeline, train=wrapped)
    assert 'num_max must be positive' in browse(
        '--augmented', pipeline=pipeline, train=wrapped
    )


def test_damaged_image(folder, browse):
    (folder / 'images/1.png').write_bytes(b'no image')
    assert '1.png is damaged or no image' in browse()


@pytest.mark.skipif(
    not COCO_TINY.is_dir(), reason='needs ../shared/data/coco_tiny'
)
def test_real_images(tmp_path, browse, folder):
    """COCO's own crowds, polygons and photographs: every eighth image."""
    source = tmp_path / 'instances_val2017.json'
    source.write_bytes(
        (COCO_TINY / 'annotations/instances_val2017.json').read_bytes()
    )
    split = split_file(source, '48_17', 'val').output
    content = json.loads(split.read_text())
    out = browse(
        '--number',
        '10',
        train='dict(common, test_mode=True, '
        f'data_root={str(COCO_TINY)!r}, ann_file={str(split)!r}, '
        "data_prefix=dict(img='val2017/'))",
    )
    chosen = content['images'][::8]
    novel = {
        c['id']
        for c in content['categories']
        if c['name'] in content['gzsl']['novel']
    }
    count = sum(
        a['category_id'] in novel
        for a in content['annotations']
        if a['image_id'] in {image['id'] for image in chosen}
    )
    assert f'error: {count} annotations of novel classes' in out
    assert names(folder) == sorted(
        Path(image['file_name']).stem + '.png' for image in chosen
    )
