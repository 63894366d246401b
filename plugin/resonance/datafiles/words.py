# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Where two texts differ, word by word. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import chain

Piece = tuple[str, bool]
"""A text, and whether only one side has it."""

Words = Sequence[str]
Change = tuple[bool, Words, Words]
"""Whether words differ, those of one side and those of the other."""

# Scripts without spaces between words are compared a character at a time: Han, Kana, Hangul syllables, full width.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
# A word with the blanks behind it; line ends stand alone. Without blanks two words are the same.
_WORD = re.compile(rf"(?:[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+|[^\w\s])[^\S\n]*|[^\S\n]+|\n")
_SENTENCE_ENDS = ("\n", ".", "!", "?", ";", "\u3002", "\uff01", "\uff1f", "\uff1b")
EXACT = 2_000_000  # words of one side times those of the other; beyond, sentences are compared before words


def difference(left: str, right: str) -> tuple[list[Piece], list[Piece]]:
    """Cut two texts into pieces that both have, in the same order, and pieces that one of them has.

    The pieces of a side, joined, are its text.
    """
    one, other = _WORD.findall(left), _WORD.findall(right)
    start = _common(one, other)
    stop = _common(one[start:][::-1], other[start:][::-1])
    end, other_end = len(one) - stop, len(other) - stop
    changes = chain(
        [(False, one[:start], other[:start])],
        _changes(one[start:end], other[start:other_end]),
        [(False, one[end:], other[other_end:])],
    )
    sides: tuple[list[Piece], list[Piece]] = ([], [])
    for changed, *words in changes:
        for side, own, others in zip(sides, words, reversed(words), strict=True):
            for piece in [("".join(own), True)] if changed else _same(own, others):
                _add(side, piece)
    return sides


def _common(one: Words, other: Words) -> int:
    """How many words two lists have in common at their start, to the letter."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _changes(one: Words, other: Words) -> Iterator[Change]:
    """What becomes of the words, in order."""
    if len(one) * len(other) <= EXACT:
        yield from _matched(one, other, [_key(word) for word in one], [_key(word) for word in other])
        return
    units, others = _sentences(one), _sentences(other)
    keys = [tuple(map(_key, unit)) for unit in units], [tuple(map(_key, unit)) for unit in others]
    for changed, some, more in _matched(units, others, *keys):
        words = list(chain.from_iterable(some)), list(chain.from_iterable(more))
        if changed and 0 < len(words[0]) * len(words[1]) <= EXACT:
            yield from _changes(*words)
        else:
            yield (changed, *words)


def _matched(one: Sequence, other: Sequence, keys: Sequence, other_keys: Sequence) -> Iterator[tuple]:
    crowded = (
        len(one) * len(other) > EXACT
    )  # then what is everywhere, in an answer that repeats itself, is no landmark
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, keys, other_keys, autojunk=crowded).get_opcodes():
        yield tag != "equal", one[i1:i2], other[j1:j2]


def _sentences(words: Words) -> list[Words]:
    ends = [place for place, word in enumerate(words, 1) if _key(word) in _SENTENCE_ENDS]
    return [words[start:end] for start, end in zip([0, *ends], [*ends, len(words)], strict=True) if start < end]


def _key(word: str) -> str:
    return word.rstrip() or word


def _same(own: Words, others: Words) -> Iterator[Piece]:
    """Words that both sides have; blanks behind them may differ."""
    for word, other in zip(own, others, strict=True):
        if word == other:
            yield word, False
        else:
            yield _key(word), False
            yield word[len(_key(word)) :], True


def _add(side: list[Piece], piece: Piece) -> None:
    """Put a piece behind the others, into the last one if it is of its kind."""
    text, changed = piece
    if side and side[-1][1] == changed:
        side[-1] = (side[-1][0] + text, changed)
    elif text:
        side.append(piece)
