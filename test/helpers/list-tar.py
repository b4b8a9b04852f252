"""Lists tar archives by Python's tarfile, as a second opinion. Called by list-tar.ts.

Gives one line of JSON for each path on the command line: the members, with byte strings as latin-1 text, and the
error that ended the listing or null.
"""

import decimal
import hashlib
import json
import sys
import tarfile

MAX_HASHED = 1 << 24
TYPES = {
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.DIRTYPE: "directory",
    tarfile.FIFOTYPE: "fifo",
}


def latin1(text):
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def timestamp(member):
    raw = member.pax_headers.get("mtime")
    exact = decimal.Decimal(raw if raw else member.mtime)
    nanoseconds = int(exact * 10**9)
    return {"seconds": nanoseconds // 10**9, "nanoseconds": nanoseconds % 10**9}


def describe(archive, member):
    kind = TYPES.get(member.type, "file")
    is_device = kind in ("char", "block")
    content = None
    if kind == "file" and member.size <= MAX_HASHED:
        content = hashlib.sha256(archive.extractfile(member).read()).hexdigest()
    return {
        "path": latin1(member.name),
        "type": kind,
        "mode": member.mode & 0o7777,
        "uid": member.uid,
        "gid": member.gid,
        "mtime": timestamp(member),
        "size": member.size if kind == "file" else 0,
        "linkTarget": latin1(member.linkname) if kind in ("symlink", "hardlink") else "",
        "devMajor": member.devmajor if is_device else 0,
        "devMinor": member.devminor if is_device else 0,
        "xattrs": {
            latin1(key[len("SCHILY.xattr.") :]): latin1(value)
            for key, value in member.pax_headers.items()
            if key.startswith("SCHILY.xattr.")
        },
        "content": content,
    }


def listing(path):
    members = []
    try:
        with tarfile.open(path, "r:*", encoding="utf-8", errors="surrogateescape") as archive:
            for member in archive:
                members.append(describe(archive, member))
    except Exception as error:
        return {"entries": members, "error": f"{type(error).__name__}: {error}"}
    return {"entries": members, "error": None}


decimal.getcontext().prec = 60
for path in sys.argv[1:]:
    print(json.dumps(listing(path)))
