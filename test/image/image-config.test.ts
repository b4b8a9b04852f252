import t from 'tap'
import { digestOf } from '../../src/image/digest.js'
import { parseImageConfig } from '../../src/image/image-config.js'
import { MAX_CONFIG_SIZE } from '../../src/image/limits.js'

const DIFF_IDS = ['a', 'b'].map((text) => digestOf(Buffer.from(text)))
const BASE = {
  os: 'linux',
  architecture: 'amd64',
  rootfs: { type: 'layers', diff_ids: DIFF_IDS },
}
const EMPTY = {
  Env: [],
  Entrypoint: [],
  Cmd: [],
  Volumes: [],
  ExposedPorts: [],
  Labels: new Map<string, string>(),
}
const PARSED = {
  os: 'linux',
  architecture: 'amd64',
  diffIds: DIFF_IDS,
  history: [],
  config: EMPTY,
  warnings: [],
}
const parse = (value: unknown, strict = false): ReturnType<typeof parseImageConfig> =>
  parseImageConfig(Buffer.from(JSON.stringify(value)), { strict })

t.test('parseImageConfig() gives every field (A-120 to A-136)', async (t) => {
  t.strictSame(
    parse({
      created: '2015-10-31T22:22:56.015925234Z',
      author: 'Alyssa',
      os: 'windows',
      architecture: 'amd64',
      variant: 'v2',
      'os.version': '10.0.17763.1',
      'os.features': ['win32k'],
      config: {
        User: '1000:1000',
        Env: ['PATH=/bin', 'EMPTY=', 'A=b=c'],
        Entrypoint: ['/entry'],
        Cmd: ['a', ''],
        WorkingDir: '/w',
        Volumes: { '/b': {}, '/a': {} },
        ExposedPorts: { '80': {}, '53/udp': {}, '90-99/sctp': {} },
        Labels: { k: 'v', empty: '' },
        StopSignal: 'SIGRTMIN+3',
      },
      rootfs: BASE.rootfs,
      history: [
        { created: '0001-01-01T00:00:00Z', created_by: 'x', author: 'y', comment: 'z' },
        { empty_layer: true },
        {},
      ],
    }),
    {
      os: 'windows',
      architecture: 'amd64',
      variant: 'v2',
      osVersion: '10.0.17763.1',
      osFeatures: ['win32k'],
      created: '2015-10-31T22:22:56.015925234Z',
      author: 'Alyssa',
      diffIds: DIFF_IDS,
      history: [
        {
          created: '0001-01-01T00:00:00Z',
          createdBy: 'x',
          author: 'y',
          comment: 'z',
          emptyLayer: false,
        },
        { emptyLayer: true },
        { emptyLayer: false },
      ],
      config: {
        User: '1000:1000',
        Env: ['PATH=/bin', 'EMPTY=', 'A=b=c'],
        Entrypoint: ['/entry'],
        Cmd: ['a', ''],
        WorkingDir: '/w',
        Volumes: ['/b', '/a'],
        ExposedPorts: ['80', '53/udp', '90-99/sctp'],
        Labels: new Map([
          ['k', 'v'],
          ['empty', ''],
        ]),
        StopSignal: 'SIGRTMIN+3',
      },
      warnings: [],
    },
  )
})

const NULL_CONFIG = {
  User: null,
  Env: null,
  Entrypoint: null,
  Cmd: null,
  WorkingDir: null,
  Volumes: null,
  ExposedPorts: null,
  Labels: null,
  StopSignal: null,
}
const DOCKER_EXTRAS = {
  id: 'x',
  parent: 'y',
  docker_version: '1.10.3',
  container: 'z',
  container_config: { Env: 7, Cmd: 'x', Labels: [] },
  Memory: 1e20,
  config: {
    Hostname: 'h',
    Domainname: '',
    AttachStdin: false,
    Tty: false,
    OpenStdin: false,
    StdinOnce: false,
    Image: 'sha256:x',
    Memory: 2048,
    MemorySwap: -1,
    CpuShares: 8.5,
    Healthcheck: { Test: ['CMD'] },
    OnBuild: null,
    Shell: ['/bin/bash'],
    MacAddress: '',
    NetworkDisabled: false,
    ArgsEscaped: true,
  },
}
const ACCEPTED: Record<string, Record<string, unknown>> = {
  'the required fields alone (A-120)': {},
  'config that is null (A-070, A-127)': { config: null },
  'config without a field (A-127)': { config: {} },
  'null for every field of config (A-070)': { config: NULL_CONFIG },
  'null for the other optional fields (A-070)': {
    created: null,
    author: null,
    variant: null,
    'os.version': null,
    'os.features': null,
    history: null,
  },
  'the empty strings that Docker writes': {
    author: '',
    variant: '',
    config: { User: '', WorkingDir: '' },
  },
  'all the extras of Docker (A-011)': DOCKER_EXTRAS,
  'unknown fields (A-064)': { future: [1.5], rootfs: { ...BASE.rootfs, base: {} } },
}
for (const [name, extra] of Object.entries(ACCEPTED)) {
  t.test(`parseImageConfig() accepts ${name}`, async (t) => {
    t.strictSame(parse({ ...BASE, ...extra }, true), PARSED)
  })
}

