// Asks docker-credential-NAME (checklist E-081): the server on its standard input, so that no argument shows anything.

import { spawn } from 'node:child_process'
import { quote } from '../image/quote.js'
import type { Credentials } from './auth-file.js'
import { RegistryError } from './registry-error.js'

/**
 * Asks a helper for each of the names of a registry; undefined when it knows none of them.
 *
 * @throws RegistryError `REGISTRY_DENIED` for a helper that is no plain name, is not there, fails or takes too long.
 *   Nothing that it wrote is in the message.
 */
export async function askHelper(
  name: string,
  servers: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<Credentials | undefined> {
  if (!NAME.test(name)) throw failed(name, 'that is not the name of a program')
  for (const server of servers) {
    const found = await ask(name, server, env)
    if (found !== undefined) return found
  }
  return undefined
}

async function ask(
  name: string,
  server: string,
  env: NodeJS.ProcessEnv,
): Promise<Credentials | undefined> {
  const { status, output } = await runHelper(name, server, env)
  if (status !== 0) {
    if (/credentials not found/i.test(output)) return undefined
    throw failed(name, `it ended with status ${status}`)
  }
  const answer = parseAnswer(output)
  if (answer === undefined) throw failed(name, 'its answer is not what the protocol says')
  const { username, secret } = answer
  if (username === '' && secret === '') return undefined
  return username === '<token>'
    ? { kind: 'identity', token: secret }
    : { kind: 'password', username, password: secret }
}

function runHelper(
  name: string,
  server: string,
  env: NodeJS.ProcessEnv,
): Promise<{ status: number | string; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(`docker-credential-${name}`, ['get'], {
      env,
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    // Not the `timeout` of spawn(): for a program that is not there its clock would run on, and keep us from ending.
    const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS).unref()
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (output.length < MAX_ANSWER) output += text
    })
    child.on('error', () => {
      clearTimeout(timer)
      reject(failed(name, 'it cannot be started'))
    })
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      resolve({ status: status ?? signal ?? 'unknown', output })
    })
    child.stdin.on('error', () => {
      // It did not want to know; what it answers counts.
    })
    child.stdin.end(`${server}\n`)
  })
}

function parseAnswer(text: string): { username: string; secret: string } | undefined {
  try {
    const { Username: username, Secret: secret } = JSON.parse(text) as Record<string, unknown>
    return typeof username === 'string' && typeof secret === 'string'
      ? { username, secret }
      : undefined
  } catch {
    return undefined
  }
}

function failed(name: string, why: string): RegistryError {
  const message = `Cannot ask the credential helper ${quote(name)}: ${why}`
  return new RegistryError('REGISTRY_DENIED', message)
}

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/
const TIMEOUT_MS = 30_000
const MAX_ANSWER = 1024 * 1024
