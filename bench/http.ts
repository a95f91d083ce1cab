/** Requests as the bytes on the wire, with only the headers that are needed, so that only the service is measured. */

export interface RequestParts {
  token?: string
  /** Text goes as it is, for signatures hold for its bytes. */
  json?: object | string
  xml?: string
  headers?: Record<string, string>
}

export function request(
  method: 'GET' | 'POST',
  path: string,
  { token, json, xml, headers = {} }: RequestParts = {}
): Buffer {
  const body = xml ?? (typeof json === 'object' ? JSON.stringify(json) : json)
  const type = xml === undefined ? 'application/json' : 'text/xml'
  const head = [
    `${method} ${path} HTTP/1.1`,
    'Host: wx.example.test',
    Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    token === undefined ? [] : `Authorization: Bearer ${token}`,
    body === undefined ? [] : [`Content-Type: ${type}`, `Content-Length: ${Buffer.byteLength(body)}`]
  ]
  return Buffer.from(`${head.flat(2).join('\r\n')}\r\n\r\n${body ?? ''}`)
}
