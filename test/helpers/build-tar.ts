// Writes tar archives byte by byte for tests, good and bad ones, without any tar library.
//
// Every function gives the blocks of one member as a Buffer; buildTar() joins them and adds the end marker:
//
//   buildTar([
//     dir('etc/', { mode: 0o755 }),
//     file('etc/passwd', 'root:x:0:0\n', { uid: 0, xattrs: { 'user.note': 'hi' }, mtime: 1.5 }),
//     symlink('etc/mtab', '/proc/mounts'), hardlink('etc/passwd-', 'etc/passwd'),
//     char('dev/null', 1, 3), fifo('run/pipe'), sparse('disk', 1 << 20, [{ offset: 4096, data: 'x' }], '1.0'),
//     file('.wh.gone', ''), file('evil', 'x', { raw: { size: Buffer.from('-0000000001\0') } }),
//   ])
//
// What a plain header cannot hold (long names, xattrs, fractions, big numbers) goes into a PAX header, or in the
// `gnu` and `star` dialects into L/K members and base-256 numbers where these can do it.

/** Text is written as UTF-8, a Buffer as it is. */
export type Bytes = string | Uint8Array

/** `v7` has no magic, `star` the ustar magic with a `tar` trailer; `ustar` with PAX headers is what is called PAX. */
export type TarDialect = 'v7' | 'ustar' | 'gnu' | 'star'

/** One header block. Numbers are written as octal, or base-256 where octal cannot hold them; bytes go in verbatim. */
export interface HeaderFields {
  name?: Bytes
  mode?: number | Bytes
  uid?: number | Bytes
  gid?: number | Bytes
  size?: number | Bytes
  mtime?: number | Bytes
  /** `signed` sums the bytes as signed, as some old tars did. */
  checksum?: 'signed' | number | Uint8Array
  /** One character, default `0`. */
  type?: string
  linkName?: Bytes
  /** Magic and version, 8 bytes; default by dialect. */
  magic?: Bytes
  uname?: Bytes
  gname?: Bytes
  devMajor?: number | Bytes
  devMinor?: number | Bytes
  prefix?: Bytes
  /** Bytes 345..512, before `prefix` and the trailer of `star` are written. */
  rest?: Uint8Array
}

export type PaxRecords = Readonly<Record<string, Bytes>> | readonly (readonly [Bytes, Bytes])[]

export interface MemberOptions {
  /** Default `ustar`. */
  dialect?: TarDialect
  mode?: number
  uid?: number
  gid?: number
  /** Seconds; a fraction needs a PAX header and gets one. Default 0. */
  mtime?: number
  uname?: string
  gname?: string
  /** Written as `SCHILY.xattr.<name>`. */
  xattrs?: Readonly<Record<string, Bytes>>
  /** More PAX records, after those that the other options need. */
  pax?: PaxRecords
  /** Overrides of the header's fields, applied last; the checksum is computed over them. */
  raw?: HeaderFields
  /** Bytes that follow the header in place of the content's own, padded to whole blocks. */
  body?: Bytes
}

export interface ArchiveOptions {
  /** Default: two zero blocks. */
  end?: 'marker' | 'one-block' | 'none'
  /** Pads with zeros to a multiple of this; GNU tar writes 10240. */
  recordSize?: number
  /** Bytes after the end marker. */
  trailing?: Bytes
}

/** Joins members to an archive. */
export function buildTar(members: readonly Uint8Array[], options: ArchiveOptions = {}): Buffer {
  const zeros = { marker: 1024, 'one-block': 512, none: 0 }[options.end ?? 'marker']
  const archive = Buffer.concat([...members, Buffer.alloc(zeros)])
  return Buffer.concat([padTo(archive, options.recordSize ?? 1), bytes(options.trailing ?? '')])
}

/** A regular file. */
export function file(path: Bytes, content: Bytes = '', options: MemberOptions = {}): Buffer {
  return member({ path, type: '0', mode: 0o644, content }, options)
}

/** A directory; the path is written as given, usually with a trailing slash. */
export function dir(path: Bytes, options: MemberOptions = {}): Buffer {
  return member({ path, type: '5', mode: 0o755 }, options)
}

export function symlink(path: Bytes, target: Bytes, options: MemberOptions = {}): Buffer {
  return member({ path, type: '2', mode: 0o777, target }, options)
}

