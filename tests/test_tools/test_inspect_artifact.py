"""What is any file of the project, from the command line."""

import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.embedding_store import EmbeddingStoreWriter
from ovd.artifacts.files import sha256_file
from ovd.artifacts.proposals import save_proposals
from ovd.artifacts.store_plan import StorePlan
from ovd.clip.loading import load_clip
from ovd.datasets.gzsl_split import split_file

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / 'tools' / 'inspect_artifact.py'
CLIP = dict(name='RN50', sha256='0' * 64)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def inspect(monkeypatch, capsys):
    """Call the tool; return its exit code (or error) and what it printed."""

    def call(*files):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, files)])
        with pytest.raises(SystemExit) as error:
            runpy.run_path(str(TOOL), run_name='__main__')
        return error.value.code, capsys.readouterr().out

    return call


def fields(out: str) -> dict:
    """Return the indented lines of one file."""
    lines = [line for line in out.splitlines() if line.startswith('  ')]
    return dict(line.strip().split(': ', 1) for line in lines)


def test_class_embeddings(inspect):
    names = [f'class {i}' for i in range(12)]
    ClassEmbeddings(
        names,
        torch.eye(12, 16),
        CLIP,
        'vild',
        dict(precision='fp32', synonyms='a' * 64),
    ).save('vild.pth')
    code, out = inspect('vild.pth')
    assert code == 0
    assert out.startswith('vild.pth: class embeddings of 12 classes\n')
    found = fields(out)
    assert found['size'] == '16'
    assert found['clip.name'] == 'RN50'
    assert found['clip.sha256'] == '0' * 64
    assert found['templates'] == 'vild' and found['synonyms'] == 'a' * 64
    assert found['classes'].startswith('class 0, class 1, ')
    assert found['classes'].endswith(', ... (12)')


def test_learned_class_embeddings(inspect):
    prompts = [dict(file='a_prompt.pth', sha256='1' * 64)]
    ClassEmbeddings(
        ['cat'],
        torch.eye(1, 16),
        CLIP,
        'learned',
        dict(prompts=prompts),
        torch.ones(1, 8, 32),
    ).save('learned.pth')
    found = fields(inspect('learned.pth')[1])
    assert found['contexts'] == '1 learned prompt of 8 tokens, 32 numbers each'
    assert found['prompts.0.file'] == 'a_prompt.pth'
    assert found['prompts.0.sha256'] == '1' * 64
    assert found['classes'] == 'cat'


def test_foreign_class_embeddings(inspect):
    np.save('synonym.npy', np.ones((512, 1203), np.float16))
    torch.save(
        dict(
            embeddings=torch.ones(70, 1024), names=[f'c{i}' for i in range(70)]
        ),
        'oadp.pth',
    )
    code, out = inspect('synonym.npy', 'oadp.pth')
    assert code == 0
    one, two = out.split('\n\n')
    assert one.startswith(
        'synonym.npy: a table of embeddings (512 x 1,203): class embeddings '
        'of another project, or image embeddings\n'
    )
    assert two.startswith('oadp.pth: class embeddings of another project\n')
    assert fields(one) == {
        'form': 'an array (512, 1203) float16',
        'clip': 'the file does not say; RN101, ViT-B/32, ViT-B/16 have 512 '
        'numbers',
        'to use it': 'python tools/class_embeddings.py convert synonym.npy '
        '--dataset NAME',
    }
    two = fields(two)
    assert two['form'] == (
        'a dict of embeddings (70, 1024) float32 and 70 names'
    )
    assert two['classes'].startswith('c0, c1, ')
    assert 'RN50, RN50x64 have 1024' in two['clip']


def test_learned_prompt(inspect):
    torch.save(torch.ones(8, 512), 'my prompt.pth')
    code, out = inspect('my prompt.pth')
    assert code == 0
    assert out.startswith('my prompt.pth: learned prompt of 8 tokens, or a ta')
    found = fields(out)
    assert found['as a prompt'] == (
        "python tools/class_embeddings.py learned --prompt 'my prompt.pth'"
    )
    assert "convert 'my prompt.pth'" in found['to use it']


