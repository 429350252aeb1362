import type { DiscoveryRequestOptions, UserInfoResponse } from 'openid-client'

export function open(issuer: string, clientId: string, options?: DiscoveryRequestOptions): Promise<void>
export function signIn(): Promise<void>
export function comeBack(): Promise<UserInfoResponse>
export function accessToken(): Promise<string>
export function signOut(): void
