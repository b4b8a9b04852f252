// A strict reader for the JSON of images (RFC 8259 within the limits of RFC 7493, image-spec considerations.md).
// Beyond what JSON.parse() refuses it refuses: anything but UTF-8, a byte order mark, half a surrogate pair, an
// object with a name twice, and documents too large or too deep. It keeps apart `2` and `2.0`, which JavaScript
// does not, and gives objects as maps, so that no name can touch a prototype.

import { isUtf8 } from 'node:buffer'
import { OcimountError } from '../errors.js'
import { quote } from './quote.js'

/** A parsed value. A number that is not a plain integer within ±(2^53 − 1) stays a {@link JsonNumber}. */
export type JsonValue = null | boolean | number | string | JsonNumber | JsonArray | JsonObject
export type JsonArray = readonly JsonValue[]
export type JsonObject = ReadonlyMap<string, JsonValue>

/** A number with a fraction or an exponent, or too large to be exact, as it is written. */
export class JsonNumber {
  readonly literal: string

  constructor(literal: string) {
    this.literal = literal
  }
}

export interface JsonLimits {
  /** Bytes of the whole document. */
  readonly maxSize?: number
  /** Arrays and objects inside one another. */
  readonly maxDepth?: number
  /** Of a text out of another one: how many arrays and objects it lies in. */
  readonly outerDepth?: number
  /** Values of every kind in the whole document; each element that {@link JsonItems} takes is counted by itself. */
  readonly maxValues?: number
}

/** Takes the elements of one long array as they are read, so that they are never in memory together. */
export interface JsonItems {
  /** Name of the array among the members of the document; what is parsed has it empty. */
  readonly name: string
  readonly take: (item: JsonValue) => void
}

/**
 * Parses a document.
 *
 * @param what names the document in messages, such as `manifest`
 * @throws OcimountError `IMAGE_INVALID` with the byte offset of the first offence; `LIMIT_EXCEEDED`
 */
export function parseJson(
  bytes: Uint8Array,
  what: string,
  limits: JsonLimits = {},
  items?: JsonItems,
): JsonValue {
  const maxSize = limits.maxSize ?? MAX_SIZE
  if (bytes.length > maxSize) throw exceeded(what, `it is larger than ${maxSize} bytes`)
  return new JsonReader(decodeText(bytes, what), what, limits, items).read()
}

const MAX_SIZE = 8 * 1024 * 1024
/** No document of an image nests deeper than ten; unknown properties may, within reason. */
const MAX_DEPTH = 128
/** An empty object costs some 200 bytes of memory for two of input; this bounds the document to about 100 MB. */
const MAX_VALUES = 512 * 1024

interface Container {
  readonly value: JsonValue[] | Map<string, JsonValue>
  /** Name that the next value gets, in an object. */
  name: string
}

class JsonReader {
  readonly #text: string
  readonly #what: string
  readonly #maxDepth: number
  readonly #outerDepth: number
  readonly #maxValues: number
  readonly #items: JsonItems | undefined
  readonly #open: Container[] = []
  #position = 0
  #values = 0
  /** How many there were before the first element that is handed out. */
  #valuesBefore = 0

  constructor(text: string, what: string, limits: JsonLimits, items: JsonItems | undefined) {
    this.#text = text
    this.#what = what
    this.#maxDepth = limits.maxDepth ?? MAX_DEPTH
    this.#outerDepth = limits.outerDepth ?? 0
    this.#maxValues = limits.maxValues ?? MAX_VALUES
    this.#items = items
  }

  /** Reads values until the outermost is complete; containers wait on a stack of our own, not on the engine's. */
  read(): JsonValue {
    for (;;) {
      let value = this.#readScalarOrOpen()
      while (value !== undefined) {
        const container = this.#open.at(-1)
        if (container === undefined) return this.#finish(value)
        this.#add(container, value)
        value = this.#closeOrContinue(container)
      }
    }
  }

  /** Gives a scalar or an empty container; undefined when one was opened whose first value is to be read next. */
  #readScalarOrOpen(): JsonValue | undefined {
    this.#skipSpace()
    if (++this.#values > this.#maxValues) {
      throw exceeded(this.#what, `it holds more than ${this.#maxValues} values`)
    }
    switch (this.#text[this.#position]) {
      case '{':
        return this.#openContainer(new Map(), '}')
      case '[':
        return this.#openContainer([], ']')
      case '"':
        return this.#readString()
      case 't':
        return this.#readWord('true', true)
      case 'f':
        return this.#readWord('false', false)
      case 'n':
        return this.#readWord('null', null)
      default:
        return this.#readNumber()
    }
  }

  #openContainer(value: Container['value'], end: string): JsonValue | undefined {
    if (this.#open.length + this.#outerDepth >= this.#maxDepth) {
      throw exceeded(this.#what, `it nests deeper than ${this.#maxDepth}`)
    }
    this.#position++
    this.#skipSpace()
    if (this.#text[this.#position] === end) {
      this.#position++
      return value
    }
    const container = { value, name: '' }
    this.#open.push(container)
    if (this.#isItems()) this.#valuesBefore = this.#values
    if (value instanceof Map) this.#readName(container)
    return undefined
  }

  #add(container: Container, value: JsonValue): void {
    if (container.value instanceof Map) container.value.set(container.name, value)
    else if (this.#items !== undefined && this.#isItems()) {
      this.#items.take(value)
      this.#values = this.#valuesBefore
    } else container.value.push(value)
  }

