// Runs mount(8), umount(8) and fusermount3(1). No shell is ever involved: a mount point may be named `$(reboot)`.

import { execFile } from 'node:child_process'
import { systemErrorCode } from '../errors.js'

/** How a tool ended; `status` is undefined where it is not installed or was killed. */
export interface ToolResult {
  readonly isInstalled: boolean
  readonly status: number | undefined
  /** What it wrote to standard error, in English. */
  readonly message: string
}

// mount.fuse3 and systemd run us with a bare environment.
const PATH_FALLBACK = '/usr/sbin:/usr/bin:/sbin:/bin'
// A tool that hangs (a stuck network filesystem on the way to a path) must not hang its caller for ever.
const TOOL_TIMEOUT_MS = 60_000

/** Runs a tool to its end; a tool that fails is a result, not an exception. */
export async function runTool(tool: string, args: readonly string[]): Promise<ToolResult> {
  const path = [process.env['PATH'], PATH_FALLBACK].filter(Boolean).join(':')
  return new Promise((resolve) => {
    const options = {
      // The messages are matched against.
      env: { PATH: path, LC_ALL: 'C' },
      timeout: TOOL_TIMEOUT_MS,
    }
    execFile(tool, args, options, (error, _stdout, stderr) => {
      const message = stderr.trim().replaceAll('\n', '; ')
      if (error === null) resolve({ isInstalled: true, status: 0, message })
      else if (systemErrorCode(error) === 'ENOENT')
        resolve({ isInstalled: false, status: undefined, message: `${tool} is not installed` })
      else {
        const status = typeof error.code === 'number' ? error.code : undefined
        resolve({ isInstalled: true, status, message: message || `${tool} failed` })
      }
    })
  })
}