const config = (value: Record<string, unknown>): Record<string, unknown> => ({ config: value })
const REFUSED: [string, Record<string, unknown>, RegExp][] = [
  ['an os that is a number (A-130)', { os: 123 }, /: os must be a string, not a number$/],
  [
    'an architecture that is a list (A-130)',
    { architecture: [] },
    /: architecture must be a string/,
  ],
  ['a variant that is a number (A-130)', { variant: 8 }, /: variant must be a string/],
  ['a date that is a number', { created: 5 }, /: created must be a string/],
  ['a missing rootfs (A-120)', { rootfs: undefined }, /: rootfs is missing$/],
  ['a rootfs that is null (A-120)', { rootfs: null }, /: rootfs is missing$/],
  [
    'a rootfs of another type (A-121)',
    { rootfs: { type: 'layers+base', diff_ids: [] } },
    /not "layers"$/,
  ],
  [
    'a rootfs of an empty type (A-121)',
    { rootfs: { type: '', diff_ids: [] } },
    /rootfs\.type is ""/,
  ],
  ['a rootfs without a type (A-121)', { rootfs: { diff_ids: [] } }, /rootfs\.type is missing$/],
  [
    'diff_ids that are text (A-122)',
    { rootfs: { type: 'layers', diff_ids: 'x' } },
    /diff_ids must be an/,
  ],
  [
    'a DiffID that is no digest (A-122)',
    { rootfs: { type: 'layers', diff_ids: ['x'] } },
    /diff_ids\[0\] /,
  ],
  ['history that is text (A-130)', { history: 'x' }, /: history must be an array, not a string$/],
  ['an entry of history that is text', { history: ['x'] }, /: history\[0\] must be an object/],
  [
    'empty_layer that is text',
    { history: [{ empty_layer: 'true' }] },
    /history\[0\]\.empty_layer must/,
  ],
  ['config that is a list', { config: [] }, /: config must be an object, not an array$/],
  ['a User that is a number (A-130)', config({ User: 1234 }), /: config\.User must be a string/],
  [
    'an Env that is an object (A-130)',
    config({ Env: { A: 'b' } }),
    /: config\.Env must be an array/,
  ],
  [
    'an Env entry that is a number (A-130)',
    config({ Env: [7353] }),
    /: config\.Env\[0\] must be a str/,
  ],
  [
    'Volumes that are a list (A-130)',
    config({ Volumes: ['/a'] }),
    /: config\.Volumes must be an object/,
  ],
  [
    'ExposedPorts that are a list (A-130)',
    config({ ExposedPorts: ['80'] }),
    /: config\.ExposedPorts /,
  ],
  ['Labels that are a list', config({ Labels: [] }), /: config\.Labels must be an object/],
  [
    'a label that is a number',
    config({ Labels: { a: 1 } }),
    /: config\.Labels\.a must be a string/,
  ],
  ['a Cmd that is a number', config({ Cmd: 1 }), /: config\.Cmd must be an array, not a number$/],
  [
    'an Entrypoint with a null',
    config({ Entrypoint: [null] }),
    /: config\.Entrypoint\[0\] must be a st/,
  ],
  [
    'a StopSignal that is a number',
    config({ StopSignal: 9 }),
    /: config\.StopSignal must be a string/,
  ],
  ['RootFS beside rootfs (A-062)', { RootFS: {} }, /differs from "rootfs" only in case$/],
  ['env in config (A-062)', config({ env: ['A=b'] }), /config has "env", which differs from "Env"/],
  [
    'Diff_IDs (A-062)',
    { rootfs: { ...BASE.rootfs, Diff_IDs: [] } },
    /differs from "diff_ids" only/,
  ],
]
for (const [name, extra, message] of REFUSED) {
  t.test(`parseImageConfig() refuses ${name}`, async (t) => {
    t.throws(() => parse({ ...BASE, ...extra }), { code: 'IMAGE_INVALID', message })
  })
}

