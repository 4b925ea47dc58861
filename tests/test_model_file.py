"""Model files come back bit for bit, damage is always noticed, and a hostile header gets no memory."""

import json
import math
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastbp
from fastbp.files import model_file

DTYPES = ("float32", "float64", "int64", "uint64", "uint8", "bool")
TENSORS = {
    "weights/0": np.arange(6, dtype=np.float32).reshape(2, 3),
    "flag": np.array([True, False, True]),
    "step": np.array(7, dtype=np.int64),
    "state": np.array([2**64 - 1, 0], dtype=np.uint64),
    "biases/0": np.array([0.1, -0.0]),
}
METADATA = {"layer_sizes": [3, 2], "columns": ["größe", "重さ"], "note": None}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("models") / "model.fastbp"


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "good.fastbp"
    model_file.write(path, TENSORS, METADATA)
    return path.read_bytes()


def assert_same_bits(got, wanted):
    assert list(got) == list(wanted)
    for name, array in wanted.items():
        assert got[name].dtype == array.dtype
        assert got[name].shape == array.shape
        assert got[name].tobytes() == array.tobytes()


@st.composite
def arrays_of_any_bits(draw):
    """Floats from raw bits: every NaN payload, both zeros and the subnormals are among them."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    raw = draw(st.binary(min_size=math.prod(shape) * dtype.itemsize, max_size=math.prod(shape) * dtype.itemsize))
    bits = np.frombuffer(raw, dtype=np.uint8)
    array = (bits > 127) if dtype.kind == "b" else bits.view(dtype)
    return np.array(array.reshape(shape), order=draw(st.sampled_from("CF")))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda name: name != "__metadata__")


@settings(max_examples=150, deadline=None)
@given(
    tensors=st.dictionaries(names, arrays_of_any_bits(), max_size=4),
    metadata=st.dictionaries(st.text(), json_values, max_size=4),
)
def test_every_bit_of_every_dtype_and_all_metadata_come_back(path, tensors, metadata):
    model_file.write(path, tensors, metadata)
    got, got_metadata = model_file.read(path)
    assert_same_bits(got, tensors)
    assert got_metadata == metadata


def test_float_bits_that_arithmetic_would_lose_come_back(path):
    signalling_nan, negative_zero, subnormal = 0x7FA00001, 0x80000000, 0x00000001
    bits = np.array([signalling_nan, negative_zero, subnormal], dtype=np.uint32)
    model_file.write(path, {"a": bits.view(np.float32)}, {})
    tensors, _ = model_file.read(path)
    assert tensors["a"].view(np.uint32).tolist() == bits.tolist()


def test_what_comes_back_is_writable_owned_aligned_and_native(path):
    tensors = {"byte": np.ones(1, dtype=np.uint8), "double": np.ones(3), "single": np.ones(3, np.float32)}
    model_file.write(path, tensors, {})
    for array in model_file.read(path)[0].values():
        assert array.flags.writeable
        assert array.flags.owndata
        assert array.flags.aligned
        assert array.dtype.isnative


def test_memory_order_strides_and_byte_order_of_the_input_do_not_matter(path):
    plain = np.arange(12.0).reshape(3, 4)
    read_only = plain.copy()
    read_only.flags.writeable = False
    same = {
        "F": np.asfortranarray(plain),
        "strided": np.repeat(plain, 2, axis=1)[:, ::2],
        "swapped": plain.astype(">f8"),
        "read_only": read_only,
    }
    model_file.write(path, same, {})
    for array in model_file.read(path)[0].values():
        assert array.tobytes() == plain.tobytes()


def test_every_integer_type_of_64_bits_is_taken(path):
    model_file.write(path, {"a": np.ones(2, np.longlong), "b": np.ones(2, np.ulonglong)}, {})
    assert [array.dtype for array in model_file.read(path)[0].values()] == [np.int64, np.uint64]


def test_the_layout_is_that_of_safetensors(content):
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    data = content[8 + length :]
    assert (8 + length) % 8 == 0
    assert content[8:9] == b"{"
    about = header.pop("__metadata__")
    assert all(isinstance(value, str) for value in about.values())
    assert (about["format"], about["format_version"]) == ("fastbp", "1")
    assert about["fastbp_version"] == fastbp.__version__
    assert json.loads(about["metadata"]) == METADATA
    assert list(header) == list(TENSORS)
    assert header["weights/0"]["dtype"] == "F32"
    assert header["weights/0"]["shape"] == [2, 3]
    places = sorted(entry["data_offsets"] for entry in header.values())
    assert [begin for begin, _ in places] == [0, *(end for _, end in places[:-1])]
    assert places[-1][1] == len(data)
    for name, array in TENSORS.items():
        begin, end = header[name]["data_offsets"]
        assert data[begin:end] == array.tobytes()
        assert begin % array.itemsize == 0


def test_the_safetensors_package_reads_the_file(path):
    safetensors = pytest.importorskip("safetensors")
    safetensors_numpy = pytest.importorskip("safetensors.numpy")
    empty = {"empty": np.ones((0, 3)), "größe/重さ": np.ones(1, dtype=np.uint8)}
    model_file.write(path, TENSORS | empty, METADATA)
    got = safetensors_numpy.load_file(path)
    wanted = TENSORS | empty
    assert_same_bits({name: got[name] for name in wanted}, wanted)
    with safetensors.safe_open(path, "numpy") as file:
        assert json.loads(file.metadata()["metadata"]) == METADATA


@pytest.mark.parametrize("mask", [1, 2, 4, 8, 16, 32, 64, 128, 255])
def test_a_change_of_any_byte_is_noticed(path, content, mask):
    for place in range(len(content)):
        altered = bytearray(content)
        altered[place] ^= mask
        path.write_bytes(altered)
        with pytest.raises(ValueError, match=r"model\.fastbp"):
            model_file.read(path)


def test_a_cut_at_any_length_is_noticed(path, content):
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"empty|cut off|truncated"):
            model_file.read(path)


@pytest.mark.parametrize("extra", [b"\0", b"\0" * 8, b"x" * 4096])
def test_bytes_after_the_last_tensor_are_noticed(path, content, extra):
    path.write_bytes(content + extra)
    with pytest.raises(ValueError, match=f"{len(extra)} bytes follow the last tensor"):
        model_file.read(path)


def npz(path):
    np.savez(path.with_suffix(".npz"), a=np.ones(3))
    return path.with_suffix(".npz").read_bytes()


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello" * 10)
    return path.read_bytes()


FOREIGN = {
    "text": lambda _: b"species,island\nAdelie,Torgersen\n",
    "short text": lambda _: b"hello",
    "png": lambda _: b"\x89PNG\r\n\x1a\n" + bytes(100),
    "pickle": lambda _: pickle.dumps({"weights": [1.0] * 100}),
    "json": lambda _: b'{"weights": [1, 2, 3], "biases": [0]}',
    "zip": zipped,
    "npz": npz,
    "zeros": lambda _: bytes(4096),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_another_kind_is_called_so(path, kind):
    foreign = FOREIGN[kind](path)
    path.write_bytes(foreign)
    with pytest.raises(ValueError, match=r"model\.fastbp'?: it is no fastbp model"):
        model_file.read(path)


def test_an_empty_file_is_called_so(path):
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="it is empty"):
        model_file.read(path)


def test_a_missing_file_stays_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        model_file.read(tmp_path / "none.fastbp")


ABOUT = {"format": "fastbp", "sha256": "0" * 64, "format_version": "1", "fastbp_version": "1.0", "metadata": "{}"}


def file_of(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(shape, offsets, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def with_tensors(data=b"", **tensors):
    return file_of({"__metadata__": ABOUT, **tensors}, data)


MALFORMED = {
    "header length 2**60": (struct.pack("<Q", 2**60) + b"{}" + bytes(100), "header of 1152921504606846976"),
    "header length 2**64-1": (b"\xff" * 8 + b"{}" + bytes(100), "claims a header"),
    "header length 0": (struct.pack("<Q", 0) + b"{" + bytes(100), "claims a header of 0"),
    "header longer than the file": (struct.pack("<Q", 10**6) + b"{}" + bytes(100), "truncated"),
    "header not JSON": (file_of(b"{" + b"x" * 20), "not JSON"),
    "header not UTF-8": (file_of(b'{"\xff": 1}'), "utf-8"),
    "duplicate keys": (file_of(b'{"a": 1, "a": 2}'), "stands twice"),
    "nesting bomb of lists": (file_of(b'{"a": ' + b"[" * 10**6), "recursion|nest"),
    "nesting bomb of objects": (file_of(b'{"a": ' * 10**5), "recursion|nest"),
    "NaN": (file_of(b'{"a": NaN}'), "NaN"),
    "Infinity": (file_of(b'{"a": -Infinity}'), "Infinity"),
    "a number of 10**5 digits": (file_of(b'{"a": ' + b"9" * 10**5 + b"}"), "digits|possible|must have|fastbp"),
    "no metadata": (file_of({"a": tensor([1], [0, 4])}, bytes(4)), "another program"),
    "metadata of another program": (file_of({"__metadata__": {"format": "pt"}}), "another program"),
    "metadata a list": (file_of({"__metadata__": []}), "another program"),
    "metadata incomplete": (file_of({"__metadata__": {"format": "fastbp"}}), "missing.*sha256"),
    "metadata not strings": (file_of({"__metadata__": {**ABOUT, "sha256": 0}}), "malformed"),
    "tensor not an object": (with_tensors(a=[]), "'a' must have dtype, shape and data_offsets"),
    "tensor without a shape": (with_tensors(a={"dtype": "F32", "data_offsets": [0, 0]}), "'a' must have"),
    "tensor with more": (with_tensors(a={**tensor([0], [0, 0]), "x": 1}), "'a' must have"),
    "unknown dtype": (with_tensors(a=tensor([1], [0, 2], "BF16"), data=bytes(2)), "BF16"),
    "dtype a list": (with_tensors(a=tensor([1], [0, 4], ["F32"]), data=bytes(4)), "dtype"),
    "shape a number": (with_tensors(a=tensor(1, [0, 4]), data=bytes(4)), "shape"),
    "negative shape": (with_tensors(a=tensor([-1, -1], [0, 4]), data=bytes(4)), "shape"),
    "fractional shape": (with_tensors(a=tensor([1.0], [0, 4]), data=bytes(4)), "shape"),
    "boolean shape": (with_tensors(a=tensor([True], [0, 4]), data=bytes(4)), "shape"),
    "shape beyond 64 bits": (with_tensors(a=tensor([2**64, 0], [0, 0])), "shape"),
    "empty shape beyond memory": (with_tensors(a=tensor([2**62, 2**62, 0], [0, 0])), "large|big|dimension"),
    "33 axes": (with_tensors(a=tensor([1] * 33, [0, 4]), data=bytes(4)), "shape"),
    "product that wraps at 64 bits": (with_tensors(a=tensor([2**31, 2**31, 4], [0, 0])), "takes"),
    "product too small": (with_tensors(a=tensor([1], [0, 8]), data=bytes(8)), "takes 4 bytes, not 8"),
    "product too large": (with_tensors(a=tensor([3], [0, 8]), data=bytes(8)), "takes 12 bytes, not 8"),
    "offsets reversed": (with_tensors(a=tensor([1], [4, 0]), data=bytes(4)), "takes 4 bytes, not -4"),
    "offsets negative": (with_tensors(a=tensor([1], [-4, 0]), data=bytes(4)), "data_offsets"),
    "three offsets": (with_tensors(a=tensor([1], [0, 4, 8]), data=bytes(4)), "data_offsets"),
    "offsets out of range": (with_tensors(a=tensor([4], [0, 16]), data=bytes(4)), "truncated"),
    "offsets overlap": (
        with_tensors(a=tensor([2], [0, 8]), b=tensor([2], [4, 12]), data=bytes(12)),
        "'b' begins at byte 4",
    ),
    "offsets the same": (
        with_tensors(a=tensor([2], [0, 8]), b=tensor([2], [0, 8]), data=bytes(8)),
        "'b' begins at byte 0",
    ),
    "a hole": (
        with_tensors(a=tensor([1], [0, 4]), b=tensor([1], [8, 12]), data=bytes(12)),
        "'b' begins at byte 8",
    ),
    "a hole before all": (with_tensors(a=tensor([1], [4, 8]), data=bytes(8)), "'a' begins at byte 4"),
    "a wrong checksum": (with_tensors(a=tensor([1], [0, 4]), data=bytes(4)), "checksum"),
    "an absurd name": (with_tensors(**{"n" * 10**6: []}), r"tensor 'n+\.\.\.n+' must"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_header_is_refused_with_its_reason(path, case):
    malformed, reason = MALFORMED[case]
    path.write_bytes(malformed)
    with pytest.raises(ValueError, match=r"model\.fastbp'?: (?s:.*)(" + reason + ")") as error:
        model_file.read(path)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    "lie",
    [
        struct.pack("<Q", 90_000_000) + b"{}" + bytes(100),
        struct.pack("<Q", 2**60) + b"{}" + bytes(100),
        with_tensors(a=tensor([2**40], [0, 2**42])),
        with_tensors(a=tensor([2**40], [0, 4]), data=bytes(4)),
        with_tensors(a=tensor([2**20, 2**20], [0, 2**42]), b=tensor([1], [2**42, 2**42 + 4]), data=bytes(4)),
    ],
)
def test_a_lying_header_gets_no_memory(path, lie):
    path.write_bytes(lie)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"model\.fastbp"):
            model_file.read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_a_newer_format_version_is_refused_by_name(path, content):
    newer = content.replace(b'"format_version":"1"', b'"format_version":"2"')
    path.write_bytes(newer)
    with pytest.raises(ValueError, match=f"format version '2'.*fastbp '{fastbp.__version__}'.*reads version 1"):
        model_file.read(path)


@pytest.mark.parametrize(
    ("tensors", "kind", "reason"),
    [
        ({"a": [1.0]}, TypeError, "'a' must be a NumPy array, got list"),
        ({"a": np.ones(1, np.complex128)}, TypeError, "'a'.*complex128"),
        ({"a": np.ones(1, np.float16)}, TypeError, "'a'.*float16"),
        ({"a": np.array([None])}, TypeError, "'a'.*object"),
        ({"a": np.array(["x"])}, TypeError, "'a'.*<U1"),
        ({1: np.ones(1)}, TypeError, "name must be a string"),
        ({"__metadata__": np.ones(1)}, ValueError, "__metadata__"),
        ({"\ud800": np.ones(1)}, ValueError, "Unicode"),
    ],
)
def test_what_the_format_cannot_hold_is_refused_before_anything_is_written(tmp_path, tensors, kind, reason):
    with pytest.raises(kind, match=reason):
        model_file.write(tmp_path / "model.fastbp", tensors, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("metadata", "kind"),
    [
        ({"a": math.nan}, ValueError),
        ({"a": math.inf}, ValueError),
        ({"a": (1, 2)}, ValueError),
        ({1: "a"}, ValueError),
        ({"a": np.ones(2)}, TypeError),
        ({"a": {1, 2}}, TypeError),
        ({(1, 2): "a"}, TypeError),
    ],
)
def test_metadata_that_json_would_change_is_refused(tmp_path, metadata, kind):
    with pytest.raises(kind, match="metadata"):
        model_file.write(tmp_path / "model.fastbp", {}, metadata)
    assert list(tmp_path.iterdir()) == []
