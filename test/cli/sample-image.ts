// The image that the tests of the commands look into and mount: two small layers, hostile names, something to report.

import { join } from 'node:path'
import { buildImage } from '../helpers/build-image.js'
import * as tar from '../helpers/build-tar.js'
import { writeImage } from '../helpers/write-image.js'

/** Clears a terminal, changes its title, and turns the direction of writing: bytes that must never get there. */
export const HOSTILE = '\x1b[2J\x1b]0;owned\x07\u202e\u0085\n'
/** The same as it is shown. */
export const HOSTILE_SHOWN = '\\x1b[2J\\x1b]0;owned\\x07\\u{202e}\\u{85}\\x0a'

const BASE = [
  tar.dir('./', { mode: 0o755 }),
  tar.dir('etc/', { mode: 0o755 }),
  tar.file('etc/motd', 'hello\n', { mode: 0o640, uid: 1, gid: 2, mtime: 1_600_000_000.25 }),
  tar.file('etc/gone', 'x'),
  tar.file(`etc/${HOSTILE}`, 'evil\n'),
  tar.symlink(`link${HOSTILE}`, `to${HOSTILE}`),
  tar.symlink('os-release', '/etc/motd'),
  tar.file('bytes', Buffer.from([0, 255, 10, 128]), { xattrs: { 'user.note': 'a "quoted" one' } }),
  tar.hardlink('bytes-too', 'bytes'),
  tar.char('null', 1, 3, { mode: 0o666 }),
  tar.file('su', '', { mode: 0o4755 }),
  tar.file(Buffer.from('latin-\xe9', 'latin1'), 'é'),
]
const ABOVE = [
  tar.file('etc/.wh.gone'),
  tar.dir('usr/bin/', { mode: 0o700 }),
  tar.file('usr/bin/tool', '#!/bin/sh\n', { mode: 0o755 }),
  // The second of the same name, which the report tells.
  tar.file('usr/bin/tool', '#!/bin/true\n', { mode: 0o755 }),
]

/** Writes the image as a docker-archive and gives its path. */
export function writeSample(directory: string, name = 'app.tar'): string {
  const image = buildImage({
    tags: ['example/app:latest'],
    layers: [tar.buildTar(BASE), tar.buildTar(ABOVE)],
    config: {
      author: HOSTILE,
      config: {
        Env: ['PATH=/usr/bin', `EVIL=${HOSTILE}`],
        Cmd: ['/usr/bin/tool', HOSTILE],
        Labels: { [`label${HOSTILE}`]: HOSTILE },
        User: HOSTILE,
      },
    },
  })
  return writeImage(join(directory, name), [image], { form: 'docker-25' })
}
