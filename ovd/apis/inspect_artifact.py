"""Say what any file of the project is: the work of inspect_artifact.py."""

from pathlib import Path
from typing import Callable, Dict, Sequence

from ovd.artifacts.files import PathLike, require_file
from ovd.artifacts.proposals import FORMAT as PROPOSALS
from ovd.artifacts.tensor_file import TensorFile
from ovd.artifacts.torch_file import NotPlainError, read_torch_file
from ovd.artifacts.weights_file import FORMAT as WEIGHTS
from ovd.artifacts.weights_file import read_weights

from .artifact_description import Description
from .describe_data import describe_proposals
from .describe_embeddings import (
    describe_class_embeddings,
    describe_foreign_table,
    describe_oadp_proposals,
)
from .describe_json import describe_json
from .describe_store import describe_shard, describe_store
from .describe_weights import describe_checkpoint, describe_clip, is_checkpoint


def inspect_artifacts(paths: Sequence[PathLike]) -> bool:
    """Print what each of these files or folders is, and what made it.

    All of them are read and checked, whatever is wrong with others.

    Returns:
        bool: Whether all are known, complete and sound.
    """
    good = True
    for i, path in enumerate(paths):
        found = describe(Path(path))
        print(
            *([''] if i else []), *found.lines(str(path)), sep='\n', flush=True
        )
        good = good and not found.faults
    return good


def describe(path: Path) -> Description:
    """Describe a file or a folder; that it can't be read is a fault."""
    try:
        if path.is_dir():
            return describe_store(path)
        require_file(path, 'file')
        return _find_reader(path)(path)
    except FileNotFoundError as error:
        return Description('MISSING', faults=[str(error)])
    except NotPlainError as error:
        return Description(
            'NOT OPENED: probably a checkpoint that holds more than plain '
            'content',
            faults=[str(error)],
        )
    except (ValueError, OSError) as error:
        return Description('DAMAGED OR UNKNOWN', faults=[str(error)])


def _find_reader(path: Path) -> Callable[[Path], Description]:
    """Return what describes a file, by its suffix or its first bytes."""
    reader = READERS.get(path.suffix)
    # Safetensors get called .bin, .pt or nothing at all
    if reader in (None, _describe_torch_file):
        from ovd.clip.weights import is_safetensors

        if is_safetensors(path):
            return _describe_safetensors
    if reader is None:
        suffixes = sorted(READERS)
        raise ValueError(
            f'{path} is none of the files that ovd knows, which end in '
            f'{", ".join(suffixes[:-1])} or {suffixes[-1]}'
        )
    if not path.stat().st_size:
        raise ValueError(f'{path} is empty')
    return reader


def _describe_safetensors(path: Path) -> Description:
    try:
        info = TensorFile(path).info
    except ValueError as error:
        if _is_clip(path):
            return describe_clip(path)
        raise ValueError(f'{error}; it is no CLIP either') from error
    if info.get('format') == PROPOSALS:
        return describe_proposals(path)
    if info.get('format') == WEIGHTS:
        return describe_checkpoint(path, read_weights(path))
    return describe_shard(path)


def _describe_torch_file(path: Path) -> Description:
    if _is_clip(path):
        return describe_clip(path)
    content = read_torch_file(path, 'this project')
    keys = content if isinstance(content, dict) else ()
    if 'embeddings' in keys and 'clip' in keys:
        return describe_class_embeddings(path)
    if 'embeddings' in keys and 'bboxes' in keys:
        return describe_oadp_proposals(path, content)
    if is_checkpoint(content) and 'embeddings' not in keys:
        return describe_checkpoint(path, content)
    return describe_foreign_table(path)


def _is_clip(path: Path) -> bool:
    """Whether a file has the entries of a CLIP, in any of its forms."""
    from ovd.clip.weights import read_state_dict

    try:
        read_state_dict(path)
    except ValueError:
        return False
    return True


READERS: Dict[str, Callable[[Path], Description]] = {
    '.json': describe_json,
    '.npy': describe_foreign_table,
    '.pkl': describe_proposals,
    '.pt': _describe_torch_file,
    '.pth': _describe_torch_file,
    '.safetensors': _describe_safetensors,
}
