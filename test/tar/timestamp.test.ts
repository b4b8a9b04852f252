import t from 'tap'
import { clampTimestamp, parsePaxTime } from '../../src/tar/timestamp.js'

t.test('parsePaxTime() reads seconds and a fraction on both sides of 1970 (B-004)', async (t) => {
  const cases: [text: string, seconds: number, nanoseconds: number][] = [
    ['0', 0, 0],
    ['-0', 0, 0],
    ['1350244992.023960108', 1350244992, 23_960_108],
    ['1.5', 1, 500_000_000],
    ['1.', 1, 0],
    ['1.000000001', 1, 1],
    ['1.9999999999', 1, 999_999_999],
    ['-1', -1, 0],
    ['-1.', -1, 0],
    ['-1.0', -1, 0],
    ['-1.5', -2, 500_000_000],
    ['-0.5', -1, 500_000_000],
    ['-0.000000001', -1, 999_999_999],
    ['-1.0000000009', -1, 0],
    ['0001.10', 1, 100_000_000],
  ]
  for (const [text, seconds, nanoseconds] of cases) {
    t.strictSame(parsePaxTime(text), { seconds, nanoseconds }, text)
    t.ok(Object.is(parsePaxTime(text)?.seconds, seconds), `${text} has no negative zero`)
  }
})

t.test('parsePaxTime() refuses anything else', async (t) => {
  for (const text of [
    '',
    '.',
    '.5',
    '-',
    '-.5',
    '+1',
    '1,5',
    '1.5.5',
    '1.-5',
    '1e9',
    ' 1',
    '1\n',
  ]) {
    t.equal(parsePaxTime(text), undefined, JSON.stringify(text))
  }
})

t.test('clampTimestamp() keeps seconds exact (S-22)', async (t) => {
  const inside = { seconds: -5, nanoseconds: 1 }
  t.equal(clampTimestamp(inside), inside)
  for (const seconds of [2 ** 53, 1e300, Infinity]) {
    t.strictSame(clampTimestamp({ seconds, nanoseconds: 0 }), {
      seconds: Number.MAX_SAFE_INTEGER,
      nanoseconds: 999_999_999,
    })
    t.strictSame(clampTimestamp({ seconds: -seconds, nanoseconds: 7 }), {
      seconds: Number.MIN_SAFE_INTEGER,
      nanoseconds: 0,
    })
  }
})
