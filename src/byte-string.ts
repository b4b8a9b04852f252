// Names in an image are bytes, not text (checklist B-017). They are held as strings in which every UTF-16
// unit is one byte: V8 stores such a string in one byte per character, it is a Map key, `<` compares it in
// byte order, and no name is lost on the way, which decoding as UTF-8 would do.

/** A byte sequence held as a string; every unit is 0..255. Never show one to a person unescaped. */
export type ByteString = string & { readonly __brand: 'ByteString' }

/** Takes bytes as they are. */
export function byteString(bytes: Uint8Array): ByteString {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(
    'latin1',
  ) as ByteString
}

/** Encodes text as UTF-8. */
export function byteStringOf(text: string): ByteString {
  return isAscii(text) ? text : byteString(Buffer.from(text, 'utf8'))
}

/** Gives the bytes back. */
export function bytesOf(value: ByteString): Buffer {
  return Buffer.from(value, 'latin1')
}

/** Decodes as UTF-8, or gives undefined where the bytes are not valid UTF-8. */
export function textOf(value: ByteString): string | undefined {
  if (isAscii(value)) return value
  try {
    return decoder.decode(bytesOf(value))
  } catch {
    return undefined
  }
}

/**
 * Gives a form that is safe on a terminal, in a log line and in an error message.
 *
 * Printable UTF-8 stays as it is; control characters, bidirectional overrides, line separators, bytes that
 * are not UTF-8 and the backslash become `\xNN` (bytes) or `\u{NNNN}` (checklist S-33). Different names stay different.
 */
export function escapeName(value: ByteString): string {
  const text = textOf(value)
  if (text !== undefined) return escapeText(text)
  return value.replace(/[^ -[\]-~]/g, hexByte)
}

/** The same as {@link escapeName} for text, such as a label or a reference. */
export function escapeText(text: string): string {
  return text.replace(UNSAFE, (character) => {
    const code = character.codePointAt(0) ?? 0
    return code < 0x80 ? hexByte(character) : `\\u{${code.toString(16)}}`
  })
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
// Control, format (bidi overrides, zero width), private, surrogate and unassigned characters, separators other than space.
const UNSAFE = /[\\\p{C}\p{Zl}\p{Zp}]/gu

function hexByte(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`
}

function isAscii(text: string): text is ByteString {
  // eslint-disable-next-line no-control-regex -- the whole ASCII range is meant
  return /^[\x00-\x7f]*$/.test(text)
}
