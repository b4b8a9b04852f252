import {
  readlinkSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { currentOwnerTag } from '../../src/cache/process-owner.js'
import { findMount, listMounts } from '../../src/mount/list-mounts.js'
import { MountState, readRecord, type NewMount } from '../../src/mount/state.js'

const NEW: NewMount = {
  mountpoint: '/mnt/größe',
  image: { reference: 'app.tar', name: 'app:latest', digest: 'sha256:ab' },
  options: { allowOther: true },
  isWritable: false,
  direct: false,
}

function useRuntimeDir(t: Test): string {
  const path = join(t.testdir(), 'state')
  const before = process.env['OCIMOUNT_RUNTIME_DIR']
  process.env['OCIMOUNT_RUNTIME_DIR'] = path
  t.teardown(() => {
    if (before === undefined) delete process.env['OCIMOUNT_RUNTIME_DIR']
    else process.env['OCIMOUNT_RUNTIME_DIR'] = before
  })
  return path
}

t.test('MountState keeps a record that others can read', async (t) => {
  const runtimeDir = useRuntimeDir(t)
  const state = await MountState.create(NEW)
  t.equal(state.directory, join(runtimeDir, state.id))
  t.equal(statSync(state.directory).mode & 0o777, 0o700)
  const want = {
    version: 1,
    id: state.id,
    state: 'starting',
    ...NEW,
    mountNamespace: readlinkSync('/proc/self/ns/mnt'),
    layers: [],
    verification: 'pending',
    pid: process.pid,
    owner: currentOwnerTag(),
    since: state.record.since,
  }
  t.strictSame(await readRecord(state.directory), want)
  await state.update({ state: 'ready', driver: 'fuse-native', device: '0:9', layers: ['sha256:1'] })
  const ready = {
    ...want,
    state: 'ready',
    driver: 'fuse-native',
    device: '0:9',
    layers: ['sha256:1'],
  }
  t.strictSame(await readRecord(state.directory), ready)
  t.strictSame(readdirSync(state.directory), ['mount.json'])
  await state.remove()
  t.strictSame(readdirSync(runtimeDir), [])
})

t.test('MountState writes changes in the order in which they were made', async (t) => {
  useRuntimeDir(t)
  const state = await MountState.create(NEW)
  const changes = Array.from({ length: 50 }, async (_, index) => {
    await state.update({ layers: [`sha256:${index}`] })
    const record = await readRecord(state.directory)
    if (record === undefined) t.fail('a reader found no record')
  })
  await Promise.all(changes)
  t.match(await readRecord(state.directory), { layers: ['sha256:49'] })
})

t.test('listMounts() lists live mounts and removes dead ones', async (t) => {
  const runtimeDir = useRuntimeDir(t)
  t.strictSame(await listMounts(), [])
  const state = await MountState.create(NEW)
  const dead = await MountState.create({ ...NEW, mountpoint: '/nowhere' })
  // The same pid with another start time: the process of the record is gone and its pid in use again.
  const [pid = '', startTime = '', ...rest] = currentOwnerTag().split('-')
  const owner = [pid, String(BigInt(startTime) + 1n), ...rest].join('-')
  writeFileSync(join(dead.directory, 'mount.json'), JSON.stringify({ ...dead.record, owner }))
  const rebooted = await MountState.create(NEW)
  const other = [pid, startTime, '0'.repeat(32), ...rest.slice(1)].join('-')
  writeFileSync(
    join(rebooted.directory, 'mount.json'),
    JSON.stringify({ ...rebooted.record, owner: other }),
  )
  t.match(await listMounts(), [{ record: { id: state.id }, directory: state.directory }])
  t.strictSame(readdirSync(runtimeDir), [state.id])
  t.match(await findMount(state.id), { record: { id: state.id } })
  t.equal(await findMount('/nowhere'), undefined)
})

t.test('listMounts() leaves fresh and foreign directories alone', async (t) => {
  const runtimeDir = useRuntimeDir(t)
  const { directory } = await MountState.create(NEW)
  const make = (name: string, record: string, isOld: boolean): void => {
    mkdirSync(join(runtimeDir, name))
    writeFileSync(join(runtimeDir, name, 'mount.json'), record)
    if (isOld) utimesSync(join(runtimeDir, name), 1, 1)
  }
  make('.new-aaaaaaaaaaaa', '{}', false)
  make('.new-bbbbbbbbbbbb', '{}', true)
  make('aaaaaaaaaaaa', '{"version":1', false)
  make('bbbbbbbbbbbb', 'no json', true)
  make('cccccccccccc', '{"version":2}', true)
  make('something else', '{}', true)
  t.match(await listMounts(), [{ directory }])
  t.strictSame(
    [
      '.new-aaaaaaaaaaaa',
      '.new-bbbbbbbbbbbb',
      'aaaaaaaaaaaa',
      'bbbbbbbbbbbb',
      'something else',
    ].map((name) => existsSync(join(runtimeDir, name))),
    [true, false, true, false, true],
  )
})
