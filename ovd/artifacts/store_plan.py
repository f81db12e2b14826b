"""Plan of an embedding store: what it holds, and its division into shards."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, List, Optional

import msgspec

from ovd.suggest import check_choice

from .files import PathLike, atomic_write

MANIFEST = 'manifest.json'
FORMAT = 'ovd.embedding_store.v2'
# What embeddings are stored as, the default first
STORE_DTYPES = ('float16', 'int8')
_REMEDY = 'remove it: the run that made the store writes it again'


@dataclass
class StorePlan:
    """What a store holds and what it is made from.

    Args:
        clip (dict): ``{'name', 'sha256'}`` of the CLIP.
        proposals (dict, optional): ``{'file', 'sha256'}`` of the proposals;
            None where whole images or true boxes alone are embedded.
        annotations (dict): ``{'file', 'sha256'}`` of the annotation file.
        settings (dict): What else decides the content, such as
            ``crop_scales``; anything that JSON can hold. ``dtype`` is what
            embeddings are stored as, one of `STORE_DTYPES`.
        images_per_shard (int): n.
        image_ids (list[int]): Ids of all images, in any order.
        image_keys (list[str]): Their ``<dir>/<file>``, in the same order:
            ids of two annotation files may be the same, and their images not.
        command (str): What computes the missing shards, for messages.

    Raises:
        ValueError: If an image id comes twice, or a setting is impossible.
    """

    clip: Dict[str, str]
    proposals: Optional[Dict[str, str]]
    annotations: Dict[str, str]
    settings: Dict[str, Any]
    images_per_shard: int
    image_ids: List[int]
    image_keys: List[str]
    command: str = ''
    format: str = field(default=FORMAT)

    def __post_init__(self) -> None:
        if (
            not isinstance(self.images_per_shard, int)
            or self.images_per_shard < 1
        ):
            raise ValueError(
                'images_per_shard must be a positive integer, '
                f'got {self.images_per_shard}'
            )
        ids = [int(image_id) for image_id in self.image_ids]
        if len(set(ids)) != len(ids):
            raise ValueError(
                f'{self.annotations.get("file")} has an image id twice'
            )
        if len(self.image_keys) != len(ids):
            raise ValueError(
                f'there are {len(ids)} image_ids and '
                f'{len(self.image_keys)} image_keys, expected '
                'as many'
            )
        pairs = sorted(zip(ids, self.image_keys))
        self.image_ids = [image_id for image_id, _ in pairs]
        self.image_keys = [key for _, key in pairs]
        # As JSON gives it back: tuples are lists there.
        self.settings = json.loads(json.dumps(self.settings))
        check_choice(str(self.dtype), STORE_DTYPES, 'dtype')

    @property
    def dtype(self) -> str:
        """What embeddings are stored as."""
        return self.settings.get('dtype', STORE_DTYPES[0])

    @property
    def num_shards(self) -> int:
        """Number of shards, the last of which may be short."""
        return -(-len(self.image_ids) // self.images_per_shard)

    def shard_image_ids(self, shard: int) -> List[int]:
        """Return the image ids of a shard, ascending."""
        start = shard * self.images_per_shard
        return self.image_ids[start : start + self.images_per_shard]

    def identity(self) -> Dict[str, Any]:
        """Return what two runs must share: names and ids by digest only."""
        ids = json.dumps([self.image_ids, self.image_keys]).encode()
        return {
            'format': self.format,
            'clip.sha256': self.clip.get('sha256'),
            'proposals.sha256': (self.proposals or {}).get('sha256'),
            'annotations.sha256': self.annotations.get('sha256'),
            'images_per_shard': self.images_per_shard,
            'image_ids': f'{len(self.image_ids)} ids, SHA-256 '
            f'{hashlib.sha256(ids).hexdigest()}',
            **{
                f'settings.{key}': value
                for key, value in self.settings.items()
            },
            'settings.dtype': self.dtype,
        }

    def digest(self) -> str:
        """Return the digest that ties every shard to this plan."""
        text = json.dumps(self.identity(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, path: PathLike) -> None:
        """Write the manifest, one line per entry, with its digest."""
        content = dict(asdict(self), sha256=self.digest())
        lines = [
            f' {json.dumps(key)}: {json.dumps(value)}'
            for key, value in content.items()
        ]
        with atomic_write(path, 'w') as file:
            file.write('{\n' + ',\n'.join(lines) + '\n}\n')

    @classmethod
    def load(cls, path: PathLike) -> 'StorePlan':
        """Read a manifest.

        Raises:
            ValueError: If it is damaged, changed, or of another format.
        """
        try:
            content = json.loads(Path(path).read_text(encoding='utf-8'))
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f'{path} is damaged ({error}); {_REMEDY}'
            ) from error
        found = content.get('format') if isinstance(content, dict) else None
        if found != FORMAT:
            raise ValueError(
                f'{path} is of format {found!r}, expected {FORMAT!r}; one of '
                'another version has to be made again'
            )
        digest = content.pop('sha256', None)
        try:
            for key in content:
                check_choice(key, [item.name for item in fields(cls)], 'entry')
            plan = msgspec.convert(content, cls)
            expected = plan.digest()
        except (ValueError, RecursionError, msgspec.ValidationError) as error:
            raise ValueError(
                f'{path} is no manifest: {error}; {_REMEDY}'
            ) from error
        if digest != expected:
            # Else all of its shards would be those of another store
            raise ValueError(
                f'{path} is damaged: its content has another '
                f'digest than it says; {_REMEDY}'
            )
        return plan


def shard_name(shard: int) -> str:
    """Return the file name of a shard."""
    return f'shard-{shard:05d}.safetensors'


def find_missing_shards(folder: PathLike, num_shards: int) -> List[int]:
    """Return the numbers of the shards that do not exist yet, ascending."""
    found = {path.name for path in Path(folder).glob('shard-*.safetensors')}
    return [k for k in range(num_shards) if shard_name(k) not in found]