  /** Tells whether the innermost open container is the array whose elements are handed out. */
  #isItems(): boolean {
    if (this.#items === undefined || this.#open.length !== 2) return false
    return this.#open[0]?.name === this.#items.name
  }

  /** After a value: gives the container when it ends here, undefined when another value follows. */
  #closeOrContinue(container: Container): JsonValue | undefined {
    const isObject = container.value instanceof Map
    this.#skipSpace()
    const character = this.#text[this.#position]
    if (character === ',') {
      this.#position++
      if (isObject) this.#readName(container)
      return undefined
    }
    if (character !== (isObject ? '}' : ']')) throw this.#unexpected()
    this.#position++
    this.#open.pop()
    return container.value
  }

  #readName(container: Container): void {
    this.#skipSpace()
    const start = this.#position
    if (this.#text[start] !== '"') throw this.#unexpected()
    container.name = this.#readString()
    if (container.value instanceof Map && container.value.has(container.name)) {
      throw this.#invalid(`name ${quote(container.name)} occurs twice in one object`, start)
    }
    this.#skipSpace()
    if (this.#text[this.#position] !== ':') throw this.#unexpected()
    this.#position++
  }

  #readString(): string {
    const start = this.#position++
    let text = ''
    let isAscii = true
    let from = this.#position
    for (;;) {
      const code = this.#text.charCodeAt(this.#position)
      if (code === QUOTE) break
      if (code === BACKSLASH) {
        text += this.#text.slice(from, this.#position)
        const escaped = this.#readEscape()
        isAscii &&= escaped.charCodeAt(0) < 0x80
        text += escaped
        from = this.#position
        // Also NaN, behind the end.
      } else if (!(code >= SPACE)) {
        throw this.#unexpected()
      } else {
        isAscii &&= code < 0x80
        this.#position++
      }
    }
    text += this.#text.slice(from, this.#position++)
    if (!isAscii && LONE_SURROGATE.test(text)) {
      throw this.#invalid('a string holds half a surrogate pair', start)
    }
    return text
  }

  #readEscape(): string {
    const letter = this.#text[this.#position + 1] ?? ''
    const simple = SIMPLE_ESCAPES.get(letter)
    if (simple !== undefined) {
      this.#position += 2
      return simple
    }
    const escape = this.#match(UNICODE_ESCAPE)
    if (escape === undefined) {
      this.#position++
      throw this.#unexpected()
    }
    return String.fromCharCode(Number.parseInt(escape.slice(2), 16))
  }

  #readNumber(): number | JsonNumber {
    const literal = this.#match(NUMBER)
    if (literal === undefined) throw this.#unexpected()
    const value = Number(literal)
    return INTEGER.test(literal) && Number.isSafeInteger(value) ? value : new JsonNumber(literal)
  }

  #readWord<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#position)) throw this.#unexpected()
    this.#position += word.length
    return value
  }

  #finish(value: JsonValue): JsonValue {
    this.#skipSpace()
    if (this.#position < this.#text.length) throw this.#unexpected()
    return value
  }

  #skipSpace(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#position)
      if (code !== SPACE && code !== NEWLINE && code !== TAB && code !== RETURN) return
      this.#position++
    }
  }

  /** Consumes what a sticky pattern matches at the position. */
  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#position
    const match = pattern.exec(this.#text)
    if (match === null) return undefined
    this.#position += match[0].length
    return match[0]
  }

  #unexpected(): OcimountError {
    const code = this.#text.codePointAt(this.#position)
    if (code === undefined) return this.#invalid('it ends too early', this.#position)
    return this.#invalid(`unexpected ${quote(String.fromCodePoint(code))}`, this.#position)
  }

  #invalid(why: string, position: number): OcimountError {
    const offset = Buffer.byteLength(this.#text.slice(0, position))
    return invalid(this.#what, `${why} at byte ${offset}`)
  }
}

function decodeText(bytes: Uint8Array, what: string): string {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    throw invalid(what, 'it begins with a byte order mark')
  }
  // Of 6 MB in 5 ms; a TextDecoder that is to find faults takes 50.
  if (!isUtf8(bytes)) throw invalid(what, 'it is not UTF-8')
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')
}

function invalid(what: string, why: string): OcimountError {
  return new OcimountError('IMAGE_INVALID', `Cannot parse ${what}: ${why}`)
}

function exceeded(what: string, why: string): OcimountError {
  return new OcimountError('LIMIT_EXCEEDED', `Cannot parse ${what}: ${why}`)
}

const TAB = 0x09
const NEWLINE = 0x0a
const RETURN = 0x0d
const SPACE = 0x20
const QUOTE = 0x22
const BACKSLASH = 0x5c

// The sticky patterns are used by #match() alone, which sets where they begin.
const UNICODE_ESCAPE = /\\u[0-9a-fA-F]{4}/y
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const INTEGER = /^-?[0-9]+$/
const LONE_SURROGATE = /\p{Cs}/u
const SIMPLE_ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['/', '/'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
])
