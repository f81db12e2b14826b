"""The data tree from the command line: what is there, missing or damaged."""

import json
import os
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ovd.apis.check_data import human_size
from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.embedding_store import EmbeddingStoreWriter
from ovd.artifacts.proposals import save_proposals
from ovd.artifacts.store_plan import StorePlan
from ovd.datasets.gzsl_split import split_file

TOOL = Path(__file__).parents[2] / 'tools' / 'check_data.py'
CLIP = dict(name='RN50', sha256='0' * 64)


@pytest.fixture
def check(monkeypatch, capsys, tmp_path):
    """Call the tool; return its exit code (or error) and what it printed."""
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))

    def call(*arguments: str):
        before = snapshot(tmp_path)
        monkeypatch.setattr(
            sys, 'argv', [str(TOOL), *arguments, '--root', str(tmp_path)]
        )
        with pytest.raises(SystemExit) as error:
            runpy.run_path(str(TOOL), run_name='__main__')
        assert snapshot(tmp_path) == before, 'the tool changed something'
        return error.value.code, capsys.readouterr().out

    return call


def snapshot(folder: Path) -> dict:
    return {path: path.lstat().st_mtime_ns for path in folder.rglob('*')}


def row(out: str, name: str) -> str:
    """Return what the tree says of the one file or folder of that name."""
    (text,) = re.findall(rf'^[│├└─ ]+{re.escape(name)}/?( .*)$', out, re.M)
    return text.strip()


def write_annotations(path: Path, keys: list, **image: str) -> None:
    """Write one image per key, with a cat in each and a dog in the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [
        dict(id=i, **{k: v.format(key) for k, v in image.items()})
        for i, key in enumerate(keys, 1)
    ]
    annotations = [
        dict(id=i, image_id=i, category_id=1, bbox=[0, 0, 1, 1])
        for i, _ in enumerate(keys, 1)
    ]
    annotations.append(dict(annotations[0], id=0, category_id=2))
    categories = [
        dict(id=i, name=name) for i, name in enumerate(('cat', 'dog'), 1)
    ]
    path.write_text(
        json.dumps(
            dict(images=images, annotations=annotations, categories=categories)
        )
    )


@pytest.fixture
def coco(tmp_path) -> Path:
    """A COCO of five images whose folders of images are elsewhere."""
    root = tmp_path / 'data/coco'
    for subset, keys in (('train', 'abc'), ('val', 'de')):
        write_annotations(
            root / f'annotations/instances_{subset}2017.json',
            list(keys),
            file_name='{}.jpg',
        )
        elsewhere = tmp_path / 'disk' / f'{subset}2017'
        elsewhere.mkdir(parents=True)
        for key in keys:
            (elsewhere / f'{key}.jpg').touch()
        (root / f'{subset}2017').symlink_to(elsewhere)
    return root


def make_store(folder: Path, num_images: int, shards: int) -> None:
    """Begin a store with one image per shard."""
    plan = StorePlan(
        CLIP,
        {},
        {},
        {},
        1,
        list(range(num_images)),
        [f'train2017/{i}.jpg' for i in range(num_images)],
        'python MAKE IT',
    )
    writer = EmbeddingStoreWriter(folder, plan)
    for k in range(shards):
        writer.write_shard(
            k,
            [
                dict(
                    embeddings=np.ones((2, 4)),
                    bboxes=np.ones((2, 4)),
                    scores=np.ones(2),
                )
            ],
        )


def test_sources_are_enough(check, coco):
    """Counts, links, sizes; what is missing comes with its command."""
    code, out = check('coco')
    assert code == 0
    elsewhere = os.readlink(coco / 'train2017')
    assert f'├── train2017/ -> {elsewhere}  3 images (full: 118,287)' in out
    size = (coco / 'annotations/instances_train2017.json').stat().st_size
    assert row(out, 'instances_train2017.json') == (
        f'3 images (full: 118,287), 4 annotations, 2 classes, {size} B'
    )
    assert row(out, 'vild.pth') == 'not there: 80 classes'
    assert (
        'to make data/coco/prompt/vild.pth:\n'
        '  python tools/class_embeddings.py vild --dataset coco\n'
    ) in out
    assert re.search(
        'to make .*_train2017_48_17_1.json, .*val2017_48_17_1'
        r'.json:\n  python tools/build_zsl_dataset.py \S+ '
        '--split 48_17\n',
        out,
    )


def test_artefacts(check, coco, tmp_path):
    """Each says in a line what it holds; names of the user's count too."""
    split = tmp_path / 'my.json'
    split.write_text('{"base": ["cat"], "novel": ["dog"]}')
    made = split_file(
        coco / 'annotations/instances_train2017.json', str(split), 'train'
    ).output
    ClassEmbeddings(['cat', 'dog'], torch.eye(2, 3), CLIP, 'vild').save(
        coco / 'prompt/vild_RN50.pth'
    )
    boxes = dict(bboxes=np.ones((4, 4), np.float32), scores=np.ones(4, 'f4'))
    for name in ('rpn_r101_fpn_coco_train_48_17.pkl', 'own.safetensors'):
        save_proposals(
            coco / 'proposals' / name,
            {'train2017/a.jpg': boxes, 'train2017/b.jpg': boxes},
            {},
        )
    make_store(coco / 'proposal_embeddings/RN50', 3, 3)
    code, out = check('coco')
    assert code == 0
    assert row(out, made.name).startswith(
        '3 images, 3 annotations, my train, 1 base and 1 novel classes, '
    )
    assert row(out, 'vild_RN50.pth').startswith(
        '2 classes, 3 numbers each, templates vild, CLIP RN50, '
    )
    for name in ('rpn_r101_fpn_coco_train_48_17.pkl', 'own.safetensors'):
        assert row(out, name).startswith('8 boxes of 2 images, ')
    assert row(out, 'RN50').startswith(
        '3 images in 3 shards, 4 numbers each, CLIP RN50, '
    )
    assert '<clip>' not in out


