import t from 'tap'
import { parseSelector } from '../../src/reference/selector.js'

const DIGEST = `sha256:${'0'.repeat(64)}`

t.test('parseSelector() tells names, digests and places apart (A-151, A-152, D-046)', async (t) => {
  t.strictSame(parseSelector('busybox:latest'), { kind: 'name', name: 'busybox:latest' })
  t.strictSame(parseSelector('a@0'), { kind: 'name', name: 'a@0' })
  t.strictSame(parseSelector('0'), { kind: 'name', name: '0' })
  t.strictSame(parseSelector('@0'), { kind: 'index', index: 0 })
  t.strictSame(parseSelector('@123'), { kind: 'index', index: 123 })
  t.strictSame(parseSelector(`@${DIGEST}`), { kind: 'digest', digest: DIGEST })
})

for (const text of [
  '',
  '@',
  '@-1',
  '@01',
  '@1.5',
  '@x',
  '@1234567890',
  '@sha256:0',
  '@@0',
  'a\0',
]) {
  t.test(`parseSelector() refuses ${JSON.stringify(text)}`, async (t) => {
    t.throws(() => parseSelector(text), {
      code: 'REFERENCE_INVALID',
      message: /^Cannot select image "/,
    })
  })
}
