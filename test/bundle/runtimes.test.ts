// Configs of every profile, started by crun and runc as root over a root filesystem that umoci unpacked: what a container
// sees is what the config says.

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Conversion } from '../../src/bundle/conversion.js'
import { convertConfig } from '../../src/bundle/convert.js'
import { readHostFacts } from '../../src/bundle/host-facts.js'
import { PROFILE_NAMES, type BundleOptions } from '../../src/bundle/options.js'
import { encodeRuntimeConfig } from '../../src/bundle/runtime-config.js'
import { dir, file } from '../helpers/build-layer.js'
import { conversionInput } from '../helpers/bundle-input.js'
import { cliFixture } from '../helpers/cli-fixture.js'
import { missingTool } from '../helpers/list-tar.js'
import { corpora } from '../helpers/run-cli.js'

const root = corpora()
const skip =
  (process.getuid?.() !== 0 && 'needs root') ||
  (root === undefined && 'the corpora are not on this machine') ||
  missingTool('umoci', '--version')

const CONFIG = {
  Env: ['FROM_IMAGE=1'],
  Cmd: [
    '/bin/busybox',
    'sh',
    '-c',
    'id; pwd; env; hostname; cat /proc/self/status; mount; cat /data/seed || true',
  ],
  User: 'app',
  WorkingDir: '/srv/app',
  Volumes: { '/data': {} },
}
const PARTS = [
  file('etc/passwd', 'root:x:0:0::/root:\napp:x:1000:1001::/home/app:\n'),
  file('etc/group', 'app:x:1001:\nextra:x:1002:app\n'),
  dir('data', { mode: 0o750, uid: 1000, gid: 1001 }),
]

for (const runtime of ['crun', 'runc']) {
  const reason = skip || missingTool(runtime, '--version')
  t.test(runtime, { skip: reason }, async (t) => {
    const base = cliFixture(t).dir
    const unpacked = join(base, 'unpacked')
    const image = `${join(root ?? '', 'images/busybox-1.38-glibc')}:latest`
    execFileSync('umoci', ['unpack', '--image', image, unpacked], { stdio: 'ignore' })
    const rootfs = join(unpacked, 'rootfs')
    for (const { entry, member } of PARTS) {
      execFileSync('tar', ['-x', '-C', rootfs, '-f', '-'], {
        input: member,
        stdio: ['pipe', 'ignore', 'ignore'],
      })
      t.comment(entry.path)
    }
    execFileSync('chown', ['1000:1001', join(rootfs, 'data')])
    writeFileSync(join(rootfs, 'data/seed'), 'seeded\n')
    const host = await readHostFacts({ runtimeNamespaces: namespacesOf(runtime) })
    const run = async (
      id: string,
      options: BundleOptions,
    ): Promise<{ output: string; conversion: Conversion }> => {
      const input = conversionInput({ config: CONFIG, parts: PARTS })
      const conversion = await convertConfig({
        ...input,
        host,
        options: { tty: false, ...options },
      })
      const bundle = join(base, id)
      mkdirSync(bundle)
      execFileSync('mount', ['--bind', '--mkdir', rootfs, join(bundle, 'rootfs')])
      try {
        writeFileSync(join(bundle, 'config.json'), encodeRuntimeConfig(conversion.config))
        for (const { name, content } of conversion.files) writeFileSync(join(bundle, name), content)
        const name = `ocimount-test-${process.pid}-${runtime}-${id}`
        const args = ['--root', join(base, 'state'), 'run', '-b', bundle, name]
        const { status, stdout, stderr } = spawnSync(
          'unshare',
          ['-m', '--propagation', 'slave', ...shell(runtime), ...args],
          {
            encoding: 'utf8',
            timeout: 60_000,
          },
        )
        t.equal(status, 0, `${id}: ${stderr}`)
        return { output: stdout, conversion }
      } finally {
        execFileSync('umount', [join(bundle, 'rootfs')])
      }
    }
    for (const profile of PROFILE_NAMES) {
      const { output, conversion } = await run(profile, { profile })
      t.match(output, 'uid=1000(app) gid=1001(app) groups=1001(app),1002(extra)', profile)
      t.match(output, '\n/srv/app\n')
      t.match(output, 'FROM_IMAGE=1\n')
      for (const entry of conversion.config.process.env) t.match(output, `${entry}\n`)
      const { bounding = [] } = conversion.config.process.capabilities ?? {}
      t.equal(bitsOf(/^CapBnd:\t(.*)$/m.exec(output)?.[1]), bounding.length, 'capabilities')
      t.match(output, `NoNewPrivs:\t${conversion.config.process.noNewPrivileges ? 1 : 0}`)
      t.match(output, `Seccomp:\t${conversion.config.linux.seccomp === undefined ? 0 : 2}`)
      if (profile !== 'umoci') t.match(output, 'seeded\n', 'the volume has what the image has')
      for (const { destination, type } of conversion.config.mounts) {
        if (type !== 'cgroup') t.match(output, new RegExp(` on ${destination} type `), destination)
      }
    }
    const limited = await run('limited', {
      ...{ capDrop: ['ALL'], hostname: 'named', readOnly: true, pidsLimit: 50, user: '7:8' },
      ...{ network: 'host', env: ['A=b c'], workdir: '/tmp', volumes: 'ignore' },
    })
    t.match(limited.output, 'uid=7 gid=8')
    t.match(limited.output, '\nnamed\n')
    t.match(limited.output, 'A=b c\n')
    t.match(limited.output, /CapBnd:\t0+\n/)
    t.match(limited.output, / on \/ type .*\(ro[,)]/)
    t.match(limited.output, ' on /etc/resolv.conf type ')
  })
}

/** crun 1.8 gives up on a machine that has control groups of both versions, so the second is hidden from it. */
function shell(runtime: string): string[] {
  const hide =
    'if [ -e /sys/fs/cgroup/unified ]; then umount -l /sys/fs/cgroup/unified; fi; exec "$@"'
  return runtime === 'crun' ? ['sh', '-c', hide, 'sh', runtime] : [runtime]
}

/** Those that runc lists; crun 1.8 lists none and knows of time. */
function namespacesOf(runtime: string): string[] | undefined {
  const { status, stdout } = spawnSync(runtime, ['features'], { encoding: 'utf8' })
  if (status !== 0) return undefined
  const features = JSON.parse(stdout) as { linux?: { namespaces?: string[] } }
  return features.linux?.namespaces
}

function bitsOf(hex = ''): number {
  return BigInt(`0x${hex || '0'}`)
    .toString(2)
    .replaceAll('0', '').length
}
