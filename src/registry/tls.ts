// Whom we believe and what we show (checklist E-040): the machine's certificate authorities, and for a host of its own
// certs.d/<host[:port]>/*.crt to trust, *.cert with *.key to show.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isIP } from 'node:net'
import { connect, createSecureContext, rootCertificates, type SecureContext } from 'node:tls'
import { escapeText } from '../byte-string.js'
import { messageOf, systemErrorCode } from '../errors.js'
import { hostName } from './hosts.js'
import { RegistryError } from './registry-error.js'

export interface TlsFiles {
  /** PEM files with further authorities. */
  readonly authorities: readonly string[]
  readonly client?: { readonly certificate: string; readonly key: string } | undefined
}

/**
 * Makes what all connections to one host share.
 *
 * @throws RegistryError `REGISTRY_DENIED` for files that cannot be used
 */
export function secureContextFor(
  host: string,
  directories: readonly string[],
  env: NodeJS.ProcessEnv,
  files: TlsFiles = NO_FILES,
): SecureContext {
  const found = findFiles(host, directories)
  const authorities = [...found.authorities, ...files.authorities]
  const client = files.client ?? found.client
  if (authorities.length === 0 && client === undefined) {
    return (plainContext ??= createSecureContext({ ca: [...systemAuthorities(env)] }))
  }
  try {
    return createSecureContext({
      ca: [...systemAuthorities(env), ...authorities.map((path) => readFileSync(path, 'utf8'))],
      ...(client === undefined
        ? {}
        : { cert: readFileSync(client.certificate), key: readFileSync(client.key) }),
    })
  } catch (error) {
    const why = escapeText(messageOf(error).split('\n', 1)[0] ?? '')
    const message = `Cannot use the certificates for ${escapeText(host)}: ${why}`
    throw new RegistryError('REGISTRY_DENIED', message, { cause: error })
  }
}

/**
 * Makes a connection, whatever certificate is shown, and closes it.
 *
 * @throws what went wrong, with its code: `ERR_SSL_WRONG_VERSION_NUMBER` or the like from a server that does not speak TLS
 */
export function greet(url: URL, timeoutMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const host = hostName(url.host)
    const socket = connect({
      ...{ host, port: Number(url.port === '' ? 443 : url.port) },
      ...(isIP(host) === 0 ? { servername: host } : {}),
      // Believes nobody, and is made in 1 ms.
      secureContext: createSecureContext({ ca: [] }),
      rejectUnauthorized: false,
    })
    const end = (error?: unknown): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      socket.destroy()
      if (error === undefined) resolve()
      else reject(error instanceof Error ? error : new Error('it was interrupted'))
    }
    const timer = setTimeout(() => {
      end(Object.assign(new Error('it does not answer'), { code: 'ETIMEDOUT' }))
    }, timeoutMs)
    const onAbort = (): void => {
      end(signal?.reason)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    if (signal?.aborted === true) onAbort()
    socket.once('secureConnect', () => {
      end()
    })
    socket.on('error', end)
    socket.once('close', () => {
      end(Object.assign(new Error('the connection was cut'), { code: 'ECONNRESET' }))
    })
  })
}

/** Gives the directories that may have one for a host, the user's own first. */
export function certsDirectories(env: NodeJS.ProcessEnv): string[] {
  const home = env['HOME']
  return [
    ...(home === undefined ? [] : [join(home, '.config/containers/certs.d')]),
    '/etc/containers/certs.d',
    '/etc/docker/certs.d',
  ]
}

function findFiles(host: string, directories: readonly string[]): TlsFiles {
  // A host is a name, an address in brackets or either with a port: never a path out of here.
  if (!/^[A-Za-z0-9.:_[\]-]+$/.test(host) || host.startsWith('.')) return NO_FILES
  for (const directory of directories) {
    const place = join(directory, host)
    const names = namesIn(place)
    if (names === undefined) continue
    const client = names.find((name) => name.endsWith('.cert'))
    return {
      authorities: names.filter((name) => name.endsWith('.crt')).map((name) => join(place, name)),
      client:
        client === undefined
          ? undefined
          : {
              certificate: join(place, client),
              key: join(place, client.replace(/\.cert$/, '.key')),
            },
    }
  }
  return NO_FILES
}

function namesIn(directory: string): string[] | undefined {
  try {
    return readdirSync(directory).sort()
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    const message = `Cannot read certificates in ${escapeText(directory)}: ${code ?? messageOf(error)}`
    throw new RegistryError('REGISTRY_DENIED', message, { cause: error })
  }
}

let plainContext: SecureContext | undefined
let authorities: readonly string[] | undefined

/** What this machine trusts; Node.js by itself would use a list of its own and not the administrator's. */
function systemAuthorities(env: NodeJS.ProcessEnv): readonly string[] {
  if (authorities !== undefined) return authorities
  const bundles = [env['SSL_CERT_FILE'], ...SYSTEM_BUNDLES]
  const bundle = bundles.map(readIfPresent).find((text) => text !== undefined)
  const extra = readIfPresent(env['NODE_EXTRA_CA_CERTS'])
  authorities = [
    ...(bundle === undefined ? rootCertificates : [bundle]),
    ...(extra === undefined ? [] : [extra]),
  ]
  return authorities
}

function readIfPresent(path: string | undefined): string | undefined {
  if (path === undefined || path === '') return undefined
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

const NO_FILES: TlsFiles = { authorities: [] }
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
]
