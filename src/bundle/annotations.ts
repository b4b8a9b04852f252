// Annotations of a runtime config (image-spec conversion.md "Annotation Fields", "Annotations"; checklist C-012 to
// C-022).

import type { ImageConfig } from '../image/image-config.js'
import { quote } from '../image/quote.js'
import type { BundleOptions } from './options.js'

/**
 * Gives what the image's fields and labels say, sorted by key. A label wins over a field, the caller over both; no value
 * is changed.
 *
 * Labels that a runtime takes for orders are left out with a warning each, unless all are asked for.
 */
export function containerAnnotations(
  config: ImageConfig,
  options: Pick<BundleOptions, 'allLabels' | 'annotations'>,
  warn: (text: string) => void,
): Readonly<Record<string, string>> {
  const annotations = implicitAnnotations(config)
  for (const [key, value] of config.config.Labels) {
    if (key === '') warn('a label without a name is left out')
    else if (options.allLabels !== true && isRuntimeOrder(key)) {
      warn(`label ${quote(key)} is left out, since a runtime acts upon it (see --all-labels)`)
    } else annotations.set(key, value)
  }
  for (const [key, value] of options.annotations ?? []) annotations.set(key, value)
  const sorted = [...annotations].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  // Unlike an assignment, fromEntries() makes a property of `__proto__` too.
  return Object.fromEntries(sorted)
}

/** Tells whether a runtime changes what it does because of an annotation (CVE-2026-53488). */
export function isRuntimeOrder(key: string): boolean {
  return RUNTIME_ORDERS.some((prefix) => key.startsWith(prefix))
}

/** Of runc, crun, kata and the engines around them (DESIGN section 10). */
const RUNTIME_ORDERS = [
  'org.systemd.property.',
  'org.criu.',
  'run.oci.',
  'io.katacontainers.',
  'io.kubernetes.',
  'module.wasm.',
]

function implicitAnnotations(config: ImageConfig): Map<string, string> {
  const { StopSignal, ExposedPorts } = config.config
  const fields: Readonly<Record<string, string | undefined>> = {
    os: config.os,
    architecture: config.architecture,
    variant: config.variant,
    'os.version': config.osVersion,
    // Neither specification says how a list is written; the ports have commas.
    'os.features': joined(config.osFeatures),
    author: config.author,
    created: config.created,
    stopSignal: StopSignal,
    exposedPorts: joined(ExposedPorts.toSorted()),
  }
  const annotations = new Map<string, string>()
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined && value !== '') {
      annotations.set(`org.opencontainers.image.${name}`, value)
    }
  }
  return annotations
}

function joined(list: readonly string[] | undefined): string | undefined {
  return list === undefined || list.length === 0 ? undefined : list.join(',')
}