/** A hard link; the target is the path of an earlier member. */
export function hardlink(path: Bytes, target: Bytes, options: MemberOptions = {}): Buffer {
  return member({ path, type: '1', mode: 0o644, target }, options)
}

export function char(path: Bytes, major: number, minor: number, options?: MemberOptions): Buffer {
  return member({ path, type: '3', mode: 0o666, major, minor }, options ?? {})
}

export function block(path: Bytes, major: number, minor: number, options?: MemberOptions): Buffer {
  return member({ path, type: '4', mode: 0o660, major, minor }, options ?? {})
}

export function fifo(path: Bytes, options: MemberOptions = {}): Buffer {
  return member({ path, type: '6', mode: 0o644 }, options)
}

/** A member of any other type, such as `7`, `V` or `D`. */
export function other(
  type: string,
  path: Bytes,
  content: Bytes = '',
  options?: MemberOptions,
): Buffer {
  return member({ path, type, mode: 0o644, content }, options ?? {})
}

/** A PAX extended header (type `x`) alone; it applies to the member that follows. */
export function pax(records: PaxRecords, raw: HeaderFields = {}): Buffer {
  return paxMember('x', paxBody(records), raw)
}

/** A PAX global header (type `g`). */
export function globalPax(records: PaxRecords, raw: HeaderFields = {}): Buffer {
  return paxMember('g', paxBody(records), raw)
}

/** A PAX header of any type letter whose body is given verbatim. */
export function paxMember(type: string, body: Bytes, raw: HeaderFields = {}): Buffer {
  const size = bytes(body).length
  return Buffer.concat([header({ name: 'pax', mode: 0o644, size, type, ...raw }), padded(body)])
}

/** The records of a PAX header as bytes, each with its right length. */
export function paxBody(records: PaxRecords): Buffer {
  const pairs: readonly (readonly [Bytes, Bytes])[] = isPairs(records)
    ? records
    : Object.entries(records)
  return Buffer.concat(pairs.map(([key, value]) => paxRecord(key, value)))
}

/** A GNU long name: `L` is the path, `K` the link target of the member that follows. */
export function gnuLong(type: 'L' | 'K', value: Bytes): Buffer {
  const body = Buffer.concat([bytes(value), Buffer.alloc(1)])
  const fields = { name: '././@LongLink', size: body.length, type, mode: 0o644 }
  return Buffer.concat([header(fields, 'gnu'), padded(body)])
}

export interface SparsePiece {
  offset: number
  data: Bytes
}

/** `gnu` is the old type `S` with its extension blocks, the others are the PAX forms of GNU tar. */
export type SparseFormat = 'gnu' | '0.0' | '0.1' | '1.0'

/** A sparse file of the given logical size; `map` overrides the map as [offset, length] pairs. */
export function sparse(
  path: Bytes,
  size: number,
  pieces: readonly SparsePiece[],
  format: SparseFormat,
  options: MemberOptions & { map?: readonly (readonly [number, number])[] } = {},
): Buffer {
  const content = Buffer.concat(pieces.map((piece) => bytes(piece.data)))
  const map = options.map ?? pieces.map(({ offset, data }) => [offset, bytes(data).length] as const)
  const base = { path, type: '0', mode: 0o644, content }
  const { pax: extra = [] } = options
  const withPax = (records: readonly (readonly [Bytes, Bytes])[]): MemberOptions => ({
    ...options,
    pax: [...records, ...(isPairs(extra) ? extra : Object.entries(extra))],
  })
  switch (format) {
    case 'gnu': {
      const body = Buffer.concat([padded(content)])
      const { rest, extensions } = gnuSparseMap(size, map)
      const raw = { type: 'S', size: content.length, ...options.raw, rest }
      const head = member({ ...base, content: '' }, { ...options, dialect: 'gnu', raw })
      return Buffer.concat([head, extensions, body])
    }
    case '0.0': {
      const pairs = map.flatMap(([offset, length]): [string, string][] => [
        ['GNU.sparse.offset', String(offset)],
        ['GNU.sparse.numbytes', String(length)],
      ])
      const head: [string, string][] = [
        ['GNU.sparse.size', String(size)],
        ['GNU.sparse.numblocks', String(map.length)],
      ]
      return member(base, withPax([...head, ...pairs]))
    }
    case '0.1':
      return member(
        { ...base, path: 'GNUSparseFile.0/x' },
        withPax([
          ['GNU.sparse.size', String(size)],
          ['GNU.sparse.numblocks', String(map.length)],
          ['GNU.sparse.map', map.flat().join(',')],
          ['GNU.sparse.name', path],
        ]),
      )
    case '1.0': {
      const lines = padded([map.length, ...map.flat()].map((number) => `${number}\n`).join(''))
      return member(
        { ...base, path: 'GNUSparseFile.0/x', content: Buffer.concat([lines, content]) },
        withPax([
          ['GNU.sparse.major', '1'],
          ['GNU.sparse.minor', '0'],
          ['GNU.sparse.name', path],
          ['GNU.sparse.realsize', String(size)],
        ]),
      )
    }
  }
}

