"""What another user, or a hostile table, tries: none of their code is run, and no text commands the terminal."""

import os
import pathlib
import re
import stat
from types import SimpleNamespace

import polars as pl
import pytest
from command_line import FEW, command
from test_cache import HIT, MISS, run

from fastbp.command.terminal import visible
from fastbp.files import trust

POSIX = pytest.mark.skipif(os.name != "posix", reason="owners, permissions and links of POSIX")
ROOT_ONLY = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")
STRANGER = 12345


# --- folders that others control ----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "a" / "b" / "c"
    trust.make_private_folder(made)
    return made


@POSIX
@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077, 0o777])
def test_every_folder_that_is_made_is_private_and_trusted(tmp_path, umask):
    before = os.umask(umask & ~0o700)
    try:
        trust.make_private_folder(tmp_path / "new" / "x" / "y")
    finally:
        os.umask(before)
    for name in ("new", "new/x", "new/x/y"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700
    trust.check_folder(tmp_path / "new" / "x" / "y")
    trust.make_private_folder(tmp_path / "new" / "x" / "y")


@POSIX
@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("mode", [0o770, 0o777, 0o720, 0o702, 0o2775])
def test_a_folder_that_others_can_write_to_is_not_trusted_at_any_level(folder, level, mode):
    open_to_all = [folder, *folder.parents][level]
    open_to_all.chmod(mode)
    with pytest.raises(PermissionError, match=f"others can write to {open_to_all} "):
        trust.check_folder(folder)


@POSIX
@pytest.mark.parametrize("mode", [0o1777, 0o1770, 0o1775])
def test_a_shared_folder_with_the_sticky_bit_may_stand_above_but_not_last(folder, mode):
    folder.parent.chmod(mode)
    trust.check_folder(folder)
    with pytest.raises(PermissionError, match="others can write"):
        trust.check_folder(folder.parent)


@ROOT_ONLY
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_folder_of_another_user_is_not_trusted_at_any_level(folder, level):
    theirs = [folder, *folder.parents][level]
    os.chown(theirs, STRANGER, -1)
    with pytest.raises(PermissionError, match=f"another user owns {theirs}"):
        trust.check_folder(folder)


@POSIX
def test_a_link_of_ours_is_followed_and_its_target_is_checked_upward(folder, tmp_path):
    link = tmp_path / "link"
    for target in (folder, pathlib.Path("a/b/c"), pathlib.Path("a/../a/b/./c")):
        link.symlink_to(target)
        trust.check_folder(link)
        folder.parent.chmod(0o777)
        with pytest.raises(PermissionError, match=f"{folder.parent} "):
            trust.check_folder(link)
        folder.parent.chmod(0o700)
        link.unlink()


@ROOT_ONLY
def test_a_link_of_another_user_is_not_trusted(folder, tmp_path):
    for name in ("link", "shared", "x y"):
        link = tmp_path / name
        link.symlink_to(folder.parent)
        os.chown(link, STRANGER, -1, follow_symlinks=False)
        with pytest.raises(PermissionError, match=f"another user owns {link}"):
            trust.check_folder(link / "c")


@POSIX
def test_a_link_to_itself_is_an_error(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        trust.check_folder(tmp_path / "loop")
    with pytest.raises(OSError, match="not a directory"):
        trust.make_private_folder(tmp_path / "loop")


# --- files that others can change ---------------------------------------------------------------------------


def plant_link(path, content):
    (path.parent / "theirs").write_bytes(content)
    path.symlink_to("theirs")


def plant_open(mode):
    def plant(path, content):
        path.write_bytes(content)
        path.chmod(mode)

    return plant


PLANTED = {
    "a link": plant_link,
    "a file that the group can write to": plant_open(0o660),
    "a file that all can write to": plant_open(0o602),
    "a file that all can read and write": plant_open(0o666),
    "a pipe": lambda path, _: os.mkfifo(path),
    "a folder": lambda path, _: path.mkdir(),
}


@POSIX
@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_file_is_not_read(folder, kind):
    PLANTED[kind](folder / "code", b"evil")
    with pytest.raises(OSError, match=r"symbolic links|others can write|not a regular file"):
        trust.read_trusted(folder / "code")


@ROOT_ONLY
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o400])
def test_a_file_of_another_user_is_not_read(folder, mode):
    (folder / "code").write_bytes(b"evil")
    (folder / "code").chmod(mode)
    os.chown(folder / "code", STRANGER, -1)
    with pytest.raises(PermissionError, match="another user owns it"):
        trust.read_trusted(folder / "code")


