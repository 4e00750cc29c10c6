"""The artifact store: bytes come back exactly, or not at all, whatever dies, is altered or planted."""

from __future__ import annotations

import errno
import hashlib
import io
import multiprocessing
import os
import random
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowkit.artifacts import FileArtifactStore, Swept, open_artifact_store
from flowkit.errors import (
    ConfigError,
    DataCorrupted,
    InvalidInput,
    ResultNotFound,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from flowkit.folders import store_errors

MIB = 1024 * 1024
HOUR = 3600
NEVER_STORED = "sha256-" + "0" * 64


@pytest.fixture
def store(tmp_path: Path) -> FileArtifactStore:
    return FileArtifactStore(tmp_path / "var" / "artifacts")


class Zeros(io.RawIOBase):
    """A source of zero bytes that exist nowhere at once."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = min(len(buffer), self.left)
        buffer[:count] = bytes(count)
        self.left -= count
        return count


def read(store: FileArtifactStore, id: str) -> bytes:
    with store.open(id) as file:
        return file.read()


def file_of(store: FileArtifactStore, id: str) -> Path:
    hex = id.removeprefix("sha256-")
    return store.root / hex[:2] / hex[2:]


def files_in(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and path.name != "lock"]


def later(seconds: float) -> int:
    """An engine time this many seconds after anything that the test wrote."""
    return 4_000_000_000_000_000 + round(seconds * 1_000_000)


def test_bytes_come_back_under_the_name_of_their_hash(store: FileArtifactStore) -> None:
    stored = store.put(b"hello")

    assert stored.id == "sha256-" + hashlib.sha256(b"hello").hexdigest()
    assert (stored.sha256, stored.size) == (hashlib.sha256(b"hello").hexdigest(), 5)
    assert read(store, stored.id) == b"hello"
    assert store.stat(stored.id) == 5


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(body=st.binary(max_size=3000))
def test_any_bytes_come_back_exactly(store: FileArtifactStore, body: bytes) -> None:
    assert read(store, store.put(body).id) == body


def test_text_is_stored_as_utf8_and_is_never_taken_for_a_path(store: FileArtifactStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"key")

    assert read(store, store.put(str(secret)).id) == str(secret).encode()
    assert read(store, store.put("größe").id) == "größe".encode()


def test_a_path_is_stored_by_its_contents(store: FileArtifactStore, tmp_path: Path) -> None:
    source = tmp_path / "page.pdf"
    source.write_bytes(b"pdf")

    assert read(store, store.put(source).id) == b"pdf"


def test_a_file_is_stored_from_where_it_stands(store: FileArtifactStore) -> None:
    source = io.BytesIO(b"header body")
    source.seek(7)

    assert read(store, store.put(source).id) == b"body"


@pytest.mark.parametrize("body", [bytearray(b"ab"), memoryview(b"ab"), memoryview(b"a-b-")[::2].tobytes()])
def test_other_buffers_are_bytes_too(store: FileArtifactStore, body: bytes) -> None:
    assert read(store, store.put(body).id) == b"ab"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(None, id="nothing"),
        pytest.param(5, id="a number"),
        pytest.param(["a"], id="a list"),
        pytest.param(io.StringIO("text"), id="a text file"),
        pytest.param(io.StringIO(""), id="an empty text file"),
        pytest.param("\ud800", id="half a character"),
    ],
)
def test_what_is_no_body_is_refused_and_leaves_nothing(store: FileArtifactStore, body: object) -> None:
    with pytest.raises(InvalidInput, match="artifact body"):
        store.put(body)  # type: ignore[arg-type]
    assert files_in(store.root) == []


def test_a_file_that_would_block_is_refused_rather_than_cut_short(store: FileArtifactStore) -> None:
    class Blocking:
        def read(self, size: int = -1, /) -> bytes:
            return None  # type: ignore[return-value]

    with pytest.raises(InvalidInput, match="NoneType"):
        store.put(Blocking())


def test_a_missing_path_is_the_callers_own_error(store: FileArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.put(tmp_path / "nowhere")
    assert files_in(store.root) == []


def test_a_source_that_breaks_off_leaves_nothing(store: FileArtifactStore) -> None:
    class Broken:
        def __init__(self) -> None:
            self.reads = iter([b"some"])

        def read(self, size: int = -1, /) -> bytes:
            for piece in self.reads:
                return piece
            raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError, match="gone"):
        store.put(Broken())
    assert files_in(store.root) == []


def test_equal_bytes_share_one_file(store: FileArtifactStore) -> None:
    first, second = store.put(b"same"), store.put(io.BytesIO(b"same"))

    assert first == second
    assert len(files_in(store.root)) == 1


def test_memory_stays_small_whatever_the_size(store: FileArtifactStore) -> None:
    size = 200 * MIB
    tracemalloc.start()
    try:
        stored = store.put(Zeros(size))
        with store.open(stored.id) as file:
            assert file.seek(0, os.SEEK_END) == size
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert stored.size == size
    assert peak < 8 * MIB


def test_the_folder_is_made_when_it_is_first_needed(tmp_path: Path) -> None:
    store = FileArtifactStore(tmp_path / "a" / "b")

    assert list(store.ids()) == []
    assert store.gc(frozenset(), older_than_seconds=0, now=later(0)) == Swept()
    assert not (tmp_path / "a").exists()


def test_a_later_change_of_directory_moves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = FileArtifactStore("artifacts")
    stored = store.put(b"x")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert read(store, stored.id) == b"x"


@pytest.mark.parametrize("name", ["plain", "with space", "50%#?&", "größe", "new\nline"])
def test_another_process_opens_the_store_by_its_url(tmp_path: Path, name: str) -> None:
    store = FileArtifactStore(tmp_path / name)
    stored = store.put(b"shared")

    assert store.url.startswith("file:///")
    assert store.url.isascii()
    assert open_artifact_store(store.url).root == store.root
    assert read(open_artifact_store(store.url), stored.id) == b"shared"


@pytest.mark.parametrize("url", ["", "/var/artifacts", "s3://bucket/x", "file://host/x", "file:"])
def test_an_url_of_something_else_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="file:///path"):
        open_artifact_store(url)


@pytest.mark.parametrize("root", ["", "  "])
def test_a_blank_root_is_refused(root: str) -> None:
    with pytest.raises(ConfigError, match="FileArtifactStore: root"):
        FileArtifactStore(root)


@pytest.mark.parametrize(
    "id",
    [
        NEVER_STORED,
        "",
        "sha256-",
        "hello",
        "../../../../etc/passwd",
        "sha256-../../../../etc/passwd",
        "sha256-" + "../" * 21 + "a",
        "sha256-" + "A" * 64,
        "sha256-" + "0" * 63,
        "sha256-" + "0" * 64 + "\n",
        "sha256-" + "0" * 64 + "/x",
        "sha256-" + "٠" * 64,
        "step:artifact:001",
    ],
)
def test_an_id_that_was_never_given_names_nothing(store: FileArtifactStore, id: str) -> None:
    store.put(b"something")

    assert store.stat(id) is None
    assert store.delete(id) is False
    with pytest.raises(ResultNotFound, match="no artifact"), store.open(id):
        pass


@pytest.mark.parametrize("tail", ["/.", "/", "//", "\n", "/../x"])
def test_an_id_with_something_behind_it_is_another_id(store: FileArtifactStore, tail: str) -> None:
    stored = store.put(b"something")

    assert store.stat(stored.id + tail) is None
    assert store.delete(stored.id + tail) is False


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: bytes([data[0] ^ 1]) + data[1:], id="one bit"),
        pytest.param(lambda data: data[:-1], id="cut short"),
        pytest.param(lambda data: data + b"\0", id="grown"),
        pytest.param(lambda data: b"", id="emptied"),
    ],
)
def test_altered_bytes_are_never_handed_out(store: FileArtifactStore, damage) -> None:  # type: ignore[no-untyped-def]
    stored = store.put(random.Random(7).randbytes(3 * MIB))
    path = file_of(store, stored.id)
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(DataCorrupted, match=stored.id), store.open(stored.id):
        pytest.fail("altered bytes were handed out")


def test_putting_the_bytes_again_heals_a_damaged_file(store: FileArtifactStore) -> None:
    stored = store.put(b"good")
    file_of(store, stored.id).write_bytes(b"evil")

    store.put(b"good")

    assert read(store, stored.id) == b"good"


def test_an_error_of_the_reader_goes_through_as_it_is(store: FileArtifactStore) -> None:
    stored = store.put(b"x")

    with pytest.raises(BlockingIOError, match="mine"), store.open(stored.id):
        raise BlockingIOError("mine")


def test_a_deleted_artifact_is_gone_and_can_be_put_again(store: FileArtifactStore) -> None:
    stored = store.put(b"x")

    assert store.delete(stored.id) is True
    assert store.delete(stored.id) is False
    assert store.stat(stored.id) is None
    assert read(store, store.put(b"x").id) == b"x"


def test_ids_lists_what_is_stored_and_nothing_else(store: FileArtifactStore) -> None:
    ids = {store.put(body).id for body in (b"a", b"b", b"c")}
    (store.root / "notes.txt").write_text("a stranger's file")
    file_of(store, NEVER_STORED).parent.mkdir()
    (file_of(store, NEVER_STORED).parent / "short").write_text("another")

    assert set(store.ids()) == ids


def test_a_planted_link_is_not_read_through(store: FileArtifactStore, tmp_path: Path) -> None:
    target = tmp_path / "secret"
    target.write_bytes(b"hello")
    stored = store.put(b"hello")
    file_of(store, stored.id).unlink()
    file_of(store, stored.id).symlink_to(target)

    with pytest.raises(ResultNotFound), store.open(stored.id):
        pass
    assert list(store.ids()) == []


def test_a_planted_link_is_not_written_through(store: FileArtifactStore, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    stored = store.put(b"hello")
    file_of(store, stored.id).unlink()
    file_of(store, stored.id).symlink_to(target)

    store.put(b"hello")

    assert target.read_bytes() == b"precious"
    assert read(store, stored.id) == b"hello"


def test_a_planted_link_in_place_of_a_folder_is_refused(store: FileArtifactStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    id = "sha256-" + hashlib.sha256(b"hello").hexdigest()
    store.root.mkdir(parents=True)
    file_of(store, id).parent.symlink_to(outside)

    with pytest.raises(StoreUnavailable, match="symbolic link"):
        store.put(b"hello")
    assert list(outside.iterdir()) == []


def test_a_root_that_is_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("in the way")

    with pytest.raises(StoreUnavailable) as raised:
        FileArtifactStore(tmp_path / "root").put(b"x")
    assert isinstance(raised.value.__cause__, OSError)


@pytest.mark.parametrize(
    ("number", "told"), [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EIO, StoreError)]
)
def test_a_disk_that_refuses_is_told_by_what_it_refused(store: FileArtifactStore, number: int, told: type) -> None:
    with pytest.raises(told, match="try again|check that") as raised, store_errors(store.root):
        raise OSError(number, os.strerror(number))
    assert raised.value.__cause__.errno == number
    assert (type(raised.value) is StoreFull) is (told is StoreFull)


def test_gc_removes_what_nobody_refers_to(store: FileArtifactStore) -> None:
    kept, unwanted = store.put(b"kept"), store.put(b"unwanted")

    swept = store.gc({kept.id}, older_than_seconds=HOUR, now=later(HOUR))

    assert swept == Swept(artifacts=1, unfinished=0, size=len(b"unwanted"))
    assert list(store.ids()) == [kept.id]
    assert store.stat(unwanted.id) is None


def test_gc_leaves_alone_what_was_put_within_the_grace_period(store: FileArtifactStore) -> None:
    young, aged = store.put(b"young"), store.put(b"aged")
    put_at(store, young.id, seconds=1001)
    put_at(store, aged.id, seconds=999)

    store.gc(frozenset(), older_than_seconds=HOUR, now=(1000 + HOUR) * 1_000_000)

    assert list(store.ids()) == [young.id]


def test_the_grace_period_starts_anew_when_the_bytes_are_put_again(store: FileArtifactStore) -> None:
    stored = store.put(b"x")
    put_at(store, stored.id, seconds=0)
    now = now_by_the_file_system(store)

    store.put(b"x")
    store.gc(frozenset(), older_than_seconds=HOUR, now=now)

    assert store.stat(stored.id) == 1


def test_bytes_of_a_writer_that_died_are_no_artifact_and_are_swept(store: FileArtifactStore) -> None:
    died = multiprocessing.get_context("spawn").Process(target=put_and_die, args=(store.url,))
    died.start()
    died.join(60)
    assert died.exitcode == 9
    (left,) = files_in(store.root)

    assert list(store.ids()) == []
    young = store.gc(frozenset(), older_than_seconds=HOUR, now=now_by_the_file_system(store))
    assert young == Swept()
    assert left.exists()
    swept = store.gc(frozenset(), older_than_seconds=HOUR, now=later(HOUR))
    assert (swept.artifacts, swept.unfinished) == (0, 1)
    assert swept.size > 0
    assert files_in(store.root) == []


def test_many_processes_put_read_and_sweep_the_same_bytes_at_once(store: FileArtifactStore) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=put_and_read_often, args=(store.url, seed)) for seed in range(3)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        store.gc(frozenset(), older_than_seconds=HOUR, now=now_by_the_file_system(store))
        workers[0].join(0.01)
    for worker in workers:
        worker.join(60)

    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(list(store.ids())) == 8
    assert len(files_in(store.root)) == 8


def put_at(store: FileArtifactStore, id: str, *, seconds: int) -> None:
    os.utime(file_of(store, id), (seconds, seconds))


def now_by_the_file_system(store: FileArtifactStore) -> int:
    store.root.mkdir(parents=True, exist_ok=True)
    probe = store.root / "lock"
    probe.touch()
    return probe.stat().st_mtime_ns // 1000


def put_and_die(url: str) -> None:
    class Deadly:
        def __init__(self) -> None:
            self.read_once = False

        def read(self, size: int = -1, /) -> bytes:
            if self.read_once:
                os._exit(9)
            self.read_once = True
            return b"x" * MIB

    open_artifact_store(url).put(Deadly())


def put_and_read_often(url: str, seed: int) -> None:
    store = open_artifact_store(url)
    draw = random.Random(seed)
    for _ in range(60):
        body = bytes([draw.randrange(8)]) * 10_000
        assert read(store, store.put(body).id) == body
