import { password as adminPassword, searchForCanaries, watchSecret } from './canaries.js';

/**
 * Sends a request and returns the answer. It follows no redirect, so that a test sees each answer.
 */
export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  json: unknown;
  cookie: string | undefined;
}

export async function ask(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, { redirect: 'manual', ...init });
  const text = await response.text();
  const [first] = response.headers.getSetCookie();
  const held = [...response.headers]
    .filter(([name]) => name !== 'set-cookie')
    .map(([name, value]) => `${name}: ${value}`);
  searchForCanaries(
    `${response.status} ${held.join('\n')}\n${text}`,
    `the answer to ${init.method ?? 'GET'} ${url}`,
  );
  for (const cookie of response.headers.getSetCookie())
    watchSecret(cookie.split(';')[0]?.split('=')[1] ?? '');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return {
    status: response.status,
    headers: response.headers,
    text,
    json,
    cookie: first?.split(';')[0],
  };
}

export function postForm(
  url: string,
  fields: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return ask(url, { method: 'POST', body: new URLSearchParams(fields), headers });
}

export function postJson(
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return ask(url, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'Content-Type': 'application/json', ...headers },
  });
}

/** Logs in with the form and resolves to the cookie header of the session. */
export async function logIn(
  base: string,
  username = 'admin',
  password = adminPassword,
): Promise<{ cookie: string }> {
  const answer = await postForm(`${base}/auth/login`, { username, password });
  if (answer.status !== 303 || !answer.cookie)
    throw new Error(`login answered ${answer.status}: ${answer.text}`);
  return { cookie: answer.cookie };
}
