import t from 'tap'
import { parseImageReference, type ParsedReference } from '../../src/reference/reference.js'

const HEX = 'b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c'
const path = (text: string): ParsedReference => ({ kind: 'path', path: text })
const BUSYBOX = {
  kind: 'registry',
  domain: 'docker.io',
  repository: 'library/busybox',
  tag: 'latest',
} as const

const PARSED: [string, ParsedReference][] = [
  ['-', { kind: 'stdin' }],
  ...[
    '/images/app',
    './app',
    '../app',
    '.',
    '..',
    '/',
    './docker://x',
    '~/app',
    'app/',
    'app.tar',
    'App.TAR.gz',
    'my images/app.tar.zst',
    'app.tgz',
    'app.zip',
    'host.example/app.oci',
  ].map((text): [string, ParsedReference] => [text, path(text)]),
  ['docker-archive:a.tar', { kind: 'transport', transport: 'docker-archive', path: 'a.tar' }],
  [
    'docker-archive:/a b.tar:busybox:1.36',
    {
      kind: 'transport',
      transport: 'docker-archive',
      path: '/a b.tar',
      selector: 'busybox:1.36',
    },
  ],
  [
    'docker-archive:a.tar:@1',
    { kind: 'transport', transport: 'docker-archive', path: 'a.tar', selector: '@1' },
  ],
  ['oci-archive:a:v1', { kind: 'transport', transport: 'oci-archive', path: 'a', selector: 'v1' }],
  ['oci:dir/', { kind: 'transport', transport: 'oci', path: 'dir/' }],
  ['oci:dir', { kind: 'transport', transport: 'oci', path: 'dir' }],
  [
    `oci:dir:@sha256:${HEX}`,
    { kind: 'transport', transport: 'oci', path: 'dir', selector: `@sha256:${HEX}` },
  ],
  ['dir:/a:b', { kind: 'transport', transport: 'dir', path: '/a:b' }],
  ['docker://busybox', BUSYBOX],
  ['busybox', BUSYBOX],
  ['docker.io/library/busybox:latest', BUSYBOX],
  [
    `docker://quay.io/a/b:c@sha256:${HEX}`,
    {
      kind: 'registry',
      domain: 'quay.io',
      repository: 'a/b',
      tag: 'c',
      digest: `sha256:${HEX}` as never,
    },
  ],
  ['docker:dind', { ...BUSYBOX, repository: 'library/docker', tag: 'dind' }],
  ['docker://app.tar', { ...BUSYBOX, repository: 'library/app.tar' }],
  ['app.tar:v1', { ...BUSYBOX, repository: 'library/app.tar', tag: 'v1' }],
]
for (const [text, want] of PARSED) {
  t.test(`parseImageReference() reads ${text} (D-033, D-034, D-045, D-046)`, async (t) => {
    t.strictSame(parseImageReference(text), want)
  })
}

const REFUSED: [string, 'REFERENCE_INVALID' | 'IMAGE_UNSUPPORTED', RegExp][] = [
  ['', 'REFERENCE_INVALID', /it is empty$/],
  ['a\0.tar', 'REFERENCE_INVALID', /it holds a NUL$/],
  ['oci:', 'REFERENCE_INVALID', /oci: needs a path$/],
  ['oci::v1', 'REFERENCE_INVALID', /oci: needs a path$/],
  ['dir:', 'REFERENCE_INVALID', /dir: needs a path$/],
  ['docker-archive:a.tar:', 'REFERENCE_INVALID', /nothing follows the last colon$/],
  ['docker://', 'REFERENCE_INVALID', /repository is missing$/],
  ['docker:///x', 'REFERENCE_INVALID', /not the name of a repository$/],
  ['https://example.com/a/', 'REFERENCE_INVALID', /it is a URL; write docker:\/\//],
  ['file:///a', 'REFERENCE_INVALID', /it is a URL/],
  ['Busybox', 'REFERENCE_INVALID', /lower case$/],
  ['containers-storage:x', 'IMAGE_UNSUPPORTED', /podman save -o image\.tar NAME$/],
  ['docker-daemon:x:latest', 'IMAGE_UNSUPPORTED', /docker save -o image\.tar NAME$/],
  ['sif:a.sif', 'IMAGE_UNSUPPORTED', /skopeo copy sif:PATH oci:DIRECTORY$/],
  ['ostree:x', 'IMAGE_UNSUPPORTED', /OSTree/],
  ['tarball:rootfs.tar.gz', 'IMAGE_UNSUPPORTED', /a bare root filesystem is not an image/],
]
for (const [text, code, message] of REFUSED) {
  t.test(`parseImageReference() refuses ${JSON.stringify(text)} with help (D-045)`, async (t) => {
    t.throws(() => parseImageReference(text), { code, message })
  })
}
