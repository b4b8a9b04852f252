// Which extended attributes of an entry reach the tree. What is left out is reported once per layer, name
// and reason, since an image labelled by SELinux would otherwise have a remark for every file.

import { escapeName, type ByteString } from '../byte-string.js'
import { xattrProblem } from '../erofs/xattr-name.js'
import type { TocEntry } from '../layer/toc.js'
import type { ReportBuilder } from './report.js'

/** Keeps what can be kept of the attributes of one layer's entries. */
export class XattrFilter {
  private readonly layer: number
  private readonly dropped = new Map<string, DroppedXattr>()

  constructor(layer: number) {
    this.layer = layer
  }

  /** Gives the attributes to keep, undefined where there are none. */
  keep(entry: TocEntry): ReadonlyMap<ByteString, Buffer> | undefined {
    const { xattrs } = entry
    if (xattrs === undefined || xattrs.size === 0) return undefined
    const kept = new Map<ByteString, Buffer>()
    let listSize = 0
    let totalSize = 0
    for (const [name, value] of xattrs) {
      const reason =
        reasonToDrop(entry, name, value) ??
        (listSize + name.length + 1 > MAX_LIST || totalSize + value.length > MAX_TOTAL
          ? 'the entry has too many'
          : undefined)
      if (reason === undefined) {
        kept.set(name, value)
        listSize += name.length + 1
        totalSize += value.length + ENTRY_OVERHEAD + name.length
      } else {
        this.drop(entry.path, name, reason)
      }
    }
    return kept.size === 0 ? undefined : kept
  }

  /** Adds what was dropped to the report. */
  report(report: ReportBuilder): void {
    for (const { path, name, reason, count } of this.dropped.values()) {
      const others = count === 1 ? '' : ` (${count} entries)`
      const detail = `${escapeName(name)}: ${reason}${others}`
      report.add('xattr-dropped', this.layer, path, detail)
    }
  }

  private drop(path: ByteString, name: ByteString, reason: string): void {
    const key = this.dropped.size < MAX_DISTINCT ? `${reason}:${name}` : reason
    const known = this.dropped.get(key)
    if (known === undefined) this.dropped.set(key, { path, name, reason, count: 1 })
    else known.count++
  }
}

interface DroppedXattr {
  readonly path: ByteString
  readonly name: ByteString
  readonly reason: string
  count: number
}

/** Linux's XATTR_LIST_MAX: listxattr() answers E2BIG for a longer list of names. */
const MAX_LIST = 0x10000
/** What EROFS holds for one inode is a little less than 256 KiB, with up to this much around each value. */
const MAX_TOTAL = 0x3ff00
const ENTRY_OVERHEAD = 8
/** Distinct names told apart in the report. */
const MAX_DISTINCT = 1000

/** Linux has user attributes on files and directories only, and no ACL on a symbolic link. */
function reasonToDrop(entry: TocEntry, name: ByteString, value: Buffer): string | undefined {
  if (name.startsWith('trusted.overlay.') || name.startsWith('user.overlay.')) {
    return 'overlayfs would obey it'
  }
  if (name === 'security.selinux') return "a label of another machine's policy"
  if (name.startsWith('user.') && entry.type !== 'file' && entry.type !== 'directory') {
    return 'only files and directories have user attributes'
  }
  if (name === 'system.posix_acl_default' && entry.type !== 'directory') {
    return 'only directories have a default access control list'
  }
  if (name.startsWith('system.posix_acl_') && entry.type === 'symlink') {
    return 'a symbolic link has no access control list'
  }
  if (name === 'user.' || name === 'trusted.' || name === 'security.') return 'its name is empty'
  return xattrProblem(name, value)
}