def test_image_embeddings_of_detpro(inspect):
    """One file for each image."""
    torch.save(torch.full((1000, 512), 512**-0.5), '000000000009.pth')
    code, out = inspect('000000000009.pth')
    assert code == 0
    assert out.startswith(
        '000000000009.pth: a table of embeddings (1,000 x 512): class '
        'embeddings of another project, or image embeddings\n'
    )


def oadp_proposals(**changes):
    return {
        **dict(
            embeddings=torch.ones(7, 512).half(),
            bboxes=torch.ones(7, 4).half(),
            objectness=torch.ones(7, 1).half(),
        ),
        **changes,
    }


def test_proposal_embeddings_of_oadp(inspect):
    torch.save(oadp_proposals(), 'objects.pth')
    block = oadp_proposals()
    del block['objectness']
    torch.save(block, 'blocks.pth')
    code, out = inspect('objects.pth', 'blocks.pth')
    assert code == 0
    one, two = out.split('\n\n')
    assert one.startswith("objects.pth: OADP's embeddings of 7 proposals\n")
    assert fields(one)['size'] == '512'
    assert fields(one)['to use it'].startswith('this project does not')
    assert two.startswith(
        "blocks.pth: OADP's embeddings of 7 proposals or blocks\n"
    )


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            dict(bboxes=torch.ones(6, 4)),
            '(7, 512) embeddings and (6, 4) bboxes',
        ),
        (
            dict(bboxes=[1]),
            'bboxes must be a tensor of two dimensions, got a li',
        ),
        (dict(embeddings=torch.ones(7)), 'two dimensions, got a tensor (7,)'),
        (
            dict(embeddings=torch.ones(7, 4) / 0),
            'embeddings has numbers that are',
        ),
    ],
)
def test_damaged_proposal_embeddings_of_oadp(inspect, changes, message):
    torch.save(oadp_proposals(**changes), 'a.pth')
    code, out = inspect('a.pth')
    assert code == 1 and message in out


def write_annotations(path: str = 'train.json', **category) -> None:
    """Write three images, of a cat each, and the first of a dog too."""
    annotations = [
        dict(id=i, image_id=max(i, 1), category_id=1 + (i == 0))
        for i in range(4)
    ]
    Path(path).write_text(
        json.dumps(
            dict(
                images=[dict(id=i, file_name=f'{i}.jpg') for i in (1, 2, 3)],
                annotations=annotations,
                categories=[
                    dict(id=1, name='cat', **category),
                    dict(id=2, name='dog', **category),
                ],
            )
        )
    )


def make_split() -> Path:
    write_annotations()
    Path('my.json').write_text('{"base": ["cat"], "novel": ["dog"]}')
    return split_file('train.json', 'my.json', 'train').output


def test_split_annotations(inspect):
    split = make_split()
    code, out = inspect(split)
    assert code == 0
    assert out.startswith(f'{split}: annotations, train part of split my\n')
    assert fields(out) == {
        'images': '3 kept, 0 removed',
        'annotations': '3 kept, 1 removed',
        'base': '1 class: cat',
        'novel': '1 class: dog',
        'source': 'train.json',
        'source sha256': sha256_file('train.json'),
        'verified': 'train of my, 3 images, 3 annotations, no leak; agrees '
        'with train.json',
    }


def test_split_annotations_that_leak(inspect):
    split = make_split()
    content = json.loads(split.read_text())
    content['annotations'][0]['category_id'] = 2
    split.write_text(json.dumps(content))
    code, out = inspect(split)
    assert code == 1
    assert out.startswith(f'{split}: DAMAGED OR UNKNOWN\n')
    assert 'is of "dog", which is novel' in out


