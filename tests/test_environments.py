"""fastbp in the surroundings of daily life: all kinds of input, threads, processes, installations, and others' code.

What must not happen in pytest's own process happens in a fresh one, which imports this file and calls its functions.
"""

import hashlib
import importlib.util
import itertools
import json
import multiprocessing
import os
import pathlib
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import bits, network

import fastbp
from fastbp import SGD, Adam, Network, losses, schedules
from fastbp.losses import NAMES

PACKAGE, TESTS = pathlib.Path(fastbp.__file__).parent, pathlib.Path(__file__).parent
DTYPES = ("float32", "float64")
SHAPES = [(5, 1), (5, 40, 33, 2), (5, 40, 33, 2), (5, 300), (5, 128, 128, 1), (5, 20, 20, 20, 3), (1, 70, 1), (5, 1)]
POSIX = pytest.mark.skipif(os.name != "posix", reason="ways of POSIX")


def run(*arguments, first=PACKAGE.parent, **environment):
    """Run Python, which must not warn, and return what it printed; `first` is where it finds fastbp."""
    path = os.pathsep.join(map(str, (first, TESTS)))
    settings = {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "default", **environment}
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env={name: str(value) for name, value in settings.items() if value is not None},
        cwd=tempfile.gettempdir(),  # where no other fastbp lies in the way
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, warned = process.communicate(timeout=120)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
        raise
    assert (process.returncode, warned) == (0, ""), printed + warned
    return printed


def call(expression, *flags, **options):
    """Return what a function of this file gives in a process of its own."""
    program = f"import json, test_environments as t; print(json.dumps(t.{expression}))"
    return json.loads(run(*flags, "-c", program, **options))


