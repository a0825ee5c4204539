"""Which speakers train, validate and test: always whole speakers, never clips. The table of speakers is the only place that says so."""

import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from speech2face.corpus.listing import Identity
from speech2face.pipeline.provenance import stable_fraction
from speech2face.pipeline.shards import table_schema, write_table

SPLITS = ("train", "val", "test")
SPEAKERS = table_schema(("speaker_id", pa.string()), ("split", pa.string()))
SPEAKERS_PATH = Path("data/speakers.parquet")


def assign_splits(identities: Mapping[str, Identity], by: str, val: float, test: float) -> dict[str, str]:
    """Split of each speaker. `by` is one of

    hash: of the speaker's id, `val` and `test` of the speakers; official: the dataset's own test speakers test, of its others the part
    `val` validates, by hash; vox1_names: names from A and B validate, from C to E test, from F train (Nagrani et al. 2018; Wen et
    al. 2019); every_tenth: of the dataset's list of speakers, from 0, number i with i % 10 = 8 tests, 9 validates (Bai et al. 2022);
    column: the user's own.

    Raises ValueError if a speaker lacks what the rule needs, and for an unknown split.
    """
    if by == "hash":
        return {speaker: hash_split(speaker, val, test) for speaker in identities}
    if by == "official":
        _need(by, {speaker: i.official in ("dev", "test") for speaker, i in identities.items()}, "a set (dev or test)")
        return {s: "test" if i.official == "test" else hash_split(s, val, 0.0) for s, i in identities.items()}
    if by == "vox1_names":
        _need(
            by,
            {speaker: bool(i.name) and initial(str(i.name)).isalpha() for speaker, i in identities.items()},
            "a name",
        )
        return {speaker: _by_initial(initial(str(i.name))) for speaker, i in identities.items()}
    if by == "every_tenth":
        numbered = any(i.number is not None for i in identities.values())
        if numbered:
            _need(by, {speaker: i.number is not None for speaker, i in identities.items()}, "a row in the metafile")
        numbers = {s: i.number if numbered else n for n, (s, i) in enumerate(sorted(identities.items()))}
        return {s: {8: "test", 9: "val"}.get(int(number or 0) % 10, "train") for s, number in numbers.items()}
    if by == "column":
        _need(by, {speaker: bool(i.split) for speaker, i in identities.items()}, "a split")
        check_disjoint((speaker, str(i.split)) for speaker, i in identities.items())
        return {speaker: str(i.split) for speaker, i in identities.items()}
    raise ValueError(f"corpus.splits.by must be hash, official, vox1_names, every_tenth or column (got {by!r})")


def hash_split(speaker_id: str, val: float, test: float) -> str:
    """Split of a speaker from a hash of its id: about `test` of the speakers test, about `val` validate, the others train.

    A speaker's split does not depend on who else is in the corpus, so it stays when the corpus grows.
    """
    fraction = stable_fraction(f"split {speaker_id}")
    return "test" if fraction < test else "val" if fraction < test + val else "train"


def initial(name: str) -> str:
    """First letter of a name, upper case, without accents: E for Émilie."""
    return unicodedata.normalize("NFD", name.strip())[:1].upper()


def _by_initial(letter: str) -> str:
    return "val" if letter in "AB" else "test" if letter in "CDE" else "train"


def _need(by: str, has: dict[str, bool], what: str) -> None:
    if lacking := [speaker for speaker, yes in has.items() if not yes]:
        raise ValueError(
            f"corpus.splits.by: {by} needs {what} for every speaker, and {len(lacking)} of {len(has)} have none, for example "
            f"{lacking[0]}; add the dataset's metafile or choose hash"
        )


def write_splits(path: Path, splits: Mapping[str, str]) -> None:
    """Write the table of speakers: each with its split, sorted by speaker. Raises ValueError for an unknown split."""
    check_disjoint(splits.items())
    rows = [{"speaker_id": speaker, "split": split} for speaker, split in sorted(splits.items())]
    write_table(path, pa.Table.from_pylist(rows, SPEAKERS))


def read_splits(path: Path = SPEAKERS_PATH) -> dict[str, str]:
    """The split of each speaker. Raises ValueError if the file is missing or holds no table of speakers, for an unknown split, and
    for a speaker who is listed twice."""
    remedy = "run the stage that writes it: dvc repro make_corpus"
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; {remedy}") from None
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is not a Parquet file ({error}); {remedy}") from None
    if table.column_names != SPEAKERS.names:
        raise ValueError(f"{path} must have the columns speaker_id and split (got {table.column_names}); {remedy}")
    speakers, splits = (table[name].to_pylist() for name in SPEAKERS.names)
    check_disjoint(zip(speakers, splits, strict=True))
    found = dict(zip(speakers, splits, strict=True))
    if len(found) != table.num_rows:
        raise ValueError(f"{path} lists {table.num_rows - len(found)} speakers twice; {remedy}")
    return found


def speaker_counts(splits: Mapping[str, str]) -> dict[str, int]:
    """Number of speakers of each split."""
    return {name: list(splits.values()).count(name) for name in SPLITS}


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
