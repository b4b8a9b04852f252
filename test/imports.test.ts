// The arrows between the rooms and the doors of third-party packages (src/README.md).

import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import t from 'tap'

const SOURCE = 'src'
const EVERYWHERE = ['errors', 'logger', 'byte-string']

/** A room may import itself, what is listed here, and what everybody may. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  launcher: [],
  errors: [],
  logger: [],
  'byte-string': [],
  // The addon's declarations lie beside src/.
  native: ['..'],
  index: [
    'bundle',
    'reference',
    'image',
    'registry',
    'source',
    'cache',
    'layer',
    'rootfs',
    'erofs',
    'mount',
  ],
  image: [],
  reference: ['image'],
  tar: [],
  erofs: [],
  compression: [],
  cache: ['image', 'native'],
  layer: ['tar', 'compression', 'cache', 'image', 'native'],
  rootfs: ['layer', 'erofs', 'cache', 'tar', 'image', 'native'],
  registry: ['image'],
  source: ['reference', 'image', 'tar', 'compression', 'cache', 'layer', 'registry'],
  mount: ['rootfs', 'erofs', 'layer', 'cache', 'native'],
  bundle: ['mount', 'rootfs', 'erofs', 'layer', 'image'],
  // The addon makes a process into another program.
  cli: [
    'native',
    'bundle',
    'reference',
    'image',
    'source',
    'cache',
    'layer',
    'rootfs',
    'erofs',
    'mount',
  ],
}

/** Rooms that parse bytes and must not be able to read any by themselves. */
const PURE = ['image', 'reference', 'tar', 'erofs']
const PURE_BUILTINS = ['node:crypto', 'node:buffer', 'node:os', 'node:process']

const DOORS: Readonly<Record<string, readonly string[]>> = {
  'fuse-native': ['mount'],
  'lru-cache': ['cache'],
  yargs: ['cli'],
  pino: ['logger'],
  undici: ['registry'],
  'smol-toml': ['registry'],
  'node-gyp-build': ['native'],
  'zstddec/stream': ['compression'],
}

interface Import {
  /** Loaded when the code comes to it, and so never part of a circle at start-up. */
  readonly isDynamic: boolean
  readonly file: string
  readonly room: string
  readonly specifier: string
}

function roomOf(file: string): string {
  const parts = relative(SOURCE, file).split('/')
  return parts.length > 1 ? (parts[0] ?? '') : (parts[0] ?? '').replace(/\.[a-z.]+$/, '')
}

function importsOf(file: string): Import[] {
  const text = readFileSync(file, 'utf8')
  const pattern = /(?:\bfrom\s+|\bimport\s*\(?\s*|\brequire\(\s*)'([^']+)'/g
  return [...text.matchAll(pattern)].map((match) => ({
    file,
    room: roomOf(file),
    specifier: match[1] ?? '',
    isDynamic: match[0].includes('('),
  }))
}

const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => join(SOURCE, name))
const imports = files.flatMap(importsOf)

t.test('every room is in the table', async (t) => {
  t.strictSame(
    [...new Set(files.map(roomOf))].filter((room) => !(room in ARROWS)),
    [],
  )
})

t.test('imports follow the arrows', async (t) => {
  const wrong = imports
    .filter(({ specifier }) => specifier.startsWith('.'))
    .map((row) => ({ ...row, target: roomOf(join(row.file, '..', row.specifier)) }))
    .filter(({ room, target }) => target !== room && !EVERYWHERE.includes(target))
    .filter(({ room, target }) => !(ARROWS[room] ?? []).includes(target))
    .map(({ file, target }) => `${file} → ${target}`)
  t.strictSame(wrong, [])
  t.ok(imports.length > 100, 'imports were found at all')
})

t.test('packages are imported through their doors only', async (t) => {
  const wrong = imports
    .filter(({ specifier }) => !specifier.startsWith('.') && !specifier.startsWith('node:'))
    .filter(({ room, specifier }) => !(DOORS[specifier] ?? []).includes(room))
    .map(({ file, specifier }) => `${file} → ${specifier}`)
  t.strictSame(wrong, [])
})

t.test('rooms that parse do no I/O', async (t) => {
  const wrong = imports
    .filter(({ room, specifier }) => PURE.includes(room) && specifier.startsWith('node:'))
    .filter(({ specifier }) => !PURE_BUILTINS.includes(specifier))
    .map(({ file, specifier }) => `${file} → ${specifier}`)
  t.strictSame(wrong, [])
})

t.test('no file imports itself in a circle', async (t) => {
  const edges = new Map<string, string[]>()
  for (const { file, specifier, isDynamic } of imports) {
    if (isDynamic || !specifier.startsWith('.')) continue
    const target = join(file, '..', specifier).replace(/\.js$/, '.ts')
    edges.set(file, [...(edges.get(file) ?? []), target])
  }
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]): string[] => {
    if (path.includes(file)) return [[...path.slice(path.indexOf(file)), file].join(' → ')]
    if (done.has(file)) return []
    done.add(file)
    return (edges.get(file) ?? []).flatMap((next) => visit(next, [...path, file]))
  }
  t.strictSame(
    files.flatMap((file) => visit(file, [])),
    [],
  )
})