def learned(sizes=(5, 40, 33, 2), seed=0, n_threads=None, dtype="float32"):
    """Return the fingerprint of a network after a fit, and of what it predicts."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((200, sizes[0])), rng.standard_normal((200, sizes[-1]))
    net = Network(sizes, dtype, seed=seed)
    net.fit(X, y, optimizer=Adam(0.01), batch_size=64, epochs=50, seed=1, n_threads=n_threads)
    return fingerprint(bits(net), net.predict(X).tobytes())


def predicted(*_):
    """Return the fingerprint of what a network predicts, which needs only a part of all that is compiled."""
    return fingerprint(network(5, 40, 33, 2).predict(np.linspace(-1, 1, 100).reshape(20, 5)).tobytes())


def fingerprint(*things):
    return hashlib.sha256(repr(things).encode()).hexdigest()


def compiled():
    """Return for each function that Python calls what it was compiled for."""
    from fastbp import startup
    from fastbp.kernels import entries as training

    return {name: [str(signature) for signature in getattr(training, name).signatures] for name in startup.ENTRIES}


# --- no accidental compilation --------------------------------------------------------------------------------


NUMBERS = ["bool", "uint8", "int32", "int64", "float16", "float32", "float64"]
LAYOUTS = {
    "plain": lambda a, _: a,
    "F-ordered": lambda a, _: np.asfortranarray(a),
    "every second row": lambda a, _: np.stack([a, a], 1)[:, 0],
    "every second column": lambda a, _: np.stack([a, a], -1)[..., 0],
    "backwards": lambda a, _: np.flip(np.flip(a).copy()),
    "read-only": lambda a, _: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "unaligned": lambda a, _: np.frombuffer(b"?" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    "memory-mapped": lambda a, path: a.tofile(path) or np.memmap(path, a.dtype, "r", shape=a.shape),
    "big-endian": lambda a, _: a.astype(a.dtype.newbyteorder(">")),
}
OPTIMIZERS = [
    SGD(1e-3),
    SGD(np.float32(1e-3), weight_decay=1),
    SGD(schedules.Cosine(1e-3, steps=9), momentum=np.float32(0.5)),
    SGD(lambda step: 1e-3 / (1 + step), momentum=0.5, nesterov=np.True_),
    Adam(),
    Adam(np.float64(1e-3), beta_1=0, beta_2=0, epsilon=1, weight_decay=1),
]


def use(net, X, y, loss, weights=None, **options):
    """Do all with these rows that a network can do."""
    net.predict(X)
    net.predict(X, n_threads=2)
    net.forward(X)
    net.loss(X, y, loss, weights)
    net.gradients(X, y, loss, weights)
    net.fit(X, y, loss, epochs=1, sample_weight=weights, validation_data=(X, y, weights), **options)


def tour(folder):
    """Use all of fastbp with all kinds of input; return what was compiled, and which kernels Python called."""
    rng = np.random.default_rng(0)
    X, classes = rng.integers(0, 2, (40, 3)), rng.integers(0, 2, 40)
    one_hot = np.eye(3)[classes]
    for dtype in DTYPES:
        wide, narrow, single = network(3, 9, 20, dtype=dtype), network(3, 9, 3, dtype=dtype), network(3, 1, dtype=dtype)
        for numbers, layout in itertools.product(NUMBERS, LAYOUTS):
            x, y, column, pillar = (
                LAYOUTS[layout](a.astype(numbers), pathlib.Path(folder, f"{dtype} {numbers} {i}"))
                for i, a in enumerate((X, one_hot, classes, classes[:, None]))
            )
            use(narrow, x, y, "squared_error")
            use(wide, x, column, "cross_entropy", column)
            use(single, x, column, "poisson")
            use(single, x, pillar, "huber", column)
            narrow.predict(x[:1])
            narrow.predict(x[:0])
            narrow.predict(np.tile(x, (200, 1)), n_threads=2)
        use(narrow, X.tolist(), classes.tolist(), "cross_entropy", classes.tolist())
        use(single, tuple(X), classes.tolist(), "quantile")
        for library in filter(importlib.util.find_spec, ("polars", "pandas")):
            frame = importlib.import_module(library).DataFrame(dict(zip("abc", X.T, strict=True)))
            use(narrow, frame, frame, "squared_error", frame["a"])
            use(single, frame, frame["b"], "binary_cross_entropy", frame["a"])

        for net, loss, optimizer in itertools.product(
            (wide, narrow), (*NAMES, losses.huber(1), losses.quantile(np.float32(0.5))), OPTIMIZERS
        ):
            y = np.eye(net.layer_sizes[-1])[classes]
            use(net, X, y, loss, optimizer=optimizer, batch_size=np.int64(7), n_threads=1, shuffle=False, seed=3)
            use(net, X, y, loss, classes, optimizer=optimizer, batch_size=99, n_threads=2)
            options = {"optimizer": optimizer, "drop_last": np.True_, "callback": lambda *_: False}
            net.fit(np.float32(X), np.float64(y), loss, **options)
        fastbp.check_gradients(narrow, X, one_hot, "huber", classes, max_per_array=9)
        narrow.save(pathlib.Path(folder, dtype))
        for again in (Network.load(pathlib.Path(folder, dtype)), pickle.loads(pickle.dumps(narrow))):
            use(again, X, one_hot, "squared_error", optimizer=OPTIMIZERS[-1])
            again.set_parameters(narrow.weights, [b.tolist() for b in narrow.biases])
            use(again, X, one_hot, "squared_error")
    fastbp.warmup()
    modules = [module for name, module in sys.modules.items() if name.startswith("fastbp")]
    return compiled(), [name for m in modules for name, kernel in vars(m).items() if "entry" in vars_of(kernel)]


def vars_of(thing):
    return getattr(thing, "__dict__", {}) if hasattr(thing, "py_func") else {}


def test_no_kind_of_input_and_no_option_is_compiled_for_by_itself(tmp_path):
    signatures, called_kernels = call(f"tour({str(tmp_path)!r})")
    for name, of_entry in signatures.items():
        narrower = [signature for signature in of_entry if "float32" in signature]
        assert (name, len(of_entry), len(narrower)) == (name, 2, 1)
        assert all("float64" in signature for signature in set(of_entry) - set(narrower))
    assert called_kernels == []  # by Python, for which they are compiled once more


@pytest.mark.parametrize(
    "asked",
    [
        "fastbp",
        "fastbp.SGD(0.1, momentum=0.9), fastbp.Adam(fastbp.schedules.Cosine(0.1))",
        "fastbp.losses.huber(2.0), fastbp.losses.poisson, dir(fastbp.losses)",
        "fastbp.activations.NAMES, fastbp.DivergenceError, fastbp.History(), fastbp.Progress(1, 0.5)",
        "fastbp.toy.worked_example(0.5, 1.0, 0.8, 0.1), dir(fastbp)",
        "fastbp.tabular, dir(fastbp.tabular)",
    ],
)
def test_what_one_may_ask_for_needs_no_compiler(asked):
    heavy = "{'numba', 'llvmlite', 'scipy', 'sklearn', 'pandas', 'polars'}"
    assert run("-c", f"import sys, fastbp; {asked}; print({heavy} & set(sys.modules))") == "set()\n"


@pytest.mark.parametrize("module", ["losses", "optimizers", "schedules", "activations"])
def test_the_names_in_a_module_are_for_users(module):
    found = importlib.import_module(f"fastbp.{module}")
    assert set(dir(found)) == set(found.__all__)
    for name in dir(found):
        assert getattr(found, name).__doc__, name


def test_the_submodules_are_there_once_fastbp_is_imported():
    program = "import fastbp; print(fastbp.tabular.TabularClassifier, fastbp.sklearn.MLPClassifier, fastbp.losses.Loss)"
    assert run("-c", program).count("class 'fastbp.") == 3


IMPORT_ALL = """
import importlib, json, pkgutil, fastbp
needing_an_extra = {"__main__", "command", "report", "tables", "tabular"}
found = [module.name for module in pkgutil.walk_packages(fastbp.__path__, "fastbp.")]
modules = [importlib.import_module(name) for name in found if name.split(".")[1] not in needing_an_extra]
print(json.dumps({name: len(f.signatures) for m in modules for name, f in vars(m).items() if hasattr(f, "py_func")}))
"""


def test_importing_everything_compiles_and_writes_nothing(tmp_path):
    places = {"FASTBP_CACHE_DIR": tmp_path / "ours", "NUMBA_CACHE_DIR": tmp_path / "numbas"}
    compilations = json.loads(run("-c", IMPORT_ALL, **places))
    assert {"train", "predict", "linear_forward"} < set(compilations)
    assert not any(compilations.values())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


# --- threads --------------------------------------------------------------------------------------------------


def at_once(function, arguments):
    """Return what a function gives for each argument, in as many threads, of which none begins before all are there."""
    start = threading.Barrier(len(arguments))

    def work(argument):
        start.wait()
        return function(argument)

    with ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(work, arguments))


def learned_at_once(n_threads):
    """Return what eight networks become that learn in as many threads."""
    return at_once(lambda seed: learned(SHAPES[seed], seed, n_threads), range(8))


@pytest.mark.parametrize("n_threads", [1, 2, None])
def test_networks_that_learn_in_eight_threads_at_once_become_what_they_become_alone(n_threads):
    wanted = [learned(sizes, seed) for seed, sizes in enumerate(SHAPES)]
    assert call(f"learned_at_once({n_threads})") == wanted


def start_cold():
    """Let four threads predict, as the first thing; return what they got, and how much was compiled and loaded."""
    from fastbp.kernels import entries as training

    got = at_once(predicted, range(4))
    return got, len(training.predict.signatures), [sum(counts.values()) for counts in training.predict.stats[1:]]


def test_of_threads_that_start_cold_one_compiles_and_all_are_right(tmp_path):
    assert call("start_cold()", FASTBP_CACHE_DIR=tmp_path) == [4 * [predicted()], 1, [0, 1]]


def start_cold_with_many_types():
    """Let four threads each call one function with each of eight types, all at once."""
    from fastbp.machine import jit

    double = jit.entry(lambda x: 2 * x)
    types = [bool, int, float, complex, np.float32, np.int32, np.uint8, np.complex64]
    doubles = at_once(lambda number: complex(double(number)).real, [kind(1) for kind in 4 * types])
    open_files = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    return doubles, sum(double.stats.cache_misses.values()), [path for path in open_files if path.endswith(".lock")]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no list of open files")
def test_threads_that_compile_take_turns_and_release_every_lock(tmp_path):
    assert call("start_cold_with_many_types()", FASTBP_CACHE_DIR=tmp_path) == [32 * [2], 8, []]


# --- processes ------------------------------------------------------------------------------------------------


TASKS = [((5, 40, 33, 2), 0, 1), ((5, 128, 128, 1), 1, 2), ((5, 40, 33, 2), 0, 2, "float64"), ((5, 40, 3), 2)]


def learned_in_workers(kind):
    """Return what networks become here, and then in workers of that kind."""
    here = list(itertools.starmap(learned, TASKS[:2]))  # so some code is loaded before a fork, and some after
    if kind in ("fork", "spawn"):
        with multiprocessing.get_context(kind).Pool(2) as pool:
            return here + pool.starmap(learned, TASKS, chunksize=1)
    import joblib

    return here + joblib.Parallel(2, backend=kind)(joblib.delayed(learned)(*task) for task in TASKS)


@pytest.mark.parametrize("kind", ["fork", "spawn", "loky", "threading"])
def test_workers_of_every_kind_have_the_same_result(kind):
    if kind in ("fork", "spawn"):
        if kind not in multiprocessing.get_all_start_methods():
            pytest.skip("this system has no fork")
    else:
        pytest.importorskip("joblib")
    wanted = list(itertools.starmap(learned, TASKS))
    assert call(f"learned_in_workers({kind!r})") == wanted[:2] + wanted


FOUR_FITS = """
import pytest
from test_environments import SHAPES, learned

