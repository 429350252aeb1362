interface AnswerHeader {
  value: string
  /** For the API document. */
  description: string
}

/** Headers of every answer, errors included, unless the route has set them itself. */
export const EVERY_ANSWER: Record<string, AnswerHeader> = {
  'Cache-Control': { value: 'no-store', description: 'How long the answer may be kept.' },
  'Content-Security-Policy': {
    value: "default-src 'none'; frame-ancestors 'none'",
    description: 'What a browser may load for it.',
  },
  'Cross-Origin-Resource-Policy': { value: 'same-origin', description: 'Which pages may embed it.' },
  'Referrer-Policy': { value: 'no-referrer', description: 'What a browser tells the next page about it.' },
  'Strict-Transport-Security': {
    value: 'max-age=63072000; includeSubDomains',
    description: 'Only HTTPS, for two years.',
  },
  // An answer cached for a caller without an origin must not be given to one with.
  Vary: { value: 'Origin', description: 'What the answer depends on.' },
  'X-Content-Type-Options': { value: 'nosniff', description: 'The content type is the one declared.' },
}

/** Headers that only some answers have, and when. */
export const SOME_ANSWERS: Record<string, string> = {
  'Access-Control-Allow-Origin': 'The origin that asked, where it is one of CORS_ORIGINS.',
  'Access-Control-Expose-Headers': 'What such an origin may read.',
  'Server-Timing': 'What the request waited for; for callers who are signed in.',
}

export const REQUEST_ID: AnswerHeader = {
  value: 'X-Request-Id',
  description: 'Names this request in the log: the one that was sent, if it was well-formed, or one of ours.',
}
