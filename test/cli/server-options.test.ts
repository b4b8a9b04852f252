import t from 'tap'
import { restoreEnvironment, serverEnvironment } from '../../src/cli/server-options.js'

t.test('what Node.js reads as it starts is set aside and comes back', (t) => {
  const own = { PATH: '/bin', NODE_EXTRA_CA_CERTS: '/etc/ca.pem', MALLOC_TRIM_THRESHOLD_: '7' }
  const given = serverEnvironment(own)
  t.notOk('NODE_EXTRA_CA_CERTS' in given)
  t.equal(given['MALLOC_TRIM_THRESHOLD_'], '7', 'what the user has set stays')
  restoreEnvironment(given)
  const { MALLOC_MMAP_THRESHOLD_: added, ...rest } = given
  t.ok(added)
  t.strictSame(rest, own)

  const without = serverEnvironment({ PATH: '/bin' })
  const before = { ...without }
  restoreEnvironment(without)
  t.strictSame(without, before)
  t.end()
})
