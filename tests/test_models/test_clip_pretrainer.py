"""Training the miniature CLIP: losses, captions, export, crops, accuracy."""

import json
import logging
from pathlib import Path
from typing import Tuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from clip.model import build_model
from mmengine.config import Config
from torch import Tensor

from ovd.clip.loading import load_clip
from ovd.clip.prompt_templates import TEMPLATE_SETS
from ovd.clip.tokenizer import tokenize
from ovd.datasets.captioned_crops import CaptionedCrops
from ovd.engine.hooks import ExportCLIPHook
from ovd.evaluation.metrics import ZeroShotAccuracy
from ovd.models.clip_pretrainer import (
    CLIPPretrainer,
    compact_captions,
    contrastive_loss,
)

NAMES = ['background', 'red ring', 'striped blue star', 'green box']
TINY = dict(
    embed_dim=64,
    image_resolution=64,
    vision_layers=(1, 1, 1, 1),
    vision_width=8,
    transformer_width=64,
    transformer_layers=2,
)


CAPTIONS = ['{}', 'my {}', 'do not touch the {} please', 'a {} or two']


@pytest.fixture
def names_file(tmp_path: Path) -> str:
    path = tmp_path / 'names.json'
    path.write_text(json.dumps(NAMES))
    return str(path)


@pytest.fixture
def model(names_file: str) -> CLIPPretrainer:
    torch.manual_seed(0)
    return CLIPPretrainer(clip=TINY, names_file=names_file, captions=CAPTIONS)


def crops_and_labels(count: int) -> Tuple[Tensor, Tensor]:
    """Crops of one flat colour per name, with a little noise."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % len(NAMES)
    colours = torch.tensor(
        [[90, 90, 90], [220, 30, 30], [30, 30, 220], [30, 200, 30]]
    )
    noise = torch.randint(-20, 20, (count, 3, 64, 64), generator=generator)
    crops = colours[labels][..., None, None] + noise
    return crops.clamp(0, 255).to(torch.uint8), labels


# --- loss ------------------------------------------------------------------


def test_loss_of_different_names_is_that_of_clip():
    """Without repeated names the target is the diagonal."""
    torch.manual_seed(0)
    a, b = F.normalize(torch.randn(2, 5, 8), dim=-1)
    logits = 7.0 * a @ b.T
    expected = (
        F.cross_entropy(logits, torch.arange(5))
        + F.cross_entropy(logits.T, torch.arange(5))
    ) / 2
    found = contrastive_loss(a, b, torch.arange(5), torch.tensor(7.0))
    assert found == pytest.approx(expected.item(), rel=1e-6)


def test_loss_of_repeated_names_by_hand():
    """Labels 0, 0, 1: mean over rows of the mean -log p of the positives."""
    torch.manual_seed(1)
    a, b = F.normalize(torch.randn(2, 3, 4, dtype=torch.float64), dim=-1)
    scale = torch.tensor(3.0, dtype=torch.float64)
    found = contrastive_loss(
        a.float(), b.float(), torch.tensor([0, 0, 1]), scale.float()
    )
    expected = 0.0
    positives = {0: (0, 1), 1: (0, 1), 2: (2,)}
    for x, y in ((a, b), (b, a)):
        for i in range(3):
            cosines = [float(scale * (x[i] @ y[j])) for j in range(3)]
            total = np.log(np.exp(cosines).sum())
            expected += np.mean([total - cosines[j] for j in positives[i]])
    assert found.item() == pytest.approx(expected / 6, rel=1e-5)


def test_losses_have_the_weights_of_the_config(names_file: str):
    losses = []
    for weight in (1.0, 0.25):
        torch.manual_seed(0)
        model = CLIPPretrainer(
            clip=TINY,
            names_file=names_file,
            captions=CAPTIONS,
            text_weight=weight,
        )
        torch.manual_seed(5)
        losses.append(model(*crops_and_labels(8), mode='loss'))
    assert set(losses[0]) == {'loss_image_text', 'loss_text_text'}
    assert losses[0]['loss_image_text'] == losses[1]['loss_image_text']
    assert losses[1]['loss_text_text'].item() == pytest.approx(
        0.25 * losses[0]['loss_text_text'].item(), rel=1e-6
    )


def test_logit_scale_starts_where_it_is_told(names_file: str):
    model = CLIPPretrainer(
        clip=TINY, names_file=names_file, captions=CAPTIONS, logit_scale=9.0
    )
    assert model.clip.logit_scale.exp().item() == pytest.approx(9.0, rel=1e-6)


def test_a_few_iterations_reduce_the_loss(model: CLIPPretrainer):
    inputs, labels = crops_and_labels(16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    history = []
    for _ in range(12):
        losses = model(inputs, labels, mode='loss')
        loss = sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.7 * history[0]
    unused = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None
    ]
    assert not unused  # one would stop distributed training


# --- captions --------------------------------------------------------------


def test_captions_are_the_texts_of_each_name():
    used_tokens, captions = compact_captions(NAMES, CAPTIONS)
    assert captions.shape[:2] == (len(NAMES), 4)
    for tokens, name in zip(captions, NAMES, strict=True):
        expected = tokenize([c.format(name) for c in CAPTIONS]).long()
        length = captions.shape[-1]
        assert torch.equal(used_tokens[tokens], expected[:, :length])
        assert not expected[:, length:].any()
    assert used_tokens[0] == 0 and used_tokens[-1] == 49407
    assert (captions != 0).any(dim=(0, 1)).all()  # no longer than needed


def test_captions_of_one_length_still_have_padding():
    used_tokens, captions = compact_captions(['red', 'blue'], ['{}'])
    assert used_tokens[0] == 0
    assert captions.shape == (2, 1, 3)
    assert torch.equal(used_tokens[captions][0], tokenize(['red'], 3).long())


def test_captions_are_no_sentences_for_classes():
    """The miniature CLIP has to take these as the real one does."""
    root = Path(__file__).parents[2]
    cfg = Config.fromfile(root / 'configs/miniature/clip_rn_miniature.py')
    templates = {
        template.lower().rstrip('.')
        for chosen in TEMPLATE_SETS.values()
        for template in chosen.templates
        if template != '{}'
    }
    captions = [caption.lower() for caption in cfg.model.captions]
    assert len({*captions}) == len(captions) > 10
    assert not templates & {*captions}


def test_missing_names_say_how_to_make_them(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match='build_miniature.py'):
        CLIPPretrainer(
            clip=TINY, names_file=str(tmp_path / 'no.json'), captions=CAPTIONS
        )


# --- export ----------------------------------------------------------------


@pytest.fixture
def exported(model: CLIPPretrainer, tmp_path: Path) -> str:
    """A file of a CLIP whose weights and statistics are not the initial."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    sum(model(*crops_and_labels(8), mode='loss').values()).backward()
    optimizer.step()
    model.eval()
    path = tmp_path / 'clip.pt'

    class FakeRunner:
        logger = logging.getLogger()

    FakeRunner.model = model
    ExportCLIPHook(str(path)).after_train(FakeRunner)
    return str(path)


