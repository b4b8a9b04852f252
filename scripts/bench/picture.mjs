// Draws the README's picture: bars of the medians, the same bytes for the same results. Colours follow the reader's
// light or dark mode.

import { Samples } from './measure.mjs'

const BAR = { height: 16, gap: 6, left: 190, width: 300 }
const PANEL = { width: BAR.left + BAR.width + 70, title: 30, gap: 18 }

const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 }
  .ours { fill: #1a7f5a }
  .other { fill: #afb8c1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #d7dde3 }
    .ours { fill: #3fb68b }
    .other { fill: #565f69 }
  }`

/** Name of the median, label, whether it is ours. */
const PANELS = [
  [
    'Until the first byte can be read, seconds',
    ['mount.umoci.wall', 'umoci unpack, gzip'],
    ['mount.inflate.wall', 'bare inflate of the layers'],
    ['mount.gzip-first-warm.wall', 'first mount, gzip', true],
    ['mount.plain-first-warm.wall', 'first mount, uncompressed', true],
    ['mount.plain-second.wall', 'second mount', true],
  ],
  ['find over the whole tree, cold, seconds', ...filesystems('find')],
  ['tar of the whole tree, cold, seconds', ...filesystems('tar')],
  ["chroot python3 -c 'import numpy', cold, seconds", ...filesystems('numpy')],
]

function filesystems(task) {
  return [
    [`read.tree.${task}.cold`, 'extracted tree on the disk'],
    [`read.squashfuse.${task}.cold`, 'squashfuse_ll'],
    [`read.fuse-native.${task}.cold`, 'ocimount, fuse-native', true],
    [`read.fuse.${task}.cold`, 'ocimount, fuse', true],
    [`read.kernel.${task}.cold`, 'ocimount, kernel', true],
  ]
}

/** Gives the SVG of results. */
export function draw({ samples: values }) {
  const samples = new Samples(values)
  let top = 0
  const panels = PANELS.map(([title, ...bars]) => {
    const known = bars
      .map(([name, label, isOurs]) => ({ label, isOurs, value: samples.median(name) }))
      .filter(({ value }) => value !== undefined)
    const longest = Math.max(...known.map(({ value }) => value))
    const lines = known.map((bar, index) =>
      drawBar(bar, top + PANEL.title + index * (BAR.height + BAR.gap), longest),
    )
    const heading = `<text class="title" x="8" y="${top + 18}">${escape(title)}</text>`
    if (known.length === 0) return ''
    top += PANEL.title + known.length * (BAR.height + BAR.gap) + PANEL.gap
    return [heading, ...lines].join('\n')
  }).filter(Boolean)
  const size = `width="${PANEL.width}" height="${top}" viewBox="0 0 ${PANEL.width} ${top}"`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="Benchmarks of ocimount">`,
    `<style>${STYLE}\n</style>`,
    ...panels,
    '</svg>\n',
  ].join('\n')
}

function drawBar({ label, isOurs, value }, y, longest) {
  const width = Math.max(1, Math.round((value / longest) * BAR.width))
  const middle = y + BAR.height - 4
  return [
    `<text x="${BAR.left - 8}" y="${middle}" text-anchor="end">${escape(label)}</text>`,
    `<rect class="${isOurs ? 'ours' : 'other'}" x="${BAR.left}" y="${y}" width="${width}" height="${BAR.height}" rx="2"/>`,
    `<text x="${BAR.left + width + 6}" y="${middle}">${value.toFixed(2)}</text>`,
  ].join('')
}

function escape(text) {
  return text.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`)
}
