import t from 'tap'
import { parseDecimal, parseNumeric, parseOctal } from '../../src/tar/numeric.js'
import { base256 } from '../helpers/build-tar.js'

t.test('parseNumeric() reads octal as Go does (B-102)', async (t) => {
  const cases: [field: string, want: number][] = [
    ['', 0],
    ['\0\0\0\0\0\0\0\0', 0],
    ['        ', 0],
    ['0000644\0', 0o644],
    ['   644 \0', 0o644],
    ['\0\0 644\0\0', 0o644],
    ['644', 0o644],
    ['77777777', 0o77777777],
    ['777777777777', 0o777777777777],
    ['12\x003x', 0o12],
    ['12 \x00 ', 0o12],
    ['12 \x00x', NaN],
    ['12 34', NaN],
    ['-1', NaN],
    ['0o17', NaN],
    ['8', NaN],
    ['12a', NaN],
    ['\x7f', NaN],
  ]
  for (const [field, want] of cases) {
    const bytes = Buffer.from(`xx${field}77`, 'latin1')
    t.ok(Object.is(parseNumeric(bytes, 2, field.length), want), JSON.stringify(field))
    t.ok(Object.is(parseOctal(bytes, 2, field.length), want))
  }
})

t.test('parseNumeric() reads base-256 in two’s complement (B-102)', async (t) => {
  for (const value of [0, 1, 255, 256, 0o10000000, 2 ** 40, Number.MAX_SAFE_INTEGER]) {
    for (const length of [12, 20]) {
      t.equal(parseNumeric(base256(value, length), 0, length), value)
      t.equal(parseNumeric(base256(-value, length), 0, length), value === 0 ? 0 : -value)
    }
  }
  t.equal(parseNumeric(base256(2 ** 21, 8), 0, 8), 2 ** 21)
  t.equal(parseNumeric(base256(-1, 8), 0, 8), -1)
  t.equal(parseNumeric(Buffer.from('c000000000000000', 'hex'), 0, 8), -(2 ** 62))
})

t.test('parseNumeric() gives an unsafe integer for what a double cannot hold (S-22)', async (t) => {
  for (const value of [2n ** 53n, -(2n ** 53n), 2n ** 63n, 2n ** 90n, -(2n ** 90n)]) {
    const number = parseNumeric(base256(value, 12), 0, 12)
    t.equal(number, Number(value))
    t.notOk(Number.isSafeInteger(number))
  }
})

t.test('parseDecimal() takes digits and a minus sign alone', async (t) => {
  const cases: [text: string, want: number][] = [
    ['0', 0],
    ['-0', 0],
    ['007', 7],
    ['-12', -12],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
    ['', NaN],
    ['+1', NaN],
    ['1.5', NaN],
    [' 1', NaN],
    ['1\n', NaN],
    ['1e3', NaN],
    ['0x10', NaN],
    ['1_0', NaN],
  ]
  for (const [text, want] of cases) t.ok(Object.is(parseDecimal(text), want), JSON.stringify(text))
})
