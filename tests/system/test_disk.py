"""Places on the disk: what the system refuses is said as it is, and before long work."""

import errno
import fcntl
import logging
import os
import tempfile
from pathlib import Path

import pytest

from mechicl.system import disk
from mechicl.system.disk import SeriesError, check_writable, explained, is_file, locked, own_place


@pytest.fixture
def refusing(monkeypatch):
    """The system refuses to make files below a folder: root, as whom tests may run, could make them all the same."""
    real = disk.tempfile.TemporaryFile

    def refuse(folder: Path, number: int = errno.EROFS) -> None:
        def make(*, dir):
            if Path(dir).is_relative_to(folder):
                raise OSError(number, os.strerror(number), str(dir))
            return real(dir=dir)

        monkeypatch.setattr(disk.tempfile, "TemporaryFile", make)

    return refuse


def test_a_folder_that_can_be_written_to_stays_as_it_is(tmp_path):
    check_writable(tmp_path)
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_written_to_is_named_with_the_reason(tmp_path, refusing, number):
    refusing(tmp_path, number)
    for folder in (tmp_path, tmp_path / "a" / "b"):
        with pytest.raises(SeriesError) as error:
            check_writable(folder, "Give --out DIR.")
        assert str(error.value) == f"{tmp_path} cannot be written to: {os.strerror(number)}. Give --out DIR."


def test_a_file_or_a_dangling_link_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, number in (("file", errno.ENOTDIR), ("link", errno.ENOENT)):
        with pytest.raises(SeriesError, match=f"{name} cannot be written to: {os.strerror(number)}"):
            check_writable(tmp_path / name / "run")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_folder(tmp_path):
    """As a user who may not: in a child, since this cannot be undone."""
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o755)
    for above in (tmp_path, *tmp_path.parents):
        if above.is_relative_to(tempfile.gettempdir()) and above != Path(tempfile.gettempdir()):
            above.chmod(0o755)  # pytest's own, one more of them with xdist
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            check_writable(mine / "run")
        except SeriesError as error:
            code = 0 if str(error) == f"{mine} cannot be written to: Permission denied." else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_whether_a_file_is_there(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "loose").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    found = {name: is_file(tmp_path / name) for name in ("file", "link", "loose", "pipe", "none", "file/x", "x\0y")}
    assert found == {"file": True, "link": True} | dict.fromkeys(["loose", "pipe", "none", "file/x", "x\0y"], False)
    assert not is_file(tmp_path)

    def forbidden(self):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", forbidden)
    with pytest.raises(SeriesError, match="file cannot be read: Permission denied"):
        is_file(tmp_path / "file")


def test_writing_never_goes_through_a_linked_folder(tmp_path):
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    run.mkdir()
    elsewhere.mkdir()
    (run / "weights").symlink_to(elsewhere)
    assert own_place(run, run / "state" / "x") == run / "state" / "x"
    with pytest.raises(SeriesError, match="weights is a link to another folder"):
        own_place(run, run / "weights" / "x")
    (tmp_path / "named").symlink_to(run)  # the run itself: the user named it
    assert own_place(tmp_path / "named", tmp_path / "named" / "state" / "x")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_error_is_called_what_it_is(tmp_path, number):
    with pytest.raises(SeriesError) as error, explained(tmp_path):
        raise OSError(number, os.strerror(number))
    full = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    assert ("the disk is full" in str(error.value)) == full
    assert (os.strerror(number) in str(error.value)) != full
    assert str(tmp_path) in str(error.value)
    assert isinstance(error.value.__cause__, OSError)


# Locks.


def flock_raises(monkeypatch, number: int) -> None:
    def flock(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("name", ["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EACCES", "EPERM", "EINVAL", "EBADF", "EIO"])
def test_a_disk_without_locks_is_written_to_and_a_warning_says_so(tmp_path, monkeypatch, caplog, name):
    number = getattr(errno, name)
    flock_raises(monkeypatch, number)
    with caplog.at_level(logging.WARNING), locked(tmp_path):
        pass
    (said,) = caplog.messages
    assert str(tmp_path) in said
    assert os.strerror(number) in said
    assert "another process; wait" not in said
    assert "\n" not in said


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EWOULDBLOCK])
def test_contention_is_an_error(tmp_path, monkeypatch, caplog, number):
    flock_raises(monkeypatch, number)
    with pytest.raises(SeriesError, match="is being written by another process"), locked(tmp_path):
        raise AssertionError("held")
    assert caplog.messages == []


def test_an_error_inside_is_not_the_locks(tmp_path):
    with pytest.raises(OSError, match="of the work"), locked(tmp_path):
        raise OSError(errno.EIO, "of the work")


def test_a_lock_that_is_a_link_is_refused_and_what_it_leads_to_stays(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(SeriesError, match="link"), locked(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_read_only_run_is_not_called_busy(tmp_path, refusing):
    refusing(tmp_path)
    with pytest.raises(SeriesError, match="cannot be written to: Read-only file system"), locked(tmp_path):
        pass
