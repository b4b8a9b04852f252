// Debian's docker-registry on this machine, for tests against a registry that is none of ours.

import { execFileSync, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { becomes } from './cli-checks.js'

interface Teardown {
  teardown(handler: () => void | Promise<void>): void
}

/** Says which of some programs is not there, or gives false. */
export function missingTool(tools: readonly string[]): string | false {
  for (const tool of tools) {
    try {
      execFileSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' })
    } catch {
      return `${tool} is not installed`
    }
  }
  return false
}

/** Starts one that anybody may use, and gives its host. */
export async function startDockerRegistry(t: Teardown, directory: string): Promise<string> {
  const port = await freePort()
  const host = `127.0.0.1:${port}`
  const config = join(directory, `registry-${port}.yml`)
  const store = join(directory, `store-${port}`)
  writeFileSync(
    config,
    `version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: ${store} } }
http: { addr: ${host} }
`,
  )
  const server = spawn('docker-registry', ['serve', config], { stdio: 'ignore' })
  t.teardown(() => {
    server.kill()
  })
  await becomes(() => isListening(port))
  return host
}

/** Gives a port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Tells whether somebody listens on a port. */
export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {
      resolve(false)
    })
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}
