"""Go through the files of an embedding store and sort them."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List

from tqdm import tqdm

from ovd.artifacts.embedding_store import MANIFEST
from ovd.artifacts.files import PathLike
from ovd.artifacts.store_check import ShardContent
from ovd.artifacts.store_plan import StorePlan, shard_name
from ovd.artifacts.store_shard import ForeignShardError


@dataclass
class StoreSurvey:
    """What a store has, and what is wrong with it.

    Args:
        folder (Path): The store.
        plan (StorePlan): What it is to hold.
        sound (list[ShardContent]): Of the shards that are as they should be.
        missing (list[str]): Names of the shards that are not there.
        damaged (dict[Path, str]): Shards with what is wrong with them.
        unreadable (dict[Path, str]): Shards, perhaps sound, that the system
            does not let us read, with its reason.
        foreign (dict[Path, str]): Sound shards that do not belong here.
        unknown (list[str]): Names of what else is in the folder.
        leftovers (list[str]): Names of temporary files, of runs under way or
            killed.
    """

    folder: Path
    plan: StorePlan
    sound: List[ShardContent] = field(default_factory=list)
    missing: List[str] = field(default_factory=list)
    damaged: Dict[Path, str] = field(default_factory=dict)
    unreadable: Dict[Path, str] = field(default_factory=dict)
    foreign: Dict[Path, str] = field(default_factory=dict)
    unknown: List[str] = field(default_factory=list)
    leftovers: List[str] = field(default_factory=list)

    @property
    def resume(self) -> str:
        """The command that computes what is missing."""
        return self.plan.command or 'the command that made it'


def survey_store(
    folder: PathLike, look: Callable[[Path, str, str], ShardContent]
) -> StoreSurvey:
    """Look into every shard of a store; what is wrong is a finding.

    Args:
        folder (PathLike): The store.
        look (Callable): ``check_shard`` or ``count_shard``.

    Raises:
        ValueError: If it has no manifest, or that is damaged.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise ValueError(
            f'{folder} is no embedding store: it has no {MANIFEST}'
        )
    plan = StorePlan.load(folder / MANIFEST)
    survey = StoreSurvey(folder, plan)
    expected = [shard_name(shard) for shard in range(plan.num_shards)]
    found = {path.name for path in folder.iterdir()}
    sizes = _find_sizes(folder, [name for name in expected if name in found])
    survey.missing = [name for name in expected if name not in sizes]
    for name in sorted(found - {MANIFEST, *expected}):
        is_leftover = name[0] == '.' and name.endswith('.tmp')
        (survey.leftovers if is_leftover else survey.unknown).append(name)
    with tqdm(
        desc='checking shards',
        total=sum(sizes.values()),
        unit='B',
        unit_scale=True,
        leave=False,
        disable=None,
    ) as progress:
        digest = plan.digest()
        for name, size in sizes.items():
            _look_into(survey, folder / name, look, digest)
            progress.update(size)
    return survey


def _find_sizes(folder: Path, names: List[str]) -> Dict[str, int]:
    """Return the sizes of files, but not of links to what is not there."""
    sizes = {}
    for name in names:
        with suppress(FileNotFoundError):
            sizes[name] = (folder / name).stat().st_size
    return sizes


def _look_into(
    survey: StoreSurvey, path: Path, look: Callable, digest: str
) -> None:
    try:
        survey.sound.append(look(path, digest, survey.plan.dtype))
    except ForeignShardError as error:
        survey.foreign[path] = str(error)
    except ValueError as error:
        survey.damaged[path] = str(error)
    except OSError as error:
        reason = (
            'it is no file' if path.is_dir() else error.strerror or str(error)
        )
        survey.unreadable[path] = f'{path} cannot be read ({reason})'
