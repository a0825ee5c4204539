"""Plain words: no phrase and no name that a reader has to guess at."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "stages", "tests", "benchmarks", "docs", "presets")
FILES = ("README.md", "Makefile", "params.yaml", "dvc.yaml", "pyproject.toml", "requirements.txt", ".ci/run")

GAP = r"\s+(?:#\s+)?"  # also between two lines of a comment
PHRASES = {
    r"mend(?:s|ed|ing)?": "fix",
    rf"told{GAP}from": "distinguishable from",
}
NAMES = {
    "standing": "rank, or what it holds",
    "giver": "source",
    "givers": "sources",
    "told": "linked, reported, distinguished",
}
ALLOWED = {
    "src/speech2face/synthetic/texts.py",  # sentences that the synthetic speakers say: other words are other voices
    "tests/test_words.py",
}


def texts(*suffixes: str) -> Iterator[tuple[str, str]]:
    """Path and content of each file with one of these endings."""
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")] + [ROOT / name for name in FILES]
    for path in sorted(files):
        name = path.relative_to(ROOT).as_posix()
        if path.is_file() and path.suffix in suffixes and name not in ALLOWED and ".egg-info" not in name:
            yield name, path.read_text("utf-8")


def test_texts_use_plain_words():
    found = []
    for name, text in texts("", ".py", ".md", ".yaml", ".toml", ".txt", ".svg", ".html", ".css", ".js"):
        for phrase, better in PHRASES.items():
            for match in re.finditer(rf"\b{phrase}\b", text, re.IGNORECASE):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{name}:{line}: {match[0]!r}; better: {better}")
    assert not found, "\n".join(found)


def words(name: str) -> set[str]:
    """The words of a name: `standing_of` and `StandingOf` have standing and of."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}


def test_names_are_the_fields_words():
    found = []
    for name, text in texts(".py"):
        if not any(word in text.lower() for word in NAMES):  # no need to take it apart
            continue
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        for used in sorted({token.string for token in tokens if token.type == tokenize.NAME}):
            found += [f"{name}: {used}; better: {NAMES[word]}" for word in words(used) & NAMES.keys()]
    assert not found, "\n".join(found)
