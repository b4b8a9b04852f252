// The only loader of the addon. It is loaded when it is first asked for; without it everything works, slower.

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type * as Addon from '../native-bindings/index.js'
import { escapeText } from './byte-string.js'
import { messageOf } from './errors.js'

export type {
  FileStretch,
  FillOptions,
  FillResult,
  FuseServer,
  FuseServerOptions,
  GzipIndexJob,
  GzipIndexOptions,
  GzipIndexResult,
  HashName,
  LazyLayout,
  LazyTable,
  NativeDevice,
  TarListing,
} from '../native-bindings/index.js'

/** What the addon offers; see native-bindings/index.d.ts. */
export type NativeBindings = typeof Addon

type Loaded =
  | { readonly bindings: NativeBindings; readonly reason: undefined }
  | { readonly bindings: undefined; readonly reason: string }

let loaded: Loaded | undefined

/** Gives the addon, or undefined where it is not there or `OCIMOUNT_NATIVE` is 0. */
export function loadNative(): NativeBindings | undefined {
  return load().bindings
}

/** Says in one line why {@link loadNative} gives nothing, for a person. */
export function nativeUnavailableReason(): string | undefined {
  return load().reason
}

function load(): Loaded {
  loaded ??= tryLoad()
  return loaded
}

function tryLoad(): Loaded {
  if (process.env['OCIMOUNT_NATIVE'] === '0') return unavailable('switched off by OCIMOUNT_NATIVE')
  const room = findRoom()
  if (room === undefined) return unavailable('its files are not installed')
  try {
    const require = createRequire(import.meta.url)
    const loadBuild = require('node-gyp-build') as (directory: string) => NativeBindings
    return { bindings: loadBuild(room), reason: undefined }
  } catch (error) {
    return unavailable(escapeText(messageOf(error).split('\n')[0] ?? ''))
  }
}

function unavailable(reason: string): Loaded {
  return { bindings: undefined, reason }
}

/** The code runs from dist/ as well as from .build/test/src/; the addon lies in the root of the package. */
function findRoom(): string | undefined {
  let directory = import.meta.dirname
  for (;;) {
    const room = join(directory, 'native-bindings')
    if (existsSync(join(room, 'binding.gyp'))) return room
    const parent = dirname(directory)
    if (parent === directory) return undefined
    directory = parent
  }
}
