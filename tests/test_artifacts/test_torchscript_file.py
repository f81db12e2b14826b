"""TorchScript archives are read, and not run."""

import warnings
from pathlib import Path
from typing import Tuple

import pytest
import torch
from torch import Tensor, nn

from ovd.artifacts.torch_file import NotPlainError
from ovd.artifacts.torchscript_file import read_torchscript

# torch takes leave of TorchScript, which published CLIPs go on to be
pytestmark = pytest.mark.filterwarnings(
    'ignore:.*torch.jit:DeprecationWarning'
)


class Writing(nn.Module):
    """Writes a file when it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = nn.Parameter(torch.ones(2))
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        return x * self.numbers

    @torch.jit.export
    def __getstate__(self) -> Tuple[Tensor, bool]:
        return (self.numbers.detach().clone(), self.training)

    @torch.jit.export
    def __setstate__(self, state: Tuple[Tensor, bool]) -> None:
        self.numbers = state[0]
        self.training = state[1]
        torch.save(state[0], 'executed')


def make_model() -> nn.Module:
    model = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Sequential(nn.Linear(4, 2))
    )
    model[2][0].weight = nn.Parameter(model[2][0].weight.detach().T[:2].T)
    model.register_buffer('size', torch.tensor(7))
    return model.eval()


@pytest.mark.parametrize('half', [False, True])
def test_weights_are_those_of_torch(tmp_path: Path, half: bool) -> None:
    model = make_model().half() if half else make_model()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.jit.script(model).save(tmp_path / 'a.pt')
    found, expected = read_torchscript(tmp_path / 'a.pt'), model.state_dict()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value), key


def test_its_program_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.jit.script(Writing()).save('a.pt')
    Path('executed').unlink(missing_ok=True)
    with pytest.raises(
        NotPlainError,
        match='a.pt is not opened, .* asks for a __setstate__ of its own',
    ):
        read_torchscript('a.pt')
    assert not Path('executed').exists()
    torch.jit.load('a.pt')  # what it would have done
    assert Path('executed').exists()


def test_a_damaged_archive(tmp_path: Path) -> None:
    torch.jit.script(make_model()).save(tmp_path / 'a.pt')
    whole = (tmp_path / 'a.pt').read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(b'data.pkl') + 80] ^= 1
    for content in (flipped, whole[:-30], b'', whole[:200]):
        (tmp_path / 'b.pt').write_bytes(content)
        with pytest.raises(ValueError, match='b.pt is damaged, or no Torch'):
            read_torchscript(tmp_path / 'b.pt')
