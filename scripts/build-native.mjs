// Builds the addon in native-bindings/; run by npm as the install script, and by scripts/setup. It never fails, since
// everything works without the addon, and downloads nothing: it compiles against the headers beside `node`. A package
// with a prebuilt binary in native-bindings/prebuilds/ uses that; a checkout is compiled, since the binary may be older.
// What was built is stamped with a hash of all that went into it.
//
//   node scripts/build-native.mjs [--prebuild]     --prebuild makes native-bindings/prebuilds/ for this machine

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const room = join(root, 'native-bindings')
const stampFile = join(room, 'build/.stamp')
const logFile = join(room, 'build/log')
const addonFile = join(room, 'build/Release/ocimount.node')
const isPackage = !existsSync(join(root, 'test'))
const require = createRequire(import.meta.url)

try {
  const reason = main()
  if (reason !== undefined) warn(reason)
} catch (error) {
  warn(error.message)
}

function warn(reason) {
  console.error(`ocimount: goes on without its addon, with the portable driver, slower: ${reason}`)
}

/** Gives the reason why there is no addon, if there is none. */
function main() {
  if (process.platform !== 'linux') return 'it is for Linux'
  if (process.argv.includes('--prebuild')) return prebuild()
  const prefersBuild = !isPackage || process.env.npm_config_build_from_source === 'true'
  if (!prefersBuild && existsSync(join(room, 'prebuilds')) && loads()) return undefined
  const stamp = hashOfSources()
  if (existsSync(addonFile) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) {
    return undefined
  }
  rmSync(stampFile, { force: true })
  const reason = build()
  // What an earlier build left is not what these sources say.
  if (reason !== undefined) rmSync(addonFile, { force: true })
  return reason ?? finish(stamp)
}

function build() {
  const headers = nodedir()
  if (headers === undefined) return `no Node.js headers beside ${process.execPath}`
  // In a package there are no tests, and a warning of a compiler that we do not know is no reason to have no addon.
  const args = ['configure', 'build', `--nodedir=${headers}`, '--jobs=max', '--loglevel=error']
  const env = isPackage ? { ...process.env, GYP_DEFINES: 'werror=-Wno-error' } : process.env
  const { status, error, stdout, stderr } = spawnSync(process.execPath, [nodeGyp(), ...args], {
    cwd: room,
    env,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
  rmSync(logFile, { force: true })
  if (status === 0) return undefined
  const output = `${error?.message ?? ''}${stdout}${stderr}`
  mkdirSync(dirname(logFile), { recursive: true })
  writeFileSync(logFile, output)
  return `${whyFailed(output).slice(0, 200)} (${logFile})`
}

/** The first line that names a cause: of make or a shell what is missing, of the compiler an error, else of node-gyp. */
function whyFailed(output) {
  const cause =
    /^(?:gyp ERR! stack )?(.*(?:\berror: |Error: |No such file or directory|not found).*)$/m
  return cause.exec(output)?.[1] ?? 'node-gyp failed'
}

function finish(stamp) {
  if (!loads()) return 'it cannot be loaded'
  writeFileSync(stampFile, stamp)
  return undefined
}

/** Loads it in a process of its own: the file may be one that this machine cannot run. */
function loads() {
  const script = `require(${JSON.stringify(require.resolve('node-gyp-build'))})(${JSON.stringify(room)})`
  return spawnSync(process.execPath, ['-e', script], { stdio: 'ignore' }).status === 0
}

function prebuild() {
  const args = [require.resolve('prebuildify/bin.js'), '--napi', '--strip', '--tag-libc']
  const env = { ...process.env, npm_config_nodedir: nodedir() }
  const { status } = spawnSync(process.execPath, args, { cwd: room, env, stdio: 'inherit' })
  return status === 0 ? undefined : 'prebuildify failed'
}

function nodedir() {
  const candidates = [process.env.npm_config_nodedir, resolve(process.execPath, '../..')]
  return candidates.find(
    (prefix) => prefix !== undefined && existsSync(join(prefix, 'include/node/node_api.h')),
  )
}

/** The package of the checkout, else that of the npm which installs us or lies beside node. */
function nodeGyp() {
  const beside = resolve(process.execPath, '../../lib/node_modules/npm/node_modules/node-gyp')
  try {
    return require.resolve('node-gyp/bin/node-gyp.js')
  } catch {
    return process.env.npm_config_node_gyp ?? join(beside, 'bin/node-gyp.js')
  }
}

function hashOfSources() {
  const hash = createHash('sha256')
  hash.update(`${process.version} ${process.arch} ${nodedir() ?? ''}\n`)
  const sources = readdirSync(join(room, 'src'))
    .filter((name) => /\.(h|cc)$/.test(name))
    .map((name) => join(room, 'src', name))
  for (const path of [...sources, join(room, 'binding.gyp')].sort()) {
    hash.update(path).update(readFileSync(path))
  }
  return hash.digest('hex')
}
