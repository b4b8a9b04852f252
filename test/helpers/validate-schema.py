"""Validates JSON documents, one a line on standard input, against a JSON schema of draft 04 in a file.

Prints one line per document: empty, or what is wrong with it.
"""
import json
import pathlib
import sys
import warnings

warnings.simplefilter("ignore")
import jsonschema

schema_path = pathlib.Path(sys.argv[1]).resolve()
schema = json.loads(schema_path.read_text())
resolver = jsonschema.RefResolver(base_uri=schema_path.as_uri(), referrer=schema)
validator = jsonschema.Draft4Validator(schema, resolver=resolver)
for line in sys.stdin:
    errors = validator.iter_errors(json.loads(line))
    print("; ".join(f"{list(error.absolute_path)}: {error.message}" for error in errors).replace("\n", " "))
