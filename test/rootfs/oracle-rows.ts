// Reads what tools/tree.py says of a real directory (a JSON object per path) as rows like ours.

import type { Row, Rows } from './describe-tree.js'

const TYPES: Readonly<Record<string, string>> = { dir: 'directory', link: 'symlink' }

/** Gives the path, without its leading slash, and the row of one line. Times are nanoseconds as text. */
export function oracleRow(line: string): [path: string, row: Row] {
  // They are too large for a number.
  const exact = line.replace(/"mtime": (-?\d+)/, '"mtime": "$1"')
  const row = JSON.parse(exact) as Readonly<Record<string, unknown>> & {
    path: string
    type: string
    same?: string
  }
  const type = TYPES[row.type] ?? row.type
  return [
    row.path.slice(1),
    {
      type,
      mode: Number(row['mode']),
      uid: row['uid'],
      gid: row['gid'],
      mtime: row['mtime'],
      xattrs: row['xattrs'] ?? {},
      ...(type === 'symlink' ? { target: row['target'] } : {}),
      ...(row['rdev'] === undefined ? {} : { rdev: row['rdev'] }),
      ...(type === 'file' ? { content: row['sha256'] } : {}),
      ...(row.same === undefined ? {} : { same: row.same.slice(1) }),
    },
  ]
}

/**
 * Brings our rows into the oracle's form.
 *
 * An extractor leaves its own time on directories that it only touched on its way, where we keep what the layers
 * say (B-042, B-054): a time from `start` on is taken over.
 */
export function withTimesOf(ours: Rows, theirs: Rows, start: bigint): Rows {
  return Object.fromEntries(
    Object.entries(ours).map(([path, row]) => {
      const [seconds = '0', nanoseconds = '0'] = String(row['mtime']).split('.')
      const mtime = BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds)
      const other = theirs[path]?.['mtime']
      const isTouched =
        row['type'] === 'directory' && typeof other === 'string' && BigInt(other) >= start
      return [path, { ...row, mtime: isTouched ? other : String(mtime) }]
    }),
  )
}
