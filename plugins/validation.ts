/**
 * Requests that do not fit are refused by the name of what is wrong; bodies that pages post are taken for what they
 * hold.
 */
import {
  errorCodes,
  type FastifyInstance,
  type FastifySchema,
  type preValidationHookHandler,
  type RouteOptions
} from 'fastify'
import fp from 'fastify-plugin'
import { isPlainObject } from '../lib/util/json.ts'
import { takeMembers } from '../lib/validation/members.ts'
import { messageOf, type SchemaError } from '../lib/validation/message.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * Whether the body is what a page posts: null and empty texts count as absent, and members that the schema does not
     * know are left out, unless it forbids them.
     */
    pageBody?: boolean
  }
}

interface ObjectSchema {
  properties?: object
  additionalProperties?: boolean
  anyOf?: ObjectSchema[]
}

/** Register it before whatever has routes. */
export default fp(
  async (app: FastifyInstance) => {
    app.addHook('onRoute', function validate(route) {
      route.schemaErrorFormatter ??= (errors, part) =>
        new Error(messageOf(errors as SchemaError[], part, route.schema?.[part as keyof FastifySchema] as object))
      if (route.config?.pageBody) route.preValidation = [...[route.preValidation ?? []].flat(), takingMembers(route)]
    })
  },
  { name: 'validation', dependencies: ['errors'], fastify: '5.x' }
)

function takingMembers({ schema }: RouteOptions): preValidationHookHandler {
  const body = schema?.body as ObjectSchema
  const { properties = {}, additionalProperties = true } = [body, ...(body.anyOf ?? [])].find(hasProperties) ?? {}
  const known = Object.keys(properties)
  return (request, _reply, done) => {
    if (!isPlainObject(request.body)) return done()
    const { taken, misspelt } = takeMembers(request.body, known)
    if (misspelt !== undefined) return done(refusal(misspelt))
    const others = Object.entries(request.body).filter(([name]) => !known.includes(name))
    request.body = additionalProperties ? taken : { ...taken, ...Object.fromEntries(others) }
    done()
  }
}

/** The name is the known one but for its spelling, so that it may be repeated. */
function refusal({ given, meant }: { given: string; meant: string }) {
  const error = new errorCodes.FST_ERR_VALIDATION(`body has ${given}; it is called ${meant}`)
  return Object.assign(error, { statusCode: 400 })
}

const hasProperties = (schema: ObjectSchema): boolean => schema.properties !== undefined
