import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { currentOwnerTag, judgeOwner, parseOwnerTag } from '../../src/cache/process-owner.js'

const own = currentOwnerTag()
const [pid = '', startTime = '', bootId = '', pidNamespace = '', timeNamespace = ''] =
  own.split('-')

t.test('currentOwnerTag() says what /proc says', (t) => {
  const stat = readFileSync('/proc/self/stat', 'latin1')
  t.equal(pid, String(process.pid))
  t.equal(startTime, stat.slice(stat.lastIndexOf(') ') + 2).split(' ')[19])
  t.equal(
    bootId,
    readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim().replaceAll('-', ''),
  )
  t.strictSame(parseOwnerTag(own), {
    pid: process.pid,
    startTime,
    bootId,
    namespaces: `${pidNamespace}-${timeNamespace}`,
  })
  t.match(own, /^[0-9a-f-]{1,100}$/, 'safe in a file name')
  t.end()
})

t.test('judgeOwner() knows the living from the dead', async (t) => {
  const rest = [bootId, pidNamespace, timeNamespace].join('-')
  const cases = [
    { name: 'itself', tag: own, want: 'alive' },
    { name: 'a reused pid', tag: `${pid}-1-${rest}`, want: 'dead' },
    { name: 'another boot', tag: `${pid}-${startTime}-${'0'.repeat(32)}-1-1`, want: 'dead' },
    {
      name: 'another pid namespace',
      tag: `${pid}-${startTime}-${bootId}-1-${timeNamespace}`,
      want: 'unknown',
    },
    {
      name: 'another time namespace',
      tag: `${pid}-${startTime}-${bootId}-${pidNamespace}-1`,
      want: 'unknown',
    },
    { name: 'a pid beyond all', tag: `999999999-1-${rest}`, want: 'dead' },
    { name: 'nothing', tag: '', want: 'unknown' },
    { name: 'something else', tag: 'tmp-file', want: 'unknown' },
    { name: 'pid 0, which would be our process group', tag: `0-1-${rest}`, want: 'unknown' },
    { name: 'a negative pid', tag: `-1-1-${rest}`, want: 'unknown' },
  ]
  for (const { name, tag, want } of cases) t.equal(judgeOwner(tag), want, name)
})

t.test('judgeOwner() takes a zombie for dead', async (t) => {
  // A shell that starts a child, says its pid and becomes a program that never collects it.
  const script = 'cat <&3 >&2 & echo $!; exec sleep 1000'
  const shell = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit', 'pipe'] })
  t.teardown(() => shell.kill('SIGKILL'))
  const [output] = (await once(shell.stdout!, 'data')) as [Buffer]
  const child = output.toString().trim()
  while (readFileSync(`/proc/${shell.pid}/comm`, 'latin1') !== 'sleep\n') await nextTurn()
  const living = readFileSync(`/proc/${child}/stat`, 'latin1')
  const started = living.slice(living.lastIndexOf(') ') + 2).split(' ')[19]
  const tag = [child, started, bootId, pidNamespace, timeNamespace].join('-')
  t.equal(judgeOwner(tag), 'alive')
  shell.stdio[3]?.destroy()
  while (!readFileSync(`/proc/${child}/stat`, 'latin1').includes(') Z ')) await nextTurn()
  t.equal(judgeOwner(tag), 'dead')
})

function nextTurn(): Promise<void> {
  return new Promise(setImmediate)
}
