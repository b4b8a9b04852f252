// A place for one test's mounts: own cache, own runtime directory, mount points that are always torn down.

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { runCli, type CliOptions, type CliResult } from './run-cli.js'

interface Teardown {
  teardown(handler: () => void | Promise<void>): void
}

export interface CliFixture {
  /** A directory of the test's own, on a real filesystem. */
  readonly dir: string
  readonly env: Readonly<Record<string, string>>
  /** Makes a directory to mount on. */
  mountpoint(name?: string): string
  /** Runs the command with this fixture's cache and runtime directory. */
  ocimount(args: readonly string[], options?: CliOptions): Promise<CliResult>
  /** What is mounted below `dir` now, innermost last, but for the lowers in the runtime directory. */
  mounts(): string[]
}

/** Makes a fixture that unmounts and removes everything when the test is over. */
export function cliFixture(t: Teardown, base = '/var/tmp'): CliFixture {
  const dir = mkdtempSync(join(base, 'ocimount-test-'))
  const env = {
    OCIMOUNT_CACHE_DIR: join(dir, 'cache'),
    OCIMOUNT_RUNTIME_DIR: join(dir, 'run'),
  }
  const mounts = (): string[] => mountsBelow(dir).filter((path) => !path.startsWith(`${dir}/run/`))
  t.teardown(async () => {
    for (const path of mounts().reverse()) {
      await runCli(['umount', '-l', '-q', path], { env })
    }
    // A server may be unmounting its lower at this moment; what stays mounted fails the removal.
    for (const path of mountsBelow(dir).reverse()) spawnSync('umount', ['-l', path])
    await removeTree(dir)
  })
  return {
    dir,
    env,
    mountpoint: (name = 'rootfs') => {
      const path = join(dir, name)
      mkdirSync(path, { recursive: true })
      return path
    },
    ocimount: (args, options = {}) => runCli(args, { ...options, env: { ...env, ...options.env } }),
    mounts,
  }
}

/** After a lazy unmount the server may still be writing what it filled; rmSync's own retries do not look again for files. */
async function removeTree(dir: string): Promise<void> {
  for (let round = 0; ; round++) {
    try {
      rmSync(dir, { recursive: true, force: true })
      return
    } catch (error) {
      if (round >= 100 || (error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error
      await sleep(100)
    }
  }
}

function mountsBelow(dir: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, octal: string) =>
        String.fromCharCode(parseInt(octal, 8)),
      ),
    )
    .filter((path) => path.startsWith(`${dir}/`))
}