@pytest.mark.parametrize(
    'category, kind', [({}, 'COCO'), (dict(frequency='r'), 'LVIS')]
)
def test_plain_annotations(inspect, category, kind):
    write_annotations(**category)
    code, out = inspect('train.json')
    assert code == 0
    assert out.startswith(f'train.json: annotations in {kind} format\n')
    found = fields(out)
    assert found['images'] == '3' and found['annotations'] == '4'
    assert found['classes'] == 'cat, dog'
    assert found['split'].startswith('none, make one with: python tools/bu')


def test_split_definition(inspect):
    Path('my split.json').write_text(
        json.dumps(
            dict(
                base=['cat', 'dog'],
                novel=['owl'],
                groups=dict(pets=['dog', 'cat']),
            )
        )
    )
    code, out = inspect('my split.json')
    assert code == 0
    assert out.startswith(
        'my split.json: split of class names into base and novel\n'
    )
    assert fields(out) == {
        'base': '2 classes: cat, dog',
        'novel': '1 class: owl',
        'group pets': '2 classes: cat, dog',
        'to use it': 'python tools/build_zsl_dataset.py CONFIG --split '
        "'my split.json'",
    }


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(novel=['cat']), 'has names that are base and novel: cat'),
        (dict(base=[]), 'split my has no base name'),
        (dict(base=['cat', 'cat']), 'lists "cat" twice'),
        (
            dict(base='cat'),
            'my.json is not a split, expected {"base": [names]',
        ),
        (dict(others=[]), 'my.json is not a split'),
        (
            dict(groups=dict(pets=['ct'])),
            'neither base nor novel; did you mean',
        ),
    ],
)
def test_wrong_split_definition(inspect, changes, message):
    Path('my.json').write_text(
        json.dumps({**dict(base=['cat'], novel=['dog']), **changes})
    )
    code, out = inspect('my.json')
    assert code == 1 and message in out


RESULT = dict(image_id=1, category_id=2, score=0.25)


def test_predictions(inspect):
    mask = dict(size=[2, 2], counts='04')
    Path('a.json').write_text(
        json.dumps(
            [
                dict(RESULT, bbox=[0, 0, 1, 1], segmentation=mask),
                dict(RESULT, bbox=[0, 0, 1, 1], score=1),
                dict(RESULT, image_id=3, category_id=7, segmentation=mask),
            ]
        )
    )
    code, out = inspect('a.json')
    assert code == 0
    assert out.startswith(
        'a.json: predictions for 2 images in COCO results format\n'
    )
    assert fields(out) == {
        'predictions': '3',
        'boxes': '2',
        'masks': '2',
        'classes': '2 of the ids of categories occur',
        'scores': '0.25 to 1',
        'made by': 'the file does not say',
    }


@pytest.mark.parametrize(
    'entry, message',
    [
        (dict(RESULT, score='1'), 'a.json is not a list of COCO predictions'),
        (
            dict(RESULT, bbox=[1, 2]),
            'a.json is not a list of COCO predictions',
        ),
        (dict(image_id=1, bbox=[1, 2]), 'is not a list of COCO predictions'),
        (dict(RESULT, score=float('nan')), 'has NaN, which is no json'),
    ],
)
def test_wrong_predictions(inspect, entry, message):
    Path('a.json').write_text(json.dumps([RESULT, entry]))
    code, out = inspect('a.json')
    assert code == 1 and message in out


def test_metrics(inspect):
    Path('few.json').write_text(
        json.dumps(
            {
                'gzsl/bbox_AP50_base': 41.25,
                'gzsl/bbox_AP50_novel': None,
                'n': 3,
            }
        )
    )
    Path('many.json').write_text(
        json.dumps({f'AR@{i}': i / 7 for i in range(14)})
    )
    # What the accuracies of crops are called
    Path('parts.json').write_text('{"base": 0.5, "novel": 0.25}')
    code, out = inspect('few.json', 'many.json', 'parts.json')
    assert code == 0
    few, many, parts = out.split('\n\n')
    assert few.startswith('few.json: a table of numbers, such as the metrics ')
    assert fields(few) == {
        'metrics': '3',
        'gzsl/bbox_AP50_base': '41.25',
        'n': '3',
        'without ground truth': 'gzsl/bbox_AP50_novel',
    }
    assert len(fields(many)) == 12 and fields(many)['...'] == '4 more'
    assert fields(parts)['novel'] == '0.25'


