"""Records on a network share are refused: shares are told from disks."""

import sys
from pathlib import Path

import pytest

from db import session, storage
from db.errors import RecordError

MOUNTS = """\
22 1 252:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 22 0:25 / /mnt/share rw,relatime shared:2 - nfs4 server:/export rw,vers=4.2
31 22 0:26 / /mnt/with\\040space rw - cifs //server/share rw
32 30 0:27 / /mnt/share/local rw - ext4 /dev/vdb1 rw
33 22 0:28 / /home/kim/remote rw - fuse.sshfs kim@host: rw
34 22 0:29 / /home/kim/stick rw - fuse.ntfs-3g /dev/sdb1 rw
35 22 0:30 / /over rw - nfs server:/a rw
36 22 0:31 / /over rw - xfs /dev/vdc rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/kim/records.db", None),
        ("/mnt/share/records.db", "nfs4"),
        ("/mnt/shared.db", None),
        ("/mnt/share/local/records.db", None),
        ("/mnt/with space/a/records.db", "cifs"),
        ("/home/kim/remote/records.db", "fuse.sshfs"),
        ("/home/kim/stick/records.db", None),
        ("/over/records.db", None),
    ],
)
def test_network_shares_are_told_from_disks_on_linux(path: str, kind: str | None) -> None:
    assert storage.share_kind(path, storage.linux_mounts(MOUNTS)) == kind


def test_network_shares_are_told_from_disks_on_macos() -> None:
    mounts = storage.macos_mounts(
        "/dev/disk3s1 on / (apfs, local, journaled)\n"
        "//kim@server/share on /Volumes/my (old) share (smbfs, nodev, nosuid, mounted by kim)\n"
        "server:/export on /Volumes/nfs (nfs, nodev)\nmap auto_home on /System/home (autofs)\n"
    )
    assert storage.share_kind("/Users/kim/records.db", mounts) is None
    assert storage.share_kind("/Volumes/my (old) share/records.db", mounts) == "smbfs"
    assert storage.share_kind("/Volumes/nfs/x/records.db", mounts) == "nfs"


def test_records_on_a_network_share_are_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert storage.network_share(tmp_path / "records.db") is None
    monkeypatch.setattr(session, "network_share", lambda path: "nfs4")
    with pytest.raises(RecordError, match=r"network share \(nfs4\).*PostgreSQL"):
        session.open_records(str(tmp_path / "records.db"))
    assert not (tmp_path / "records.db").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the mount table is Linux's")
def test_a_link_into_a_share_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    share = tmp_path / "share"
    share.mkdir()
    (tmp_path / "link").symlink_to(share)
    table = f"1 1 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / {share.resolve()} rw - nfs s:/e rw\n"
    monkeypatch.setattr(Path, "read_text", lambda *_args, **_options: table)
    assert storage.network_share(tmp_path / "link" / "records.db") == "nfs"
    assert storage.network_share(tmp_path / "records.db") is None