@POSIX
@pytest.mark.parametrize("kind", ["a link", "a file that the group can write to", "a file that all can write to"])
def test_a_file_swapped_before_it_is_opened_is_caught_and_one_swapped_later_changes_nothing(folder, monkeypatch, kind):
    path, real = folder / "code", os.open

    def swap():
        path.unlink()
        PLANTED[kind](path, b"evil")

    def swapped_before(*arguments):
        swap()
        return real(*arguments)

    def swapped_after(*arguments):
        descriptor = real(*arguments)
        swap()
        return descriptor

    for opened, expected in ((swapped_before, None), (swapped_after, b"good")):
        if path.is_symlink() or path.exists():
            path.unlink()
        plant_open(0o600)(path, b"good")
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", opened)
            if expected is None:
                with pytest.raises(OSError, match=r"symbolic links|others can write"):
                    trust.read_trusted(path)
            else:
                assert trust.read_trusted(path) == expected
        if (folder / "theirs").exists():
            (folder / "theirs").unlink()


@POSIX
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o775])
def test_a_warm_cache_under_a_parent_that_others_can_write_to_is_not_run(tmp_path, mode):
    place = tmp_path / "shared" / "mine" / "cache"
    elsewhere = {"XDG_CACHE_HOME": str(tmp_path / "caches")}
    assert run(place, **elsewhere)[:3] == MISS
    assert run(place, **elsewhere)[:3] == HIT
    (tmp_path / "shared").chmod(mode)
    *got, used, warned = run(place, **elsewhere)
    assert tuple(got) == MISS
    assert used.startswith(str(tmp_path / "caches"))
    assert f"others can write to {tmp_path / 'shared'} " in warned


@POSIX
def test_permissions_that_change_after_the_import_are_noticed(tmp_path):
    place = tmp_path / "cache"
    assert run(place)[:3] == MISS
    for mode in (0o777, 0o770, 0o702):
        loosen = f"jit.cache_directory(); import os; os.chmod({str(place)!r}, {mode})"
        *got, _, warned = run(place, prelude=loosen)
        assert tuple(got) == MISS
        assert "others can write" in warned
        place.chmod(0o700)


@POSIX
@pytest.mark.parametrize("planted_mode", [0o777, 0o775, 0o1777])
def test_without_a_home_a_folder_planted_in_a_shared_temporary_directory_is_not_used(tmp_path, planted_mode):
    """A relative XDG_CACHE_HOME is invalid, so it stands for no home: anyone may own where the process stands."""
    shared = tmp_path / "tmp"
    planted = shared / f"fastbp-{os.getuid()}"
    planted.mkdir(parents=True)
    shared.chmod(0o1777)
    planted.chmod(planted_mode)
    nowhere = {"FASTBP_CACHE_DIR": "", "XDG_CACHE_HOME": "caches", "TMPDIR": str(shared)}
    got = run("", **nowhere)
    if planted_mode & 0o1000:  # a sticky folder of ours is a parent like /tmp
        assert got[3].startswith(str(planted))
    else:
        assert got[3] == "None"
        assert "others can write to" in got[4]
        assert list(planted.rglob("*.code")) == []


# --- texts that command the terminal ----------------------------------------------------------------------------------