@pytest.mark.parametrize('suffix', ['.safetensors', '.pkl'])
def test_proposals(inspect, suffix):
    def boxes(num):
        return dict(bboxes=np.ones((num, 4), 'f4'), scores=np.ones(num, 'f4'))

    path = f'rpn{suffix}'
    save_proposals(
        path,
        {'a/1.jpg': boxes(4), 'a/2.jpg': boxes(0)},
        dict(
            checkpoint='rpn.pth',
            annotations=dict(file='a.json', sha256='1'),
            trained_on=[f'class {i}' for i in range(48)],
            seen_novel_classes=[],
        ),
    )
    code, out = inspect(path)
    assert code == 0
    assert out.startswith(f'{path}: proposals of 2 images\n')
    assert fields(out) == {
        'boxes': '4',
        'per image': '0 to 4',
        'first image': 'a/1.jpg',
        'checkpoint': 'rpn.pth',
        'annotations.file': 'a.json',
        'annotations.sha256': '1',
        'trained_on': 'class 0, class 1, class 2, class 3, class 4, class 5, '
        '... (48)',
        'seen_novel_classes': 'none',
    }
    save_proposals(path, {}, {})
    code, out = inspect(path)
    assert code == 0
    assert fields(out) == {'boxes': '0', 'made by': 'the file does not say'}


def make_store(
    shards=range(3), folder='store', kinds=None, broken=(), **changes
) -> None:
    """Write images 0 to 4 with two boxes each."""
    plan = StorePlan(
        **{
            **dict(
                clip=CLIP,
                proposals=dict(file='p.pkl', sha256='1'),
                annotations=dict(file='a.json', sha256='2'),
                settings=dict(crop_scales=[1.0, 1.5]),
                images_per_shard=2,
                image_ids=list(range(5)),
                image_keys=[f'train/{i}.jpg' for i in range(5)],
                command='python tools/train.py a.py',
            ),
            **changes,
        }
    )
    writer = EmbeddingStoreWriter(folder, plan)
    item = dict(
        embeddings=np.ones((2, 4)),
        bboxes=np.ones((2, 4)),
        scores=np.ones(2),
        kinds=kinds,
    )
    none = dict(
        embeddings=np.ones((0, 4)), bboxes=np.ones((0, 4)), scores=np.ones(0)
    )
    for k in shards:
        ids = plan.shard_image_ids(k)
        writer.write_shard(
            k,
            [none if i in broken else item for i in ids],
            {i: broken[i] for i in ids if i in broken},
        )


@pytest.mark.parametrize('path', ['store', 'store/manifest.json'])
def test_store(inspect, path):
    make_store()
    size = sum(p.stat().st_size for p in Path('store').glob('shard-*'))
    code, out = inspect(path)
    assert code == 0
    assert out.startswith(f'{path}: proposal embeddings of 5 images\n')
    assert fields(out) == {
        'shards': '3 of 3, 2 images each',
        'embeddings': '10',
        'kinds': 'proposal 10',
        'per image': '2 to 2, 2.0 on average',
        'bytes': f'{size:,}, {size / 10:,.1f} per embedding',
        'size': '4 float16',
        'clip.name': 'RN50',
        'clip.sha256': '0' * 64,
        'proposals.file': 'p.pkl',
        'proposals.sha256': '1',
        'annotations.file': 'a.json',
        'annotations.sha256': '2',
        'settings.crop_scales': '[1.0, 1.5]',
        'command': 'python tools/train.py a.py',
    }


