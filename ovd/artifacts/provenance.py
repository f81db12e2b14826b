"""Which CLIP made an artefact, and whether two artefacts belong together."""

from typing import Any, Mapping


def check_clip_identity(identity: Any) -> None:
    """Raise unless this is the identity of a CLIP.

    Args:
        identity (Any): Should be ``{'name', 'sha256'}``, two strings, the
            second with 64 hexadecimal digits.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(identity, Mapping):
        raise ValueError(
            f'clip must be a dict of name and sha256, got {identity!r}'
        )
    if not isinstance(identity.get('name'), str):
        raise ValueError(
            f'clip must have a name that is a string, got {identity!r}'
        )
    sha256 = identity.get('sha256')
    if (
        not isinstance(sha256, str)
        or len(sha256) != 64
        or set(sha256) - set('0123456789abcdef')
    ):
        raise ValueError(
            f'clip must have a sha256 of 64 hexadecimal digits, got '
            f'{identity!r}'
        )


def check_same_clip(
    a: Mapping[str, str], b: Mapping[str, str], what_a: str, what_b: str
) -> None:
    """Raise unless two artefacts were made by one and the same CLIP.

    The digest of the weights decides; a file may have moved since.

    Args:
        a (Mapping[str, str]): ``{'name', 'sha256'}`` of the first artefact.
        b (Mapping[str, str]): The same of the second one.
        what_a (str): The first one in words, with its path if it has one.
        what_b (str): The second one in words.

    Raises:
        ValueError: If the digests differ.
    """
    if a['sha256'] == b['sha256']:
        return
    raise ValueError(
        f"embeddings of two CLIPs can't be compared: {what_a} was made by "
        f'{_describe(a)}, {what_b} by {_describe(b)}; make one of them anew '
        f'with the CLIP of the other'
    )


def check_same_source(
    a: Mapping[str, str], b: Mapping[str, str], what_a: str, what_b: str
) -> None:
    """Raise if two artefacts are known to be of different images.

    Args:
        a (Mapping[str, str]): ``{'file', 'sha256', 'source_sha256'}`` of the
            annotation file of the first artefact; the last is the digest of
            the file that was split, so that two splits of one data set match.
            An artefact of foreign make may lack it, and then passes.
        b (Mapping[str, str]): The same of the second one.
        what_a (str): The first one in words.
        what_b (str): The second one in words.

    Raises:
        ValueError: If the digests differ.
    """
    digest_a, digest_b = a.get('source_sha256'), b.get('source_sha256')
    if digest_a and digest_b and digest_a != digest_b:
        raise ValueError(
            f'{what_b} is for other images than {what_a}: one comes from '
            f'{b.get("file")}, the other from {a.get("file")}, which are of '
            'different sources; make it anew'
        )


def _describe(identity: Mapping[str, str]) -> str:
    return f'CLIP {identity["name"]} (sha256 {identity["sha256"][:12]})'
