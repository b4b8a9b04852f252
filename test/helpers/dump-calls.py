"""Makes every reading call on a tree, and the changing ones, and prints JSON lines [path, call, answer].

Usage: dump-calls.py DIR. Bytes are shown as Latin-1, an error by its name.
"""

import errno
import hashlib
import json
import os
import random
import stat
import sys

ROOT = os.fsencode(sys.argv[1])


def answer(call, *arguments, **options):
    try:
        value = call(*arguments, **options)
    except OSError as error:
        return errno.errorcode[error.errno]
    return value.decode('latin1') if isinstance(value, bytes) else value


def show(path, call, value):
    print(json.dumps([path.decode('latin1') or '/', call, value]))


def status_of(path):
    status = os.lstat(path)
    fields = ('st_ino', 'st_mode', 'st_nlink', 'st_uid', 'st_gid', 'st_rdev', 'st_size', 'st_blocks')
    return {
        **{name: getattr(status, name) for name in fields},
        'mtime': str(status.st_mtime_ns), 'ctime': str(status.st_ctime_ns), 'atime': str(status.st_atime_ns),
    }


def segments(file):
    """Pairs of SEEK_DATA and SEEK_HOLE from the start on."""
    found, at = [], 0
    while len(found) < 100:
        data = answer(os.lseek, file, at, os.SEEK_DATA)
        hole = answer(os.lseek, file, at if isinstance(data, str) else data, os.SEEK_HOLE)
        found.append([data, hole])
        if isinstance(data, str) or isinstance(hole, str):
            return found
        at = hole
    return found


def read_oddly(path, size):
    """Reads of odd lengths at odd places, some behind the end, then all of it."""
    file = os.open(path, os.O_RDONLY)
    try:
        source = random.Random(size)
        digest = hashlib.sha256()
        lengths = []
        for _ in range(12):
            offset, length = source.randrange(size + 700), source.choice([1, 511, 513, 4097, 70_001])
            part = os.pread(file, length, offset)
            lengths.append([offset, length, len(part)])
            digest.update(part)
        while part := os.read(file, 7777):
            digest.update(part)
        return [lengths, digest.hexdigest()]
    finally:
        os.close(file)


ODD_NAMES = ['user.absent', 'trusted.absent', 'strange.absent', 'system.absent', 'user.', 'system.posix_acl_access']
NOBODY = 65534


def listed_to_another_user(path):
    """What listxattr tells a user without capabilities; by a descriptor, for which modes do not count."""
    file = os.open(path, os.O_RDONLY)
    os.seteuid(NOBODY)
    try:
        names = answer(os.listxattr, file)
    finally:
        os.seteuid(0)
        os.close(file)
    return names if isinstance(names, str) else sorted(map(repr, names))


def xattrs_of(path):
    names = answer(os.listxattr, path, follow_symlinks=False)
    show(path[len(ROOT):], 'listxattr', names if isinstance(names, str) else sorted(map(repr, names)))
    for name in [*([] if isinstance(names, str) else names), *ODD_NAMES]:
        value = answer(os.getxattr, path, name, follow_symlinks=False)
        show(path[len(ROOT):], f'getxattr {name!r}', value)


def changes(path, is_dir):
    new = path + b'/new'
    calls = {
        'chown': (os.lchown, path, 1, 1),
        'utime': (lambda: os.utime(path, (1, 1), follow_symlinks=False),),
        'rename': (os.rename, path, path + b'.new'),
        'remove': (os.rmdir if is_dir else os.unlink, path),
        'link': (lambda: os.link(path, ROOT + b'/new-link', follow_symlinks=False),),
        'setxattr': (lambda: os.setxattr(path, 'trusted.a', b'x', follow_symlinks=False),),
        'removexattr': (lambda: os.removexattr(path, 'trusted.a', follow_symlinks=False),),
    }
    if is_dir:
        calls |= {
            'chmod': (os.chmod, path, 0o600),
            'mkdir': (os.mkdir, new), 'mknod': (os.mknod, new), 'symlink': (os.symlink, b'x', new),
            'create': (os.open, new, os.O_CREAT | os.O_WRONLY),
            'absent': (os.lstat, path + b'/absent'), 'too long': (os.lstat, path + b'/' + b'n' * 256),
            'open absent': (os.open, path + b'/absent', os.O_RDONLY),
            'readlink': (os.readlink, path), 'write': (os.open, path, os.O_WRONLY),
        }
    return calls


def visit(path):
    relative = path[len(ROOT):]
    status = status_of(path)
    show(relative, 'lstat', status)
    xattrs_of(path)
    mode = status['st_mode']
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        show(relative, 'listxattr of another user', listed_to_another_user(path))
    names = []
    if stat.S_ISLNK(mode):
        show(relative, 'readlink', answer(os.readlink, path))
    elif stat.S_ISREG(mode):
        show(relative, 'read', answer(read_oddly, path, status['st_size']))
        file = os.open(path, os.O_RDONLY)
        show(relative, 'segments', segments(file))
        os.close(file)
        show(relative, 'below', answer(os.lstat, path + b'/below'))
        show(relative, 'chmod', answer(os.chmod, path, 0o600))
        show(relative, 'truncate', answer(os.truncate, path, 1))
        show(relative, 'open to write', answer(os.open, path, os.O_RDWR))
    elif stat.S_ISDIR(mode):
        with os.scandir(path) as entries:
            found = {entry.name: [entry.inode(), entry.is_dir(follow_symlinks=False)] for entry in entries}
        names = sorted(found)
        show(relative, 'readdir', [[name.decode('latin1'), *found[name]] for name in names])
    for call, arguments in changes(path, stat.S_ISDIR(mode)).items():
        show(relative, call, answer(*arguments))
    for name in names:
        visit(path + b'/' + name)


sys.setrecursionlimit(10_000)
visit(ROOT)
show(b'', 'access', [answer(os.access, ROOT, mode) for mode in (os.R_OK, os.W_OK, os.X_OK)])
