// Whole trees as rows, and what differs between two of them.

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'

/** One path as test/helpers/snapshot-tree.py describes it. */
export type TreeRow = Readonly<Record<string, unknown>> & {
  readonly path: string
  readonly type: string
}

const SNAPSHOT = 'test/helpers/snapshot-tree.py'

/** Describes a real directory, from a process of its own: the tree may be served by this one. */
export async function snapshotTree(directory: string): Promise<TreeRow[]> {
  const { stdout } = await promisify(execFile)('python3', [SNAPSHOT, directory], {
    maxBuffer: 1 << 30,
  })
  return parseRows(stdout)
}

/** Reads rows that were written before, one JSON object per line. */
export function readTree(file: string): TreeRow[] {
  return parseRows(readFileSync(file, 'utf8'))
}

export interface TreeDifference {
  readonly path: string
  readonly field: string
  readonly got: unknown
  readonly want: unknown
}

/**
 * Compares two trees field by field.
 *
 * `isExpected` names differences that are right: each use says which and why.
 */
export function diffTrees(
  got: readonly TreeRow[],
  want: readonly TreeRow[],
  isExpected: (difference: TreeDifference, row: TreeRow) => boolean = () => false,
): TreeDifference[] {
  const differences: TreeDifference[] = []
  const wanted = new Map(want.map((row) => [row.path, row]))
  for (const row of got) {
    const other = wanted.get(row.path)
    wanted.delete(row.path)
    if (other === undefined) {
      differences.push({ path: row.path, field: 'path', got: row.path, want: undefined })
      continue
    }
    for (const field of new Set([...Object.keys(row), ...Object.keys(other)])) {
      if (JSON.stringify(row[field]) === JSON.stringify(other[field])) continue
      const difference = { path: row.path, field, got: row[field], want: other[field] }
      if (!isExpected(difference, row)) differences.push(difference)
    }
  }
  for (const path of wanted.keys()) {
    differences.push({ path, field: 'path', got: undefined, want: path })
  }
  return differences
}

function parseRows(text: string): TreeRow[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as TreeRow)
}
