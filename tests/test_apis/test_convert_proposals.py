"""Proposals of mmdet 2.x and 3.x become ours, or are refused with a reason."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from ovd.apis.convert_proposals import convert_proposals
from ovd.artifacts.files import sha256_file
from ovd.artifacts.proposals import load_proposals, save_proposals

ROOT = Path(__file__).resolve().parents[2]
# id -> width, height; the file has them in this order
SIZES = {30: (90, 40), 10: (40, 90), 20: (60, 60)}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with an annotation file."""
    monkeypatch.chdir(tmp_path)
    write_annotations('a.json')
    return tmp_path


def write_annotations(path, sizes=SIZES, **more):
    Path(path).write_text(
        json.dumps(
            dict(
                images=[
                    dict(
                        id=i,
                        file_name=f'{i}.jpg',
                        width=w,
                        height=h,
                        coco_url=f'http://images/train2017/{i}.jpg',
                    )
                    for i, (w, h) in sizes.items()
                ],
                annotations=[],
                categories=[],
                **more,
            )
        )
    )


def rows(image_id, scale=1.0):
    """Two boxes: one small, one of the whole image."""
    w, h = np.array(SIZES[image_id]) * scale
    return np.array(
        [[1, 2, 5, 6, 0.75], [0, 0, w, h, image_id / 100]], np.float32
    )


def write_list(ids, path='list.pkl', protocol=2, scale=1.0):
    Path(path).write_bytes(
        pickle.dumps([rows(i, scale) for i in ids], protocol=protocol)
    )


def check(path, ids=tuple(SIZES)):
    """Check that every image has its own boxes."""
    found = load_proposals(path)
    assert sorted(found) == sorted(f'train2017/{i}.jpg' for i in ids)
    for i in ids:
        entry = found[f'train2017/{i}.jpg']
        np.testing.assert_array_equal(entry['bboxes'], rows(i)[:, :4])
        np.testing.assert_array_equal(entry['scores'], rows(i)[:, 4])
    return found.provenance


@pytest.mark.parametrize('out', ['p.pkl', 'p.safetensors'])
@pytest.mark.parametrize(
    'ids, order', [([30, 10, 20], 'file'), ([10, 20, 30], 'id')]
)
@pytest.mark.parametrize('asked', ['auto', None])
def test_lists_of_both_orders(ids, order, asked, out, capsys):
    write_list(ids)
    assert convert_proposals(
        'list.pkl', out, 'a.json', asked or order
    ) == Path(out)
    assert check(out) == dict(
        trained_on='unknown',
        annotations=dict(
            file='a.json',
            sha256=sha256_file('a.json'),
            source_sha256=sha256_file('a.json'),
        ),
        converted_from=dict(
            file='list.pkl',
            sha256=sha256_file('list.pkl'),
            form="mmdet 2.x's list",
            order=order,
        ),
    )
    printed = capsys.readouterr().out
    what = dict(file='images in the annotation', id='ascending image ids')
    assert (
        f"list.pkl: mmdet 2.x's list, in the order of {what[order]}"
        in printed.replace('the images', 'images')
    )
    assert 'trained on is not known; one that was trained on all' in printed
    assert printed.endswith(f'{out}: 6 proposals of 3 images\n')


@pytest.mark.parametrize(
    'order, match',
    [
        (
            'id',
            r'in the order of ascending image ids, train2017/10.jpg has '
            r'40 x 90 pixels, and its boxes reach from \(x, y\) = \(0.0, '
            r'0.0\) to '
            r'\(90.0, 40.0\)$',
        ),
        ('ids', 'must be one of auto, file, id, got "ids"; did you mean "id"'),
    ],
)
def test_an_order_that_does_not_fit_is_refused(order, match):
    write_list(SIZES)
    with pytest.raises(ValueError, match=match):
        convert_proposals('list.pkl', 'p.pkl', 'a.json', order)
    assert not Path('p.pkl').exists()


