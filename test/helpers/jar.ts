import { type Answer, ask } from './client.js';

/** A client that keeps cookies, as a browser does. It follows no redirect. */
export class Jar {
  readonly cookies = new Map<string, string>();

  /** Sends a request with the cookies, and keeps those of the answer. */
  async ask(url: string, init: RequestInit = {}): Promise<Answer> {
    const answer = await ask(url, {
      ...init,
      headers: { Cookie: this.header(), ...(init.headers as Record<string, string>) },
    });
    for (const line of answer.headers.getSetCookie()) {
      const [pair = '', ...attributes] = line.split('; ');
      const [name = '', value = ''] = pair.split('=');
      if (attributes.includes('Max-Age=0')) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    return answer;
  }

  header(): string {
    return [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  }

  /** The names of the cookies that begin with a text. */
  named(start: string): string[] {
    return [...this.cookies.keys()].filter((name) => name.startsWith(start));
  }

  /** A second client with the same cookies. */
  copy(): Jar {
    const jar = new Jar();
    for (const [name, value] of this.cookies) jar.cookies.set(name, value);
    return jar;
  }
}
