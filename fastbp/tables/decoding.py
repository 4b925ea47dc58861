"""The bytes of a text table as text: UTF-8, UTF-16, UTF-32 and Windows-1252, and a refusal for other encodings.

It must not know separators, cells or columns.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, because the mark of UTF-16 starts in the same way
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# Other encodings that a message suggests, by their names in Python and in iconv.
_OTHERS = {
    "mac_roman": "macintosh",
    "cp850": "cp850",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "koi8_r": "koi8-r",
    "cp866": "cp866",
    "cp1253": "cp1253",
    "cp1255": "cp1255",
    "cp932": "shift-jis",
    "euc_jp": "euc-jp",
    "gb18030": "gb18030",
    "cp949": "euc-kr",
    "big5": "big5",
}
_FIRST = 4096
_SAMPLED = 1 << 16
_GOOD_PER_BAD = 2  # letters of UTF-8 for each byte that is none, at least, in a file that is UTF-8

# Signs of another encoding in text that is read as Windows-1252: a capital after a small letter, a sign that follows no
# letter, a sign between two letters, a byte without a character, and four characters beyond ASCII in a row.
_IMPLAUSIBLE = re.compile(
    r"(?<=[a-zß-ÿ])[À-ÖØ-ÞŠŽŒŸ]|(?<=[A-Za-z])[ˆ‚„‹¤¥¦¬¯¸¨¿¡]|ƒ|[\x81\x8d\x8f\x90\x9d]|[À-ÿŠŽŒšžœŸƒˆ¡-¿‚-‹]{4,}"
    r"|(?<=[A-Za-zÀ-ÿ])[“”•™›€‹„‚†‡ˆ‰¡-©¬®¯±-¶¸¹¼-¿](?=[A-Za-zÀ-ÿ])"
)

# The letters that are frequent in the languages of the encodings, from European ones to Korean.
_COMMON = re.compile(
    r"[áàâäãåæçéèêëíìîïñóòôöõøœúùûüýÿßąćęłńśźżčďěňřšťůžőűΆ-ώА-яא-ת\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3]",
    re.IGNORECASE,
)


def decoded(data: bytes, path: Path, notices: list[str]) -> tuple[str, str]:
    """Return bytes as text, and the byte-order mark as text or "".

    Parameters
    ----------
    data : bytes
    path : Path
        Named in messages.
    notices : list of str
        A sentence is added for bytes that are not UTF-8.

    Raises
    ------
    ValueError
        If the bytes are no text, or text in an encoding that cannot be told. The message names the line, the byte and
        a command that converts the file.
    """
    mark = next((mark for mark in _MARKS if data.startswith(mark)), b"")
    encoding = _MARKS.get(mark) or _unmarked_utf_16(data)
    data = data[len(mark) :]
    if encoding not in (None, "utf-8"):
        try:
            return data.decode(encoding), "\ufeff" if mark else ""
        except UnicodeDecodeError as error:
            found = f"byte {len(mark) + error.start} is no {encoding[:6].upper()}"
            raise ValueError(f"{path}: {found} ({error.reason}): save the table as UTF-8") from None
    if _is_binary(data):
        place = data.find(b"\0")
        where = "" if place < 0 else f" (a zero byte in line {data.count(10, 0, place) + 1})"
        raise ValueError(f"{path} is neither a text table (CSV, TSV) nor Parquet: it holds binary data{where}")
    try:
        return data.decode("utf-8"), "\ufeff" if mark else ""
    except UnicodeDecodeError as error:
        return _not_utf_8(data, error.start, mark != b"", path, notices), "\ufeff" if mark else ""


def encoding_of(start: bytes) -> tuple[str, bytes] | None:
    """Return the encoding of a text by its first bytes, and its byte-order mark, or None for binary data."""
    mark = next((mark for mark in _MARKS if start.startswith(mark)), b"")
    encoding = _MARKS.get(mark) or _unmarked_utf_16(start) or "utf-8"
    return None if encoding == "utf-8" and _is_binary(start[len(mark) :]) else (encoding, mark)


def _is_binary(data: bytes) -> bool:
    start = data[:_FIRST]
    n_control = sum(byte < 32 and byte not in b"\t\n\v\f\r" for byte in start.rstrip(b"\x1a"))
    return b"\0" in data or n_control > 0.01 * len(start)


def _unmarked_utf_16(data: bytes) -> str | None:
    """Return the byte order of UTF-16 without a mark, in which every other byte of Western text is zero."""
    start = data[:_FIRST]
    half = len(start) // 2
    for zeros, others, encoding in ((start[1::2], start[::2], "utf-16-le"), (start[::2], start[1::2], "utf-16-be")):
        if half and zeros.count(0) > 0.5 * half and others.count(0) == 0:
            return encoding
    return None


def _not_utf_8(data: bytes, first: int, is_marked: bool, path: Path, notices: list[str]) -> str:
    """Return text that is UTF-8 but for a few bytes, or Windows-1252."""
    text = data.decode("utf-8", "replace")
    n_bad = text.count("\ufffd") - data.count("\ufffd".encode())
    n_good = len(text) - len(text.encode("ascii", "ignore")) - n_bad
    line, byte = data.count(b"\n", 0, first) + 1, data[first]
    if n_good >= _GOOD_PER_BAD * n_bad or is_marked or (first >= len(data) - 3 and n_good):
        bytes_are = "1 byte is" if n_bad == 1 else f"{n_bad} bytes are"
        where = f"line {line} (0x{byte:02X})" if n_bad == 1 else f"the first in line {line} (0x{byte:02X})"
        notices.append(f"the file is UTF-8, but {bytes_are} not, {where}; '\ufffd' stands for each of them")
        return text
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError as error:
        raise ValueError(_unknown(data, error.start, path)) from None
    beyond = re.findall(r"[^\x00-\x7f]", text)
    signs = [match for match in _IMPLAUSIBLE.finditer(text) if match[0] > "\x7f"]
    if 5 * sum(len(match[0]) for match in signs) >= len(beyond):
        raise ValueError(_unknown(data, signs[0].start(), path))
    shown = _word_at(text, first)
    notices.append(
        f"the file is not UTF-8; its text is read as Windows-1252 (Latin-1), as {shown!r} in line {line}. "
        f"If that is wrong, convert the file: iconv -f ENCODING -t utf-8"
    )
    return text


def _unknown(data: bytes, place: int, path: Path) -> str:
    line = data.count(b"\n", 0, place) + 1
    found = f"line {line}, byte {place + 1} of the file (0x{data[place]:02X}) is neither UTF-8 nor Windows-1252"
    likely, shown = _likely(data, place)
    convert = f"iconv -f {likely} -t utf-8 {path.name} > utf8.csv"
    return f"{path}: {found}. Convert the file: {convert} (if {shown!r} is the word there, or else with another -f)"


def _likely(data: bytes, place: int) -> tuple[str, str]:
    """Return the encoding in which most bytes beyond ASCII are letters, and the word at a place."""
    start = data.rfind(b"\n", 0, max(0, place - _SAMPLED // 2)) + 1
    sample = data[start : start + _SAMPLED]
    sample = sample[: sample.rfind(b"\n") + 1] or sample
    best = (-1.0, "macintosh", "")
    for codec, name in _OTHERS.items():
        text = sample.decode(codec, "replace")
        score = _letter_share(text)
        if score > best[0] + 1e-9:
            best = (score, name, _word_at(text, len(sample[: place - start].decode(codec, "replace"))))
    return best[1:]


def _letter_share(text: str) -> float:
    """Return how many of the characters beyond ASCII fit: letters, each in the case and script of the one before."""
    score = 0.0
    beyond = [i for i, character in enumerate(text) if character > "\x7f"]
    for i in beyond:
        before, letter, after = text[i - 1 : i], text[i], text[i + 1 : i + 2]
        if not letter.isalpha() or letter in "ªºƒˆ" or (before.islower() and letter.isupper()):
            continue
        is_wide = letter >= "\u3040"
        if is_wide and re.search("[A-Za-z]", before + after):
            continue
        score += 1 if _COMMON.match(letter) else 0.5
    return score / max(1, len(beyond))


def _word_at(text: str, place: int) -> str:
    starts = [match.end() for match in re.finditer(r"[\s,;|\"]", text[max(0, place - 30) : place])]
    start = max(0, place - 30) + (starts[-1] if starts else 0)
    return re.split(r"[\s,;|\"]", text[start : place + 20])[0]