def test_exported_file_loads_with_clip_and_embeds_the_same(
    model: CLIPPretrainer, exported: str
):
    """To the precision of half-precision weights."""
    state_dict = torch.load(exported, weights_only=True)
    loaded = build_model(state_dict).float()
    assert loaded.context_length == 77 and loaded.vocab_size == 49408
    inputs, labels = crops_and_labels(6)
    with torch.no_grad():
        expected = model(inputs, labels)
        pixels = (
            inputs / 255
            - torch.tensor((0.48145466, 0.4578275, 0.40821073)).view(3, 1, 1)
        ) / torch.tensor((0.26862954, 0.26130258, 0.27577711)).view(3, 1, 1)
        found = F.normalize(loaded.encode_image(pixels), dim=-1)
    torch.testing.assert_close(found, expected, atol=3e-3, rtol=0)
    with torch.no_grad():
        texts = [c.format('striped blue star') for c in CAPTIONS]
        found = F.normalize(loaded.encode_text(tokenize(texts)), dim=-1)
        expected = F.normalize(
            model.clip.encode_text(model.captions[2]), dim=-1
        )
    torch.testing.assert_close(found, expected, atol=3e-3, rtol=0)


def test_class_embeddings_are_those_of_the_training(
    model: CLIPPretrainer, exported: str
):
    loaded = load_clip(exported).model
    with torch.no_grad():
        found = torch.stack(
            [
                F.normalize(
                    loaded.encode_text(
                        tokenize([c.format(name) for c in CAPTIONS])
                    ),
                    dim=-1,
                ).mean(dim=0)
                for name in NAMES
            ]
        )
    torch.testing.assert_close(
        F.normalize(found, dim=-1), model.embed_names(), atol=3e-3, rtol=0
    )


def test_untrained_tokens_are_zero(model: CLIPPretrainer, exported: str):
    table = torch.load(exported, weights_only=True)['token_embedding.weight']
    used = table.abs().sum(dim=1).nonzero().flatten()
    assert set(used.tolist()) <= set(model.used_tokens.tolist())


# --- prediction and accuracy -----------------------------------------------


def test_prediction_is_the_nearest_name(model: CLIPPretrainer):
    model.eval()
    inputs, labels = crops_and_labels(6)
    with torch.no_grad():
        found = model(inputs, labels, mode='predict')
        similarity = model(inputs, labels) @ model.embed_names().T
    assert [sample['label'] for sample in found] == labels.tolist()
    assert [sample['pred_label'] for sample in found] == similarity.argmax(
        dim=1
    ).tolist()


