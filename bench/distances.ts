/**
 * Round-trip times assumed by the distance table (ms), between data centres of the big clouds: rounded from published
 * inter-region figures, and the only place to change them. The database is in Virginia.
 */
export const DATABASE_REGION = 'Virginia'
export const ROUND_TRIP_MS: Record<string, number> = {
  Virginia: 2,
  California: 62,
  Frankfurt: 92,
  'São Paulo': 115,
  Tokyo: 150,
  Sydney: 200,
}
/** From a Worker to the nearest replica of a global Redis. */
export const NEARBY_MS = 5