def test_store_that_is_incomplete(inspect):
    make_store([1])
    code, out = inspect('store')
    assert code == 1
    found = fields(out)
    assert found['shards'] == '1 of 3, 2 images each'
    assert found['embeddings'] == '4'
    assert found['FAULT'] == (
        '2 of 3 shards are missing: shard-00000.safetensors, '
        'shard-00002.safetensors; resume with: python tools/train.py a.py'
    )


def test_store_with_damaged_shards(inspect):
    """Cut off, changed, of another store or under another's name."""
    make_store()
    shards = [Path(f'store/shard-0000{k}.safetensors') for k in range(3)]
    whole = [shard.read_bytes() for shard in shards]
    shards[0].write_bytes(whole[0][:-4])
    changed = bytearray(whole[1])
    changed[-1] ^= 1
    shards[1].write_bytes(changed)
    shards[2].write_bytes(whole[1])
    code, out = inspect('store')
    assert code == 1
    assert re.findall('FAULT: store/(shard-0000.).safetensors', out) == [
        f'shard-0000{k}' for k in range(3)
    ]
    for text in (
        'is damaged',
        'another digest than it says',
        'is shard 1 under another name',
    ):
        assert text in out
    assert 'remove it and resume with: python tools/train.py a.py' in out
    for shard in shards:
        shard.unlink()
    make_store([0], 'elsewhere', images_per_shard=3)
    shutil.copy('elsewhere/shard-00000.safetensors', 'store')
    assert (
        'shard-00000.safetensors belongs to another store; remove '
        in inspect('store')[1]
    )


def test_store_with_a_manifest_that_was_changed(inspect):
    make_store()
    manifest = Path('store/manifest.json')
    manifest.write_text(manifest.read_text().replace('1.5', '1.6'))
    code, out = inspect('store')
    assert code == 1 and 'manifest.json is damaged: its content has an' in out


def test_int8_store_with_all_kinds_and_broken_images(inspect):
    make_store(
        settings=dict(dtype='int8'),
        proposals=None,
        kinds=np.array([1, 3]),
        broken={4: 'cut off'},
    )
    found = fields(inspect('store')[1])
    assert found['kinds'] == 'ground_truth 4, image 4'
    assert found['per image'] == '0 to 2, 1.6 on average'
    assert found['size'] == '4 int8' and found['settings.dtype'] == 'int8'
    assert found['proposals'] == 'none'
    assert found['broken images'] == '1, they have no boxes'
    assert found['broken image train/4.jpg (id 4)'] == 'cut off'
    found = fields(inspect('store/shard-00002.safetensors')[1])
    assert found['broken image train/4.jpg (id 4)'] == 'cut off'
    Path('store/manifest.json').unlink()
    found = fields(inspect('store/shard-00002.safetensors')[1])
    assert found['broken image  (id 4)'] == 'cut off'


def test_one_shard(inspect):
    make_store([1])
    shard = Path('store/shard-00001.safetensors')
    code, out = inspect(shard)
    assert code == 0
    assert out.startswith(f'{shard}: proposal embeddings of 2 images\n')
    found = fields(out)
    assert found['shard'] == '1 of 3'
    assert found['embeddings'] == '4' and found['clip.name'] == 'RN50'
    Path('store/manifest.json').unlink()
    found = fields(inspect(shard)[1])
    assert found['shard'] == '1'
    assert found['manifest'] == (
        'not beside it: which CLIP made it is not known'
    )
    code, out = inspect('store')
    assert code == 1 and 'no embedding store: it has no m' in out


