"""Plan of a store: what makes two of them the same; the manifest."""

import json

import pytest

from ovd.artifacts.store_plan import StorePlan


def make_plan(**kwargs):
    return StorePlan(
        **{
            **dict(
                clip=dict(name='tiny.pt', sha256='c1'),
                proposals=dict(file='p.safetensors', sha256='p1'),
                annotations=dict(file='train.json', sha256='a1'),
                settings=dict(crop_scales=(1.0, 1.5)),
                images_per_shard=2,
                image_ids=[5, 2, 9],
                image_keys=['train/5.jpg', 'train/2.jpg', 'train/9.jpg'],
            ),
            **kwargs,
        }
    )


def test_images_are_in_the_order_of_their_ids():
    plan = make_plan()
    assert plan.image_ids == [2, 5, 9]
    assert plan.image_keys == ['train/2.jpg', 'train/5.jpg', 'train/9.jpg']
    assert [plan.shard_image_ids(k) for k in range(2)] == [[2, 5], [9]]


@pytest.mark.parametrize(
    'changes, match',
    [
        (dict(image_ids=[1, 2, 1]), 'train.json has an image id twice'),
        (dict(images_per_shard=0), 'must be a positive integer, got 0'),
        (
            dict(settings=dict(dtype='flaot16')),
            'dtype must be one of float16, int8, got "flaot16"; did you '
            'mean "float',
        ),
        (
            dict(settings=dict(dtype=8)),
            'dtype must be one of float16, int8, got',
        ),
        (dict(settings=dict(dtype=None)), 'dtype must be .* got "None"'),
    ],
)
def test_plan_checks(changes, match):
    with pytest.raises(ValueError, match=match):
        make_plan(**changes)


def test_no_images():
    assert make_plan(image_ids=[], image_keys=[]).num_shards == 0


def test_float16_is_what_is_meant_where_nothing_is_said():
    named = make_plan(settings=dict(crop_scales=(1.0, 1.5), dtype='float16'))
    assert make_plan().dtype == named.dtype == 'float16'
    assert make_plan().digest() == named.digest()
    int8 = make_plan(settings=dict(crop_scales=(1.0, 1.5), dtype='int8'))
    assert int8.dtype == 'int8' and int8.digest() != named.digest()


def test_stores_without_proposals(tmp_path):
    """Whole images, or true boxes alone."""
    plan = make_plan(proposals=None)
    plan.save(tmp_path / 'manifest.json')
    assert StorePlan.load(tmp_path / 'manifest.json') == plan
    assert plan.digest() != make_plan().digest()


def test_the_manifest_has_a_digest(tmp_path):
    path = tmp_path / 'manifest.json'
    make_plan().save(path)
    assert StorePlan.load(path) == make_plan()
    content = json.loads(path.read_text())
    for change in (
        dict(images_per_shard=3),
        dict(sha256='0' * 64),
        dict(settings={}),
        dict(image_ids=[2, 5, 8]),
    ):
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(
            ValueError,
            match='manifest.json is damaged: its '
            'content has another digest than it says',
        ):
            StorePlan.load(path)


@pytest.mark.parametrize(
    'change, match',
    [
        (
            dict(format='ovd.embedding_store.v1'),
            "is of format 'ovd.embedding_store.v1', expected "
            "'ovd.embedding_store.v2"
            "'; one of another version has to be made again",
        ),
        (dict(more=3), 'is no manifest: entry must be one of .* got "more"'),
        (dict(imagekeys=[]), 'is no manifest: .*; did you mean "image_keys"'),
        (dict(image_ids=['x', 1, 2]), 'is no manifest: .*image_ids'),
        (dict(image_ids={}), 'is no manifest: .*image_ids'),
        (dict(image_ids=[True, 5, 9]), 'is no manifest: .*image_ids'),
        (dict(image_keys=[1, 2, 3]), 'is no manifest: .*image_keys'),
        (
            dict(image_keys=['a/b']),
            'is no manifest: there are 3 image_ids and 1 image_keys',
        ),
        (dict(settings=[1]), 'is no manifest: .*settings'),
        (
            dict(clip='x'),
            'is no manifest: Expected `object`, got `str` .*clip',
        ),
        (dict(clip=None), 'is no manifest: .*clip'),
        (dict(clip=dict(sha256=[1])), 'is no manifest: .*clip'),
        (dict(annotations=['a']), 'is no manifest: .*annotations'),
        (dict(proposals='p'), 'is no manifest: .*proposals'),
        (dict(command=3), 'is no manifest: .*command'),
        (
            dict(images_per_shard=-2),
            'is no manifest: images_per_shard must be',
        ),
        (dict(images_per_shard='2'), 'is no manifest: .*images_per_shard'),
    ],
)
def test_other_json(tmp_path, change, match):
    path = tmp_path / 'manifest.json'
    make_plan().save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    match += '' if 'format' in change else '.*; remove it: the run that made'
    with pytest.raises(ValueError, match=f'manifest.json {match}'):
        StorePlan.load(path)


@pytest.mark.parametrize(
    'text',
    [
        '[' * 100_000,
        '{"format": "ovd.embedding_store.v2", "settings": '
        + '{"a":' * 100_000,
        '',
        '{',
    ],
    ids=lambda text: text[:40],
)
def test_text_that_is_no_json(tmp_path, text):
    path = tmp_path / 'manifest.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=r'manifest.json is damaged \(.*; re'):
        StorePlan.load(path)


@pytest.mark.parametrize('depth', [100, 500, 900, 980, 990, 2000])
def test_settings_nested_too_deeply(tmp_path, depth):
    path = tmp_path / 'manifest.json'
    make_plan().save(path)
    nested = '[' * depth + ']' * depth
    path.write_text(path.read_text().replace('[1.0, 1.5]', nested))
    with pytest.raises(ValueError, match='manifest.json is .*; remove it'):
        StorePlan.load(path)


def test_a_manifest_that_lacks_an_entry(tmp_path):
    path = tmp_path / 'manifest.json'
    make_plan().save(path)
    content = json.loads(path.read_text())
    del content['clip']
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match='is no manifest: .*`clip`; remove'):
        StorePlan.load(path)
