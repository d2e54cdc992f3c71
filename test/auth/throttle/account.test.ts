import { describe, expect, it } from '@jest/globals';
import { accountOf } from '../../../src/auth/throttle/account.js';

describe('accountOf', () => {
  it.each([
    ['accents', ['José', 'Jose\u0301', 'jose', 'JOSÈ', 'jo\u0335se']],
    ['case, also of letters whose capitals are two', ['straße', 'STRASSE', 'Straẞe', 'strasse']],
    ['width', ['admin', '\uff41dmin', 'ＡＤＭＩＮ']],
    ['spaces', ['ann lee', ' Ann  Lee ', 'ann\u00a0lee', 'ann\tlee']],
    ['characters without a glyph', ['alice', 'al\u200bice', 'alice\u00ad', '\ufeffalice', 'alice\ufe0f']],
    ['strokes and ligatures', ['sorensen aeon', 'Sørensen æon', 'SØRENSEN ÆON']],
    ['the dotless and the dotted i', ['ilkin', 'ılkın', 'İLKİN']],
    ['ligatures of fonts', ['office', 'oﬃce']],
    ['the forms of sigma', ['νικος', 'ΝΙΚΟΣ', 'νικοσ']],
  ])('folds %s', (_case, names) => {
    expect(new Set(names.map(accountOf)).size).toBe(1);
  });

  it.each([
    ['two names', 'alice', 'bob'],
    ['a space and none', 'ann lee', 'annlee'],
    ['Latin and Cyrillic', 'alice', 'al\u0456ce'],
    ['a name and the same with a digit', 'alice', 'alice1'],
  ])('tells %s apart', (_case, one, other) => {
    expect(accountOf(one)).not.toBe(accountOf(other));
  });

  it('folds a name that is folded already to itself', () => {
    for (const name of ['José', 'Straẞe', 'ϓ\u0301', 'ŉ', '\ufb4f', 'ẞ\u0345']) expect(accountOf(accountOf(name))).toBe(accountOf(name));
  });
});
