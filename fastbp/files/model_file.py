"""Model files: named arrays and a dictionary of metadata, written completely or not at all.

This file knows bytes, NumPy arrays and the file system. It must not know networks, optimizers or tables.

A model file is a safetensors file (https://huggingface.co/docs/safetensors). It consists of

1. the length of the header, as eight little-endian bytes;
2. a JSON header with the dtype, shape and offsets of each tensor, padded with spaces to a multiple of 8 bytes;
3. the bytes of the tensors, without gaps.

`__metadata__` in the header maps strings to strings: `format`, `sha256`, `format_version`, `fastbp_version` and
`metadata`, which is JSON text. The checksum `sha256` is that of the whole file, where the 64 digits of the checksum are
replaced by zeros. So the checksum covers every byte. It detects damage but no attacks, because the file is not signed.
"""

import hashlib
import json
import math
import os
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastbp._version import __version__
from fastbp.files.atomic import replace_file

FORMAT_VERSION = 1
DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
    "F32": np.dtype("<f4"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}

_LENGTH_BYTES = 8
_LARGEST_HEADER = 100_000_000  # safetensors' own limit
_MOST_AXES = 32  # NumPy 1's limit; NumPy 2 allows 64
_DEEPEST_METADATA = 100  # levels of lists and objects
_NO_DIGEST = b"0" * 64


class _Entry(NamedTuple):
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


