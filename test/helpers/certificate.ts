// A certificate for 127.0.0.1 that nobody knows, made by openssl.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

/** Writes key and certificate as PEM into a directory and gives their paths. */
export function makeCertificate(directory: string): {
  readonly key: string
  readonly cert: string
} {
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-days', '2', '-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1'],
      ...['-keyout', key, '-out', cert],
    ],
    { stdio: 'ignore' },
  )
  return { key, cert }
}
