import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createConnection } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import t, { type Test } from 'tap'
import { OcimountError } from '../../src/errors.js'
import {
  requestStatus,
  requestUnmount,
  serveControl,
  type ControlHandlers,
  type MountStatus,
} from '../../src/mount/control.js'

const STATUS = {
  record: { id: 'x', mountpoint: '/größe\n' },
  requests: 7,
} as unknown as MountStatus

/** Short enough for a client that knows nothing of long paths. */
function shortDirectory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'oci-'))
  t.teardown(() => {
    rmSync(path, { recursive: true })
  })
  return path
}

function handlers(unmounts: boolean[] = []): ControlHandlers {
  return {
    status: () => STATUS,
    unmount: async ({ lazy }) => {
      unmounts.push(lazy)
      if (!lazy) throw new OcimountError('MOUNT_BUSY', 'Cannot unmount /x: it is in use')
      return { endsServer: true }
    },
  }
}

t.test('requestStatus() and requestUnmount() reach the server', async (t) => {
  const directory = shortDirectory(t)
  const unmounts: boolean[] = []
  const server = await serveControl(directory, handlers(unmounts))
  t.strictSame(await requestStatus(directory), STATUS)
  await requestUnmount(directory, { lazy: true })
  await t.rejects(requestUnmount(directory), {
    code: 'MOUNT_BUSY',
    message: 'Cannot unmount /x: it is in use',
  })
  t.strictSame(unmounts, [true, false])
  await server.close()
  t.notOk(existsSync(join(directory, 'control.sock')))
  await t.rejects(requestStatus(directory), { code: 'NOT_MOUNTED' })
})

t.test('serveControl() works where the path is too long for a socket', async (t) => {
  const directory = join(shortDirectory(t), 'd'.repeat(200))
  mkdirSync(directory)
  const server = await serveControl(directory, handlers())
  t.strictSame(await requestStatus(directory), STATUS)
  await server.close()
  t.notOk(existsSync(join(directory, 'control.sock')))
})

t.test('serveControl() replaces the socket of a server that died', async (t) => {
  const directory = shortDirectory(t)
  await serveControl(directory, handlers())
  const server = await serveControl(directory, handlers())
  t.strictSame(await requestStatus(directory), STATUS)
  await server.close()
})

const BAD = ['', 'no json', '[]', '7', 'null', '{"op":"reboot"}', '{}']
for (const line of BAD) {
  t.test(`serveControl() answers an error to ${JSON.stringify(line)}`, async (t) => {
    const directory = shortDirectory(t)
    const server = await serveControl(directory, handlers())
    const socket = createConnection(join(directory, 'control.sock'))
    let said = ''
    socket.setEncoding('utf8').on('data', (text: string) => (said += text))
    socket.write(`${line}\n`)
    await once(socket, 'close')
    t.match(JSON.parse(said), { ok: false, error: { code: String } })
    t.strictSame(await requestStatus(directory), STATUS)
    await server.close()
  })
}

t.test('serveControl() hangs up on a line without end', async (t) => {
  const directory = shortDirectory(t)
  const server = await serveControl(directory, handlers())
  const socket = createConnection(join(directory, 'control.sock'))
  // Cut off while writing, which is an error to this side.
  socket.on('error', () => undefined)
  const closed = new Promise((resolve) => socket.on('close', resolve))
  socket.write(Buffer.alloc(3 << 20, 'x'))
  await closed
  t.strictSame(await requestStatus(directory), STATUS)
  await server.close()
})
