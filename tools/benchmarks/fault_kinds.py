"""The kinds of faults, and how often each is tried."""

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Callable, Sequence

import fault_files
import fault_pickles
import fault_stops
from fault_training import World


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Args:
        name (str): What happens.
        expected (str): What has to be true afterwards.
        ways (Sequence[Callable]): Each does it and raises if that is not
            true; they are taken in turn.
        number (int): How often it is tried.
        ranks (int): Processes of its job. Defaults to 1.
    """

    name: str
    expected: str
    ways: Sequence[Callable[[World, Random, Path], None]]
    number: int
    ranks: int = 1


SAME = 'resumes to the same weights and losses'
KINDS = [
    Kind('SIGKILL', SAME, [fault_stops.kill_all], 40),
    Kind('SIGKILL in a checkpoint', SAME, [fault_stops.kill_in_writing], 20),
    Kind(
        'SIGKILL of one of two',
        f'the other ends; {SAME}',
        [fault_stops.kill_one_of_two],
        8,
        ranks=2,
    ),
    Kind(
        'SIGTERM or SIGINT',
        f'saved, exit code 0; {SAME}',
        [fault_stops.terminate],
        24,
    ),
    Kind(
        'SIGTERM of one of two',
        f'both saved, exit code 0; {SAME}',
        [fault_stops.terminate_one_of_two],
        6,
        ranks=2,
    ),
    Kind(
        'hung rank',
        f'named in time; {SAME}',
        [fault_stops.hang_one_of_two],
        6,
        ranks=2,
    ),
    Kind(
        'full disk',
        f'file named, the previous one kept; {SAME}',
        [fault_stops.fill_disk],
        20,
    ),
    Kind(
        'checkpoint cut off',
        f'refused; the one before {SAME}',
        [fault_files.truncate_checkpoint],
        20,
    ),
    Kind(
        'checkpoint with a flipped bit',
        f'refused, or harmless; {SAME}',
        [fault_files.flip_checkpoint],
        30,
    ),
    Kind(
        'damaged shard',
        'found, and made again byte by byte',
        [fault_files.damage_shard],
        24,
    ),
    Kind(
        'corrupt image',
        'named, or recorded and passed over',
        [fault_files.corrupt_image],
        12,
    ),
    Kind(
        'corrupt image of a store',
        'named, or recorded and passed over',
        [fault_files.corrupt_image_of_store],
        12,
    ),
    Kind(
        'NaN or infinite loss',
        'stops, names the images, saves nothing',
        [fault_files.spoil_loss],
        12,
    ),
    Kind(
        'malicious pickle',
        'refused, nothing of it runs',
        fault_pickles.CASES,
        len(fault_pickles.CASES),
    ),
]