@pytest.mark.parametrize(
    'name, content, reason',
    [
        ('annotations/instances_val2017.json', b'{"images": [', 'is cut off'),
        ('annotations/instances_val2017.json', b'', 'is cut off: .*truncated'),
        (
            'annotations/instances_val2017.json',
            b'{"images": [{"file_name": "\xff"}]}',
            'is not UTF-8',
        ),
        ('annotations/instances_val2017.json', b'[]', 'not in COCO format'),
        (
            'annotations/instances_val2017.json',
            b'{"images": []}',
            'not in COCO format: .*annotations',
        ),
        (
            'annotations/instances_train2017_48_17_1.json',
            b'{"images": [], "annotations": [], "categories": []}',
            'is not split',
        ),
        (
            'annotations/instances_train2017_48_17_1.json',
            b'{"gzsl": {"split": "48_17"}, "images": [], "annotations": [], '
            b'"categories": []}',
            'malformed `gzsl` block: KeyError .subset',
        ),
        (
            'annotations/instances_train2017_48_17_1.json',
            b'{"gzsl": {"split": "a", "subset": "train", "base": [], '
            b'"novel": [], '
            b'"kept": {"images": 9, "annotations": 0}}, "images": [], '
            b'"annotations": [], "categories": []}',
            "has {'images': 0, 'annotations': 0}, and says that it has .* 9",
        ),
        ('prompt/vild.pth', b'rubbish', 'is damaged, or no file of class emb'),
        (
            'proposals/rpn_r101_fpn_coco_train_48_17.pkl',
            b'rubbish',
            'is refused',
        ),
        (
            'proposals/a.safetensors',
            b'rubbish',
            'is damaged or no safetensors',
        ),
        ('proposal_embeddings/RN50/x', b'', 'has no manifest.json'),
        ('proposal_embeddings/RN50/manifest.json', b'{', 'is damaged'),
    ],
)
def test_damaged(check, coco, name, content, reason):
    """The reason is printed, all the rest is shown, and the code is 1."""
    path = coco / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    code, out = check('coco')
    assert code == 1
    shown = 'RN50' if 'RN50' in name else path.name
    assert row(out, shown) == 'DAMAGED, see below'
    assert re.search(f'^damaged: .*{shown}.*{reason}', out, re.M)
    assert row(out, 'instances_train2017.json').startswith('3 images')