@pytest.mark.parametrize("i", range(4))
def test_fit(i):
    assert learned(SHAPES[i]) == {wanted}[i]
"""


def test_tests_that_fit_may_run_in_parallel(tmp_path):
    pytest.importorskip("xdist")
    tests = tmp_path / "test_fits.py"
    tests.write_text(FOUR_FITS.format(wanted=[learned(sizes) for sizes in SHAPES[:4]]))
    assert "4 passed" in run("-m", "pytest", "-n", "2", "-p", "no:cacheprovider", "-q", tests, PYTEST_ADDOPTS="")


# --- installations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["-O", "-OO"])
def test_python_without_assertions_or_docstrings_gives_the_same_bits(flag):
    assert call("learned()", flag) == learned()


def where_and_what():
    """Return where fastbp lies, what a network predicts, and how often the cache had the code and had it not."""
    got = predicted()
    from fastbp.kernels import entries as training

    return fastbp.__file__, got, [sum(counts.values()) for counts in training.predict.stats[1:]]


def test_a_zipped_package_predicts_and_keeps_its_code(tmp_path):
    with zipfile.ZipFile(tmp_path / "site.zip", "w") as archive:
        for path in PACKAGE.rglob("*.py"):
            archive.write(path, path.relative_to(PACKAGE.parent))
    for hits_and_misses in ([0, 1], [1, 0]):
        got = call("where_and_what()", first=tmp_path / "site.zip", FASTBP_CACHE_DIR=tmp_path / "cache")
        assert got == [str(tmp_path / "site.zip" / "fastbp" / "__init__.py"), predicted(), hits_and_misses]


NOBODY = """
import json, pwd
def unknown(user): raise KeyError(user)
pwd.getpwuid = unknown  # as in a container that runs as any number
import test_environments as t
print(json.dumps(t.where_and_what()))
"""


@POSIX
def test_a_read_only_package_serves_a_user_without_a_home(tmp_path):
    package = tmp_path / "site" / "fastbp"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    before = sorted(package.rglob("*"))
    for path in (*before, package):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (tmp_path / "tmp").mkdir()
    homeless = dict.fromkeys(["HOME", "XDG_CACHE_HOME", "FASTBP_CACHE_DIR"])
    # Root can write anywhere: whether somebody tried is seen by what is there afterwards.
    settings = {**homeless, "TMPDIR": tmp_path / "tmp", "PYTHONDONTWRITEBYTECODE": 1}
    got = json.loads(run("-c", NOBODY, first=package.parent, **settings))
    assert got == [str(package / "__init__.py"), predicted(), [0, 1]]
    assert sorted(package.rglob("*")) == before
    assert list((tmp_path / "tmp").glob("*/*/predict*.code"))


# --- others' code ---------------------------------------------------------------------------------------------


def learned_after_others():
    """Return what a network becomes where somebody's functions, compiled as fastbp would not, were the first to call.

    Before it, what they computed: a layer of ones, and a network like it.
    """
    import numba

    from fastbp.kernels.dense import linear_relu_forward
    from fastbp.kernels.entries import train
    from fastbp.kernels.packing import matrix_from, panels_from
    from fastbp.runs import fitting

    options = {"fastmath": True, "error_model": "python", "boundscheck": True}

    @numba.njit(**options)
    def call_kernel(h, weights, biases, out):
        linear_relu_forward(h, weights, biases, out)
        return np.isfinite(out.data[0]), min(out.data[0], h.rows), 1 / out.data[0], np.sqrt(out.data[0])

    @numba.njit(**options)
    def call_entry(table, plan, state, workspace, rates, losses, group):
        return train(table, plan, state, workspace, rates, losses, group)

    h, weights, biases, out = (panels_from(np.ones(shape), "float32") for shape in ((9, 5), (5, 3), (1, 3), (9, 3)))
    call_kernel(h, weights, biases, out)
    fitting.train = call_entry
    theirs = learned()
    fitting.train = train
    return matrix_from(out).tolist(), theirs, learned()


def test_options_of_somebodys_own_function_do_not_change_fastbps_code(tmp_path):
    alone = learned()
    wanted = [np.full((9, 3), 6.0).tolist(), alone, alone]
    assert call("learned_after_others()", FASTBP_CACHE_DIR=tmp_path) == wanted
