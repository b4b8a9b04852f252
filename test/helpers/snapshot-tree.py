"""Describes a directory tree for comparison: one JSON object per path, sorted by the path's bytes.

Usage: snapshot-tree.py DIR > rows.jsonl

Fields: path, type, mode, uid, gid, mtime (ns); nlink of what is no directory; size of files and symlinks;
same: the first path of a set of hard links; target; rdev; xattrs (hex); sha256 of files. Bytes that are not
ASCII are shown as \\xNN escapes, so that no name is lost.
"""

import hashlib
import json
import os
import stat
import sys

KINDS = (
    (stat.S_ISDIR, 'dir'), (stat.S_ISREG, 'file'), (stat.S_ISLNK, 'link'), (stat.S_ISCHR, 'char'),
    (stat.S_ISBLK, 'block'), (stat.S_ISFIFO, 'fifo'), (stat.S_ISSOCK, 'socket'),
)


def show(raw):
    if all(32 <= byte <= 126 for byte in raw):
        return raw.decode('ascii')
    return raw.decode('utf-8', 'surrogateescape').encode('unicode_escape').decode('ascii')


def digest(path):
    sha256 = hashlib.sha256()
    with open(path, 'rb', buffering=0) as file:
        while block := file.read(1 << 20):
            sha256.update(block)
    return sha256.hexdigest()


def describe(path, relative, first_names):
    status = os.lstat(path)
    kind = next(name for test, name in KINDS if test(status.st_mode))
    row = {
        'path': show(b'/' + relative), 'type': kind, 'mode': oct(stat.S_IMODE(status.st_mode)),
        'uid': status.st_uid, 'gid': status.st_gid, 'mtime': status.st_mtime_ns,
    }
    if kind != 'dir':
        row['nlink'] = status.st_nlink
        if status.st_nlink > 1:
            row['same'] = first_names.setdefault((status.st_dev, status.st_ino), row['path'])
    if kind in ('file', 'link'):
        row['size'] = status.st_size
    if kind == 'link':
        row['target'] = show(os.readlink(path))
    if kind in ('char', 'block'):
        row['rdev'] = f'{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}'
    try:
        names = sorted(os.listxattr(path, follow_symlinks=False))
    except OSError:
        names = []
    if names:
        row['xattrs'] = {name: os.getxattr(path, name, follow_symlinks=False).hex() for name in names}
    if kind == 'file':
        try:
            row['sha256'] = digest(path)
        except OSError as error:
            row['sha256'] = f'error {error.errno}'
    return row


def main(root):
    root = os.fsencode(root)
    found, waiting = [b''], [b'']
    while waiting:
        directory = waiting.pop()
        with os.scandir(os.path.join(root, directory) if directory else root) as entries:
            for entry in entries:
                relative = os.path.join(directory, entry.name) if directory else entry.name
                found.append(relative)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(relative)
    first_names = {}
    for relative in sorted(found):
        path = os.path.join(root, relative) if relative else root
        print(json.dumps(describe(path, relative, first_names), sort_keys=True))


main(sys.argv[1])
