// `ocimount list`

import { escapeText } from '../byte-string.js'
import { listMounts, type FoundMount } from '../mount/list-mounts.js'
import type { CommandArguments } from './commands.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { driverText, formatTable, printJson, printResult } from './output.js'

/** Shows this user's live mounts; what dead servers left is cleaned up on the way. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  const mounts = await listMounts()
  if (args.json) printJson(mounts.map(({ record }) => record))
  else if (mounts.length > 0) printResult(formatTable(HEADER, mounts.map(toRow)))
  return EXIT.done
}

const HEADER = ['mount point', 'image', 'driver', 'state', 'verification', 'pid'] as const

function toRow({ record }: FoundMount): (string | number)[] {
  return [
    escapeText(record.mountpoint),
    escapeText(record.image.name ?? record.image.reference),
    driverText(record.driver, record),
    record.state,
    record.verification,
    record.pid ?? '-',
  ]
}