def test_no_order_fits():
    write_list([20, 10, 30])
    with pytest.raises(
        ValueError,
        match='not made for a.json(.|\n)*in the '
        'order of the images in .*file, train2017/30.jpg(.|\n)*'
        'in the order of ascending .* train2017/10.jpg',
    ):
        convert_proposals('list.pkl', 'p.pkl', 'a.json')


def test_rounding_may_put_a_box_over_the_edge():
    write_list(SIZES, scale=1.005)
    convert_proposals('list.pkl', 'p.pkl', 'a.json')
    write_list(SIZES, scale=1.05)
    with pytest.raises(ValueError, match='boxes lie outside'):
        convert_proposals('list.pkl', 'p.pkl', 'a.json')


def test_both_orders_fit():
    write_list(SIZES, scale=0.2)
    with pytest.raises(ValueError, match='in both orders: say with --order f'):
        convert_proposals('list.pkl', 'p.pkl', 'a.json')
    convert_proposals('list.pkl', 'p.pkl', 'a.json', 'id')
    np.testing.assert_array_equal(
        load_proposals('p.pkl')['train2017/10.jpg']['scores'], rows(30)[:, 4]
    )
    # and where both are one order
    write_annotations('sorted.json', dict(sorted(SIZES.items())))
    convert_proposals('list.pkl', 'p.pkl', 'sorted.json')


def test_a_list_of_another_length():
    write_list([30, 10, 20])
    write_annotations('one.json', {30: SIZES[30]})
    with pytest.raises(
        ValueError,
        match='list.pkl has 3 entries, one.json '
        '1 images; give the annotation file that it was',
    ):
        convert_proposals('list.pkl', 'p.pkl', 'one.json')
    write_annotations(
        'split.json',
        {30: SIZES[30]},
        gzsl=dict(
            kept=dict(images=1),
            removed=dict(images=2),
            source=dict(file='a.json', sha256='0'),
        ),
    )
    with pytest.raises(
        ValueError,
        match='as many as a.json, from which '
        'split.json was split: give that one',
    ):
        convert_proposals('list.pkl', 'p.pkl', 'split.json')
    write_list([])
    with pytest.raises(
        ValueError,
        match='has 0 entries, a.json 3 images; '
        'give the annotation file that it was made for',
    ):
        convert_proposals('list.pkl', 'p.pkl', 'a.json')


@pytest.mark.parametrize(
    'content, match',
    [
        (
            [np.zeros((2, 4), np.float32)],
            r'\[0\] must be \(P, 5\).*got \(2, 4\)',
        ),
        ([rows(30), [[0] * 5]], r'\[1\] must be a float array .* got list'),
        ([rows(30), np.zeros((1, 5), int)], 'got int64'),
        ([rows(30) * np.nan, rows(10), rows(20)], '30.jpg has .* not finite'),
        ('text', 'holds a str, expected a dict'),
        ({}, 'other images: train2017/30.jpg .and 2 more. of a.json'),
        (
            {'30.jpg': dict(bboxes=rows(30)[:, :4], scores=rows(30)[:, 4])},
            'list.pkl: names of images have no folder, such as 30.jpg: '
            'name them',
        ),
    ],
)
def test_malformed_files(content, match):
    Path('list.pkl').write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=match):
        convert_proposals('list.pkl', 'p.pkl', 'a.json')


def test_images_without_proposals():
    """mmdet's are arrays (0, 5), (0, 4) or (0,)."""
    content = [np.zeros(shape, np.float32) for shape in ((0, 5), (0, 4), 0)]
    Path('list.pkl').write_bytes(pickle.dumps(content))
    convert_proposals('list.pkl', 'p.pkl', 'a.json', 'file')
    assert load_proposals('p.pkl')['train2017/20.jpg']['bboxes'].shape == (
        0,
        4,
    )


