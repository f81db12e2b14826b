"""Published numbers: one entry for each config, and where they come from.

That the README's table has the same ones is tested in test_road.
"""

from pathlib import Path
from typing import Iterator

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDERS = ('vild', 'detpro', 'mask_rcnn', 'transfer')
NOT_RUN = 'published, not yet re-run here'


def read(folder: str) -> dict:
    path = ROOT / 'configs' / folder / 'metafile.yml'
    return yaml.safe_load(path.read_text())


def models() -> Iterator[dict]:
    for folder in FOLDERS:
        yield from read(folder)['Models']


def test_no_folder_of_methods_is_left_out() -> None:
    assert {
        path.parent.name for path in ROOT.glob('configs/*/metafile.yml')
    } == set(FOLDERS)


@pytest.mark.parametrize('folder', FOLDERS)
def test_each_config_has_one_entry(folder: str) -> None:
    content = read(folder)
    collections = {item['Name']: item for item in content['Collections']}
    for item in collections.values():
        assert item['Paper']['Title'] and item['Code']['URL']
        assert item['Paper']['URL'].startswith('https://arxiv.org/abs/')
    assert {model['In Collection'] for model in content['Models']} == set(
        collections
    )
    listed = [model['Config'] for model in content['Models']]
    assert sorted(listed) == sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / 'configs' / folder).glob('*.py')
        if not path.name.startswith('prompt_')
    )  # they have no AP
    for model in content['Models']:
        assert Path(model['Config']).stem == model['Name']


def test_numbers_have_a_source_and_a_status() -> None:
    for model in models():
        results = model['Results']
        assert model['Status'] == (
            NOT_RUN if results else 'no published row'
        ), model['Name']
        for result in results:
            assert result['Source'] and result['Dataset'] and result['Task']
            assert all(0 < value < 100 for value in result['Metrics'].values())
            # What nobody could check says so twice.
            assert (result.get('Confirmed') is False) == (
                'not verified' in result['Source']
            )


def test_unconfirmed_numbers() -> None:
    """Those that the facts of the project tag as from memory."""
    unconfirmed = {
        (model['Name'].split('_')[0], result['Dataset'])
        for model in models()
        for result in model['Results']
        if 'Confirmed' in result
    }
    assert unconfirmed == {
        ('vild-image', 'LVIS v1 val'),
        ('vild-text', 'COCO 2017 val, 48/17'),
        ('vild-image', 'COCO 2017 val, 48/17'),
        *(
            (method, 'VOC 2007 test')
            for method in ('vild-star', 'detpro', 'vild-ensemble')
        ),
        ('vild-ensemble', 'COCO 2017 val'),
        ('vild-ensemble', 'Objects365 val'),
        *(
            ('vild-text', data)
            for data in ('VOC 2007 test', 'COCO 2017 val', 'Objects365 val')
        ),
    }


def test_what_has_no_published_row() -> None:
    """Configs beyond the tables, each with a word on why."""
    without = {
        model['Name']: model for model in models() if not model['Results']
    }
    assert set(without) == {
        model['Name']
        for model in models()
        if 'imagenet' in model['Name']
        or 'soco' in model['Name']
        and 'coco_48_17' in model['Name']
        or model['Name'].startswith('vild-star_cascade')
        or model['Name'].startswith('vild_faster-rcnn_r50_fpn_lvis-to-')
    }
    assert all(
        'published' in model['Description'] for model in without.values()
    )


def test_synonyms_are_mentioned_where_google_averages_them() -> None:
    for model in read('vild')['Models']:
        assert ('--synonyms' in model.get('Description', '')) == (
            'lvis' in model['Name']
        )


def test_one_config_of_two_names_has_the_same_numbers() -> None:
    (other,) = read('mask_rcnn')['Models']
    (own,) = [
        model
        for model in models()
        if model['Name'] == 'detpro_mask-rcnn_r50_fpn_soco-20e_lvis_v1_866_337'
    ]
    assert other['Results'] == own['Results']
