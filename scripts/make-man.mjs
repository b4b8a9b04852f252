// Writes dist/ocimount.1 from the help texts of the built command. Called by `npm run build`.

import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const dist = fileURLToPath(new URL('../dist/', import.meta.url))
const help = (...args) =>
  execFileSync(process.execPath, [`${dist}program/main.js`, ...args, '--help'], {
    encoding: 'utf8',
  })
const { version } = JSON.parse(
  readFileSync(fileURLToPath(new URL('../package.json', import.meta.url)), 'utf8'),
)
const { COMMANDS } = await import(`${dist}commands.js`)

const escape = (text) =>
  text
    .replaceAll('\\', '\\e')
    .replace(/^([.'])/gm, '\\&$1')
    .replaceAll('-', '\\-')
const verbatim = (text) => `.nf\n${escape(text.trimEnd())}\n.fi`

const page = [
  `.TH OCIMOUNT 1 "" "ocimount ${version}" "User Commands"`,
  '.SH NAME',
  'ocimount \\- mount a container image as a root filesystem without extracting a layer',
  '.SH SYNOPSIS',
  ...['[mount] IMAGE MOUNTPOINT', ...COMMANDS.slice(1).map((spec) => spec.usage)].flatMap(
    (usage) => ['.B ocimount', escape(usage), '.br'],
  ),
  '.SH DESCRIPTION',
  verbatim(help()),
  '.SH COMMANDS',
  ...COMMANDS.flatMap((spec) => {
    const name = spec.usage.split(' ')[0]
    return [`.SS ${escape(name)}`, verbatim(help(name))]
  }),
].join('\n')
writeFileSync(`${dist}ocimount.1`, `${page}\n`)