def dump_with_mmdet(scale=1.0):
    """Write proposals with the installed mmdet, and its InstanceData."""
    metric = METRICS.build(
        dict(type='DumpProposals', output_dir='.', proposals_file='3x.pkl')
    )
    for i in SIZES:
        found = torch.from_numpy(rows(i, scale))
        metric.process(
            {},
            [
                DetDataSample(
                    metainfo=dict(img_path=f'data/train2017/{i}.jpg'),
                    pred_instances=InstanceData(
                        bboxes=found[:, :4], scores=found[:, 4]
                    ),
                ).to_dict()
            ],
        )
    metric.compute_metrics(metric.results)


def test_a_dict_of_the_installed_mmdet(capsys):
    dump_with_mmdet()
    convert_proposals('3x.pkl', 'p.safetensors', 'a.json')
    assert check('p.safetensors')['converted_from'] == dict(
        file='3x.pkl', sha256=sha256_file('3x.pkl'), form="mmdet 3.x's dict"
    )
    with pytest.raises(ValueError, match='names its images: leave out --ord'):
        convert_proposals('3x.pkl', 'p.pkl', 'a.json', 'file')
    write_annotations('part.json', {10: SIZES[10]})
    convert_proposals('3x.pkl', 'p.pkl', 'part.json')
    check('p.pkl')
    assert '2 of its images are not in part.json' in capsys.readouterr().out


def test_boxes_of_a_dict_are_checked_too():
    dump_with_mmdet(1.05)
    with pytest.raises(
        ValueError,
        match='3x.pkl holds proposals for other '
        'images: train2017/30.jpg has 90 x 40 pixels',
    ):
        convert_proposals('3x.pkl', 'p.pkl', 'a.json')


@pytest.mark.parametrize('suffix', ['.pkl', '.safetensors'])
def test_ours_keep_what_they_say(suffix, capsys):
    entries = {
        f'train2017/{i}.jpg': dict(bboxes=rows(i)[:, :4], scores=rows(i)[:, 4])
        for i in SIZES
    }
    save_proposals(
        f'ours{suffix}',
        entries,
        dict(trained_on=['cat'], checkpoint='rpn.pth'),
    )
    convert_proposals(f'ours{suffix}', 'p.pkl', 'a.json')
    found = check('p.pkl')
    assert found['trained_on'] == ['cat']
    assert found['checkpoint'] == 'rpn.pth'
    assert found['converted_from']['file'] == f'ours{suffix}'
    assert 'not known' not in capsys.readouterr().out
    save_proposals(
        f'ours{suffix}',
        entries,
        dict(annotations=dict(file='b.json', source_sha256='1')),
    )
    with pytest.raises(ValueError, match='for other images than --ann-file'):
        convert_proposals(f'ours{suffix}', 'p.pkl', 'a.json')
    with pytest.raises(ValueError, match='is the file to convert'):
        convert_proposals(f'ours{suffix}', f'./ours{suffix}', 'a.json')


class Runs:
    """Pickles as a call that would leave a file behind."""

    def __reduce__(self):
        return os.system, ('touch trace',)


@pytest.mark.parametrize(
    'content',
    [[Runs()], {'train2017/30.jpg': Runs()}, [rows(30), rows(10), Runs()]],
    ids=['list', 'dict', 'last'],
)
@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
def test_a_malicious_pickle_is_refused_and_runs_nothing(content, protocol):
    Path('list.pkl').write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(ValueError, match=r'list.pkl is refused: .*\.system'):
        convert_proposals('list.pkl', 'p.pkl', 'a.json')
    assert not Path('trace').exists() and not Path('p.pkl').exists()


def test_tool(run_tool):
    write_list([10, 20, 30])
    done = run_tool(
        'convert_proposals.py',
        'list.pkl',
        'p.safetensors',
        '--ann-file',
        'a.json',
    )
    assert done.returncode == 0, done.stderr
    check('p.safetensors')
    Path('list.pkl').write_bytes(pickle.dumps([Runs()]))
    done = run_tool(
        'convert_proposals.py', 'list.pkl', 'p.pkl', '--ann-file', 'a.json'
    )
    assert done.returncode == 2
    assert done.stderr.startswith('error: list.pkl is refused: ')
    assert not Path('trace').exists()
    assert 'example' in run_tool('convert_proposals.py', '-h').stdout
