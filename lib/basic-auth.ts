/** The one way of a browser to send a secret with every request by itself: HTTP Basic (RFC 7617). */

/** The password of an `Authorization: Basic …` header, whatever the user name; undefined where the header is none of that kind. */
export function basicPassword(authorization: string): string | undefined {
  const [, encoded] = /^Basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(authorization) ?? []
  if (encoded === undefined) return undefined
  const [, password] = /^[^:]*:(.*)$/s.exec(Buffer.from(encoded, 'base64').toString()) ?? []
  return password
}