@pytest.mark.parametrize(
    'array, length',
    [
        (np.zeros(()), None),  # no rows
        (np.zeros(4), 0),
        (np.zeros(4), 5),
        (np.zeros(4), -1),  # cut off
    ],
)
def test_damaged_array(check, tmp_path, array, length):
    """One that can't be loaded is shown, and so is one that can."""
    folder = tmp_path / 'data/miniature/clip_crops'
    folder.mkdir(parents=True)
    for name in ('crops.npy', 'heldout_crops.npy'):
        np.save(folder / name, np.zeros((7, 2)))
    np.save(folder / 'crops.npy', array)
    content = (folder / 'crops.npy').read_bytes()
    (folder / 'crops.npy').write_bytes(content[:length])
    code, out = check('miniature')
    assert code == 1
    assert row(out, 'crops.npy') == 'DAMAGED, see below'
    assert re.search('^damaged: .*/crops.npy is damaged or no ', out, re.M)
    assert row(out, 'heldout_crops.npy').startswith('7 rows, ')


def test_what_is_no_store_is_no_damage(check, coco):
    """Hidden files and folders, and files beside stores; a link may be."""
    folder = coco / 'proposal_embeddings'
    (folder / '.ipynb_checkpoints').mkdir(parents=True)
    for name in ('.DS_Store', '.gitkeep', 'notes.txt'):
        (folder / name).touch()
    code, out = check('coco')
    assert code == 0 and 'damaged' not in out
    assert row(out, '<clip>') == 'not there: such as ViT-B-32'
    make_store(folder / 'RN50', 1, 1)
    code, out = check('coco')
    assert code == 0 and '<clip>' not in out and 'notes.txt' not in out
    assert row(out, 'RN50').startswith('1 images in 1 shards, ')
    (folder / 'ViT-B-32').symlink_to('gone')
    code, out = check('coco')
    assert code == 1 and 'ViT-B-32 is a link to gone, which does not' in out


def test_incomplete(check, coco):
    """Images that annotations name, and shards, are looked for."""
    (coco / 'train2017' / 'b.jpg').unlink()
    make_store(coco / 'proposal_embeddings/RN50', 5, 3)
    code, out = check('coco')
    assert code == 1
    assert row(out, 'instances_train2017.json') == 'INCOMPLETE, see below'
    assert re.search(
        'instances_train2017.json names 3 images, 1 of them are '
        'not there, the first: train2017/b.jpg',
        out,
    )
    assert re.search(
        'RN50 lacks 2 of 5 shards; resume with: python MAKE IT', out
    )


def test_shard_that_is_cut_off(check, coco):
    """A store with all its shards may have one that does not open."""
    store = coco / 'proposal_embeddings/RN50'
    make_store(store, 3, 3)
    shard = store / 'shard-00001.safetensors'
    shard.write_bytes(shard.read_bytes()[:-8])
    code, out = check('coco')
    assert code == 1
    assert re.search('damaged: .*shard-00001.safetensors is damaged', out)


def test_store_with_images_that_could_not_be_read(check, coco):
    """They have no boxes; which they are says tools/embedding_store.py."""
    store = coco / 'proposal_embeddings/RN50'
    make_store(store, 3, 3)
    none = dict(
        embeddings=np.ones((0, 4)), bboxes=np.ones((0, 4)), scores=np.ones(0)
    )
    plan = StorePlan.load(store / 'manifest.json')
    EmbeddingStoreWriter(store, plan).write_shard(1, [none], {1: 'cut off'})
    code, out = check('coco')
    assert code == 0
    assert row(out, 'RN50').startswith(
        '3 images (1 broken) in 3 shards, 4 numbers each, CLIP '
    )


def test_missing_source_and_link_to_nowhere(check, coco):
    """Both end with code 1."""
    (coco / 'annotations/instances_val2017.json').unlink()
    code, out = check('coco')
    assert code == 1
    assert row(out, 'instances_val2017.json') == (
        'MISSING: 5,000 images, 36,781 annotations'
    )
    assert '  "2017 Train/Val annotations" of cocodataset.org\n' in out
    (coco / 'val2017').unlink()
    (coco / 'val2017').symlink_to('gone')
    code, out = check('coco')
    assert code == 1 and 'val2017 is a link to gone, which does not' in out


