"""Which speakers train, validate and test. Always whole speakers, never clips."""

from collections.abc import Iterable

from speech2face.provenance import stable_fraction

SPLITS = ("train", "val", "test")


def hash_split(speaker_id: str, val: float, test: float) -> str:
    """Split of a speaker from a hash of its id: about `test` of the speakers test, about `val` validate, the others train.

    A speaker's split does not depend on who else is in the corpus, so it stays when the corpus grows.
    """
    fraction = stable_fraction(f"split {speaker_id}")
    return "test" if fraction < test else "val" if fraction < test + val else "train"


def check_disjoint(speaker_splits: Iterable[tuple[str, str]]) -> None:
    """Raise ValueError if a split's name is unknown or a speaker is in two splits. Takes (speaker_id, split) pairs."""
    seen: dict[str, str] = {}
    for speaker_id, split in speaker_splits:
        if split not in SPLITS:
            raise ValueError(f"split of speaker {speaker_id} must be one of {', '.join(SPLITS)} (got {split!r})")
        if seen.setdefault(speaker_id, split) != split:
            raise ValueError(
                f"speaker {speaker_id} is in two splits, {seen[speaker_id]} and {split}; a speaker belongs to one"
            )