def write(path: str | os.PathLike[str], tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> None:
    """Write tensors and metadata to `path`, completely or not at all.

    Parameters
    ----------
    path : path-like
        File to write. `fastbp.files.atomic.replace_file` describes links, permissions and interruptions.
    tensors : dict of str to ndarray
        Arrays of float64, float32, int64, uint64, uint8 or bool, of any shape and memory order. Every bit of a float
        is kept, also the payload of a NaN.
    metadata : dict
        Data that JSON restores unchanged: keys are strings, sequences are lists, and numbers are finite.

    Raises
    ------
    TypeError
        If a tensor is not an array of these dtypes, or JSON cannot hold `metadata`.
    ValueError
        If the name of a tensor is not allowed, if JSON would change `metadata`, or if `path` exists and is not a
        regular file.
    OSError
        If the file cannot be written. No temporary file remains.
    """
    arrays = {name: _little_endian(name, tensor) for name, tensor in tensors.items()}
    # The widest items first, so that each tensor begins at a multiple of its item size. Readers that map the file into
    # memory need this.
    order = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    buffers = [_bytes_of(arrays[name]) for name in order]
    header = _header(arrays, order, metadata)
    sealed = header.replace(_NO_DIGEST, _digest(header, buffers).encode(), 1)
    replace_file(path, [sealed, *buffers])


def read(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a file that `write` wrote.

    Every size in the header is compared with the size of the file before memory is allocated. So a damaged or malicious
    header cannot request more memory than the file has bytes.

    Parameters
    ----------
    path : path-like
        A file written by `write`.

    Returns
    -------
    tensors : dict of str to ndarray
        Arrays in the order in which they were written. Each owns its memory and has native byte order.
    metadata : dict
        The metadata that was written.

    Raises
    ------
    ValueError
        If the file is truncated, changed, longer than its header says, of a newer format version, or not a model file.
        The message names the file and the reason.
    OSError
        If the file cannot be opened or read; `FileNotFoundError` if it does not exist.
    """
    with open(path, "rb") as file:
        try:
            return _read(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"cannot read the model file {os.fspath(path)!r}: {error}") from error


def _little_endian(name: str, tensor: NDArray[Any]) -> NDArray[Any]:
    """Return the tensor as a C-ordered little-endian array, or raise an error that names it."""
    if not isinstance(name, str):
        raise TypeError(f"a tensor's name must be a string, got {name!r}")
    if name == "__metadata__":
        raise ValueError("tensor '__metadata__': the format reserves this name")
    if not isinstance(tensor, np.ndarray):
        raise TypeError(f"tensor {name!r} must be a NumPy array, got {type(tensor).__name__}")
    dtype = tensor.dtype.newbyteorder("<")
    if dtype not in DTYPES.values():
        allowed = ", ".join(str(known.newbyteorder("=")) for known in DTYPES.values())
        raise TypeError(f"tensor {name!r} must be one of {allowed}, got {tensor.dtype}")
    return np.asarray(tensor, dtype=dtype, order="C")


def _bytes_of(array: NDArray[Any]) -> memoryview:
    """Return the memory of a C-ordered array as bytes."""
    return array.reshape(-1).view(np.uint8).data


def _header(arrays: dict[str, NDArray[Any]], order: list[str], metadata: Mapping[str, Any]) -> bytes:
    """Return the length and the padded JSON header, with zeros in place of the checksum."""
    begin, offsets = 0, {}
    for name in order:
        offsets[name] = [begin, begin + arrays[name].nbytes]
        begin += arrays[name].nbytes
    names = {dtype: code for code, dtype in DTYPES.items()}
    header: dict[str, Any] = {
        "__metadata__": {
            "format": "fastbp",
            "sha256": _NO_DIGEST.decode(),
            "format_version": str(FORMAT_VERSION),
            "fastbp_version": __version__,
            "metadata": _encoded(metadata),
        }
    }
    for name, array in arrays.items():
        dtype, shape = names[array.dtype], list(array.shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets[name]}
    try:
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise ValueError("a tensor's name must be valid Unicode") from error
    text += b" " * (-(_LENGTH_BYTES + len(text)) % 8)
    if len(text) > _LARGEST_HEADER:
        raise ValueError(f"names and metadata take {len(text)} bytes; the format allows {_LARGEST_HEADER}")
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def _encoded(metadata: Mapping[str, Any]) -> str:
    """Return the metadata as JSON text; raise if JSON would change the metadata."""
    try:
        text = json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"JSON cannot hold the metadata: {error}") from error
    if json.loads(text) != metadata:
        raise ValueError("JSON would change the metadata: keys must be strings, and sequences must be lists")
    _check_depth(metadata)
    return text


def _check_depth(metadata: Mapping[str, Any]) -> None:
    """Raise if the metadata are nested so deeply that a program that walks through them could fail."""
    level: list[Any] = [metadata]
    for _ in range(_DEEPEST_METADATA):
        inner = [value.values() if isinstance(value, Mapping) else value for value in level]
        level = [value for values in inner for value in values if isinstance(value, Mapping | list)]
        if not level:
            return
    raise ValueError(f"the metadata are nested more than {_DEEPEST_METADATA} levels deep")


def _digest(header: bytes, buffers: Iterable[memoryview]) -> str:
    """Return the SHA-256 of a whole file with zeros in place of the checksum."""
    sha = hashlib.sha256(header)
    for buffer in buffers:
        sha.update(buffer)
    return sha.hexdigest()


def _read(file: BinaryIO) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    size = os.fstat(file.fileno()).st_size
    raw = _raw_header(file, size)
    header = _json_object(raw[_LENGTH_BYTES:].decode())
    about = _about(header.pop("__metadata__", None))
    entries = [_entry(name, entry) for name, entry in header.items()]
    in_file = sorted(entries, key=lambda entry: (entry.begin, entry.end))
    _check_places(in_file, size - len(raw))
    arrays = {entry.name: _read_tensor(file, entry) for entry in in_file}
    undigested = raw.replace(about["sha256"].encode(), _NO_DIGEST, 1)
    if _digest(undigested, map(_bytes_of, arrays.values())) != about["sha256"]:
        raise ValueError("its checksum does not match its content: the file was changed or damaged")
    native = {e.name: arrays[e.name].astype(e.dtype.newbyteorder("="), copy=False) for e in entries}
    metadata = _json_object(about["metadata"])
    _check_depth(metadata)
    return native, metadata


def _raw_header(file: BinaryIO, size: int) -> bytes:
    """Return the length and the header as bytes of the file."""
    if size == 0:
        raise ValueError("it is empty")
    start = file.read(_LENGTH_BYTES + 1)
    if len(start) <= _LENGTH_BYTES or start[-1:] != b"{":
        raise ValueError(f"it is no fastbp model, or was cut off at the beginning (it begins with {start!r})")
    length = int.from_bytes(start[:-1], "little")
    if not 2 <= length <= _LARGEST_HEADER:
        raise ValueError(f"it claims a header of {length} bytes; 2 to {_LARGEST_HEADER} are possible")
    if length > size - _LENGTH_BYTES:
        raise ValueError(f"it is truncated: {size} bytes cannot hold a header of {length} bytes")
    return start + file.read(length - 1)


def _json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object; duplicate keys, NaN and infinities are errors."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            raise ValueError("a key stands twice in its header")
        return made

    def refuse(constant: str) -> None:
        raise ValueError(f"its header holds {constant}, which is not JSON")

    def finite(digits: str) -> float:
        number = float(digits)
        if math.isinf(number):
            raise ValueError(f"its header holds {reprlib.repr(digits)}, which is too large for a number")
        return number

    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=refuse, parse_float=finite)
    except json.JSONDecodeError as error:
        raise ValueError(f"its header is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"its header is a JSON {type(value).__name__}, not an object")
    return value


def _about(about: object) -> dict[str, str]:
    """Return `__metadata__`; raise unless the file is a fastbp model of this format version."""
    if not isinstance(about, dict) or about.get("format") != "fastbp":
        raise ValueError("it is not a fastbp model (a safetensors file of another program)")
    missing = [key for key in ("sha256", "format_version", "fastbp_version", "metadata") if key not in about]
    if missing or not all(isinstance(value, str) for value in about.values()):
        raise ValueError(f"its header's __metadata__ is malformed (missing: {missing})")
    version = about["format_version"]
    if version != str(FORMAT_VERSION):
        raise ValueError(
            f"it has format version {reprlib.repr(version)}, written by fastbp "
            f"{reprlib.repr(about['fastbp_version'])}; this fastbp reads version {FORMAT_VERSION}"
        )
    return about


def _entry(name: str, entry: object) -> _Entry:
    """Return one entry of the header; raise unless its dtype, shape and offsets are consistent."""
    label = f"tensor {reprlib.repr(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{label} must have dtype, shape and data_offsets, and nothing else")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        raise ValueError(f"{label} has the dtype {reprlib.repr(code)}; allowed are {', '.join(DTYPES)}")
    if not _are_sizes(shape) or len(shape) > _MOST_AXES:
        raise ValueError(f"{label} has an impossible shape: {reprlib.repr(shape)}")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"{label} has impossible data_offsets: {reprlib.repr(offsets)}")
    wanted, got = math.prod(shape) * DTYPES[code].itemsize, offsets[1] - offsets[0]
    if wanted != got:
        raise ValueError(f"{label}: {code} of shape {reprlib.repr(shape)} takes {wanted} bytes, not {got}")
    return _Entry(name, DTYPES[code], tuple(shape), *offsets)


def _are_sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**63 for size in value)


def _check_places(entries: list[_Entry], data_size: int) -> None:
    """Raise unless the tensors, sorted by offset, fill the data without overlaps or gaps."""
    end = 0
    for entry in entries:
        if entry.begin != end:
            raise ValueError(
                f"tensor {reprlib.repr(entry.name)} begins at byte {entry.begin} of the data; "
                f"the data before it end at byte {end}"
            )
        end = entry.end
    if end > data_size:
        raise ValueError(f"it is truncated: its header describes {end} bytes of data, but there are {data_size}")
    if end < data_size:
        raise ValueError(f"{data_size - end} bytes follow the last tensor, which must end the file")


def _read_tensor(file: BinaryIO, entry: _Entry) -> NDArray[Any]:
    array = np.empty(entry.shape, entry.dtype)
    got = file.readinto(_bytes_of(array)) if array.nbytes else 0  # type: ignore[attr-defined]
    if got != array.nbytes:
        raise ValueError("it shrank while it was being read")
    return array