TITLE, COLOUR, CLEAR, BELL = "\x1b]0;owned\x07", "\x1b[31m", "\x9b2J", "\x07\x08"
BIDI, ISOLATE, LINE = "\u202egpj.exe", "\u2066x\u2069", "a\u2028b"
HOSTILE = [TITLE, COLOUR, CLEAR, BELL, BIDI, ISOLATE, LINE, "\x7f\x00", "\x1bP+q\x1b\\"]
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_that_commands_a_terminal_is_shown_escaped(text):
    assert not COMMANDS.search(visible(text))
    assert visible(text) != text
    assert visible(f"größe 重さ 🐧 {text}").startswith("größe 重さ 🐧 ")
    assert visible(f"{text}\n\t", kept="\n\t").endswith("\n\t")


@pytest.mark.parametrize("ordinary", ["größe", "重さ", "a b'c", "👩‍💻", "می‌خواهم", "−1 °C", "back\\slash"])
def test_ordinary_texts_are_shown_as_they_are(ordinary):
    assert visible(ordinary) == ordinary


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(*arguments, code=0):
    """Run a command, and return its stdout and stderr, which must not command the terminal."""
    result = command(*arguments)
    assert result.exit_code == code, result.output
    for text in (result.stdout, result.stderr):
        assert not COMMANDS.search(text), ascii(text)
    return result.stdout, result.stderr


def write_hostile(evil):
    """Write a Parquet file: a text table with most of these characters is refused as binary data."""
    rows = range(40)
    columns = {
        f"a{evil}": [i % 7 + 0.5 for i in rows],
        f"b{evil}": ["red" if i % 3 else evil for i in rows],
        f"c{evil}": [evil if i % 2 else "small" for i in rows],
        f"d{evil}": [f"{i}{evil}" for i in rows],
    }
    pl.DataFrame(columns).write_parquet("table.parquet")


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize("evil", [TITLE, COLOUR, CLEAR, BIDI])
def test_names_and_cells_of_a_table_command_no_terminal(evil, monkeypatch):
    write_hostile(evil)
    out, err = said("train", "table.parquet", "--target", f"c{evil}", *FEW)
    shown = visible(evil)
    assert shown in out
    assert shown in err  # the notice about the last column
    assert shown in said("inspect", "model.fastbp")[0]
    said("inspect", "model.fastbp", "--json")
    said("train", "table.parquet", "--target", f"c{evil}", *FEW, "--json")
    said("evaluate", "model.fastbp", "table.parquet")
    said("predict", "model.fastbp", "table.parquet", "--output", "out.csv")
    assert pathlib.Path("out.csv").read_text(encoding="utf-8").count(evil) > 40  # data stay as they are
    for arguments in (
        ("train", "table.parquet", "--target", f"x{evil}"),
        ("train", f"none{evil}.csv", "--target", "x"),
        ("evaluate", "model.fastbp", "table.parquet", "--target", f"{evil}x"),
        ("predict", "model.fastbp", "table.parquet", f"--{evil}"),
        ("inspect", f"{evil}.fastbp"),
    ):
        _, err = said(*arguments, code=2)
        assert err.startswith("fastbp: ")
        assert err.count("\n") == 1
    piped = command("predict", "model.fastbp", "table.parquet").stdout
    assert evil in piped
    monkeypatch.setattr("fastbp.command.predict.sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    assert shown in said("predict", "model.fastbp", "table.parquet")[0]


@pytest.mark.usefixtures("directory")
def test_cells_that_a_spreadsheet_may_take_for_a_formula_stay_as_they_are():
    cells = ["=1+1", "+a", "-b", "@SUM(A1)", "=cmd|' /C calc'!A0", "\tx"]
    rows = [f"{i % 7}.5,{cells[i % 6]}" for i in range(60)]
    pathlib.Path("table.csv").write_text("\n".join(["a,b", *rows]) + "\n")
    said("train", "table.csv", "--target", "b", *FEW)
    assert command("predict", "model.fastbp", "table.csv", "--output", "out.csv").exit_code == 0
    written = pathlib.Path("out.csv").read_text().splitlines()[1:]
    assert [line.split(",")[1] for line in written] == [row.split(",")[1] for row in rows]
    assert {line.split(",")[2].lstrip("'") for line in written} <= set(cells) | {"x"}