/** One header block of 512 bytes with a right checksum, unless the fields say otherwise. */
export function header(fields: HeaderFields, dialect: TarDialect = 'ustar'): Buffer {
  const head = Buffer.alloc(512)
  if (fields.rest !== undefined) head.set(fields.rest, 345)
  putBytes(head, 0, 100, fields.name)
  putNumber(head, 100, 8, fields.mode ?? 0)
  putNumber(head, 108, 8, fields.uid ?? 0)
  putNumber(head, 116, 8, fields.gid ?? 0)
  putNumber(head, 124, 12, fields.size ?? 0)
  putNumber(head, 136, 12, fields.mtime ?? 0)
  head.write(fields.type ?? '0', 156, 1, 'latin1')
  putBytes(head, 157, 100, fields.linkName)
  putBytes(head, 257, 8, fields.magic ?? MAGIC[dialect])
  if (dialect !== 'v7') {
    putBytes(head, 265, 32, fields.uname)
    putBytes(head, 297, 32, fields.gname)
    putNumber(head, 329, 8, fields.devMajor ?? 0)
    putNumber(head, 337, 8, fields.devMinor ?? 0)
    putBytes(head, 345, dialect === 'star' ? 131 : 155, fields.prefix)
    if (dialect === 'star') head.write('tar\0', 508, 'latin1')
  }
  head.fill(0x20, 148, 156)
  if (fields.checksum instanceof Uint8Array) {
    head.set(fields.checksum, 148)
  } else {
    const sum =
      typeof fields.checksum === 'number' ? fields.checksum : checksum(head, fields.checksum)
    head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  }
  return head
}

/** A field of `length` bytes in base-256, two's complement. */
export function base256(value: number | bigint, length: number): Buffer {
  const field = Buffer.alloc(length)
  let rest = BigInt.asUintN(length * 8, BigInt(value))
  for (let index = length - 1; index >= 0; index--) {
    field[index] = Number(rest & 0xffn)
    rest >>= 8n
  }
  field[0] = field[0]! | 0x80
  return field
}

interface Member {
  path: Bytes
  type: string
  mode: number
  content?: Bytes
  target?: Bytes
  major?: number
  minor?: number
}

const MAGIC: Readonly<Record<TarDialect, string>> = {
  v7: '',
  ustar: 'ustar\x0000',
  gnu: 'ustar  \0',
  star: 'ustar\x0000',
}

function member(what: Member, options: MemberOptions): Buffer {
  const { dialect = 'ustar', uid = 0, gid = 0, mtime = 0 } = options
  const isPax = dialect === 'ustar'
  const content = bytes(what.content ?? '')
  const records: [Bytes, Bytes][] = []
  const before: Buffer[] = []
  const fields: HeaderFields = { mode: options.mode ?? what.mode, type: what.type }

  const longText = (value: Bytes, key: string, letter: 'L' | 'K'): void => {
    if (isPax) records.push([key, value])
    else if (dialect === 'gnu') before.push(gnuLong(letter, value))
    else throw new Error(`a name of ${bytes(value).length} bytes does not fit dialect ${dialect}`)
  }
  const bigNumber = (value: number, key: string, digits: number): number => {
    const fits = Number.isInteger(value) && value >= 0 && value < 8 ** digits
    if (fits || (!isPax && Number.isInteger(value))) return value
    records.push([key, String(value)])
    return Math.min(Math.max(0, Math.floor(value)), 8 ** digits - 1)
  }

  const target = bytes(what.target ?? '')
  if (target.length > 100) longText(target, 'linkpath', 'K')
  fields.linkName = target.subarray(0, 100)
  const path = bytes(what.path)
  const split =
    path.length > 100 && (isPax || dialect === 'star')
      ? splitPath(path, isPax ? 155 : 131)
      : undefined
  if (path.length > 100 && split === undefined) longText(path, 'path', 'L')
  fields.name = (split?.name ?? path).subarray(0, 100)
  if (split !== undefined) fields.prefix = split.prefix
  fields.uid = bigNumber(uid, 'uid', 7)
  fields.gid = bigNumber(gid, 'gid', 7)
  fields.size = bigNumber(content.length, 'size', 11)
  fields.mtime = bigNumber(mtime, 'mtime', 11)
  if (options.uname !== undefined) fields.uname = options.uname
  if (options.gname !== undefined) fields.gname = options.gname
  if (what.major !== undefined) fields.devMajor = what.major
  if (what.minor !== undefined) fields.devMinor = what.minor

  for (const [name, value] of Object.entries(options.xattrs ?? {})) {
    records.push([`SCHILY.xattr.${name}`, value])
  }
  const extra = options.pax ?? []
  records.push(
    ...(isPairs(extra) ? extra : Object.entries(extra)).map(([k, v]): [Bytes, Bytes] => [k, v]),
  )
  if (records.length > 0) before.unshift(pax(records))
  return Buffer.concat([
    ...before,
    header({ ...fields, ...options.raw }, dialect),
    padded(options.body ?? content),
  ])
}

