import t from 'tap'

import { byteString, byteStringOf } from '../../src/byte-string.js'
import { cleanPath, isCleanPath } from '../../src/layer/clean-path.js'

const LONG_NAME = 'n'.repeat(255)
const LONG_PATH = `${'p'.repeat(39)}/`.repeat(102) + 'q'.repeat(15)

for (const [input, want] of [
  ['etc/x', 'etc/x'],
  ['./etc/x', 'etc/x'],
  ['/etc/x', 'etc/x'],
  ['etc//x', 'etc/x'],
  ['etc/x/', 'etc/x'],
  ['//./etc/./x/.//', 'etc/x'],
  ['', ''],
  ['.', ''],
  ['./', ''],
  ['/', ''],
  ['...', '...'],
  ['..a/b..', '..a/b..'],
  ['.hidden/.x', '.hidden/.x'],
  [' /\\', ' /\\'],
  [LONG_NAME, LONG_NAME],
  [LONG_PATH, LONG_PATH],
] as const) {
  t.test(`cleanPath() makes ${JSON.stringify(input.slice(0, 20))} one form`, async (t) => {
    t.equal(cleanPath(byteStringOf(input)), want)
    t.equal(cleanPath(byteStringOf(want)), want, 'and leaves it so')
    t.ok(isCleanPath(byteStringOf(want)))
    t.equal(isCleanPath(byteStringOf(input)), input === want)
  })
}

for (const [input, code, message] of [
  ['..', 'LAYER_CORRUPT', /"\.\.".*".." part/],
  ['../../etc/passwd', 'LAYER_CORRUPT', /"\.\.\/\.\.\/etc\/passwd"/],
  ['a/../b', 'LAYER_CORRUPT', /".." part/],
  ['/..', 'LAYER_CORRUPT', /".." part/],
  ['a/..', 'LAYER_CORRUPT', /".." part/],
  ['a\0b', 'LAYER_CORRUPT', /"a\\x00b": it has a NUL byte/],
  [`${LONG_NAME}n`, 'LIMIT_EXCEEDED', /name is longer than 255/],
  [`${LONG_PATH}q`, 'LIMIT_EXCEEDED', /path is longer than 4095/],
  ['/'.repeat(10_000), 'LIMIT_EXCEEDED', /10000 bytes/],
] as const) {
  t.test(`cleanPath() refuses ${JSON.stringify(input.slice(0, 20))}`, async (t) => {
    t.throws(() => cleanPath(byteStringOf(input)), { code, message })
    t.notOk(isCleanPath(byteStringOf(input)))
  })
}

t.test('cleanPath() keeps bytes that are not UTF-8', async (t) => {
  const name = byteString(Buffer.from([0x2f, 0xff, 0x2f, 0xe4]))
  t.equal(cleanPath(name), byteString(Buffer.from([0xff, 0x2f, 0xe4])))
})
