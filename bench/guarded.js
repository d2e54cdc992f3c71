// A guarded request: 50 connections on a Koa app in a process of its own, with the same small
// answer behind each guard.
import { guarded } from './lib/guarded.js';
import { compare } from './lib/rounds.js';

/** @param {string} kind */
const perSecond = async (kind) => (await guarded(kind)).perSecond;

await compare('guarded request', {
  unit: 'requests a second',
  ours: () => perSecond('taskflow'),
  peer: () => perSecond('koa-jwt'),
  peerName: 'koa-jwt',
});
await compare('guarded request', {
  unit: 'requests a second',
  ours: () => perSecond('taskflow'),
  peer: () => perSecond('bare'),
  peerName: 'no guard',
});