const without = (name: string): object =>
  Object.fromEntries(Object.entries(PARSED).filter(([key]) => key !== name))
const withConfig = (value: Record<string, unknown>): object => ({
  ...PARSED,
  config: { ...EMPTY, ...value },
})
const TOLERATED: [string, Record<string, unknown>, object, string][] = [
  ['a missing os (A-120)', { os: undefined }, without('os'), 'os is missing'],
  [
    'an empty architecture (A-120)',
    { architecture: '' },
    without('architecture'),
    'architecture is missing',
  ],
  [
    'missing diff_ids (A-107)',
    { rootfs: { type: 'layers' } },
    { ...PARSED, diffIds: [] },
    'rootfs.diff_ids is missing',
  ],
  [
    'a date that is none (A-129)',
    { created: 'yesterday' },
    PARSED,
    'created is "yesterday", which is not a date of RFC 3339',
  ],
  [
    'a day that is none (A-129)',
    { created: '2023-02-29T00:00:00Z' },
    PARSED,
    'created is "2023-02-29T00:00:00Z", which is not a date of RFC 3339',
  ],
  [
    'an Env entry without = (A-131)',
    config({ Env: ['FOO', 'A=b'] }),
    withConfig({ Env: ['A=b'] }),
    'config.Env[0] is "FOO", which is not of the form NAME=value',
  ],
  [
    'an Env entry without a name (A-131)',
    config({ Env: ['=b'] }),
    PARSED,
    'config.Env[0] is "=b", which is not of the form NAME=value',
  ],
  [
    'a Cmd that is a string',
    config({ Cmd: 'ls' }),
    withConfig({ Cmd: ['ls'] }),
    'config.Cmd is a string, not an array',
  ],
  [
    'a volume that is null (A-132)',
    config({ Volumes: { '/data': null } }),
    withConfig({ Volumes: ['/data'] }),
    'config.Volumes["/data"] is not an object',
  ],
  [
    'a label that is null (A-070)',
    config({ Labels: { a: null } }),
    withConfig({ Labels: new Map([['a', '']]) }),
    'config.Labels.a is null, not a string',
  ],
]
for (const [name, extra, want, warning] of TOLERATED) {
  t.test(`parseImageConfig() warns of ${name} and refuses it when strict`, async (t) => {
    t.strictSame(parse({ ...BASE, ...extra }), {
      ...want,
      warnings: [`image config: ${warning}`],
    })
    t.throws(() => parse({ ...BASE, ...extra }, true), { code: 'IMAGE_INVALID' })
  })
}

t.test('parseImageConfig() accepts every form of date (A-129)', async (t) => {
  for (const created of [
    '0001-01-01T00:00:00Z',
    '2024-02-29T23:59:60Z',
    '2015-10-31T22:22:56.015925234+05:30',
    '1970-01-01t00:00:00z',
  ]) {
    t.equal(parse({ ...BASE, created }, true).created, created)
  }
})

t.test('parseImageConfig() does not compare history with the layers (A-128)', async (t) => {
  const history = [{}, {}, {}, { empty_layer: false }]
  t.equal(parse({ ...BASE, history }, true).history.length, 4)
})

t.test('parseImageConfig() reads images of any system (A-136)', async (t) => {
  for (const os of ['windows', 'freebsd', 'darwin', 'wasip1', 'plan 9']) {
    t.equal(parse({ ...BASE, os }, true).os, os)
  }
})

t.test(
  'parseImageConfig() keeps labels that name prototypes apart from objects (A-065)',
  async (t) => {
    const text = JSON.stringify({ ...BASE, config: { Labels: { x: '' } } }).replace(
      '"x"',
      '"__proto__"',
    )
    t.strictSame([...parseImageConfig(Buffer.from(text)).config.Labels], [['__proto__', '']])
  },
)

t.test('parseImageConfig() takes 8 MiB and no more (A-110)', async (t) => {
  const text = JSON.stringify(BASE)
  t.ok(parseImageConfig(Buffer.from(text.padEnd(MAX_CONFIG_SIZE))))
  t.throws(() => parseImageConfig(Buffer.from(text.padEnd(MAX_CONFIG_SIZE + 1))), {
    code: 'LIMIT_EXCEEDED',
  })
})