def test_clip(inspect, tiny_clip_path, tiny_vit_path):
    code, out = inspect(tiny_clip_path, tiny_vit_path)
    assert code == 0
    resnet, vit = out.split('\n\n')
    assert resnet.startswith(f'{tiny_clip_path}: CLIP weights\n')
    assert fields(resnet) == {
        'image tower': 'ResNet of (1, 1, 1, 1) blocks, width 16, 64 x 64 '
        'pixels',
        'text tower': '2 layers of width 64, 77 tokens',
        'size': '64',
        'parameters': f'{count_parameters(tiny_clip_path):,}',
        'sha256': sha256_file(tiny_clip_path),
        'published': 'no, none of the published CLIPs has this digest',
    }
    assert fields(vit)['image tower'] == (
        'ViT of 2 layers, width 64, patches of 16, 64 x 64 pixels'
    )


def count_parameters(path):
    return sum(p.numel() for p in load_clip(path).model.parameters())


def test_published_clip(inspect, tiny_clip_path, monkeypatch):
    from ovd.clip import openai

    monkeypatch.setitem(
        openai.OPENAI_URLS,
        'RN50',
        f'https://x/{sha256_file(tiny_clip_path)}/RN50.pt',
    )
    assert fields(inspect(tiny_clip_path)[1])['published'] == 'as RN50'


@pytest.mark.filterwarnings(
    'ignore::torch.jit.TracerWarning', 'ignore:.torch.jit:DeprecationWarning'
)
def test_clip_of_other_forms(inspect, tiny_clip_path):
    from safetensors.torch import save_file

    model = load_clip(tiny_clip_path).model
    save_file(
        {key: value.clone() for key, value in model.state_dict().items()},
        'clip.safetensors',
    )
    inputs = torch.zeros(1, 3, 64, 64), torch.zeros(1, 77, dtype=torch.long)
    torch.jit.trace(model, inputs).save('jit.pt')
    code, out = inspect('clip.safetensors', 'jit.pt')
    for other in ('clip.bin', 'clip', 'pretend.pt'):
        shutil.copy('clip.safetensors', other)
    assert inspect('clip.bin', 'clip', 'pretend.pt')[0] == 0
    assert code == 0
    assert 'clip.safetensors: CLIP weights\n' in out
    assert 'jit.pt: CLIP weights\n' in out


@pytest.mark.parametrize('name', ['a.bin', 'a', 'a.safetensors'])
def test_safetensors_are_known_by_their_header(inspect, name, tiny_clip_path):
    from safetensors.torch import save_file

    weights = {
        key: value.clone()
        for key, value in load_clip(tiny_clip_path).model.state_dict().items()
    }
    save_file(weights, name)
    code, out = inspect(name)
    assert code == 0 and out.startswith(f'{name}: CLIP weights\n')
    Path(name).write_bytes(Path(name).read_bytes()[:-4])
    assert inspect(name)[0] == 1
    save_file(dict(a=torch.ones(3)), name)
    code, out = inspect(name)
    assert code == 1 and 'no CLIP either' in out


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_clip_with_numbers_that_are_not_finite(inspect, tiny_clip_path, value):
    weights = load_clip(tiny_clip_path).model.state_dict()
    weights['text_projection'][3, 4] = value
    torch.save(weights, 'clip.pt')
    code, out = inspect('clip.pt')
    assert code == 1
    assert (
        'clip.pt: text_projection has numbers that are NaN or infinite' in out
    )


def test_checkpoints(inspect):
    rpn = {
        'backbone.conv1.weight': torch.ones(2, 3),
        'bbox_head.rpn_conv.weight': torch.ones(4),
        'bbox_head.count': torch.tensor(3),
    }
    torch.save(
        dict(
            state_dict=rpn,
            optimizer={},
            meta=dict(
                epoch=2,
                iter=70,
                mmengine_version='0.10.7',
                dataset_meta=dict(classes=('cat', 'dog')),
            ),
        ),
        'rpn.pth',
    )
    detector = {**rpn, 'roi_head.bbox_head.fc.weight': torch.ones(5)}
    torch.save(dict(state_dict=detector), 'detector.pth')
    torch.save({'conv1.weight': torch.ones(2)}, 'resnet.pth')
    code, out = inspect('rpn.pth', 'detector.pth', 'resnet.pth')
    assert code == 0
    one, two, three = out.split('\n\n')
    assert one.startswith('rpn.pth: checkpoint of an RPN\n')
    assert fields(one) == {
        'numbers': '11 in 3 entries',
        'parts': 'backbone 6, bbox_head 5',
        'epoch': '2',
        'iter': '70',
        'mmengine_version': '0.10.7',
        'classes': 'cat, dog',
        'resumable': 'yes, it has the optimizer',
    }
    assert two.startswith('detector.pth: checkpoint of a detector\n')
    assert fields(two)['resumable'] == 'no, weights alone'
    assert three.startswith('resnet.pth: weights\n')


