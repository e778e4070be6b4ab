"""Whether a file lies on a network share: SQLite's locks and log do not work there.

SQLite's write-ahead log needs memory shared by all processes that have the file
open, so all must be on one machine (sqlite.org/wal.html), and network file systems
are known for locks that do not hold (sqlite.org/howtocorrupt.html, section 2.1).
"""

import os
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Final

SHARES: Final = frozenset(
    (
        "9p",
        "acfs",
        "afpfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "gfs",
        "gfs2",
        "gpfs",
        "lustre",
        "moosefs",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "prl_fs",
        "pvfs2",
        "smb2",
        "smb3",
        "smbfs",
        "sshfs",
        "vboxsf",
        "vmhgfs",
        "webdav",
    )
)
"""Types of file systems that other machines share."""

_FUSE: Final = frozenset(
    (
        "ceph",
        "cephfs",
        "davfs2",
        "gcsfuse",
        "glusterfs",
        "goofys",
        "moosefs",
        "mfs",
        "ossfs",
        "rclone",
        "s3fs",
        "seaweedfs",
        "smbnetfs",
        "sshfs",
        "vmhgfs-fuse",
    )
)
_DRIVE_REMOTE: Final = 4  # of GetDriveTypeW


def network_share(path: Path) -> str | None:
    """Kind of the network share that `path` lies on, e.g. "nfs4"; None for a local disk.

    Parameters
    ----------
    path : Path
        Absolute; neither it nor its folder need exist.
    """
    if sys.platform == "win32":
        return _windows_share(path)
    path = Path(os.path.realpath(path))
    if sys.platform == "darwin":
        listed = subprocess.run(
            ["/sbin/mount"], capture_output=True, text=True, timeout=20, check=False
        )
        return share_kind(str(path), macos_mounts(listed.stdout))
    try:
        table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    return share_kind(str(path), linux_mounts(table))


def linux_mounts(table: str) -> list[tuple[str, str]]:
    """Mount point and type of each line of ``/proc/self/mountinfo``, in its order."""
    found = []
    for line in table.splitlines():
        before, _, behind = line.partition(" - ")
        if behind:
            point = re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), before.split(" ")[4])
            found.append((point, behind.split(" ")[0]))
    return found


def macos_mounts(table: str) -> list[tuple[str, str]]:
    """Mount point and type of each line that ``mount`` writes on macOS."""
    lines = (re.match(r".* on (/.*) \(([^,)]+)", line) for line in table.splitlines())
    return [(line[1], line[2]) for line in lines if line]


def share_kind(path: str, mounts: list[tuple[str, str]]) -> str | None:
    """Type of the file system that holds `path`, if it is a share.

    Of two mounted on the same point the later one hides the other.
    """
    place = PurePosixPath(path)
    kind, depth = "", -1
    for point, mounted in mounts:
        at = PurePosixPath(point)
        if place.is_relative_to(at) and len(at.parts) >= depth:
            kind, depth = mounted, len(at.parts)
    is_share = kind in SHARES or (kind.startswith("fuse.") and kind[5:] in _FUSE)
    return kind if is_share else None


def _windows_share(path: Path) -> str | None:
    if sys.platform != "win32":
        return None
    if path.drive.startswith("\\\\") and not path.drive.startswith(("\\\\?\\", "\\\\.\\")):
        return "UNC path"
    import ctypes

    root = path.drive + "\\"
    is_remote = ctypes.windll.kernel32.GetDriveTypeW(root) == _DRIVE_REMOTE
    return "network drive" if is_remote else None
