// The runtime-spec's own JSON schema as an oracle, where it and Python's jsonschema are on this machine.

import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { missingTool } from './list-tar.js'
import { corpora } from './run-cli.js'

const schema = join(corpora() ?? '', 'spec/runtime-spec/schema/config-schema.json')

/** A reason to skip a test that validates, or false. */
export function schemaSkipReason(): string | false {
  if (!existsSync(schema)) return 'the runtime-spec is not on this machine'
  return missingTool('python3', '-c', 'import jsonschema')
}

/** Gives what is wrong with each config, empty for nothing. */
export function schemaProblems(configs: readonly unknown[]): string[] {
  const input = configs.map((config) => `${JSON.stringify(config)}\n`).join('')
  const program = 'test/helpers/validate-schema.py'
  const output = execFileSync('python3', [program, schema], { input, encoding: 'utf8' })
  return output.split('\n').slice(0, configs.length)
}
