import fc from 'fast-check';

/** The part of JSON Schema that the OpenAPI document uses. */
export interface Schema {
  $ref?: string;
  type?: string;
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  pattern?: string;
  examples?: unknown[];
}

/** Values that attackers send, or users by mistake. */
export const hostile: readonly unknown[] = [
  ...[
    "' OR 1=1 --",
    '"',
    '\\',
    '%00',
    '\0',
    '\u202e',
    '💥',
    '{{7*7}}',
    '<script>alert(1)</script>',
    '../../etc/passwd',
  ],
  ...[
    '__proto__',
    'constructor',
    'NaN',
    '-1',
    '1e309',
    '0x10',
    '9007199254740993',
    'null',
    'undefined',
    '*',
    '%',
    '_',
    'a'.repeat(5000),
  ],
  ...[
    '=1+1',
    '\r\nX-Evil: 1',
    '-99999999999d',
    '2026-02-31',
    '0000-00-00T00:00:00Z',
    'true',
    '[]',
    '[object Object]',
    '\ud800',
    '',
  ],
  ...[
    null,
    true,
    -1,
    0.5,
    1e300,
    Number.MAX_SAFE_INTEGER,
    [],
    [[]],
    {},
    { $gt: '' },
    { length: 5 },
  ],
];

/** Generates values that a schema allows. */
export function valuesOf(schema: Schema, resolve: (ref: string) => Schema): fc.Arbitrary<unknown> {
  if (schema.$ref) return valuesOf(resolve(schema.$ref), resolve);
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  if (schema.examples) return fc.constantFrom(...schema.examples);
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map((each) => valuesOf(each, resolve)));
  switch (schema.type) {
    case 'string':
      return schema.pattern
        ? fc.stringMatching(new RegExp(schema.pattern, 'u'))
        : fc.string({
            minLength: schema.minLength ?? 0,
            maxLength: Math.min(schema.maxLength ?? 30, 200),
          });
    case 'integer':
      return fc.integer({
        min: schema.minimum ?? -1000,
        max: Math.min(schema.maximum ?? 1000, 2 ** 31 - 1),
      });
    case 'number':
      return fc.double({ min: schema.minimum ?? 0, max: schema.maximum ?? 1000, noNaN: true });
    case 'boolean':
      return fc.boolean();
    case 'array':
      return fc.array(valuesOf(schema.items ?? {}, resolve), {
        minLength: schema.minItems ?? 0,
        maxLength: Math.min(schema.maxItems ?? 3, 3),
      });
    case 'object': {
      const members = Object.entries(schema.properties ?? {}).map(([name, each]) => [
        name,
        valuesOf(each, resolve),
      ]);
      return fc.record(Object.fromEntries(members), { requiredKeys: schema.required ?? [] } as {
        requiredKeys: never[];
      });
    }
    default:
      return fc.jsonValue();
  }
}

/** Generates the same values with one replaced part. */
export function spoiled(values: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc
    .tuple(values, fc.constantFrom(...hostile), fc.nat(), fc.boolean())
    .map(([value, bad, at, extra]) => {
      if (typeof value !== 'object' || value === null) return bad;
      const names = Object.keys(value);
      if (extra || names.length === 0)
        return Array.isArray(value)
          ? [...value, bad]
          : { ...value, [String(bad).slice(0, 20)]: bad };
      const name = names[at % names.length] ?? '';
      return Array.isArray(value) ? value.with(Number(name), bad) : { ...value, [name]: bad };
    });
}
