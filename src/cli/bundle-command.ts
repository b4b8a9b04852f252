// `ocimount bundle IMAGE DIR [-- ARGS…]`

import { resolve } from 'node:path'
import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import { askServer } from './ask-server.js'
import type { BundleRequest, BundleSummary } from './bundle-request.js'
import type { CommandArguments } from './commands.js'
import { parseContainerOptions } from './container-request.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { toImageRequest } from './mount-request.js'
import { formatSeconds, printJson, printNote } from './output.js'

/** Makes a bundle; returns when a runtime can be started on it. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  const cwd = process.cwd()
  if (!args.configOnly && process.geteuid?.() !== 0) {
    throw new OcimountError(
      'MOUNT_DENIED',
      'Cannot mount in a bundle: only root may; use --no-mount, or root of a user namespace of your own: unshare -Urm',
    )
  }
  const request: BundleRequest = {
    kind: 'bundle',
    ...toImageRequest(args, cwd),
    driver: args.driver,
    directory: resolve(cwd, args.directory),
    isPrivate: false,
    mounts: !args.configOnly,
    hooks: args.hooks,
    options: await parseContainerOptions(args, cwd),
    container: undefined,
  }
  const summary = await askServer<BundleSummary>(request, args.quiet)
  if (args.json) printJson(summary)
  else if (!args.quiet) {
    warnOf(summary)
    const { image, platform, directory, driver, writable, seconds } = summary
    const how = driver === undefined ? 'not mounted' : writable ? `${driver} + overlay` : driver
    printNote(
      `ocimount: ${escapeText(image)} (${platform}): bundle in ${escapeText(directory)}, ${how}, ${formatSeconds(seconds)}`,
    )
  }
  return EXIT.done
}

/** Tells what is odd about an image as a container. */
export function warnOf({ warnings }: BundleSummary): void {
  for (const warning of warnings) printNote(`ocimount: warning: ${warning}`)
}
