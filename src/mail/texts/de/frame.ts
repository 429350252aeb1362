import type { frame as English } from '../en/frame.ts'

export const frame: typeof English = {
  anotherAddress: 'eine andere',
  codeBesideLink: (lifetime) => `Oder gib diesen Code ein – er gilt ${lifetime}:`,
  codeAlone: (lifetime) => `Dein Code – er gilt ${lifetime}:`,
  linkLifetime: (lifetime) => `Der Link gilt einmal, ${lifetime} lang.`,
  asked: 'Angefordert',
  // In brackets, as countries have articles: „aus der Schweiz“, „aus den Niederlanden“.
  occasion: ({ happened, day, time, country, device }) => {
    const by = [country, device].filter((part) => part !== undefined).join(', ')
    return `${happened} am ${day} um ${time} UTC${by && ` (${by})`}.`
  },
  unknownCountry: 'unbekanntes Land',
  deviceOn: (browser, system) => `${browser} auf ${system}`,
}
