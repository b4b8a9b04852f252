// Numbers as tar writes them: octal or base-256 in header fields, decimal in PAX records. A malformed number is
// NaN, for the caller knows which field of which member to blame; one that a double cannot hold exactly comes out
// inexact, so that callers check with Number.isSafeInteger().

/**
 * Reads a numeric header field.
 *
 * Octal digits, with NULs and spaces around them; empty is 0. With the top bit of the first byte set, the
 * field is base-256 in two's complement (GNU, STAR), and the bit below it the sign.
 */
export function parseNumeric(bytes: Uint8Array, at: number, length: number): number {
  return ((bytes[at] ?? 0) & 0x80) === 0
    ? parseOctal(bytes, at, length)
    : parseBase256(bytes, at, length)
}

/** Reads a field of octal digits; what follows a NUL after the digits does not count. */
export function parseOctal(bytes: Uint8Array, at: number, length: number): number {
  const end = at + length
  let index = at
  while (index < end && isBlank(bytes[index])) index++
  let value = 0
  for (; index < end; index++) {
    const byte = bytes[index] ?? 0
    if (byte < 0x30 || byte > 0x37) break
    value = value * 8 + (byte - 0x30)
  }
  if (index === end || bytes[index] === 0) return value
  // A space ends the digits only when nothing but padding comes after it.
  for (; index < end; index++) if (!isBlank(bytes[index])) return NaN
  return value
}

/** Reads decimal digits with an optional minus sign, and nothing else. */
export function parseDecimal(text: string): number {
  // Adding 0 turns the negative zero of `-0` into a plain one.
  return DECIMAL.test(text) ? Number(text) + 0 : NaN
}

const DECIMAL = /^-?[0-9]+$/

function parseBase256(bytes: Uint8Array, at: number, length: number): number {
  const first = bytes[at] ?? 0
  // -a - 1 is ~a: a negative number is read with its bits inverted, as a magnitude.
  const inverted = (first & 0x40) === 0 ? 0 : 0xff
  let value = (first ^ inverted) & 0x7f
  for (let index = at + 1; index < at + length; index++) {
    value = value * 256 + ((bytes[index] ?? 0) ^ inverted)
  }
  return inverted === 0 ? value : -value - 1
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0 || byte === 0x20
}