@pytest.mark.parametrize(
    'meta',
    [
        None,
        [],
        dict(dataset_meta=[]),
        dict(dataset_meta=dict(classes=3)),
        dict(dataset_meta=dict(classes=(1, 2))),
    ],
)
def test_meta_of_other_programs(inspect, meta):
    torch.save(
        dict(
            state_dict={f'part{i}.a': torch.ones(1) for i in range(20)},
            meta=meta,
        ),
        'a.pth',
    )
    code, out = inspect('a.pth')
    assert code == 0
    assert fields(out)['parts'].endswith('part5 1, ... (20)')


def test_checkpoint_that_is_not_plain(inspect):
    """What mmengine's runner writes without ovd's hook."""
    torch.save(
        dict(
            state_dict=dict(a=torch.ones(2)),
            message_hub=dict(log_scalars=dict(loss=HistoryBuffer())),
        ),
        'a.pth',
    )
    code, out = inspect('a.pth')
    assert code == 1
    assert out.startswith(
        'a.pth: NOT OPENED: probably a checkpoint that '
        'holds more than plain content\n'
    )
    assert (
        'because that could run code: it asks for mmengine.logging.'
        'history_buffer.HistoryBuffer;' in out
    )
    assert '\x1b' not in out and 'weights_only' not in out


def test_checkpoint_with_nan(inspect):
    torch.save(
        dict(
            state_dict={
                'backbone.a': torch.ones(2),
                'roi_head.b': torch.tensor([1, np.nan]),
            }
        ),
        'a.pth',
    )
    code, out = inspect('a.pth')
    assert code == 1
    assert 'roi_head.b has numbers that are NaN or infinite' in out


@pytest.mark.parametrize(
    'name, content, message',
    [
        ('a.pth', b'rubbish', 'a.pth is damaged, or no file of'),
        ('a.npy', b'rubbish', 'a.npy is damaged, or no array'),
        ('a.pkl', b'rubbish', 'a.pkl is refused'),
        (
            'a.safetensors',
            b'rubbish',
            'a.safetensors is damaged or no safetens',
        ),
        ('a.json', b'{"images": [', 'a.json is not json or is cut off'),
        ('a.json', b'{"base": []}', 'lacks the key `categories`, it has base'),
        ('a.json', b'[1]', 'a.json is not in COCO format'),
        ('a.json', b'[7]', 'a.json is not in COCO format'),
        ('a.json', b'[{"image_id": 1}]', 'a.json is not in COCO format'),
        ('a.json', b'{}', 'lacks the key `categories`, it has none'),
        ('a.json', b'{"a": true}', 'lacks the key `categories`, it has a'),
        ('a.json', b'{"a": {"b": 1}}', 'lacks the key `categories`, it has a'),
        ('a.json', b'{"a": 1', 'is not json or is cut off'),
        ('a.json', b'3', 'a.json is not in COCO format'),
        ('a.json', b'{"\xff": 1}', 'a.json is not UTF-8'),
        ('a', b'hello', 'a is none of the files that ovd knows'),
        ('a.bin', b'', 'a.bin is none of the files that ovd knows'),
        ('a.bin', b'\x01' + bytes(7) + b'{"a"', 'a.bin is damaged'),
        ('store/manifest.json', b'{', 'manifest.json is damaged'),
        ('a.pth', b'', 'a.pth is empty'),
        (
            'a.txt',
            b'hello',
            'a.txt is none of the files that ovd knows, which '
            'end in .json, .npy, .pkl, .pt, .pth or .safetensors',
        ),
    ],
)
def test_damaged_or_unknown(inspect, name, content, message):
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_bytes(content)
    code, out = inspect(name)
    assert code == 1
    assert out.startswith(f'{name}: DAMAGED OR UNKNOWN\n  ')
    assert message in out


