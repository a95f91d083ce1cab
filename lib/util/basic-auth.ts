/** HTTP Basic (RFC 7617): the one way in which a browser by itself sends a secret with every request. */

/** The password of an `Authorization: Basic …` header, whatever the user name; undefined for any other header. */
export function basicPassword(authorization: string): string | undefined {
  const [, encoded] = /^Basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(authorization) ?? []
  if (encoded === undefined) return undefined
  const [, password] = /^[^:]*:(.*)$/s.exec(Buffer.from(encoded, 'base64').toString()) ?? []
  return password
}
