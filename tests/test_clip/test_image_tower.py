"""The image tower against the models' own ``encode_image``."""

import copy

import pytest
import torch
import torch.nn.functional as F

from ovd.clip.building import build_clip
from ovd.clip.image_tower import ImageTower
from ovd.clip.loading import PRECISIONS, round_weights


def _model(vision_layers, side=64, vision_width=64, patch=16, seed=0):
    torch.manual_seed(seed)
    model = build_clip(
        32,
        side,
        vision_layers,
        vision_width,
        64,
        1,
        patch,
        context_length=8,
        vocab_size=16,
    ).eval()
    # Norms and biases of new models are ones and zeros: any order would do
    with torch.no_grad():
        for parameter in model.visual.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    return model.requires_grad_(False)


@pytest.mark.parametrize(
    'settings',
    [
        dict(vision_layers=1),
        dict(vision_layers=3, vision_width=128),
        dict(vision_layers=2, side=96, patch=32),
        dict(vision_layers=(1, 1, 1, 1), vision_width=16),
    ],
)
@pytest.mark.parametrize('number', [0, 1, 5])
def test_same_features(settings, number):
    model = _model(**settings)
    side = settings.get('side', 64)
    images = torch.randn(number, 3, side, side)
    tower = ImageTower(model)
    assert tower.is_known == isinstance(settings['vision_layers'], int)
    found = tower.encode(images, torch.float32)
    assert found.shape == (number, 32)
    if number:
        torch.testing.assert_close(
            found, model.encode_image(images), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize(
    'memory_format', [torch.contiguous_format, torch.channels_last]
)
def test_memory_format_of_the_images(memory_format):
    images = torch.randn(3, 3, 64, 64)
    tower = ImageTower(_model(2))
    torch.testing.assert_close(
        tower.encode(
            images.contiguous(memory_format=memory_format), torch.float32
        ),
        tower.encode(images, torch.float32),
        rtol=0,
        atol=1e-6,
    )


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_less_precision(precision):
    exact = _model(3)
    model = copy.deepcopy(exact)
    round_weights(model, PRECISIONS[precision])
    images = torch.randn(4, 3, 64, 64)
    found = ImageTower(model).encode(images, PRECISIONS[precision])
    assert found.dtype == torch.float32
    cosines = F.cosine_similarity(found, exact.encode_image(images))
    assert cosines.min() > 0.999


@pytest.mark.parametrize(
    'settings, is_known',
    [
        (dict(), True),
        (dict(ls_init_value=0.1), True),
        (dict(no_ln_pre=True), False),
        (dict(pool_type='avg'), False),
        (dict(final_ln_after_pool=True), False),
        (dict(attentional_pool=True), False),
        (dict(patch_dropout=0.5), True),
    ],
)
@pytest.mark.parametrize('quick_gelu', [True, False])
def test_open_clip_towers(settings, is_known, quick_gelu):
    open_clip = pytest.importorskip('open_clip')
    from open_clip.transformer import QuickGELU, VisionTransformer

    torch.manual_seed(0)
    visual = (
        VisionTransformer(
            64,
            16,
            64,
            2,
            1,
            4.0,
            output_dim=32,
            act_layer=QuickGELU if quick_gelu else torch.nn.GELU,
            **settings,
        )
        .eval()
        .requires_grad_(False)
    )
    assert open_clip.__version__

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.visual = visual

        def encode_image(self, images):
            return visual(images)

    tower = ImageTower(Model())
    assert tower.is_known is is_known
    images = torch.randn(3, 3, 64, 64)
    torch.testing.assert_close(
        tower.encode(images, torch.float32), visual(images), rtol=0, atol=1e-5
    )


def test_inputs_are_left_alone():
    images = torch.randn(2, 3, 64, 64)
    before = images.clone()
    ImageTower(_model(2)).encode(images, torch.float32)
    assert torch.equal(images, before)
