// Ordinary users mount through the setuid fusermount3. Root of the test runs each case as `nobody`, in a mount
// namespace of its own where everybody may open /dev/fuse, and the checkout, which may lie in root's own directory, is in
// reach.

import { chmodSync, chownSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import t, { type Test } from 'tap'
import { rootSkipReason, run, scratchDirectory, type Outcome } from '../helpers/with-mount.js'

const skip =
  rootSkipReason() || (existsSync('/usr/bin/fusermount3') ? false : 'fusermount3 is not installed')
const NOBODY = 65_534
const SERVER = new URL('../helpers/serve-and-wait.js', import.meta.url).pathname
const CHECKOUT = process.cwd()
/** What a process needs that loads the addon of native-bindings/test/run-addon; nothing elsewhere. */
const SANITIZERS = ['LD_PRELOAD', 'ASAN_OPTIONS', 'UBSAN_OPTIONS']
  .map((name) => `\${${name}:+${name}="$${name}"}`)
  .join(' ')

/** Runs a shell script as an ordinary user: $0 is a directory of theirs with `mnt` in it, $1 and $2 start a server. */
async function runAs(t: Test, uid: number, script: string, fuseConf = ''): Promise<Outcome> {
  const path = scratchDirectory(t)
  chmodSync(path, 0o755)
  const home = join(path, 'home')
  const mountpoint = join(home, 'mnt')
  writeFileSync(join(path, 'fuse.conf'), fuseConf)
  const checkout = join(path, 'checkout')
  mkdirSync(checkout)
  for (const directory of [home, mountpoint]) {
    mkdirSync(directory)
    chownSync(directory, uid, uid)
  }
  const setUp =
    'mount --bind "$2" "$0/checkout"; mknod "$0/fuse" c 10 229; chmod 666 "$0/fuse"; mount --bind "$0/fuse" /dev/fuse; [ ! -e /etc/fuse.conf ] || mount --bind "$0/fuse.conf" /etc/fuse.conf; d=$0/home; script=$1; shift 2;' +
    `exec env -i PATH="$PATH" ${SANITIZERS} OCIMOUNT_RUNTIME_DIR="$d/state" setpriv --reuid ${uid} --regid ${uid} --clear-groups sh -c "$script" "$d" "$@"`
  const outer = ['unshare', '-m', '--propagation', 'slave', 'sh', '-ec', setUp]
  const server = join(checkout, relative(CHECKOUT, SERVER))
  return run([...outer, path, script, CHECKOUT, process.execPath, server])
}

const START = '"$1" "$2" "$0/mnt" > "$0/said" 2>&1 & until [ -s "$0/said" ]; do sleep 0.05; done;'

t.test('an ordinary user mounts and unmounts', { skip }, async (t) => {
  const outcome = await runAs(
    t,
    NOBODY,
    `${START} cat "$0/said" "$0/mnt/file"; echo; grep "$0/mnt" /proc/self/mountinfo | grep -o "fuse.ocimount.*" ; fusermount3 -u "$0/mnt"; wait; ls "$0/mnt"`,
  )
  t.match(outcome, { status: 0, stderr: '' })
  t.match(
    outcome.stdout,
    /^ready\naaaaa\nfuse\.ocimount ocimount ro,user_id=65534,group_id=65534\n$/,
  )
})

t.test('without an entry in /etc/passwd the reason is told', { skip }, async (t) => {
  const { stdout } = await runAs(t, 54_321, `${START} wait; cat "$0/said"`)
  t.match(stdout, /MOUNT_DENIED/)
  t.match(stdout, /needs an entry for the user in \/etc\/passwd/)
})

t.test('an ordinary user cannot mount over what belongs to others', { skip }, async (t) => {
  const { stdout } = await runAs(
    t,
    NOBODY,
    '"$1" "$2" /usr 2>&1; "$1" "$2" /tmp 2>&1; "$1" "$2" "$0/mnt" state writable 2>&1',
  )
  t.match(stdout, /MOUNT_DENIED/)
  t.match(stdout, /Cannot mount at \/usr: an ordinary user needs a directory of their own/)
  t.match(stdout, /Cannot mount at \/tmp: an ordinary user needs a directory of their own/)
  t.match(stdout, /Cannot make the mount writable: only root may stack an overlay/)
})

t.test('what only root may ask for is refused, not dropped', { skip }, async (t) => {
  const flags = ['suid', 'dev', 'allowOther']
  const { stdout } = await runAs(
    t,
    NOBODY,
    flags.map((flag) => `"$1" "$2" "$0/mnt" - ${flag} 2>&1;`).join(''),
  )
  t.match(stdout, /Cannot mount with --suid: only root may/)
  t.match(stdout, /Cannot mount with --dev: only root may/)
  t.match(stdout, /Cannot mount with --allow-other: root must add the line user_allow_other/)
})

const noConf = existsSync('/etc/fuse.conf') ? false : 'there is no /etc/fuse.conf to stand in for'
t.test(
  'an ordinary user lets others in where root allows it',
  { skip: skip || noConf },
  async (t) => {
    const start = START.replace('"$0/mnt"', '"$0/mnt" - allowOther')
    const show = 'grep "$0/mnt" /proc/self/mountinfo; fusermount3 -u "$0/mnt"; wait'
    const { stdout } = await runAs(t, NOBODY, `${start} ${show}`, 'user_allow_other\n')
    t.match(stdout, /user_id=65534,group_id=65534,default_permissions,allow_other/)
  },
)

t.test('root without CAP_SYS_ADMIN is told what to do', { skip }, async (t) => {
  const path = scratchDirectory(t)
  const drop = ['setpriv', '--bounding-set', '-sys_admin', '--inh-caps', '-sys_admin']
  const { stderr } = await run([...drop, process.execPath, SERVER, path])
  t.match(stderr, /MOUNT_DENIED/)
  t.match(stderr, /lacks the capability CAP_SYS_ADMIN here; start the container with --cap-add/)
})
