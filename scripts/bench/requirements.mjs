// What the benchmarks need of the machine, by the Debian package that has it. scripts/setup --tests installs all of it.

import { spawnSync } from 'node:child_process'

const packages = {
  umoci: 'umoci',
  skopeo: 'skopeo',
  mmdebstrap: 'mmdebstrap',
  mksquashfs: 'squashfs-tools',
  squashfuse_ll: 'squashfuse',
  'mkfs.erofs': 'erofs-utils',
  'g++': 'g++',
  runc: 'runc',
  podman: 'podman',
}

/** Throws one line that names all that is missing. */
export function checkRequirements() {
  if (process.getuid() !== 0)
    throw new Error('the benchmarks empty the page cache and mount: run them as root')
  const missing = Object.keys(packages).filter(
    (tool) => spawnSync('sh', ['-c', 'command -v "$1"', 'sh', tool]).status !== 0,
  )
  if (missing.length === 0) return
  const names = missing.map((tool) => packages[tool]).join(' ')
  throw new Error(
    `missing: ${missing.join(', ')}. Run scripts/setup --tests, or apt-get install ${names}`,
  )
}
