import t from 'tap'
import { basicPassword } from '../../plugins/auth/authorization.ts'

const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

t.test('basicPassword() reads the password of HTTP Basic, and of nothing else', async (t) => {
  const table: [authorization: string, password: string | undefined][] = [
    [basic('user:secret'), 'secret'],
    [basic(':secret'), 'secret'],
    [basic('user:'), ''],
    [basic('user:with:colons\nand lines'), 'with:colons\nand lines'],
    [`${basic('user:secret').replace('Basic', 'basic ')} `, 'secret'],
    [basic('no colon'), undefined],
    ['Basic', undefined],
    ['Basic user:secret', undefined],
    ['Bearer dXNlcjpzZWNyZXQ=', undefined],
    ['', undefined]
  ]
  for (const [authorization, password] of table) t.equal(basicPassword(authorization), password, authorization)
})
