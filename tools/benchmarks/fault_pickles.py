"""Files that run a program when a pickle in them is believed."""

import os
import pickle
import subprocess
import warnings
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any, Callable, List, Tuple

import numpy as np
import torch
from fault_places import PLACES
from fault_processes import Child
from fault_training import World
from torch import Tensor, nn

MARK = 'executed'  # in the current folder


class Payload:
    """Pickled, it is a call."""

    def __init__(self, function: Callable, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Tuple[Callable, tuple]:
        return self.call


class Script(nn.Module):
    """A TorchScript program that writes a file when it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.text_projection = nn.Parameter(torch.ones(2, 2))
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.text_projection

    @torch.jit.export
    def __getstate__(self) -> Tuple[Tensor, bool]:
        return self.text_projection.detach(), self.training

    @torch.jit.export
    def __setstate__(self, state: Tuple[Tensor, bool]) -> None:
        self.text_projection = state[0]
        self.training = state[1]
        torch.save(state[0], 'executed')


def _payload(rng: Random) -> Any:
    """Return something that makes the file, deep in what else there may be."""
    made = rng.choice(
        (
            Payload(os.system, f'touch {MARK}'),
            Payload(exec, f'open({MARK!r}, "w").close()'),
            Payload(eval, f'open({MARK!r}, "w").close()'),
            Payload(subprocess.check_call, ['touch', MARK]),
            Payload(Path.touch, Path(MARK)),
        )
    )
    return rng.choice(
        (
            made,
            [made],
            (torch.ones(3, 4), torch.ones(3), made),
            dict(meta=made, state_dict=dict(weight=torch.ones(2))),
            dict(
                state_dict=dict(w=torch.ones(2)), meta=dict(iter=1, seed=made)
            ),
            dict(names=['a'], embeddings=made, clip={}, templates='vild'),
        )
    )


def _write_npy(path: Path, content: Any) -> None:
    array = np.empty(1, object)
    array[0] = content
    with open(path, 'wb') as file:
        np.save(file, array, allow_pickle=True)


def _write_script(path: Path, content: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torch takes leave of it
        torch.jit.script(Script()).save(str(path))


def _write_pickle(protocol: int, path: Path, content: Any) -> None:
    path.write_bytes(pickle.dumps(content, protocol))


WRITERS = {
    'zip': lambda path, content: torch.save(content, path),
    'legacy': lambda path, content: torch.save(
        content, path, _use_new_zipfile_serialization=False
    ),
    'pickle 0': partial(_write_pickle, 0),
    'pickle 2': partial(_write_pickle, 2),
    'pickle 5': partial(_write_pickle, 5),
    'script': _write_script,
    'npy': _write_npy,
}


def _believe(form: str, path: Path) -> None:
    """Load a file as a program would that believes all files."""
    if form in ('zip', 'legacy'):
        torch.load(path, weights_only=False)
    elif form == 'script':
        torch.jit.load(path)
    elif form == 'npy':
        np.load(path, allow_pickle=True)
    else:
        pickle.loads(path.read_bytes())


def _load(
    place: str, form: str, world: World, rng: Random, folder: Path
) -> None:
    """Put a file in a place; it is refused and nothing in it runs."""
    names, read = PLACES[place]
    path = folder / rng.choice(names)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    WRITERS[form](path, _payload(rng))
    Path(MARK).unlink(missing_ok=True)
    run = Child(lambda: read(path, world.folder), folder / 'load.txt')
    code = run.wait()
    assert not Path(MARK).exists(), f'{place} ran what a file of {form} holds'
    assert code != 0, f'{place} did not refuse a file of {form}'
    assert code == 2 and path.name in run.output, (
        f'{place} did not say what is wrong with {path.name}, {form}: '
        f'{run.output[-1500:]}'
    )
    Child(lambda: _believe(form, path), folder / 'believe.txt').wait()
    assert Path(MARK).exists(), f'the file of {form} does nothing'


def forms_of(place: str) -> List[str]:
    """Return what may lie in a place."""
    names, _ = PLACES[place]
    suffixes = {Path(name).suffix for name in names}
    if suffixes == {'.npy'}:
        return ['npy', 'pickle 2']
    if suffixes <= {'.pkl', '.json', '.safetensors'}:
        return ['pickle 0', 'pickle 2', 'pickle 5']
    return ['zip', 'legacy', 'pickle 2', 'script']


CASES = [
    partial(_load, place, form)
    for place in PLACES
    if not place.startswith('open_clip') or find_spec('open_clip')
    for form in forms_of(place)
]