@pytest.mark.parametrize(
    'content, message',
    [
        ([1, 2], 'content of type list'),
        (dict(a=1), 'a dict of a'),
        ({1: torch.ones(2)}, 'a dict of 1'),
        (
            dict(embeddings=torch.ones(2), path=3),
            'embeddings in a tensor (2,)',
        ),
        (dict(state_dict={2: torch.ones(2)}), 'a dict of state_dict'),
        (dict(state_dict=3), 'a dict of state_dict'),
        (
            dict(names=['a'], embeddings=torch.ones(1, 3), clip=CLIP),
            'it has no templates',
        ),
        (dict(embeddings=torch.ones(2)), 'embeddings in a tensor (2,)'),
        (torch.ones(2, 3, 4), 'a tensor (2, 3, 4) float32'),
        (torch.tensor([[1.0, np.nan]] * 70), 'NaN or infinite'),
    ],
)
def test_unknown_content(inspect, content, message):
    torch.save(content, 'a.pth')
    code, out = inspect('a.pth')
    assert code == 1
    assert out.startswith('a.pth: DAMAGED OR UNKNOWN\n')
    assert message in out


def test_unknown_safetensors(inspect):
    from safetensors.numpy import save_file

    save_file(dict(a=np.ones(3)), 'a.safetensors')
    code, out = inspect('a.safetensors')
    assert code == 1
    assert 'was not written by ovd' in out and 'no CLIP either' in out


def test_truncated(inspect, tiny_clip_path):
    """Half of each kind is damaged, and says so."""
    ClassEmbeddings(['cat'], torch.eye(1, 1600), CLIP, 'vild').save('a.pth')
    np.save('a.npy', np.ones((80, 512)))
    boxes = dict(bboxes=np.ones((9, 4), 'f4'), scores=np.ones(9, 'f4'))
    for suffix in ('.pkl', '.safetensors'):
        save_proposals(f'a{suffix}', {'a/1.jpg': boxes}, {})
    Path('clip.pt').write_bytes(Path(tiny_clip_path).read_bytes())
    files = [
        'a.pth',
        'a.npy',
        'a.pkl',
        'a.safetensors',
        'clip.pt',
        str(make_split()),
    ]
    assert inspect(*files)[0] == 0
    for name in files:
        content = Path(name).read_bytes()
        Path(name).write_bytes(content[: len(content) // 2])
    code, out = inspect(*files)
    assert code == 1
    assert out.count('DAMAGED OR UNKNOWN') == len(files)


def test_all_files_are_reported(inspect):
    ClassEmbeddings(['cat'], torch.eye(1, 16), CLIP, 'vild').save('vild.pth')
    code, out = inspect('vidl.pth', 'vild.pth', '.')
    assert code == 1
    missing, there, folder = out.split('\n\n')
    assert missing == (
        'vidl.pth: MISSING\n  FAULT: file vidl.pth does not '
        'exist; did you mean "vild.pth"?'
    )
    assert there.startswith('vild.pth: class embeddings of 1 class\n')
    assert '.: DAMAGED OR UNKNOWN' in folder


def test_predictions_of_a_run_that_found_nothing(inspect):
    Path('a.json').write_text('[]')
    code, out = inspect('a.json')
    assert code == 0
    assert out.startswith('a.json: predictions for 0 images in COCO results')
    assert fields(out)['scores'] == 'none'
