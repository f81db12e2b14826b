"""Class embeddings of other projects get names and the digest of a CLIP."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ovd.apis.convert_class_embeddings import convert_class_embeddings
from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.files import sha256_file
from ovd.clip.weights import identify_clip

DATA = Path(__file__).resolve().parents[3] / 'shared/data'
DETIC = DATA / 'class_embeddings'
STEREO = 'speaker_(stereo_equipment)', 'speaker_(stero_equipment)'
ROWS = torch.randn(3, 512, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder without data."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def array():
    np.save('zoo.npy', ROWS.numpy())
    return dict(file='zoo.npy', classes='cat, dog, red fox', out='zoo.pth')


def test_array_without_names(array, capsys):
    assert convert_class_embeddings(**array) == Path('zoo.pth')
    found = ClassEmbeddings.load('zoo.pth')
    assert found.names == ['cat', 'dog', 'red fox']
    torch.testing.assert_close(found.embeddings, F.normalize(ROWS, dim=1))
    assert found.clip == identify_clip('ViT-B/32')[0]
    assert found.templates == 'converted' and found.contexts is None
    origin = found.settings['converted_from']
    assert origin['file'] == 'zoo.npy'
    assert origin['sha256'] == sha256_file('zoo.npy')
    assert origin['form'].startswith('an array (3, 512) float32; no b')
    out = capsys.readouterr().out
    assert out.startswith(f'zoo.npy: {origin["form"]}\n')
    assert 'rows taken in the order of the classes of --classes\n' in out
    assert (
        'made by ViT-B/32 as far as told; say --pretrained if by another'
        in out
    )
    assert out.endswith('zoo.pth: 3 classes, converted, CLIP ViT-B/32\n')


def test_the_clip_that_is_named(array, tiny_clip_path, capsys):
    np.save('zoo.npy', np.eye(3, 64))
    convert_class_embeddings(**array, pretrained=tiny_clip_path)
    clip = ClassEmbeddings.load('zoo.pth').clip
    assert clip == dict(
        name=tiny_clip_path, sha256=sha256_file(tiny_clip_path)
    )
    assert 'as far as told' not in capsys.readouterr().out


def test_names_in_the_file_are_kept():
    names = ['cat', STEREO[1], 'red fox']
    torch.save(dict(embeddings=ROWS, names=names), 'oadp.pth')
    convert_class_embeddings('oadp.pth', out='all.pth')
    assert ClassEmbeddings.load('all.pth').names == names
    with pytest.raises(ValueError, match='say with --out which file'):
        convert_class_embeddings('oadp.pth')


def test_names_in_the_file_are_selected_from():
    torch.save(
        dict(embeddings=ROWS, names=['cat', STEREO[1], 'red fox']), 'oadp.pth'
    )
    convert_class_embeddings(
        'oadp.pth', classes=f'red fox, {STEREO[0]}', out='two.pth'
    )
    found = ClassEmbeddings.load('two.pth')
    assert found.names == ['red fox', STEREO[0]]
    torch.testing.assert_close(
        found.embeddings, F.normalize(ROWS[[2, 1]], dim=1)
    )
    with pytest.raises(
        ValueError,
        match='oadp.pth: 1 of 2 classes have no '
        '.*\n  "red-fox"; did you mean "red fox"',
    ):
        convert_class_embeddings(
            'oadp.pth', classes='cat, red-fox', out='bad.pth'
        )
    assert not Path('bad.pth').exists()


def test_default_file(capsys):
    np.save('synonym.npy', torch.randn(512, 20).numpy())
    path = convert_class_embeddings('synonym.npy', 'voc')
    assert path == Path('data/voc/prompt/synonym.pth')
    assert len(ClassEmbeddings.load(path).names) == 20
    np.save('rn50.npy', torch.randn(21, 1024).numpy())
    path = convert_class_embeddings('rn50.npy', 'voc', pretrained='RN50')
    assert path == Path('data/voc/prompt/rn50_RN50.pth')
    assert (
        'row 21 of 21 is taken for the background' in capsys.readouterr().out
    )


def test_background_row(array):
    np.save('zoo.npy', torch.cat([torch.ones(1, 512), ROWS]).numpy())
    convert_class_embeddings(**array, background='first')
    torch.testing.assert_close(
        ClassEmbeddings.load('zoo.pth').embeddings, F.normalize(ROWS, dim=1)
    )


@pytest.mark.parametrize('num, extra', [(64, 0), (63, 1)])
def test_square_table(tiny_clip_path, capsys, num, extra):
    """Which way it was taken is said and kept; the user may say it."""
    rows = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    np.save('zoo.npy', rows.numpy())
    options = dict(
        file='zoo.npy',
        classes=', '.join(f'class {i}' for i in range(num)),
        pretrained=tiny_clip_path,
        out='zoo.pth',
    )
    convert_class_embeddings(**options)
    said = 'square: rows taken for classes; say --transposed if columns are'
    assert said in capsys.readouterr().out
    found = ClassEmbeddings.load('zoo.pth')
    assert said in found.settings['converted_from']['form']
    torch.testing.assert_close(
        found.embeddings, F.normalize(rows[:num], dim=1)
    )
    convert_class_embeddings(**options, transposed=True, overwrite=True)
    assert 'transposed as told' in capsys.readouterr().out
    torch.testing.assert_close(
        ClassEmbeddings.load('zoo.pth').embeddings,
        F.normalize(rows.T[:num], dim=1),
    )


def test_a_dict_of_many_entries_is_not_listed_in_full(tiny_clip_path):
    with pytest.raises(ValueError) as error:
        convert_class_embeddings(tiny_clip_path, 'coco')
    message = str(error.value)
    assert 'holds a dict of ' in message and ', ..., expected' in message
    assert len(message) < 600 and message.count('.weight') <= 10


def test_same_content_is_reused(array, capsys):
    convert_class_embeddings(**array)
    before = Path('zoo.pth').stat().st_mtime_ns
    convert_class_embeddings(**array)
    assert Path('zoo.pth').stat().st_mtime_ns == before
    assert (
        'zoo.pth has these 3 classes already: reused'
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(classes='cat, dog, fox'), 'exists with other classes;'),
        (dict(pretrained='ViT-B/16'), 'exists with other CLIP weights;'),
        (dict(file='other.npy'), 'exists with other origin and embeddings;'),
    ],
)
def test_other_content_needs_overwrite(array, changes, message):
    np.save('other.npy', -ROWS.numpy())
    convert_class_embeddings(**array)
    before = sha256_file('zoo.pth')
    with pytest.raises(ValueError, match=f'zoo.pth {message}.*--overwrite'):
        convert_class_embeddings(**{**array, **changes})
    assert sha256_file('zoo.pth') == before
    convert_class_embeddings(**{**array, **changes}, overwrite=True)
    assert sha256_file('zoo.pth') != before
    Path('zoo.pth').write_bytes(b'something else')
    with pytest.raises(ValueError, match='is damaged(.|\n)*--overwrite'):
        convert_class_embeddings(**array)


def test_the_file_itself_is_not_replaced():
    torch.save(ROWS, 'zoo.pth')
    with pytest.raises(ValueError, match='zoo.pth is the file to convert'):
        convert_class_embeddings(
            'zoo.pth',
            classes='cat, dog, red fox',
            out='./zoo.pth',
            overwrite=True,
        )


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            dict(classes=None),
            'zoo.npy has no names: give those of its 3 rows .*'
            '--dataset, --classes, --classes-file or --ann-file',
        ),
        (
            dict(transposed=True),
            r'zoo.npy holds .*, which transposed is '
            r'\(512, 3\), expected \(3, 512\), .*: leave --transposed out$',
        ),
        (dict(background='lsat'), 'did you mean "last"'),
        (dict(file='zo.npy'), 'zo.npy does not exist; did you mean "zoo.npy"'),
        (dict(classes='cat, dog'), None),
        (
            dict(classes='cat'),
            r'expected \(1, 512\), .*\n1 is the number of '
            'classes of --classes, 512 the size of embeddings of CLIP '
            'ViT-B/32$',
        ),
        (
            dict(pretrained='RN50'),
            r'\n3 is the number of classes of --classes, '
            '1024 the size of embeddings of CLIP RN50; if RN101 or '
            'ViT-B/32 or '
            'ViT-B/16 made them, say so with --pretrained',
        ),
        (
            dict(classes=None, dataset='coco'),
            r'expected \(80, 512\), .*\n80 is '
            'the number of classes of --dataset coco, ',
        ),
        (dict(pretrained='RN5'), 'did you mean "RN50"'),
    ],
)
def test_errors(array, changes, message):
    arguments = {**array, **changes}
    if message is None:  # one row more is a background
        convert_class_embeddings(**arguments)
        return
    with pytest.raises((ValueError, OSError), match=message):
        convert_class_embeddings(**arguments)
    assert not Path('zoo.pth').exists()


def needs(*names):
    missing = [name for name in names if not (DATA / name).exists()]
    return pytest.mark.skipif(
        bool(missing), reason=f'{", ".join(missing)} not in {DATA}'
    )


def nearest(found, name, num):
    """Return the classes that are nearest to one."""
    cosines = found.embeddings @ found.select([name])[0]
    order = cosines.argsort(descending=True).tolist()
    assert found.names[order[0]] == name
    return [found.names[i] for i in order[1 : num + 1]]


@pytest.mark.parametrize(
    'name, dataset, similar',
    [
        pytest.param(
            'coco_clip_a+cname.npy',
            'coco',
            dict(
                cat='dog',
                fork='spoon',
                bus='train',
                snowboard='skis',
                orange='apple',
            ),
            marks=needs('class_embeddings/coco_clip_a+cname.npy'),
        ),
        pytest.param(
            'lvis_v1_clip_a+cname.npy',
            'lvis_v1',
            dict(armchair='chair', cow='bull', sock='shoe'),
            marks=needs(
                'class_embeddings/lvis_v1_clip_a+cname.npy',
                'lvis_v1_categories.json',
            ),
        ),
        pytest.param(
            'o365_clip_a+cnamefix.npy',
            'objects365',
            dict(Cat='Dog', Fork='Knife', Violin='Cello'),
            marks=needs('class_embeddings/o365_clip_a+cnamefix.npy'),
        ),
    ],
)
def test_published_files_of_detic(name, dataset, similar):
    """Names and rows belong together: what is alike is near."""
    path = convert_class_embeddings(DETIC / name, dataset)
    found = ClassEmbeddings.load(path)
    assert path == Path(f'data/{dataset}/prompt/{Path(name).stem}.pth')
    numbers = torch.from_numpy(np.load(DETIC / name)).float()
    assert torch.equal(found.embeddings, F.normalize(numbers, dim=1))
    for one, other in similar.items():
        assert other in nearest(found, one, 5)


@needs('class_embeddings/lvis_v1_clip_a+cname.npy', 'lvis_v1_categories.json')
def test_lvis_names_come_from_its_file_or_mmdet():
    path = DATA / 'lvis_v1_categories.json'
    one = convert_class_embeddings(
        DETIC / 'lvis_v1_clip_a+cname.npy', ann_file=path, out='a.pth'
    )
    names = [c['name'] for c in json.loads(path.read_text())]
    assert ClassEmbeddings.load(one).names == names
    two = convert_class_embeddings(
        DETIC / 'lvis_v1_clip_a+cname.npy', 'lvis_v1', out='b.pth'
    )
    assert ClassEmbeddings.load(two).names == names