function isPairs(records: PaxRecords): records is readonly (readonly [Bytes, Bytes])[] {
  return Array.isArray(records)
}

function paxRecord(key: Bytes, value: Bytes): Buffer {
  const rest = Buffer.concat([
    Buffer.from(' '),
    bytes(key),
    Buffer.from('='),
    bytes(value),
    Buffer.from('\n'),
  ])
  let length = rest.length + 1
  while (String(length).length + rest.length !== length)
    length = String(length).length + rest.length
  return Buffer.concat([Buffer.from(String(length)), rest])
}

function gnuSparseMap(
  size: number,
  map: readonly (readonly [number, number])[],
): { rest: Buffer; extensions: Buffer } {
  const rest = Buffer.alloc(512 - 345)
  const put = (target: Buffer, at: number, [offset, length]: readonly [number, number]): void => {
    putNumber(target, at, 12, offset)
    putNumber(target, at + 12, 12, length)
  }
  map.slice(0, 4).forEach((pair, index) => {
    put(rest, 386 - 345 + index * 24, pair)
  })
  putNumber(rest, 483 - 345, 12, size)
  rest[482 - 345] = map.length > 4 ? 1 : 0
  const extensions: Buffer[] = []
  for (let first = 4; first < map.length; first += 21) {
    const extension = Buffer.alloc(512)
    map.slice(first, first + 21).forEach((pair, index) => {
      put(extension, index * 24, pair)
    })
    extension[504] = map.length > first + 21 ? 1 : 0
    extensions.push(extension)
  }
  return { rest, extensions: Buffer.concat(extensions) }
}

function splitPath(path: Buffer, maxPrefix: number): { prefix: Buffer; name: Buffer } | undefined {
  for (let at = Math.min(maxPrefix, path.length - 2); at >= path.length - 101 && at > 0; at--) {
    if (path[at] === 0x2f) return { prefix: path.subarray(0, at), name: path.subarray(at + 1) }
  }
  return undefined
}

function checksum(head: Buffer, kind: 'signed' | undefined): number {
  return head.reduce((sum, byte) => sum + (kind === 'signed' ? (byte << 24) >> 24 : byte), 0)
}

function putBytes(head: Buffer, at: number, length: number, value: Bytes | undefined): void {
  if (value === undefined) return
  const source = bytes(value)
  if (source.length > length)
    throw new Error(`${source.length} bytes do not fit a field of ${length}`)
  head.set(source, at)
}

function putNumber(head: Buffer, at: number, length: number, value: number | Bytes): void {
  if (typeof value !== 'number') putBytes(head, at, length, value)
  else if (value < 0 || value >= 8 ** (length - 1)) head.set(base256(value, length), at)
  else head.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1')
}

function bytes(value: Bytes): Buffer {
  return typeof value === 'string' ? Buffer.from(value, 'utf8') : Buffer.from(value)
}

function padded(value: Bytes): Buffer {
  return padTo(bytes(value), 512)
}

function padTo(value: Buffer, multiple: number): Buffer {
  const rest = value.length % multiple
  return rest === 0 ? value : Buffer.concat([value, Buffer.alloc(multiple - rest)])
}