def test_training_renews_the_class_embeddings(model: CLIPPretrainer):
    model.eval()
    inputs, labels = crops_and_labels(2)
    with torch.no_grad():
        model(inputs, labels, mode='predict')
        before = model._class_embeddings
        model.train()
        model.clip.text_projection.normal_()
        model.eval()
        model(inputs, labels, mode='predict')
    assert not torch.allclose(before, model._class_embeddings)


def test_accuracy_of_each_part(tmp_path: Path):
    split = tmp_path / '48_17.json'
    split.write_text(
        json.dumps(
            dict(
                base=['red ring', 'green box'],
                novel=['striped blue star'],
                groups=dict(rare=['striped blue star']),
            )
        )
    )
    out_file = tmp_path / 'accuracy.json'
    metric = ZeroShotAccuracy(str(split), out_file=str(out_file))
    metric.dataset_meta = dict(classes=NAMES)
    pairs = [(1, 1), (1, 3), (3, 3), (3, 3), (2, 2), (2, 0), (0, 0)]
    metric.process({}, [dict(label=a, pred_label=b) for a, b in pairs])
    found = metric.evaluate(len(pairs))
    assert found == {
        'zero_shot/base': 0.75,
        'zero_shot/novel': 0.5,
        'zero_shot/rare': 0.5,
        'zero_shot/background': 1.0,
    }
    assert json.loads(out_file.read_text())['base'] == 0.75


def test_accuracy_of_another_prediction(tmp_path: Path):
    split = tmp_path / '48_17.json'
    split.write_text(json.dumps(dict(base=['red ring'], novel=['green box'])))
    metric = ZeroShotAccuracy(str(split), prediction='other', prefix='mine')
    metric.dataset_meta = dict(classes=NAMES)
    metric.process(
        {},
        [
            dict(label=1, pred_label=0, other=1),
            dict(label=3, pred_label=3, other=0),
        ],
    )
    assert metric.evaluate(2) == {'mine/base': 1.0, 'mine/novel': 0.0}


# --- crops -----------------------------------------------------------------


def write_crops(folder: Path, labels: np.ndarray, count: int) -> None:
    crops = np.arange(count * 64 * 64 * 3, dtype=np.uint64) % 251
    np.save(
        folder / 'crops.npy', crops.reshape(count, 64, 64, 3).astype(np.uint8)
    )
    np.save(folder / 'crops_labels.npy', labels)


def crops_dataset(folder: Path) -> CaptionedCrops:
    return CaptionedCrops(
        ann_file='names.json', crops_file='crops.npy', data_root=str(folder)
    )


def test_dataset_gives_crops_and_labels(names_file: str, tmp_path: Path):
    write_crops(tmp_path, np.array([2, 0, 3]), 3)
    dataset = crops_dataset(tmp_path)
    assert len(dataset) == 3
    assert dataset.metainfo['classes'] == tuple(NAMES)
    sample = dataset[2]
    assert sample['labels'] == 3
    expected = np.load(tmp_path / 'crops.npy')[2]
    assert np.array_equal(sample['inputs'].permute(1, 2, 0), expected)


def test_crops_of_a_split(names_file: str, tmp_path: Path):
    write_crops(tmp_path, np.array([2, 0, 3, 1]), 4)
    (tmp_path / 'split.json').write_text(
        json.dumps(
            dict(base=['green box', 'red ring'], novel=['striped blue star'])
        )
    )
    dataset = CaptionedCrops(
        ann_file='names.json',
        crops_file='crops.npy',
        data_root=str(tmp_path),
        split_file='split.json',
    )
    assert dataset.metainfo['classes'] == tuple(NAMES[1:])
    assert dataset.metainfo['base_classes'] == ('red ring', 'green box')
    assert dataset.metainfo['novel_classes'] == ('striped blue star',)
    assert [dataset[i]['labels'] for i in range(3)] == [1, 2, 0]
    crops = np.load(tmp_path / 'crops.npy')
    assert np.array_equal(dataset[1]['inputs'].permute(1, 2, 0), crops[2])


@pytest.mark.parametrize(
    'labels, message',
    [([0, 1], '2 labels for 3 crops'), ([0, 1, 4], 'labels 0 to 4')],
)
def test_crops_that_do_not_fit_are_refused(
    names_file: str, tmp_path: Path, labels: list, message: str
):
    write_crops(tmp_path, np.array(labels), 3)
    with pytest.raises(ValueError, match=message):
        crops_dataset(tmp_path)


def test_missing_crops_say_how_to_make_them(names_file: str, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match='build_miniature.py'):
        crops_dataset(tmp_path)


@pytest.mark.parametrize('name', ['crops', 'crops_labels'])
def test_damaged_crops_are_named(names_file: str, tmp_path: Path, name: str):
    write_crops(tmp_path, np.array([0, 1]), 2)
    path = tmp_path / f'{name}.npy'
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=f'{name}.npy is damaged.*build_mini'):
        crops_dataset(tmp_path)
