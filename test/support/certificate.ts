import {
  generateKeyPairSync,
  type KeyObject,
  type KeyPairKeyObjectResult,
  randomBytes,
  sign,
} from 'node:crypto'

/** A value of ASN.1 in DER (X.690): its tag, its length, and its content. */
function der(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
const sequence = (...parts: Buffer[]) => der(0x30, ...parts)
const oid = (hex: string) => der(0x06, Buffer.from(hex, 'hex'))
const bits = (bytes: Buffer) => der(0x03, Buffer.from([0]), bytes)
const time = (ms: number) =>
  der(0x18, Buffer.from(`${new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '')}`))

const DAY_MS = 86_400_000
const ECDSA_WITH_SHA256 = sequence(oid('2a8648ce3d040302'))

interface Issuing {
  subject: string
  keys: KeyPairKeyObjectResult
  issuer: { name: string; key: KeyObject }
  /** Whether it is a certificate authority, or a server of this name. */
  isAuthority: boolean
}

const nameOf = (text: string) => sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(text)))))

/** A certificate that is valid for a day (RFC 5280). */
function issue({ subject, keys, issuer, isAuthority }: Issuing): string {
  const extension = isAuthority
    ? sequence(oid('551d13'), der(0x04, sequence(der(0x01, Buffer.from([255])))))
    : sequence(oid('551d11'), der(0x04, sequence(der(0x82, Buffer.from(subject)))))
  const tbs = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ECDSA_WITH_SHA256,
    nameOf(issuer.name),
    sequence(time(Date.now() - DAY_MS), time(Date.now() + DAY_MS)),
    nameOf(subject),
    keys.publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(extension)),
  )
  const whole = sequence(tbs, ECDSA_WITH_SHA256, bits(sign('sha256', tbs, issuer.key)))
  const lines = whole
    .toString('base64')
    .match(/.{1,64}/g)!
    .join('\n')
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`
}

/** A certificate for localhost, and its authority's certificate, which nobody trusts unless told to. */
export function makeCertificate() {
  const newKeys = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const [authority, server] = [newKeys(), newKeys()]
  const issuer = { name: 'Roster tests', key: authority.privateKey }
  return {
    ca: issue({ subject: issuer.name, keys: authority, issuer, isAuthority: true }),
    cert: issue({ subject: 'localhost', keys: server, issuer, isAuthority: false }),
    key: server.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  }
}
