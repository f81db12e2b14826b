"""Weights as safetensors: the same numbers, in the place of a checkpoint."""

from pathlib import Path

import pytest
import torch
from mmengine.runner import load_checkpoint
from safetensors.torch import load_file
from torch import nn

from ovd.apis.export_weights import export_weights
from ovd.apis.inspect_artifact import describe
from ovd.artifacts.seen_classes import read_clip, read_seen_classes
from ovd.artifacts.weights_file import read_weights, write_weights

CLIP = dict(name='ViT-B/32', sha256='40d3')


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Folder of a run with one checkpoint."""
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).half()
    torch.save(
        dict(
            state_dict=model.state_dict(),
            optimizer=dict(state={}),
            message_hub=dict(),
            meta=dict(
                iter=7,
                clip=CLIP,
                position=dict(num_batches=7),
                dataset_meta=dict(
                    classes=('cat', 'dog'),
                    base_classes=['cat'],
                    novel_classes=['dog'],
                ),
            ),
        ),
        tmp_path / 'iter_7.pth',
    )
    (tmp_path / 'last_checkpoint').write_text('iter_7.pth')
    return tmp_path


def test_the_weights_are_the_same(run: Path) -> None:
    out = export_weights(run, run / 'out.safetensors')
    checkpoint = torch.load(run / 'iter_7.pth', weights_only=True)
    found = read_weights(out)
    assert found['state_dict'].keys() == checkpoint['state_dict'].keys()
    for key, value in checkpoint['state_dict'].items():
        assert found['state_dict'][key].dtype == value.dtype
        assert torch.equal(found['state_dict'][key], value)
    assert set(found['meta']) == {'iter', 'clip', 'dataset_meta'}


def test_it_stands_in_the_place_of_a_checkpoint(run: Path) -> None:
    out = export_weights(run, run / 'out.safetensors')
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    load_checkpoint(model, str(out), strict=True)
    expected = torch.load(run / 'iter_7.pth', weights_only=True)['state_dict']
    assert torch.equal(model[0].weight, expected['0.weight'].float())
    assert read_seen_classes(out) == ['cat']
    assert read_clip(out) == CLIP
    assert 'weights alone' in str(describe(out))


def test_bfloat16(tmp_path: Path) -> None:
    """NumPy lacks it; other readers of safetensors find what it is."""
    state_dict = dict(
        weight=torch.randn(4, 3).bfloat16().T,
        bias=torch.randn(4),
        scale=torch.tensor(1.5, dtype=torch.bfloat16),
        none=torch.zeros(0, 2, dtype=torch.bfloat16),
    )
    out = tmp_path / 'out.safetensors'
    write_weights(out, state_dict, {})
    for found in (read_weights(out)['state_dict'], load_file(out)):
        assert found.keys() == state_dict.keys()
        for key, value in state_dict.items():
            assert found[key].dtype == value.dtype
            assert torch.equal(found[key], value)


def test_damage_is_found(run: Path) -> None:
    out = export_weights(run, run / 'out.safetensors')
    content = bytearray(out.read_bytes())
    content[-1] ^= 1
    out.write_bytes(content)
    with pytest.raises(ValueError, match='out.safetensors is damaged'):
        read_weights(out)


@pytest.mark.parametrize(
    'out, message',
    [
        ('weights.pth', 'weights.pth must end in .safetensors'),
        ('there.safetensors', 'is there already; replace it with --overwrite'),
    ],
)
def test_wrong_names(run: Path, out: str, message: str, run_tool) -> None:
    (run / 'there.safetensors').touch()
    done = run_tool('export_weights.py', run, run / out)
    assert done.returncode == 2 and message in done.stderr


def test_no_checkpoint(run: Path) -> None:
    torch.save(dict(a=1), run / 'iter_7.pth')
    with pytest.raises(ValueError, match='has no "state_dict"'):
        export_weights(run, run / 'out.safetensors')
    (run / 'last_checkpoint').unlink()
    with pytest.raises(FileNotFoundError, match='holds no checkpoint'):
        export_weights(run, run / 'out.safetensors')


def test_replaced_on_demand(run: Path, run_tool) -> None:
    (run / 'there.safetensors').touch()
    done = run_tool(
        'export_weights.py', run, run / 'there.safetensors', '--overwrite'
    )
    assert done.returncode == 0
    assert read_weights(run / 'there.safetensors')['meta']['iter'] == 7
