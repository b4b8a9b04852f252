// `ocimount inspect IMAGE`

import { escapeName, escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import { formatPlatform } from '../image/platform.js'
import type { Report } from '../rootfs/report.js'
import type { Image } from '../source/image.js'
import type { CommandArguments } from './commands.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { describeReferrers, findReferrers, formatReferrers } from './inspect-referrers.js'
import { formatBytes, formatTable, printBytes, printJson, printResult } from './output.js'
import { withImage, withRootfs } from './with-rootfs.js'

/** Shows what an image is; with --report also what applying its layers altered, with --referrers what refers to it. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  if (args.raw !== undefined)
    return withImage(args, (image) => printRaw(image, args.raw ?? 'config'))
  if (!args.report) return withImage(args, (image) => show(args, image, undefined))
  return withRootfs(args, (rootfs, image) => show(args, image, rootfs.info.readReport()))
}

function printRaw(image: Image, which: 'manifest' | 'config'): Promise<ExitStatus> {
  const bytes = which === 'config' ? image.configBytes : image.manifestBytes
  if (bytes === undefined) {
    throw new OcimountError(
      'PATH_NOT_FOUND',
      'Cannot print the manifest: a docker-archive of this kind has none',
    )
  }
  printBytes(bytes)
  return Promise.resolve(EXIT.done)
}

async function show(
  args: CommandArguments,
  image: Image,
  report: Report | undefined,
): Promise<ExitStatus> {
  const referrers = (await findReferrers(args, image))?.referrers
  if (args.json) {
    printJson({
      ...describe(image, report),
      ...(referrers === undefined ? {} : { referrers: describeReferrers(referrers) }),
    })
  } else {
    const list = referrers === undefined ? '' : `\n${formatReferrers(referrers)}`
    printResult(format(image, report) + list)
  }
  return EXIT.done
}

function describe(image: Image, report: Report | undefined): Record<string, unknown> {
  const { config } = image
  return {
    name: image.name ?? null,
    source: image.source,
    platform: formatPlatform(image.platform),
    imageId: image.configDigest,
    manifestDigest: image.manifestDigest ?? null,
    created: config.created ?? null,
    author: config.author ?? null,
    config: config.config,
    history: config.history,
    layers: image.layers.map((layer) => ({
      digest: layer.digest ?? null,
      diffId: layer.diffId,
      mediaType: layer.mediaType,
      size: layer.region.length,
      path: layer.region.path,
      offset: layer.region.offset,
    })),
    annotations: image.manifest?.annotations ?? {},
    warnings: image.warnings,
    ...(report === undefined
      ? {}
      : {
          reportTotal: report.total,
          report: report.entries.map((entry) => ({ ...entry, path: `/${escapeName(entry.path)}` })),
        }),
  }
}

function format(image: Image, report: Report | undefined): string {
  const { config } = image
  const execution = config.config
  const words = (list: readonly string[]): string =>
    list.map((word) => `"${word.replaceAll('"', '\\"')}"`).join(' ')
  const facts: (readonly [string, string | undefined])[] = [
    ['Name', image.name],
    ['Source', `${image.source.kind} ${image.source.path}`],
    ['Platform', formatPlatform(image.platform)],
    ['Image id', image.configDigest],
    ['Manifest', image.manifestDigest],
    ['Created', config.created],
    ['Author', config.author],
    ['User', execution.User],
    ['Working directory', execution.WorkingDir],
    ['Entrypoint', words(execution.Entrypoint)],
    ['Command', words(execution.Cmd)],
    ['Stop signal', execution.StopSignal],
    ['Ports', execution.ExposedPorts.join(' ')],
    ['Volumes', execution.Volumes.join(' ')],
  ]
  const lines = facts
    .filter(([, value]) => value !== undefined && value !== '')
    .map(
      ([label, value]) =>
        `${`${label}:`.padEnd(19)}${escapeText(value ?? '').replaceAll('\\x5c', '\\')}\n`,
    )
  for (const variable of execution.Env) lines.push(`${'Env:'.padEnd(19)}${escapeText(variable)}\n`)
  for (const [key, value] of execution.Labels) {
    lines.push(`${'Label:'.padEnd(19)}${escapeText(key)}=${escapeText(value)}\n`)
  }
  const layers = image.layers.map((layer, index) => [
    index,
    formatBytes(layer.region.length),
    layer.diffId,
    layer.mediaType === '' ? '-' : escapeText(layer.mediaType),
  ])
  lines.push(`\n${formatTable(['layer', 'stored', 'DiffID', 'media type'], layers)}`)
  if (report !== undefined) lines.push(`\n${formatReport(report)}`)
  return lines.join('')
}

function formatReport(report: Report): string {
  if (report.total === 0) return 'Nothing was dropped, replaced or repaired.\n'
  const rows = report.entries.map(({ layer, kind, path, detail }) => [
    layer,
    kind,
    `/${escapeName(path)}`,
    detail,
  ])
  const more = report.total - report.entries.length
  return (
    formatTable(['layer', 'what', 'path', 'detail'], rows) +
    (more > 0 ? `… and ${more} more\n` : '')
  )
}
