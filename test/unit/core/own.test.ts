import { expect, test } from 'vitest';
import { own } from '../../../lib/core/own.ts';

test('finds the own properties of an object, and no inherited ones', () => {
  const object = { name: 'value', toString: 'text' };
  expect(own(object, 'name')).toBe('value');
  expect(own<string>(object, 'toString')).toBe('text');
  expect(own<string>({ name: 'value' }, 'toString')).toBeUndefined();
  expect(own<string>(object, 'constructor')).toBeUndefined();
});