def test_lvis_v05(check, coco, tmp_path):
    """Its `file_name` begins with that of another year's COCO."""
    root = tmp_path / 'data/lvis_v0.5'
    for subset, keys in (('train', 'abc'), ('val', 'dx')):
        write_annotations(
            root / f'annotations/lvis_v0.5_{subset}.json',
            list(keys),
            file_name='COCO_val2014_{}.jpg',
            coco_url=f'http://images.cocodataset.org/{subset}2017/{{}}.jpg',
        )
        (root / f'{subset}2017').symlink_to(f'../coco/{subset}2017')
    code, out = check('lvis_v0.5')
    assert code == 1
    assert row(out, 'lvis_v0.5_train.json').startswith(
        '3 images, 4 annotations (full: 693,958), 2 classes'
    )
    assert 'of them are not there, the first: val2017/x.jpg' in out
    assert (
        'to make data/lvis_v0.5/annotations/lvis_v0.5_train_776_454_1.json'
        ':\n  python tools/build_zsl_dataset.py configs/_base_/datasets/'
        'lvis_v0.5_instance.py --split 776_454\n'
    ) in out


def test_lvis_finds_images_by_their_url(check, coco, tmp_path):
    """A training image of val2017 and a val image of train2017 are found."""
    root = tmp_path / 'data/lvis_v1'
    url = 'http://images.cocodataset.org/{}.jpg'
    write_annotations(
        root / 'annotations/lvis_v1_train.json',
        ['train2017/a', 'val2017/d'],
        coco_url=url,
    )
    write_annotations(
        root / 'annotations/lvis_v1_val.json',
        ['train2017/c', 'val2017/x', 'val2017/e'],
        coco_url=url,
    )
    for name in ('train2017', 'val2017'):
        (root / name).symlink_to(f'../coco/{name}')
    code, out = check('lvis_v1')
    assert code == 1
    assert re.match('-> ../coco/train2017 +3 images', row(out, 'train2017'))
    assert row(out, 'lvis_v1_train.json').startswith(
        '2 images (full: 100,170)'
    )
    assert re.search(
        'lvis_v1_val.json names 3 images, 1 of them are not '
        'there, the first: val2017/x.jpg',
        out,
    )


def test_all(check, coco):
    """Without names, what is not there at all is a line and no fault."""
    code, out = check()
    assert code == 0
    assert 'data/coco/  (COCO 2017' in out
    assert 'data/lvis_v1: nothing there (LVIS v1, https://www.lvis' in out
    assert 'pretrained: nothing there' in out
    assert check('lvis_v1')[0] == 1
    assert check('pretrained')[0] == 0


def test_weights(check, tmp_path):
    """Published digests are compared; CLIP's own cache counts."""
    folder = tmp_path / 'pretrained'
    for name, content in (
        ('clip/miniature.pt', {'a': torch.ones(1)}),
        ('torchvision/resnet50-0676ba61.pth', {}),
        ('detpro/iou_neg5_ens.pth', torch.ones(3, 2)),
    ):
        (folder / name).parent.mkdir(parents=True)
        torch.save(content, folder / name)
    cache = tmp_path / 'home/.cache/clip'
    cache.mkdir(parents=True)
    (cache / 'RN50.pt').write_bytes(b'not it')
    code, out = check('pretrained')
    assert code == 1
    assert row(out, 'miniature.pt').startswith('1 entries, ')
    assert row(out, 'iou_neg5_ens.pth').startswith('Tensor (3, 2), ')
    assert row(out, 'ViT-B-32.pt') == 'not there: CLIP ViT-B/32'
    assert re.search('resnet50-.* SHA-256 does not begin with 0676ba61', out)
    assert 'RN50.pt is not the published CLIP RN50' in out


def test_errors(run_tool):
    """An unknown name or folder ends with a message."""
    done = run_tool('check_data.py', 'cocoo')
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith(
        'error: the dataset must be one of coco, lvis_v1,'
    )
    assert 'did you mean "coco"' in done.stderr
    done = run_tool('check_data.py', '--root', 'nowhere')
    assert done.returncode == 2
    assert done.stderr.startswith('error: nowhere is no folder')


@pytest.mark.parametrize(
    'size, text',
    [
        (0, '0 B'),
        (999, '999 B'),
        (1000, '1.0 kB'),
        (448701234, '448.7 MB'),
        (999_960, '1.0 MB'),
        (205 * 10**9, '205.0 GB'),
        (2 * 10**15, '2000.0 TB'),
    ],
)
def test_human_size(size, text):
    assert human_size(size) == text
