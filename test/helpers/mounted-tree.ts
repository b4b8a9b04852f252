// What is mounted, as programs of the system see it. Never with a call of this process where it answers as the registry too.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

/** Runs a program to its end. */
export const runTool = promisify(execFile)

/** Gives the content of a file. */
export async function contentOf(path: string): Promise<Buffer> {
  const options = { encoding: 'buffer', maxBuffer: 1 << 28 } as const
  return (await runTool('cat', [path], options)).stdout
}

/** Gives everything about a tree that find(1) can tell, and the SHA-256 of its files. */
export async function describeMounted(root: string): Promise<string> {
  // What a directory takes is the filesystem's affair.
  const what = '%P %y %m %U %G %T@ %n %l'
  const all = [root, '-mindepth', '1', '-printf', what, '-type', 'f', '-printf', ' %s']
  const { stdout } = await runTool('find', [...all, ',', '-printf', '\\n'])
  const hashing = 'find . -type f -exec sha256sum {} +'
  const sums = await runTool('sh', ['-c', hashing], { cwd: root })
  return [...stdout.split('\n').sort(), ...sums.stdout.split('\n').sort()].join('\n')
}
