"""What the kernel says of EROFS images; called by test/helpers/erofs-kernel.ts.

Usage: erofs-kernel.py mount SOURCE MOUNTPOINT OPTIONS   mount(2), which does not turn files into loop devices
       erofs-kernel.py snapshot DIR  JSON lines [path, snapshot]; see erofs-tree.ts

Bytes are shown as Latin-1. A snapshot looks every name up and, near some of them, names that are not there.
"""

import ctypes
import hashlib
import json
import os
import stat
import sys

MS_RDONLY, MS_NOSUID, MS_NODEV = 1, 2, 4
MAX_CONTENT = 1 << 22
libc = ctypes.CDLL(None, use_errno=True)


class Dirent(ctypes.Structure):
    _fields_ = [
        ('d_ino', ctypes.c_uint64), ('d_off', ctypes.c_int64), ('d_reclen', ctypes.c_uint16),
        ('d_type', ctypes.c_uint8), ('d_name', ctypes.c_char * 256),
    ]


libc.opendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.POINTER(Dirent)
libc.readdir.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]


def read_directory(path):
    stream = libc.opendir(path)
    if not stream:
        raise OSError(ctypes.get_errno(), 'opendir', path)
    entries = []
    while True:
        ctypes.set_errno(0)
        entry = libc.readdir(stream)
        if not entry:
            break
        entries.append((entry.contents.d_name, entry.contents.d_type))
    if ctypes.get_errno():
        raise OSError(ctypes.get_errno(), 'readdir', path)
    libc.closedir(stream)
    return entries


def check_absent(path, names):
    """Fails for a name that is found though no entry has it."""
    for name in sorted(names)[::1 + len(names) // 2000]:
        for other in (name[:-1], name + b'!', name[:-1] + bytes([min(255, name[-1] + 1)])):
            if other in names or other in (b'', b'.', b'..') or b'/' in other or len(other) > 255:
                continue
            if os.path.lexists(path + b'/' + other):
                raise AssertionError(f'{other!r} is found in {path!r}')


def describe(path):
    status = os.lstat(path)
    is_file, is_dir = stat.S_ISREG(status.st_mode), stat.S_ISDIR(status.st_mode)
    entries = read_directory(path) if is_dir else None
    content = None
    if is_file and status.st_size <= MAX_CONTENT:
        with open(path, 'rb') as file:
            content = hashlib.sha256(file.read()).hexdigest()
    if is_dir:
        check_absent(path, {name for name, _ in entries})
    return entries, {
        'ino': status.st_ino, 'mode': status.st_mode, 'uid': status.st_uid, 'gid': status.st_gid,
        'mtime': str(status.st_mtime_ns), 'nlink': status.st_nlink, 'size': status.st_size,
        'rdev': status.st_rdev, 'blocks': status.st_blocks,
        'target': os.readlink(path).decode('latin1') if stat.S_ISLNK(status.st_mode) else None,
        'xattrs': {
            name: os.getxattr(path, name, follow_symlinks=False).decode('latin1')
            for name in sorted(os.listxattr(path, follow_symlinks=False))
        },
        'entries': entries and [[name.decode('latin1'), kind << 12] for name, kind in entries],
        'content': content,
    }


def snapshot(root):
    pending = [b'']
    while pending:
        path = pending.pop()
        entries, row = describe(root + path)
        print(json.dumps([path.decode('latin1') or '/', row]))
        for name, _ in reversed(entries or []):
            if name not in (b'.', b'..'):
                pending.append(path + b'/' + name)


def mount(source, mountpoint, options):
    flags = MS_RDONLY | MS_NOSUID | MS_NODEV
    if libc.mount(source, mountpoint, b'erofs', flags, options) != 0:
        sys.exit(f'mount: {os.strerror(ctypes.get_errno())}')


arguments = [os.fsencode(argument) for argument in sys.argv[2:]]
{'mount': mount, 'snapshot': snapshot}[sys.argv[1]](*arguments)
