import t from 'tap'

import { byteStringOf } from '../../src/byte-string.js'
import { parseWhiteout } from '../../src/layer/whiteout.js'

for (const { name, want } of [
  { name: 'a', want: undefined },
  { name: '.wh', want: undefined },
  { name: '.whx', want: undefined },
  { name: 'x.wh.a', want: undefined },
  { name: '.WH.a', want: undefined },
  { name: '.wh.a', want: { kind: 'whiteout', name: 'a' } },
  { name: '.wh....', want: { kind: 'whiteout', name: '...' } },
  { name: '.wh..a', want: { kind: 'whiteout', name: '.a' } },
  { name: '.wh..wh.a', want: { kind: 'whiteout', name: '.wh.a' } },
  { name: '.wh..wh..opq', want: { kind: 'opaque' } },
  { name: '.wh..wh..opqx', want: { kind: 'whiteout', name: '.wh..opqx' } },
]) {
  t.test(`parseWhiteout() reads ${name}`, async (t) => {
    t.strictSame(parseWhiteout(byteStringOf(name)), want)
  })
}

for (const name of ['.wh.', '.wh..', '.wh...']) {
  t.test(`parseWhiteout() refuses ${name}`, async (t) => {
    const message = `Cannot use whiteout "${name}": it names no file`
    t.throws(() => parseWhiteout(byteStringOf(name)), { code: 'LAYER_CORRUPT', message })
  })
}
